"""Where Python looks for the modules of a package that says so itself, by `__path__` or `sys.modules`."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass

import libcst as cst

from .model import PatchError
from .paths import Evaluator, elements, takes_off
from .scopes import PathCandidate, Program
from .source import Source
from .tree import dotted


@dataclass(frozen=True)
class PackagePath:
    """One package of the checkout, by what it makes of itself."""

    # Directories of the checkout that are searched for its modules, in their order.
    directories: tuple[str, ...]
    # Whether something else takes its place in `sys.modules`, which need be no package.
    is_replaced: bool = False


def package_paths(files: Mapping[str, bytes], home: str = "") -> dict[str, PackagePath]:
    """The packages that Python does not search in the usual way, by directory.

    :param files: contents by path. :param home: where the checkout is, if that is known.
    """
    found = {}
    for path, raw in files.items():
        if posixpath.basename(path) == "__init__.py" and (b"__path__" in raw or b"sys.modules" in raw):
            directory = posixpath.dirname(path)
            with suppress(PatchError):
                made = _made(Source(raw, path).program, path, home)
                if made != PackagePath((directory,)):
                    found[directory] = made
    return found


def _made(program: Program, file: str, home: str) -> PackagePath:
    evaluator = Evaluator(program, file, home, "")
    directories = [posixpath.dirname(file)]
    is_replaced = False
    for item in _changes(program):
        if item.removes or (item.target is not None and takes_off(item.target, item.base, item.values)):
            directories.clear()
        for value in elements(item.values):
            directory = evaluator.relative(evaluator.value(value, item.scope, item.site))
            if directory is not None:
                directories.insert(0 if item.front else len(directories), directory)
    for item in program.path_candidates:
        place = item.target.slice[0].slice if isinstance(item.target, cst.Subscript) else None
        key = place.value if isinstance(place, cst.Index) else None
        is_replaced |= dotted(item.base).endswith("sys.modules") and key is not None and dotted(key) == "__name__"
    return PackagePath(tuple(dict.fromkeys(directories)), is_replaced)


def _changes(program: Program) -> Iterator[PathCandidate]:
    """What the file does to its `__path__`, in its order."""
    found = [item for item in program.path_candidates if dotted(item.base) == "__path__"]
    for binding in program.scope.bindings.get("__path__", ()):
        if binding.value is not None:
            name = cst.Name("__path__")
            values = (binding.value,)
            found.append(PathCandidate(name, values, True, program.scope, binding.site, target=name))
    yield from sorted(found, key=lambda item: item.site.order)
