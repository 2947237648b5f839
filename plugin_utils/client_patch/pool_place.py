"""Where the pool module goes, and how a program imports it, so that the import resolves as the program is started."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from module_utils.webex_rollout.imports import PYTHONS

from .barring import Barring, definition_around
from .layout import Layout
from .paths import PathChange, path_changes
from .scopes import Site
from .source import Source
from .starts import MAIN, Start
from .tree import dotted

AUTO = "auto"
POOL_FILE = "webex_pool_config"
REPORTED = f"src.utils.{POOL_FILE}"


@dataclass(frozen=True)
class PoolPlace:
    """One pool module: its full dotted name, how the import names it, and its file in the checkout."""

    module: str
    written: str
    file: str
    # Whether the import works only behind the program's own changes of `sys.path`.
    needs_path: bool = False


class Placing:
    """The places that suit one program, best first.

    :param starts: how the program comes to run. :param taken: files of the checkout that are something else than the
        pool module, so that they must not be overwritten. :param active: files that do something when they are
        imported. :param barring: what keeps the module from being found once it has run.
    """

    def __init__(
        self,
        source: Source,
        starts: Sequence[Start],
        layout: Layout,
        taken: frozenset[str],
        home: str,
        active: frozenset[str] = frozenset(),
        barring: Barring | None = None,
    ) -> None:
        self.source = source
        self.file = source.path
        self.layout = layout
        self.taken = taken
        self.home = home
        self.active = active
        self.given = starts
        self.barring = barring or Barring({})
        # A file of the checkout in whose place the pool module could have been.
        self.met = ""
        self.changes = self._changes(source)
        self.starts = [item for start in starts for item in self._explained(start)]

    def _changes(self, source: Source) -> list[PathChange]:
        """The program's changes of its path; one that the text does not tell is taken for what its imports need."""
        changes = path_changes(source.program, self.file, self.home)
        told = {item.directory for item in changes}
        left = [base for start in self.given for base in start.needed if base not in told and base not in start.path]
        found = []
        for change in changes:
            unknown = change.directory is None and not change.removes and bool(left)
            found += [replace(change, directory=base) for base in dict.fromkeys(left)] if unknown else [change]
        for item in self.barring.of(source.program):
            found.append(PathChange(item.site, None, False, removes=True, why=item.barrier.why, used=item.used))
            found += [PathChange(item.site, base, False) for base in dict.fromkeys(left)] if item.barrier.adds else []
        # Equal ones keep the order in which they are found.
        return sorted(found, key=lambda change: change.site.order)

    def _explained(self, start: Start) -> list[Start]:
        """A start with the directories that the program's imports need and that it does not put there itself."""
        told = {item.directory for item in self.changes}
        left = tuple(base for base in dict.fromkeys(start.needed) if base not in told and base not in start.path)
        full = replace(start, path=(*start.path, *left), needed=())
        if start.why or start.name != MAIN or not left or not self.file.endswith(".py"):
            return [full]
        # Started by its path it would not find its own imports: so it may well be started by -m.
        name = posixpath.relpath(self.file, left[0] or ".")[:-3].replace("/", ".")
        return [full, Start(name, left, name.rpartition(".")[0], "")]

    # -- the candidates

    def places(self, setting: str) -> Iterator[PoolPlace]:
        """Every place whose import resolves, as far as is known before the import stands somewhere."""
        done: set[tuple[str, str]] = set()
        candidates: Iterable[tuple[str, str]] = self._named(setting, self.directories())
        if setting == AUTO:
            # One whose import runs nothing that has not run before is better; the order is kept else.
            candidates = sorted(self._automatic(), key=lambda candidate: self._wakes(*candidate))
        for written, file in candidates:
            if file in self.taken:
                self.met = file
                continue
            if (written, file) in done:
                continue
            done.add((written, file))
            # Behind which of the changes the import comes is seen once it stands.
            for count in range(len(self.changes) + 1):
                if all(self.resolves(written, file, start, self.changes[:count]) for start in self.starts):
                    yield PoolPlace(self._absolute(written), written, file, count > 0)
                    break

    def file_of(self, module: str) -> str:
        """The file of a pool module that is there, or where it would be."""
        return self.layout.find(module, self.directories()) or module.replace(".", "/") + ".py"

    def directories(self) -> list[str]:
        """Directories that are on the path in one start or another, the checkout itself first."""
        found = ["", *(item for start in self.starts for item in start.path)]
        found += [item.directory for item in self.changes if item.directory is not None]
        return list(dict.fromkeys(found))

    def _named(self, module: str, bases: Sequence[str]) -> Iterator[tuple[str, str]]:
        for base in bases:
            yield module, posixpath.normpath(posixpath.join(base, module.replace(".", "/") + ".py"))

    def _automatic(self) -> Iterator[tuple[str, str]]:
        directories = self.directories()
        imported = self._imported_already()
        for module in imported:
            if module.startswith("."):
                yield module, self._relative_file(module)
            else:
                yield from self._named(module, directories)
        if imported:
            return
        needs_src = any(name.startswith("src.") for name in self.source.program.imports)
        for base in directories:
            inner = posixpath.normpath(posixpath.join(base, "src"))
            known = f"{inner}/__init__.py" in self.layout.files or needs_src
            if known and f"{inner}/utils" in self.layout.directories:
                yield REPORTED, f"{inner}/utils/{POOL_FILE}.py"
        yield from self._in_the_package()
        own = posixpath.dirname(self.file)
        for base in dict.fromkeys([own, *directories]):
            yield from self._named(POOL_FILE, [base])

    def _wakes(self, written: str, file: str) -> bool:
        """Whether the import runs a package's `__init__.py` that does something and that the program does not run."""
        directory = posixpath.dirname(file)
        names = self._absolute(written).split(".")[:-1]
        running = [*self.source.program.imports, *(start.name for start in self.starts)]
        while names:
            name = ".".join(names)
            runs = any(f"{item}.".startswith(f"{name}.") for item in running)
            if not runs and f"{directory}/__init__.py" in self.active:
                return True
            names.pop()
            directory = posixpath.dirname(directory)
        return False

    def _imported_already(self) -> list[str]:
        found = []
        for node, module, _ in self.source.program.from_imports:
            if module.rpartition(".")[2] == POOL_FILE:
                found.append("." * len(node.relative) + dotted(node.module) if node.relative else module)
        return found

    def _in_the_package(self) -> Iterator[tuple[str, str]]:
        """At the top of the regular package that the file lies in, else beside the file in its directory's."""
        package, above = self.layout.package_of(self.file)
        packages = [(package.partition(".")[0], above)] if package else []
        for start in self.starts:
            if start.package and not package:
                packages += [(start.package, base) for base in start.path]
        relative = list(self._relative()) if all(start.package for start in self.starts) else []
        if relative and not all(start.named and start.why for start in self.starts):
            # Its full name is a guess; inside its package it need not be known.
            yield from relative
        for name, base in packages:
            yield from self._named(f"{name}.{POOL_FILE}", [base])
        yield from relative

    def _relative(self) -> Iterator[tuple[str, str]]:
        package, _ = self.layout.package_of(self.file)
        depth = max(package.count("."), 0)
        written = "." * (depth + 1) + POOL_FILE
        yield written, self._relative_file(written)

    def _relative_file(self, written: str) -> str:
        directory = posixpath.dirname(self.file)
        name = written.lstrip(".")
        for _ in range(len(written) - len(name) - 1):
            directory = posixpath.dirname(directory)
        return posixpath.normpath(posixpath.join(directory, name.replace(".", "/") + ".py"))

    def _absolute(self, written: str, package: str | None = None) -> str:
        name = written.lstrip(".")
        level = len(written) - len(name)
        if not level:
            return name
        parts = (self.source.package if package is None else package).split(".")
        return ".".join([*parts[: len(parts) - level + 1], name])

    # -- the proof

    def resolves(self, written: str, file: str, start: Start, changes: Sequence[PathChange]) -> bool:
        """Whether the import leads to that file in one start, behind these changes of the path."""
        if written.startswith("."):
            level = len(written) - len(written.lstrip("."))
            known = bool(start.package) and start.package.count(".") + 1 >= level
            return known and self._relative_file(written) == file
        return (self.layout | [file]).find(written, _with(start.path, changes)) == file and not self._is_replaced(file)

    def _is_replaced(self, file: str) -> bool:
        """Whether the pool module's package puts something else in its place; one that the program is in serves it."""
        directory, own = posixpath.dirname(file), f"{posixpath.dirname(self.file)}/"
        while directory:
            package = self.layout.packages.get(directory)
            if package is not None and package.is_replaced and not own.startswith(f"{directory}/"):
                return True
            directory = posixpath.dirname(directory)
        return False

    def problem(self, patched: Source, place: PoolPlace) -> str:
        """Why an import that was put in would not resolve; empty if each of them does."""
        changes = self._changes(patched)
        for node, module, site in patched.program.from_imports:
            written = "." * len(node.relative) + dotted(node.module) if node.relative else module
            if written != place.written:
                continue
            before = [item for item in changes if _runs_before(item, site)]
            for start in self.starts:
                if not self.resolves(place.written, place.file, start, before):
                    line = patched.position(patched.span(node, site)[0])[0]
                    return (
                        f"line {line}: `from {place.written} import …` does not resolve {self.started(start, before)}"
                    )
        return ""

    def questions(self, patched: Source, place: PoolPlace) -> list[tuple[str, list[str]]]:
        """For each start the absolute name of the pool module, and the directories that are searched then, in their
        order: the checkout's, and `PYTHONS` for all that Python has of its own."""
        changes = self._changes(patched)
        sites = [site for _, module, site in patched.program.from_imports if module == place.module]
        asked = []
        for start in self.starts:
            before = [item for item in changes if sites and all(_runs_before(item, site) for site in sites)]
            asked.append((self._absolute(place.written, start.package), _with([*start.path, PYTHONS], before)))
        return asked

    def started(self, start: Start, changes: Sequence[PathChange] = ()) -> str:
        """How the program is started, and which directories Python searches then, for a person."""
        how = f"started by {start.why}" if start.why and start.name == MAIN else start.why
        path = list(dict.fromkeys(_with(start.path, changes)))
        taken = [change.why for change in changes if change.removes]
        nothing = f"nothing that is known, since {taken[-1]}" if taken else "nothing of the checkout's"
        shown = ", ".join(item or "the checkout" for item in path) or nothing
        otherwise = "started by its name" if start.name == MAIN else f"started or imported as {start.name}"
        return f"when {self.file} is {how or otherwise} (searched: {shown})"


def _with(path: Sequence[str], changes: Sequence[PathChange]) -> list[str]:
    """The path after these changes."""
    found = list(path)
    for change in changes:
        if change.removes:
            found[:] = [each for each in found if each == PYTHONS]
        if change.directory is not None:
            last = found.index(PYTHONS) if PYTHONS in found and not change.behind else len(found)
            found.insert(0 if change.front else last, change.directory)
    return found


def _runs_before(change: PathChange, site: Site) -> bool:
    """Whether a change of the path has been made when the import at a site runs."""
    if change.used and change.used == definition_around(site.block):
        return False  # it is this very use that runs the import, and the function's own statements count by themselves
    scope, here = change.site.block.scope.flow, site.block.scope.flow
    if scope is here:
        return change.site.order < site.order
    # A function is called when the file has run to its end; a function of which nothing is known may not have run.
    return scope.kind == "module" or (here.kind == "function" and here is not scope)
