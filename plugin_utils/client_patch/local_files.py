"""The files of a checkout on this machine: read for the patch, and written back as they were but for their text."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from module_utils.webex_rollout.errors import RolloutError

from .layout import FIRST_LINE_SIZE, SKIPPED_DIRECTORIES, is_python
from .shipping import is_list_file
from .starts import is_start_file

# More than any bot's; what is longer is data.
MAX_BYTES = 2_000_000
MAX_FILES = 50_000


class CheckoutError(RolloutError):
    """A checkout cannot be read or written: what, where and why."""


def read_checkout(home: str) -> tuple[dict[str, bytes], list[str]]:
    """The Python files of a checkout and those that say how they are started and shipped; and the names of all others.

    Links that lead out of the checkout, and directories of installed packages, are left out.

    :raises CheckoutError: if the checkout cannot be read, or is far too large for one.
    """
    root = Path(home)
    if not root.is_dir():
        raise CheckoutError(f"{home} is no directory; set bot_home to the checkout")
    files: dict[str, bytes] = {}
    others: list[str] = []
    for path in _walk(root):
        name = path.relative_to(root).as_posix()
        if len(files) + len(others) >= MAX_FILES:
            raise CheckoutError(f"{home} has more than {MAX_FILES} files; set bot_home to the checkout itself")
        try:
            if not (is_start_file(name) or is_list_file(name) or is_python(name, _first_line(path))):
                others.append(name)
                continue
            if path.stat().st_size <= MAX_BYTES and path.resolve().is_relative_to(root.resolve()):
                files[name] = path.read_bytes()
        except OSError as error:
            raise CheckoutError(f"cannot read {path}: {error.strerror}") from error
    return files, others


def _first_line(path: Path) -> bytes:
    """The beginning of a file whose name does not say what it is."""
    if path.suffix:
        return b""
    with contextlib.suppress(PermissionError), path.open("rb") as file:
        return file.read(FIRST_LINE_SIZE)
    return b""


def _walk(home: Path) -> Iterator[Path]:
    for directory, below, names in os.walk(home):
        here = Path(directory)
        # Whatever a virtual environment is called, it has this file.
        below[:] = sorted(
            name for name in below if name not in SKIPPED_DIRECTORIES and not (here / name / "pyvenv.cfg").exists()
        )
        for name in sorted(names):
            if (here / name).is_file():
                yield here / name


def write_files(home: str, files: Mapping[str, bytes]) -> None:
    """Replaces each file whole or not at all, with its mode; a new one is readable by all.

    :raises CheckoutError: if one cannot be written; nothing is if one file is to become two different ones.
    """
    chosen: dict[Path, tuple[str, bytes]] = {}
    for name, content in files.items():
        path = (Path(home) / name).resolve()
        if not path.is_relative_to(Path(home).resolve()):
            raise CheckoutError(f"{name} leads out of {home}, to {path}; make it a file of its own")
        other, text = chosen.setdefault(path, (name, content))
        if text != content:
            raise CheckoutError(
                f"{other} and {name} are one file, and would have to import the pool module in different ways; "
                "name one of them in bot_scripts"
            )
    for path, (_, content) in chosen.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else 0o644
            with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as new:
                new.write(content)
            Path(new.name).chmod(mode)
            Path(new.name).replace(path)
        except OSError as error:
            raise CheckoutError(f"cannot write {path}: {error.strerror}") from error


def relative_scripts(home: str, given: object) -> list[str]:
    """The scripts that a setting names, relative to the checkout: a list, or one text with a name or several.

    :raises CheckoutError: if one lies elsewhere, or it is no list of names.
    """
    names = given.replace(",", " ").split() if isinstance(given, str) else given
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
        raise CheckoutError(
            'bot_scripts takes names of files: -e bot_scripts=bot.py or -e \'{"bot_scripts": ["bot.py"]}\''
        )
    found = []
    root = os.path.normpath(home)
    for name in names:
        path = os.path.normpath(os.path.join(root, name))  # noqa: PTH118
        if not path.startswith(root + os.sep):
            raise CheckoutError(
                f"{name} is not in the checkout {home}; name scripts relative to it, as in bot_scripts=bot.py"
            )
        found.append(os.path.relpath(path, root))
    return list(dict.fromkeys(found))
