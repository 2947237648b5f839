"""How the files of a checkout come to run, from what the checkout itself says of it.

A process that runs is the best witness, and its start is handed in. Without one, what counts is who imports a file,
which command of the checkout starts it, and what its own imports need; only then the guess that it is started by name.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from .layout import Importers, Imports, Layout

MAIN = "__main__"
# Longer lines are data, and cost the patterns too much.
MAX_LINE = 2000

# Files that say how programs are started; `is_start_file` knows them.
_START_FILE = re.compile(
    r"(^|/)([^/]*Dockerfile[^/]*|Containerfile|Procfile|Makefile|(docker-)?compose[^/]*\.ya?ml|[^/]*\.service"
    r"|pyproject\.toml|setup\.(cfg|py)|serverless\.ya?ml|template\.ya?ml|[^/]*\.sh|README[^/]*)$",
    re.IGNORECASE,
)
_NOISE = re.compile(r"[\"',\[\]]+")
_OPTIONS = r"(?:-(?!m\b)[A-Za-z]\S*\s+)*"
_PYTHON = re.compile(
    rf"\bpythonw?[0-9.]*\s+(?P<options>{_OPTIONS})"
    r"(?:-m\s*(?P<module>[\w.]+)|(?P<file>[\w./~${}-]+\.pyw?)\b)"
)
_SAFE = re.compile(r"(?:^|\s)-[A-Za-z]*[PI]")
_SERVER = re.compile(
    r"\b(?:gunicorn|uvicorn|hypercorn|daphne|waitress-serve|flask)\b.*?\s(?P<module>[A-Za-z_][\w.]*):\w+"
)
_FLASK_APP = re.compile(r"(?:\bFLASK_APP=|\bflask\s+(?:--app|-A)[ =])(?P<module>[\w./]+)")
_ENTRY = re.compile(r"^\s*[\"']?[\w.-]+\s*=\s*[\"']?(?P<module>[A-Za-z_][\w.]*):\w[\w.]*")
_HANDLER = re.compile(r"^\s*-?\s*(?:handler|Handler)\s*:\s*[\"']?(?P<module>[\w./-]+)\.\w+[\"']?\s*(#.*)?$")
_CODE_URI = re.compile(r"^\s*CodeUri\s*:\s*[\"']?(?P<base>[\w./-]+)", re.MULTILINE)


@dataclass(frozen=True)
class Start:
    """One way in which a file comes to run."""

    # `__main__`, or the dotted name by which it is imported or given to -m.
    name: str
    # Directories of the checkout that are on `sys.path` then, in their order.
    path: tuple[str, ...]
    # Its package, against which relative imports count; empty if it has none.
    package: str = ""
    # How that is known, for a person: "Dockerfile:7". Empty for a guess.
    why: str = ""
    # Whether its full name is known; that it has a package may be all that is.
    named: bool = True
    # Directories that must be on the path as well, since the file's own imports need them.
    needed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Command:
    """A command of the checkout that starts a program: by file or by dotted name."""

    file: str
    module: str
    # A directory that it puts on the path, relative to the checkout.
    base: str
    where: str
    # Whether Python is told to leave the script's own directory off the path (-P, -I).
    is_safe: bool = False


def is_start_file(path: str) -> bool:
    """Whether a file may say how programs are started, or what is shipped of them."""
    return _START_FILE.search(path) is not None


def find_commands(files: Mapping[str, bytes]) -> list[Command]:
    """The commands that start Python programs, in all files that have some."""
    found: list[Command] = []
    for path in sorted(files):
        if not is_start_file(path):
            continue
        text = files[path].decode("utf-8", "replace")
        uris = [match["base"].strip("./") for match in _CODE_URI.finditer(text)]
        directory = posixpath.dirname(path)
        for number, line in enumerate(text.splitlines(), 1):
            if len(line) > MAX_LINE:
                continue
            found += _commands(path, directory, f"{path}:{number}", line, uris)
    return found


def _commands(path: str, directory: str, where: str, line: str, uris: Sequence[str]) -> Iterable[Command]:
    name = posixpath.basename(path)
    plain = _NOISE.sub(" ", line)
    for match in _PYTHON.finditer(plain):
        # `python -m pytest` and the like start nothing of the checkout; their names lead nowhere in it.
        safe = _SAFE.search(match["options"]) is not None
        yield Command(match["file"] or "", match["module"] or "", directory, where, safe)
    for pattern in (_SERVER, _FLASK_APP):
        for match in pattern.finditer(plain):
            yield Command("", match["module"].removesuffix(".py").replace("/", "."), directory, where)
    if name in ("pyproject.toml", "setup.cfg") or (name == "setup.py" and "=" in line):
        entry = _ENTRY.match(line if name != "setup.py" else line.strip().strip("[\"',]"))
        if entry is not None:
            yield Command("", entry["module"], "", where)
    handler = _HANDLER.match(line)
    if handler is not None:
        for base in uris or [directory]:
            yield Command("", handler["module"].replace("/", "."), base, where)


class Starts:
    """The ways in which each file of a checkout comes to run."""

    def __init__(
        self,
        layout: Layout,
        imports: Mapping[str, Imports | None],
        importers: Importers,
        commands: Sequence[Command] = (),
        search_paths: Sequence[str] = (),
    ) -> None:
        self.layout = layout
        self.imports = imports
        self.importers = importers
        self.search_paths = tuple(search_paths)
        self._imported_packages = {
            (name.partition(".")[0], base) for names in importers.names.values() for name, base in names
        }
        self.commands: dict[str, list[Start]] = {}
        for command in commands:
            self._add(command)

    def _add(self, command: Command) -> None:
        if command.file:
            for file in self._files(command):
                start = Start(MAIN, () if command.is_safe else (posixpath.dirname(file),), "", command.where)
                self.commands.setdefault(file, []).append(start)
            return
        for base in dict.fromkeys([command.base, "", "src"]):
            for name in (command.module, f"{command.module}.__main__"):
                target = self.layout.find(name, [base])
                if target is not None and target.endswith(".py"):
                    package = name if target.endswith("__init__.py") else name.rpartition(".")[0]
                    start = Start(name, (base,), package, command.where)
                    self.commands.setdefault(target, []).append(start)
                    return

    def _files(self, command: Command) -> list[str]:
        """The files that a path in a command may mean; it counts from a directory that is not known for sure."""
        path = re.sub(r"^[^/]*[~${}][^/]*/", "", command.file)
        path = posixpath.normpath(path).lstrip("./")
        near = posixpath.normpath(posixpath.join(command.base, path))
        for candidate in (near, path):
            if candidate in self.layout.files:
                return [candidate]
        parts = path.split("/")
        tails = ["/".join(parts[number:]) for number in range(1, len(parts))]
        return [tail for tail in tails if tail in self.layout.files][:1]

    def of(self, file: str) -> list[Start]:
        """Every way in which a file is known, or else thought, to come to run; never empty."""
        imports = self.imports.get(file) or Imports()
        starts = list(self.commands.get(file, ()))
        for name, base in sorted(self.importers.names.get(file, ())):
            package = name if file.endswith("__init__.py") else name.rpartition(".")[0]
            starts.append(Start(name, (base,), package, f"imported as {name}"))
        starts += [
            Start(MAIN, (posixpath.dirname(runner),), "", runner)
            for runner in sorted(self.importers.runners.get(file, ()))
        ]
        member = imports.is_member or file.endswith("__init__.py") or self._is_django(file, imports)
        member = member or (not starts and not imports.has_fallback and self._is_library(file, imports))
        relatively = file in self.importers.relatively
        if relatively or (member and not starts):
            starts.append(self._as_member(file, "imported by its own package" if relatively else ""))
        if imports.has_fallback and not starts:
            starts.append(Start(MAIN, (posixpath.dirname(file),), "", "its path, as its own `except` provides for"))
            starts.append(self._as_member(file, ""))
        main = any(start.name == MAIN for start in starts)
        by_package = not member and not starts and self._is_main_of_package(file)
        if by_package:
            starts.append(self._as_member(file, ""))
        if not member and not main and (imports.has_main or by_package or not starts):
            own = posixpath.dirname(file)
            starts.append(Start(MAIN, (own,)))
        needed = tuple(self.importers.roots.get(file, ()))
        return [
            replace(start, path=tuple(dict.fromkeys([*start.path, *self.search_paths])), needed=needed)
            for start in dict.fromkeys(starts)
        ]

    def _as_member(self, file: str, why: str) -> Start:
        package, above = self.layout.package_of(file)
        if not package:
            # Without `__init__.py` the nearest directory is all that is known.
            above, package = posixpath.split(posixpath.dirname(file))
        own, _ = posixpath.splitext(posixpath.basename(file))
        name = package if file.endswith("__init__.py") else f"{package}.{own}"
        django = f"{above}/manage.py".lstrip("/")
        known = django in self.layout.files
        # Whoever imports another part of this package has the directory above it on the path.
        reached = known or (package.partition(".")[0], above) in self._imported_packages
        return Start(name, (above,) if reached else (), package, f"found by {django}" if known else why, known)

    def _is_library(self, file: str, imports: Imports) -> bool:
        """A part of a package which only defines what others use: a framework imports it, by a name not told here."""
        if imports.acts or imports.has_main or imports.is_handler or not self.layout.package_of(file)[0]:
            return False
        directory = posixpath.dirname(file)
        beside = directory in self.importers.roots.get(file, ())
        is_plugin = any(posixpath.dirname(path) == directory for path in self.layout.files if path.endswith(".plug"))
        return not beside and not is_plugin

    def _is_main_of_package(self, file: str) -> bool:
        """What `python -m package` runs; but for one that imports what lies beside it, as an archive's program does."""
        directory = posixpath.dirname(file)
        beside = directory in self.importers.roots.get(file, ())
        return posixpath.basename(file) == "__main__.py" and bool(self.layout.package_of(file)[0]) and not beside

    def _is_django(self, file: str, imports: Imports) -> bool:
        """Django finds an application's files by their names; only `manage.py` is started."""
        return (
            not imports.has_main
            and any(item.module.partition(".")[0] == "django" for item in imports.statements)
            and bool(self.layout.package_of(file)[0])
        )
