# SPDX-License-Identifier: GPL-3.0-or-later
"""Files a release consists of: what they are now, and how they are restored."""

from __future__ import annotations

import contextlib
import errno
import os
import stat as stat_module
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .disk import sha256, sync_directory
from .errors import RolloutError

FILE_SIZE_LIMIT = 32 * 1024 * 1024


@dataclass(frozen=True)
class Entry:
    """One path of a manifest. ``missing_parents`` are directories that were not there either, deepest last."""

    kind: str  # file, link or absent
    sha256: str = ""
    mode: int = 0
    uid: int = 0
    gid: int = 0
    mtime_ns: int = 0
    target: str = ""
    missing_parents: tuple[str, ...] = ()

    @classmethod
    def load(cls, data: Any) -> Entry:
        """Read back what `asdict` wrote."""
        return cls(**{**data, "missing_parents": tuple(data["missing_parents"])})

    @property
    def content(self) -> str:
        """What is in it: equal for two files that hold the same bytes."""
        return f"{self.kind}:{self.sha256}{self.target}"

    @property
    def identity(self) -> str:
        """Content, mode and owner: equal where putting one back for the other would change nothing."""
        return self.content if self.kind != "file" else f"{self.content}:{self.mode:04o}:{self.uid}:{self.gid}"


def look_at(path: str) -> tuple[Entry, bytes]:
    """A path as it is now, with the bytes of a regular file."""
    try:
        status = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return Entry("absent", missing_parents=tuple(_missing_parents(path))), b""
    if stat_module.S_ISLNK(status.st_mode):
        return Entry("link", target=os.readlink(path)), b""
    if not stat_module.S_ISREG(status.st_mode):
        raise RolloutError(f"{path} is no regular file; a release consists of regular files. Move it out of the way")
    if status.st_size > FILE_SIZE_LIMIT:
        raise RolloutError(f"{path} has {status.st_size} bytes; a file of a release may have {FILE_SIZE_LIMIT}")
    data, status = _read_steady(path)
    return Entry(
        "file", sha256(data), stat_module.S_IMODE(status.st_mode), status.st_uid, status.st_gid, status.st_mtime_ns
    ), data


def _read_steady(path: str) -> tuple[bytes, os.stat_result]:
    """A file's bytes with the status they belong to; read again when somebody wrote meanwhile."""
    for _ in range(5):
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(fd, "rb") as file:
            before = os.fstat(fd)
            data = file.read()
            after = os.fstat(fd)
        if (before.st_mtime_ns, before.st_size) == (after.st_mtime_ns, after.st_size) and len(data) == after.st_size:
            return data, after
        time.sleep(0.05)
    raise RolloutError(f"{path} is being written by another process; run again when that is done")


def _missing_parents(path: str) -> list[str]:
    """Directories above a path that do not exist, deepest last."""
    missing: list[str] = []
    parent = os.path.dirname(path)
    while parent not in ("", "/") and not os.path.isdir(parent):
        missing.insert(0, parent)
        parent = os.path.dirname(parent)
    return missing


def put_back(path: str, entry: Entry, data: bytes) -> None:
    """Make a path what an entry says; the step between old and new is one rename."""
    if entry.kind == "absent":
        _remove(path, entry.missing_parents)
        return
    for parent in _missing_parents(path):
        _make_parent(parent)
    if entry.kind == "link":
        temporary = _temporary(path)
        os.symlink(entry.target, temporary)
        os.replace(temporary, path)
        sync_directory(os.path.dirname(path))
        return
    try:
        _replace_file(path, entry, data)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT) or not os.path.isfile(path):
            raise
        _overwrite_file(path, entry, data)


def _make_parent(path: str) -> None:
    """Make a directory that somebody has removed, with the owner of the one above: whose it was there is not kept."""
    os.mkdir(path, 0o755)
    above = os.stat(os.path.dirname(path))
    os.chown(path, above.st_uid, above.st_gid)


def _temporary(path: str) -> str:
    """A name beside a path, free for use: what an earlier, killed attempt left there is removed."""
    temporary = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.webex-rollout")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary)
    return temporary


def _replace_file(path: str, entry: Entry, data: bytes) -> None:
    """Write beside, then rename."""
    temporary = _temporary(path)
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            _set_attributes(file.fileno(), entry)
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    sync_directory(os.path.dirname(path))


def _overwrite_file(path: str, entry: Entry, data: bytes) -> None:
    """On a full disk: write over the bytes that are there, which needs no new block as long as the old content is not
    the longer one. Not one step; whoever is killed here has left a phase that makes the guard do it again."""
    fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    try:
        written = 0
        while written < len(data):
            written += os.pwrite(fd, data[written:], written)
        os.ftruncate(fd, len(data))
        _set_attributes(fd, entry)
        os.fsync(fd)
    finally:
        os.close(fd)


def _set_attributes(fd: int, entry: Entry) -> None:
    """Owner, mode and time; the time lets Python's own cache see that the source is another one."""
    os.fchown(fd, entry.uid, entry.gid)
    os.fchmod(fd, entry.mode)
    os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))


def _remove(path: str, missing_parents: Sequence[str]) -> None:
    """Remove a file that was not there, Python's cache of it, and the directories made for it if they are empty."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        os.unlink(path)
        sync_directory(os.path.dirname(path))
    directory, name = os.path.split(path)
    cache = os.path.join(directory, "__pycache__")
    if name.endswith(".py") and os.path.isdir(cache):
        for cached in os.listdir(cache):
            if cached.startswith(name[:-3] + ".") and cached.endswith(".pyc"):
                os.unlink(os.path.join(cache, cached))
    for parent in reversed(missing_parents):
        if name.endswith(".py") and parent == directory:
            with contextlib.suppress(OSError):
                os.rmdir(cache)
        with contextlib.suppress(OSError):
            os.rmdir(parent)


def clear_away(path: str, entry: Entry) -> None:
    """Remove what somebody who was killed while writing a path has left: the unfinished file, empty directories."""
    if os.path.isdir(os.path.dirname(path)):
        _temporary(path)
    if entry.kind == "absent" and not os.path.lexists(path):
        _remove(path, entry.missing_parents)


def unchanged_since(path: str, wall: float) -> bool:
    """Whether a path was last touched a second or more before a moment; a doubt (clock steps) counts as touched."""
    try:
        return os.lstat(path).st_ctime + 1 < wall
    except (FileNotFoundError, NotADirectoryError):
        return True
