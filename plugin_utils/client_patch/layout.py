"""A checkout as Python's import sees it: its files, what each imports of the others, and where a name leads."""

from __future__ import annotations

import ast
import posixpath
import re
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from .dynamic import files_run, imported_names
from .package_path import PackagePath

# Directories that hold no code of the checkout's own.
SKIPPED_DIRECTORIES = frozenset(
    {".git", ".hg", ".svn", ".venv", "venv", "env", ".env", ".tox", ".nox", "__pycache__", "node_modules"}
    | {"site-packages", "build", "dist", ".eggs", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".ipynb_checkpoints"}
)


_FIRST_LINE = re.compile(rb"#![^\n]*\bpython[0-9.]*\b")
FIRST_LINE_SIZE = 128  # bytes


def is_python(path: str, source: bytes) -> bool:
    """Whether a file is Python, by its name, or by its first line if the name has no ending."""
    # Python imports a `.pyw` on Windows alone; started by its path it is a program anywhere.
    if path.endswith((".py", ".pyw")):
        return True
    return "." not in posixpath.basename(path) and _FIRST_LINE.match(source) is not None


class Layout:
    """The files of a checkout, by paths relative to it."""

    def __init__(self, files: Iterable[str], packages: Mapping[str, PackagePath] | None = None) -> None:
        self.files = frozenset(files)
        # Packages that say themselves where their modules are, by directory.
        self.packages = packages or {}
        self.directories = frozenset(above for path in self.files for above in _above(path))

    def __or__(self, more: Iterable[str]) -> Layout:
        return Layout([*self.files, *more], self.packages)

    def find(self, name: str, path: Sequence[str]) -> str | None:
        """Where a dotted name leads with these directories on `sys.path`.

        :return: a file; a directory with a slash at its end for a package without `__init__.py`; None if nowhere. A
            package or module wins over a directory without `__init__.py`, wherever that stands, as in Python.
        """
        places = [*dict.fromkeys(path)]
        found: str | None = None
        for part in name.split("."):
            if found is not None and found.endswith(".py") and not found.endswith("__init__.py"):
                return None
            found, places = self._step(part, places)
            if found is None:
                return None
        return found

    def _step(self, part: str, places: Sequence[str]) -> tuple[str | None, list[str]]:
        """One component of a dotted name: what it is, and where the next one is looked up."""
        portions = []
        for place in places:
            base = posixpath.normpath(posixpath.join(place, part))
            if f"{base}/__init__.py" in self.files:
                own = self.packages.get(base)
                return f"{base}/__init__.py", [base] if own is None else list(own.directories)
            if f"{base}.py" in self.files:
                return f"{base}.py", []
            if base in self.directories:
                portions.append(base)
        return (f"{portions[0]}/", portions) if portions else (None, [])

    def package_of(self, file: str) -> tuple[str, str]:
        """The regular package that a file lies in: its dotted name and the directory above the topmost one."""
        directory = posixpath.dirname(file)
        names: list[str] = []
        while directory and f"{directory}/__init__.py" in self.files:
            names.insert(0, posixpath.basename(directory))
            directory = posixpath.dirname(directory)
        return ".".join(names), directory


def _above(path: str) -> Iterator[str]:
    while path:
        path = posixpath.dirname(path)
        yield path


# -- what each file imports


@dataclass(frozen=True)
class ImportStatement:
    """`import module`, or `from module import names`; `needed` if the file cannot do without and runs it at once."""

    module: str
    names: tuple[str, ...]
    level: int
    needed: bool


@dataclass
class Imports:
    """What a file says about how it comes to run."""

    statements: list[ImportStatement] = field(default_factory=list)
    has_main: bool = False
    # Packages of which it imports modules by names that are not in its text; and files that it runs itself.
    packages: list[str] = field(default_factory=list)
    runs: list[str] = field(default_factory=list)
    # Whether it does anything when it runs but define what others use; also for what cannot be parsed.
    acts: bool = True
    # Whether anything but definitions and constants runs when it is imported.
    is_quiet: bool = False
    # Whether it has a function that a cloud calls by its name: `handler(event, context)`.
    is_handler: bool = False

    @property
    def has_fallback(self) -> bool:
        """Whether it tries an import from its own package, and can do without: it is started by its path as well."""
        return not self.is_member and any(item.level for item in self.statements)

    @property
    def is_member(self) -> bool:
        """Whether it cannot run outside of a package."""
        return any(item.level and item.needed for item in self.statements)


def read_imports(source: bytes) -> Imports | None:
    """The imports of a file; None where this Python cannot parse it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    found = Imports()
    _collect(tree.body, found, True)
    for name, is_package in imported_names(tree):
        if is_package:
            found.packages.append(name)
        else:
            found.statements.append(ImportStatement(name, (), 0, False))
    found.runs = list(files_run(tree))
    found.acts = any(map(_acts, tree.body))
    found.is_quiet = all(map(_is_quiet, tree.body))
    found.is_handler = any(
        isinstance(node, ast.FunctionDef) and [item.arg for item in node.args.args] == ["event", "context"]
        for node in tree.body
    )
    return found


_DEFINITIONS = (
    *(ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef),
    *(ast.Assign, ast.AnnAssign, ast.Pass),
)


def _acts(node: ast.stmt) -> bool:
    if isinstance(node, (ast.If, ast.Try)):
        inside = [*node.body, *node.orelse]
        if isinstance(node, ast.Try):
            inside += [*node.finalbody, *(item for handler in node.handlers for item in handler.body)]
        return any(map(_acts, inside))
    return not isinstance(node, _DEFINITIONS) and not _is_text(node)


def _is_quiet(node: ast.stmt) -> bool:
    if isinstance(node, (ast.Assign, ast.AnnAssign)):
        return not any(isinstance(part, (ast.Call, ast.Await)) for part in ast.walk(node))
    future = isinstance(node, ast.ImportFrom) and node.module == "__future__"
    return future or _is_text(node) or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Pass))


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _collect(body: Sequence[ast.stmt], found: Imports, needed: bool) -> None:
    for node in body:
        if isinstance(node, ast.Import):
            found.statements += [ImportStatement(alias.name, (), 0, needed) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = tuple(alias.name for alias in node.names)
            found.statements.append(ImportStatement(node.module or "", names, node.level, needed))
        else:
            found.has_main |= isinstance(node, ast.If) and _is_main(node.test)
            # A class body and a `with` run when the file does.
            runs = isinstance(node, (ast.ClassDef, ast.With))
            for part in ("body", "orelse", "finalbody"):
                _collect(getattr(node, part, []) or [], found, needed and runs)
            for handler in [*getattr(node, "handlers", []), *getattr(node, "cases", [])]:
                _collect(handler.body, found, False)


def _is_main(test: ast.expr) -> bool:
    if not isinstance(test, ast.Compare) or len(test.comparators) != 1:
        return False
    sides = (test.left, test.comparators[0])
    return any(isinstance(item, ast.Name) and item.id == "__name__" for item in sides) and any(
        isinstance(item, ast.Constant) and item.value == "__main__" for item in sides
    )


# -- who imports whom


@dataclass
class Importers:
    """How the files of a checkout are imported by each other."""

    # For each file: names under which others import it, each with the directory that this needs on `sys.path`.
    names: dict[str, set[tuple[str, str]]] = field(default_factory=dict)
    # Files that others import relatively.
    relatively: set[str] = field(default_factory=set)
    # For each file: those that run it in their own process.
    runners: dict[str, set[str]] = field(default_factory=dict)
    # Directories that a file needs on `sys.path` for its own imports.
    roots: dict[str, list[str]] = field(default_factory=dict)


def find_importers(layout: Layout, imports: Mapping[str, Imports | None]) -> Importers:
    """Resolves the imports inside a checkout, by the files that are there."""
    known = _dotted_names(layout)
    found = Importers()
    for file, item in imports.items():
        for text in item.runs if item is not None else ():
            for called in _files_called(text, file, layout):
                found.runners.setdefault(called, set()).add(file)
        for package in item.packages if item is not None else ():
            for path, full, above in _modules_of(package, file, known, layout):
                found.names.setdefault(path, set()).add((full, above))
        for statement in item.statements if item is not None else ():
            if statement.level:
                targets = [_relative_target(layout, file, statement, name) for name in statement.names]
                found.relatively.update(target for target in targets if target is not None)
                continue
            names = [f"{statement.module}.{name}" for name in statement.names]
            base = _base_of(statement.module, names, file, known, layout)
            if base is None:
                continue
            if statement.needed and base not in found.roots.setdefault(file, []):
                found.roots[file].append(base)
            for name in [statement.module, *names]:
                parts = name.split(".")
                for depth in range(1, len(parts) + 1):
                    part = ".".join(parts[:depth])
                    target = layout.find(part, [base])
                    if target is not None and target.endswith(".py") and target != file:
                        found.names.setdefault(target, set()).add((part, base))
    return found


def _files_called(text: str, file: str, layout: Layout) -> list[str]:
    """The files that a path in a program may mean: beside it, from the checkout, or else by the end of their names."""
    near = posixpath.normpath(posixpath.join(posixpath.dirname(file), text))
    for path in (near, posixpath.normpath(text)):
        if path in layout.files:
            return [path] if path != file else []
    return sorted(path for path in layout.files if path.endswith(f"/{text}") and path != file)


def _dotted_names(layout: Layout) -> dict[str, set[str]]:
    """Each first component that a file of the checkout can be imported by, with the directories it is in."""
    known: dict[str, set[str]] = {}
    for path in layout.files:
        if path.endswith(".py"):
            directory, name = posixpath.split(path[:-3])
            if name != "__init__":
                known.setdefault(name, set()).add(directory)
    for directory in layout.directories:
        if directory:
            above, name = posixpath.split(directory)
            known.setdefault(name, set()).add(above)
    return known


def _base_of(module: str, names: Sequence[str], file: str, known: Mapping[str, set[str]], layout: Layout) -> str | None:
    """The directory from which a file's import is met; None if it is none of the checkout's."""
    bases = _bases(module, file, known, layout)
    for wanted in ([*names], [module]):
        for base in bases:
            targets = [layout.find(name, [base]) for name in wanted]
            # A directory alone says nothing: `import requests` beside a directory of requests to review.
            if any(target is not None and (target.endswith(".py") or "." in module) for target in targets):
                return base
    return None


def _bases(module: str, file: str, known: Mapping[str, set[str]], layout: Layout) -> list[str]:
    """The directories that have something of a module's first name, the likelier first."""
    first = module.partition(".")[0]
    if first in sys.stdlib_module_names:
        return []
    own = posixpath.dirname(file)
    package, above = layout.package_of(file)
    # A member of a package is rarely started by its path, which alone puts its own directory on `sys.path`.
    nearest = [*([above] if package else []), own, *_above(own), "", "src"]
    nearest += sorted(known.get(first, ()), key=lambda item: (item.count("/"), item))
    return [base for base in dict.fromkeys(nearest) if base in known.get(first, ())]


def _modules_of(
    package: str, file: str, known: Mapping[str, set[str]], layout: Layout
) -> Iterator[tuple[str, str, str]]:
    """Each module of a package: its file, its full name, and the directory from which the package is met."""
    for base in _bases(package, file, known, layout):
        directory = posixpath.join(base, package.replace(".", "/"))
        inside = [path for path in layout.files if posixpath.dirname(path) == directory and path.endswith(".py")]
        if inside:
            names = ((path, posixpath.basename(path)[:-3]) for path in inside)
            yield from ((path, f"{package}.{name}", base) for path, name in names if name != "__init__")
            return


def _relative_target(layout: Layout, file: str, statement: ImportStatement, name: str) -> str | None:
    directory = posixpath.dirname(file)
    for _ in range(statement.level - 1):
        directory = posixpath.dirname(directory)
    module = statement.module
    full = f"{module}.{name}" if module else name
    target = layout.find(full, [directory]) or (layout.find(module, [directory]) if module else None)
    return target if target is not None and target.endswith(".py") else None
