# SPDX-License-Identifier: GPL-3.0-or-later
"""Which files are the parts of a log: what the programs that rotate logs call them, and where they put them."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ..errors import LogError

# A date, with what may follow of a time: hourly rotation, loguru's microseconds.
_DATE = r"20\d\d[-_.]?[01]\d[-_.]?[0-3]\d(?:[-_.T]?\d\d(?:[-_.:]?\d\d){0,2}(?:[-_.]\d{1,6})?)?"
# What RotatingFileHandler, TimedRotatingFileHandler and logrotate (also with dateext, compress) append to a log's name.
# Nothing else beside the log is taken for a part of it: not `jarvis.log.bak`, nor the output of somebody's grep.
_ROTATED = re.compile(rf"(?:\.(?P<number>\d{{1,3}})|[.-]{_DATE})(?P<packed>\.gz)?")
# What loguru and logrotate's `extension` put before the extension.
_WITHIN = re.compile(rf"(?:\.(?P<number>\d{{1,3}})|[._-]{_DATE})")
_DATED_NAME = re.compile(_DATE)
# Directories beside the log, or in its own, in which rotated parts are looked for (logrotate's `olddir`).
_OLD = re.compile(r"(?:old|olddir|archived?|archives|rotated|backups?|history|logs?[._-]old)", re.IGNORECASE)
MAX_NAMES = 20_000
MAX_PARTS = 1000


def rotated_names(path: str) -> list[str]:
    """The log's rotated parts, oldest first.

    :raises LogError: when the log's directory cannot be read.
    """
    log = Path(path)
    folders = [log.parent, *_old_folders(log.parent)]
    numbered, dated = [], []
    for folder in folders:
        names = _names_in(folder, log.parent)
        for name in names:
            number = _number_of(name, log, names) if folder / name != log else None
            if number is None:
                continue
            if number:
                numbered.append((number, str(folder / name)))
            else:
                dated.append((_digits(name), name, str(folder / name)))
    ordered = [path for _, _, path in sorted(dated)] + [path for _, path in sorted(numbered, reverse=True)]
    return ordered[-MAX_PARTS:]


def newest_name(path: str) -> str:
    """The file that is being written: the path itself, or, where its name has a date in it, the newest of that name."""
    log = Path(path)
    if not _DATED_NAME.search(log.name):
        return path
    newest = log.name
    try:
        names = _names_in(log.parent, log.parent)
    except LogError:
        return path
    for name in names:
        if _same_but_date(name, log.name) and _digits(name) > _digits(newest):
            newest = name
    return str(log.parent / newest)


def _number_of(name: str, log: Path, names: set[str]) -> int | None:
    """Of a rotated part, 0 for one with a date; None for what is no part."""
    match = _ROTATED.fullmatch(name[len(log.name) :]) if name.startswith(log.name) else None
    if match is None:
        plain = name[: -len(".gz")] if name.endswith(".gz") else name
        middle = plain[len(log.stem) : len(plain) - len(log.suffix)]
        if log.suffix and plain.startswith(log.stem) and plain.endswith(log.suffix):
            match = _WITHIN.fullmatch(middle)
        if match is None and not (_same_but_date(plain, log.name) and _digits(plain) < _digits(log.name)):
            return None
    # Both are there while logrotate compresses: the plain one is whole.
    if name.endswith(".gz") and name[: -len(".gz")] in names:
        return None
    return int(match["number"]) if match and match["number"] else 0


def _same_but_date(name: str, other: str) -> bool:
    return bool(_DATED_NAME.search(other)) and _DATED_NAME.sub("0", name) == _DATED_NAME.sub("0", other)


def _digits(name: str) -> str:
    found = _DATED_NAME.search(name)
    return re.sub(r"\D", "", found.group()) if found else ""


def _names_in(folder: Path, of: Path) -> set[str]:
    names = set()
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                names.add(entry.name)
                if len(names) >= MAX_NAMES:
                    break
    except FileNotFoundError:
        return set()
    except OSError as error:
        if folder == of:
            raise LogError(f"the directory of log {folder} cannot be read: {error.strerror}") from error
    return names


def _old_folders(folder: Path) -> list[Path]:
    found = []
    for parent in (folder, folder.parent):
        try:
            names = sorted(name for name in _names_in(parent, folder) if _OLD.fullmatch(name))
        except LogError:
            continue
        found += [parent / name for name in names[:4] if (parent / name).is_dir() and parent / name != folder]
    return found
