# SPDX-License-Identifier: GPL-3.0-or-later
"""A program's sources read before they are asked for: a question more costs more than a file too many.

What is read follows the imports roughly. Whoever asks follows them in earnest, and asks for what is missing here.
"""

from __future__ import annotations

import ast
import os
from collections.abc import Sequence

from .entries import look_at_each
from .tree import real_places

PATHS_LIMIT = 2000
BYTES_LIMIT = 8 << 20
AROUND = ("__init__.py", "webex_pool_config.py", "src.py", "src/__init__.py", "src/utils/__init__.py")
"""Files in a program's directories that say where the pool module may be."""


def below(directory: str, home: str) -> str | None:
    """A directory relative to the checkout; None if it lies elsewhere."""
    relative = os.path.relpath(directory, home)
    return None if relative.startswith("..") else "" if relative == "." else relative


def directories_on_path(home: str, search_paths: Sequence[str], python_path: Sequence[str]) -> list[str]:
    """Directories of the checkout that are on the bot's path besides its script's own.

    :param search_paths: as the setting has them. :param python_path: whole, as the plan has it.
    """
    there = [below(each, home) for each in python_path]
    return [*search_paths, *(each for each in there if each is not None)]


def read_ahead(home: str, script: str, directories: Sequence[str]) -> tuple[dict[str, bytes], list[str]]:
    """A script, the modules of its checkout that it imports, and the files `AROUND` all these.

    To be called as the bots' user: what is parsed here is his.

    :param directories: in which modules are looked for besides the script's own, as all paths relative to `home`.
    :returns: the bytes of those that exist, by path, and all paths that were looked for.
    :raises RolloutError: when the script is no file of the checkout.
    """
    search_paths = list(dict.fromkeys(os.path.normpath(path) for path in (os.path.dirname(script), *directories, "")))
    found: dict[str, bytes] = {}
    tried: dict[str, None] = {}
    level = [script]
    while level:
        new = _read(home, level, script, tried)
        found.update(new)
        wanted = (path for file, data in new.items() for path in _imported(file, data, search_paths))
        level = [path for path in dict.fromkeys(wanted) if path not in tried]
        if len(tried) + len(level) > PATHS_LIMIT or sum(map(len, found.values())) > BYTES_LIMIT:
            break
    around = ["", *search_paths]
    for path in found:
        parts = os.path.dirname(path).split("/")
        around += ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
    beside = (os.path.normpath(os.path.join(item, name)) for item in around for name in AROUND)
    found.update(_read(home, [path for path in dict.fromkeys(beside) if path not in tried], script, tried))
    return found, list(tried)


def _read(home: str, paths: Sequence[str], script: str, tried: dict[str, None]) -> dict[str, bytes]:
    """Those of some paths that are files. What cannot be read counts as not tried: who asks for it shall be told."""
    places = real_places(home, paths, script)
    looks = {path: (entry["kind"], data) for path, entry, data in look_at_each(home, list(places.values()))}
    tried.update((path, None) for path in paths if looks.get(places.get(path, ""), ("", b""))[0] != "blocked")
    return {path: looks[real][1] for path, real in places.items() if looks[real][0] == "file"}


def _imported(path: str, source: bytes, search_paths: Sequence[str]) -> list[str]:
    """Files that the imports of a program may mean; none of a program that this Python cannot parse."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    wanted: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                wanted += _files(alias.name, search_paths)
        elif isinstance(node, ast.ImportFrom):
            parents = [os.path.normpath(os.path.join(os.path.dirname(path), *[".."] * (node.level - 1)))]
            bases = parents if node.level else search_paths
            for alias in node.names:
                wanted += _files(".".join(filter(None, (node.module, alias.name))), bases)
    return [each for each in wanted if not each.startswith("../")]


def _files(name: str, bases: Sequence[str]) -> list[str]:
    """Where a module, and the packages around it, may be."""
    parts = name.split(".")
    found = []
    for depth in range(1, len(parts) + 1):
        relative = "/".join(parts[:depth])
        for base in bases:
            found += [os.path.normpath(os.path.join(base, relative + end)) for end in (".py", "/__init__.py")]
    return found
