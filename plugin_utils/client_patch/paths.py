"""Which directories a program puts on `sys.path`, as far as its text says."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, replace

import libcst as cst

from .names import Resolver
from .scopes import PathCandidate, Program, Scope, Site
from .tree import code_of, dotted, literal_string

# Stands for the checkout in the paths that are worked out here; no real path has it.
ROOT = "/\0"
_SAME = {"os.path.abspath", "os.path.realpath", "os.path.normpath", "os.path.expanduser", "os.fspath", "str"}
_PATHS = {"pathlib.Path", "pathlib.PurePath", "pathlib.PosixPath"}
_SAME_METHODS = {"resolve", "absolute", "as_posix", "expanduser"}
_NAMED = {"os.pardir": "..", "os.curdir": ".", "os.sep": "/", "os.path.sep": "/"}
# What Python asks before, or instead of, its own search; of what is put behind that nothing is asked for a file.
_FINDERS = {"sys.meta_path", "sys.path_hooks"}
_IMPORT = {"builtins.__import__", "__builtins__.__import__"}
_HERE = {"os.getcwd", "pathlib.Path.cwd", "pathlib.Path"}


@dataclass(frozen=True)
class PathChange:
    """One directory that a statement puts on `sys.path`."""

    site: Site
    # Relative to the checkout, which itself is the empty string; None where the text does not say, or it is elsewhere.
    directory: str | None
    front: bool
    # It is searched behind what Python has of its own.
    behind: bool = False
    # It takes others off the path, which ones is not known; or it changes how Python imports.
    removes: bool = False
    # For a person: why nothing is known of the path behind it.
    why: str = ""
    # The program's own function or class whose use makes it; empty for a statement of its own.
    used: str = ""


class Evaluator:
    """The values of expressions that stand for paths.

    :param file: the program's file, relative to the checkout. :param home: where the checkout is, if that is known.
    :param directory: the directory, relative to the checkout, in which the program is started.
    """

    def __init__(self, program: Program, file: str, home: str, directory: str) -> None:
        self.resolver = Resolver(program)
        self.file = f"{ROOT}/{file}"
        self.home = home.rstrip("/")
        self.directory = posixpath.normpath(f"{ROOT}/{directory}")
        self._depth = 0

    def relative(self, value: str | None) -> str | None:
        """A path relative to the checkout; None if it lies elsewhere."""
        if value is None:
            return None
        if self.home and (value == self.home or value.startswith(self.home + "/")):
            value = ROOT + value[len(self.home) :]
        value = posixpath.normpath(posixpath.join(self.directory, value))
        if value == ROOT:
            return ""
        return value[len(ROOT) + 1 :] if value.startswith(ROOT + "/") else None

    def value(self, node: cst.CSTNode, scope: Scope, site: Site) -> str | None:
        """The text of an expression; None where that cannot be told."""
        if self._depth > 20:
            return None
        self._depth += 1
        try:
            return self._value(node, scope, site)
        finally:
            self._depth -= 1

    def _value(self, node: cst.CSTNode, scope: Scope, site: Site) -> str | None:
        text = literal_string(node)
        if text is not None:
            return text
        if isinstance(node, cst.Name):
            return self._name(node, scope, site)
        if isinstance(node, cst.Attribute):
            return self._attribute(node, scope, site)
        if isinstance(node, cst.Subscript):
            return self._subscript(node, scope, site)
        if isinstance(node, cst.BinaryOperation):
            left, right = self.value(node.left, scope, site), self.value(node.right, scope, site)
            if left is None or right is None:
                return None
            return left + right if isinstance(node.operator, cst.Add) else posixpath.join(left, right)
        if isinstance(node, cst.FormattedString):
            return self._joined(node, scope, site)
        return self._call(node, scope, site) if isinstance(node, cst.Call) else None

    def _name(self, node: cst.Name, scope: Scope, site: Site) -> str | None:
        if node.value == "__file__":
            return self.file
        _, live = self.resolver.live(node.value, scope, site)
        if len(live) != 1:
            return None
        binding = live[0]
        if binding.imported:
            return _NAMED.get(binding.imported)
        if binding.value is None or binding.scope is None:
            return None
        return self.value(binding.value, binding.scope, binding.site)

    def _attribute(self, node: cst.Attribute, scope: Scope, site: Site) -> str | None:
        if node.attr.value == "parent":
            return _up(self.value(node.value, scope, site), 1)
        return _NAMED.get(self.meaning(node, scope, site))

    def _subscript(self, node: cst.Subscript, scope: Scope, site: Site) -> str | None:
        index = node.slice[0].slice if len(node.slice) == 1 else None
        integer = index.value if isinstance(index, cst.Index) else None
        number = integer.evaluated_value if isinstance(integer, cst.Integer) else None
        if number is None:
            return None
        if isinstance(node.value, cst.Attribute) and node.value.attr.value == "parents":
            return _up(self.value(node.value.value, scope, site), number + 1)
        if self.meaning(node.value, scope, site) == "sys.path" and number == 0:
            return posixpath.dirname(self.file)
        split = isinstance(node.value, cst.Call) and self.meaning(node.value.func, scope, site) == "os.path.split"
        if split and number == 0 and isinstance(node.value, cst.Call) and node.value.args:
            return _up(self.value(node.value.args[0].value, scope, site), 1)
        return None

    def _joined(self, node: cst.FormattedString, scope: Scope, site: Site) -> str | None:
        parts: list[str] = []
        for part in node.parts:
            text = (
                part.value
                if isinstance(part, cst.FormattedStringText)
                else self.value(part.expression, scope, site)
                if isinstance(part, cst.FormattedStringExpression)
                else None
            )
            if text is None:
                return None
            parts.append(text)
        return "".join(parts)

    def _call(self, node: cst.Call, scope: Scope, site: Site) -> str | None:
        name = self.meaning(node.func, scope, site)
        values = [self.value(arg.value, scope, site) for arg in node.args if not arg.star and arg.keyword is None]
        first = values[0] if values else None
        if name in _HERE and not values:
            return self.directory
        if name == "os.path.dirname":
            return _up(first, 1)
        if name in _SAME and first is not None:
            return posixpath.normpath(first) if name.startswith("os.path") else first
        if name in _PATHS or name == "os.path.join":
            return (
                posixpath.join(*[item for item in values if item is not None])
                if values and None not in values
                else None
            )
        if not isinstance(node.func, cst.Attribute):
            return None
        owner = self.value(node.func.value, scope, site)
        if node.func.attr.value in _SAME_METHODS:
            return owner if owner is None else posixpath.normpath(owner)
        if node.func.attr.value == "joinpath" and owner is not None and values and None not in values:
            return posixpath.join(owner, *[item for item in values if item is not None])
        return None

    def meaning(self, node: cst.CSTNode, scope: Scope, site: Site) -> str:
        """The full dotted name of something imported, or a plain name; empty if there are several or none."""
        meanings = self.resolver.expression(node, scope, site)
        found = [item for item in meanings if isinstance(item, str)]
        return found[0] if len(meanings) == 1 and found else dotted(node)


def path_changes(program: Program, file: str, home: str = "", directory: str = "") -> list[PathChange]:
    """What a program puts on `sys.path`, in the order in which it is written.

    :param file: the program's file, relative to the checkout. :param home: where the checkout is, if that is known.
    :param directory: the directory, relative to the checkout, in which the program is started.
    """
    evaluator = Evaluator(program, file, home, directory)
    found = []
    for item in program.paths:
        if item.removes:
            why = "it changes how Python imports" if item.hook else "it takes some off"
            found.append(PathChange(item.site, None, item.front, removes=True, why=why))
        for value in elements(item.values):
            text = evaluator.value(value, item.scope, item.site)
            behind = _is_behind(item)
            found.append(PathChange(item.site, evaluator.relative(text), item.front and not behind, behind))
        if not item.values and not item.removes:
            found.append(PathChange(item.site, None, item.front))
    return found


def _is_behind(item: PathCandidate) -> bool:
    """Whether what a statement puts on the path comes after all that was there."""
    if item.target is not None:
        return any(_keeps_first(value, dotted(item.base)) for value in item.values)
    return item.method != "insert"


def elements(nodes: Iterable[cst.CSTNode]) -> Iterator[cst.CSTNode]:
    """The elements of lists and of sums of lists; other expressions as they are."""
    for node in nodes:
        if isinstance(node, (cst.List, cst.Tuple)):
            yield from (item.value for item in node.elements)
        elif isinstance(node, cst.BinaryOperation) and (_is_list(node.left) or _is_list(node.right)):
            yield from elements([node.left, node.right])
        elif dotted(node) != "sys.path":
            yield node


def _is_list(node: cst.CSTNode) -> bool:
    return isinstance(node, (cst.List, cst.Tuple)) or dotted(node) == "sys.path"


def _up(path: str | None, levels: int) -> str | None:
    for _ in range(levels):
        path = posixpath.dirname(path) if path is not None else None
    return path


# -- which statements these are


def settle_paths(program: Program) -> None:
    """Keep those of the possible changes that mean `sys.path`, by whatever name, and note their places."""
    names = _names_of_sys(program)
    resolver = Resolver(program)
    for item in program.path_candidates:
        text = dotted(item.base)
        if _is_hook(item, names, resolver):
            program.paths.append(replace(item, values=(), removes=True, hook=True))
            note_site(program.removed_at, item.site)
            continue
        known = text in ("sys.path", "addsitedir") or text.endswith(".addsitedir")
        if not known and text.partition(".")[0] in names:
            meanings = resolver.expression(item.base, item.scope, item.site)
            known = bool({"sys.path", "site.addsitedir"} & meanings)
        if not known:
            continue
        removes = item.removes or (item.target is not None and takes_off(item.target, item.base, item.values))
        program.paths.append(replace(item, removes=removes))
        if removes:
            note_site(program.removed_at, item.site)
        if item.values or not removes:
            note_site(program.paths_at, item.site)


def _is_hook(item: PathCandidate, names: Set[str], resolver: Resolver) -> bool:
    """Whether a statement may keep Python from finding a module, by a finder of its own for example."""
    text = dotted(item.base)
    if item.target is None and item.method not in ("insert", "clear"):
        return False
    meanings = {text}
    if text.partition(".")[0] in names:
        meanings |= {found for found in resolver.expression(item.base, item.scope, item.site) if isinstance(found, str)}
    if item.target is item.base and meanings & _IMPORT:
        return True
    if not meanings & _FINDERS:
        return False
    return item.target is None or not any(_keeps_first(value, text) for value in item.values)


def _keeps_first(value: cst.CSTNode, base: str) -> bool:
    """Whether what was there is still asked first."""
    if isinstance(value, cst.BinaryOperation):
        return _keeps_first(value.left, base)
    if isinstance(value, (cst.List, cst.Tuple)):
        first = value.elements[0] if value.elements else None
        return isinstance(first, cst.StarredElement) and _keeps_first(first.value, base)
    return dotted(value) == base


def takes_off(target: cst.CSTNode, base: cst.CSTNode, values: Sequence[cst.CSTNode]) -> bool:
    """Whether an assignment to the path may leave out what was on it."""
    if isinstance(target, cst.Subscript):
        piece = target.slice[0].slice
        if not isinstance(piece, cst.Slice):
            return True
        lower, upper = (code_of(item) if item is not None else "" for item in (piece.lower, piece.upper))
        if lower.startswith("len(") or (upper and upper == (lower or "0")):
            return False  # an insertion
    return not any(_keeps(value, dotted(base)) for value in values)


def _keeps(value: cst.CSTNode, base: str) -> bool:
    """Whether a value has all of the path that was."""
    if isinstance(value, (cst.List, cst.Tuple)):
        return any(isinstance(item, cst.StarredElement) and _keeps(item.value, base) for item in value.elements)
    if isinstance(value, cst.BinaryOperation):
        return _keeps(value.left, base) or _keeps(value.right, base)
    if isinstance(value, cst.Subscript):
        piece = value.slice[0].slice
        whole = isinstance(piece, cst.Slice) and piece.lower is None and piece.upper is None
        return whole and _keeps(value.value, base)
    if isinstance(value, cst.Call):
        owner = value.func.value if isinstance(value.func, cst.Attribute) else None
        return any(_keeps(arg.value, base) for arg in value.args) or (owner is not None and _keeps(owner, base))
    return dotted(value) == base


def _names_of_sys(program: Program) -> set[str]:
    """Names that may lead to `sys.path` or `site.addsitedir`, or to how Python imports."""
    modules = ("sys", "site", "builtins")
    names = {item.name for item in program.bindings if item.imported.partition(".")[0] in modules}
    for binding in program.bindings:
        if isinstance(binding.value, (cst.Name, cst.Attribute)) and dotted(binding.value).partition(".")[0] in names:
            names.add(binding.name)
    return names


def note_site(table: dict[int, list[Site]], site: Site) -> None:
    """A change of the path is one of its block and of those around it, up to the function's."""
    for block in site.block.ancestors():
        table.setdefault(id(block), []).append(site)
        if block is block.scope.root:
            break
        site = Site(block.parent or block, block.index, 0, site.order)
