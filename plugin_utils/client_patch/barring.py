"""Code of a checkout behind which the pool module may not be found any more.

It takes directories off `sys.path`, or changes how Python imports. A program's own statements of that kind are among
the changes of its path (:mod:`.paths`); here are those that it runs by an import or by a call.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import libcst as cst

from .scopes import Binding, Block, PathCandidate, Program, Site
from .tree import code_of

_RESTORED = (cst.Name, cst.Subscript, cst.Attribute)


@dataclass(frozen=True)
class Barrier:
    """What is behind an import or a call."""

    # For a person: what takes directories off the path, or changes how Python imports.
    why: str
    # Whether directories come onto the path there as well.
    adds: bool


@dataclass(frozen=True)
class Barred:
    """A place in a program that is a barrier."""

    site: Site
    barrier: Barrier
    # The program's own function or class that is used there; empty for anything else.
    used: str = ""


class Barring:
    """The modules whose import, and the functions and classes whose use, is a barrier.

    :param programs: a script, under an empty name, and the modules of its checkout that it reaches, by dotted name.
    """

    def __init__(self, programs: Mapping[str, Program]) -> None:
        # Both by full dotted name.
        self.importing: dict[str, Barrier] = {}
        self.calling: dict[str, Barrier] = {}
        own = {name: list(_own(name, program)) for name, program in programs.items()}
        grown = True
        while grown:
            before = len(self.importing) + len(self.calling)
            for name, program in programs.items():
                self._take(name, [*own[name], *((item.site, item.barrier) for item in self.of(program, name))])
                self._hand_on(name, program)
            grown = len(self.importing) + len(self.calling) > before

    def _take(self, name: str, barriers: list[tuple[Site, Barrier]]) -> None:
        for site, barrier in barriers:
            definition = definition_around(site.block)
            if definition:
                self.calling.setdefault(f"{name}.{definition}", barrier)
            elif not _only_as_program(site.block):
                self.importing.setdefault(name, barrier)

    def _hand_on(self, name: str, program: Program) -> None:
        """What a module imports of another's is its own as well."""
        for binding, full in self._leading(program, name):
            if binding.imported and full in self.calling:
                self.calling.setdefault(f"{name}.{binding.name}", self.calling[full])

    def of(self, program: Program, name: str = "") -> list[Barred]:
        """The imports and uses of a program that are barriers, in their order.

        :param name: the program's dotted name; empty for the script.
        """
        found = []
        for module, site in program.imported:
            parts = module.split(".")
            packages = [".".join(parts[:count]) for count in range(1, len(parts) + 1)]
            barriers = [self.importing[item] for item in packages if item in self.importing and item != name]
            found += [Barred(site, barrier) for barrier in barriers]
        for binding, base in self._leading(program, name):
            for use in program.uses.get(binding.name, ()):
                full = self._reached(program, use.node, base)
                used = binding.name if not binding.imported else ""
                found += [Barred(use.site, self.calling[full], used)] if full else []
        return sorted(found, key=lambda item: item.site.order)

    def _leading(self, program: Program, name: str) -> Iterator[tuple[Binding, str]]:
        """Bindings by which the program may reach what is a barrier when it is used, each with its full name."""
        for binding in program.bindings:
            own = isinstance(binding.value, (cst.FunctionDef, cst.ClassDef)) and binding.scope is program.scope
            base = binding.imported or (f"{name}.{binding.name}" if own else "")
            if base and any(f"{full}.".startswith(f"{base}.") for full in self.calling):
                yield binding, base
        for star in program.scope.stars:
            for full in list(self.calling):
                module, _, last = full.rpartition(".")
                if module == star.imported:
                    yield Binding(last, star.site, full), full

    def _reached(self, program: Program, node: cst.CSTNode, base: str) -> str:
        """The barrier that `a.b.c` around a name leads to; empty if it leads to none."""
        while base not in self.calling:
            parent = program.parent(node)
            if not isinstance(parent, cst.Attribute) or parent.value is not node:
                return ""
            node, base = parent, f"{base}.{parent.attr.value}"
        return base


def _own(name: str, program: Program) -> Iterator[tuple[Site, Barrier]]:
    """A program's own statements that are barriers for those who import it or call its functions."""
    adds = any(item.values for item in program.paths)
    added: dict[int, int] = {}
    for item in program.paths:
        scope = id(item.scope.flow)
        if item.removes and not item.hook and added.get(scope, 0) and _undoes(item):
            added[scope] -= 1
        elif item.removes:
            what = "changes how Python imports" if item.hook else "takes some off"
            yield item.site, Barrier(f"{name or 'it'} {what}", adds)
        else:
            added[scope] = added.get(scope, 0) + 1


def _undoes(item: PathCandidate) -> bool:
    """Whether a removal may be that of what was put there before: `pop(0)`, or an assignment of what had been saved."""
    if item.target is None:
        return True
    return len(item.values) == 1 and isinstance(item.values[0], _RESTORED)


def definition_around(block: Block) -> str:
    """The function or class at the top of a file with which a block runs; empty if it runs when the file does."""
    inner = ""
    for outer in block.ancestors():
        if isinstance(outer.owner, cst.FunctionDef) or (inner and isinstance(outer.owner, cst.ClassDef)):
            inner = outer.owner.name.value
    return inner


def _only_as_program(block: Block) -> bool:
    """Whether a block runs only if its file is started: `if __name__ == "__main__"`."""
    return any(
        isinstance(outer.owner, cst.If) and outer.branch == "if 0" and "__name__" in code_of(outer.owner.test)
        for outer in block.ancestors()
    )
