# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of a release below a directory, `top`: what they are now, and how they are restored. No path leads out of it.

Whoever calls acts; `files` decides who that is. What is described as a dict here is an `Entry`, for it crosses a pipe.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat as stat_module
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .disk import sha256
from .errors import BlockedError, RolloutError
from .tree import Place, place_of

FILE_SIZE_LIMIT = 32 * 1024 * 1024
# What may pass by itself. All else is what the bot's user, or whoever gave him his directories, has made of a path.
PASSING = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EAGAIN),
    *(errno.EBUSY, errno.ETXTBSY, errno.ESTALE, errno.ENODEV, errno.ENXIO, errno.ETIMEDOUT, errno.ENOTCONN),
}


@dataclass(frozen=True)
class Entry:
    """One path of a manifest. ``missing_parents`` are directories that were not there either, deepest last."""

    kind: str  # file, link, absent, or blocked with the reason as its target
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


def look_at_each(top: str, paths: Sequence[str]) -> list[tuple[str, dict[str, Any], bytes]]:
    looks = []
    for path in paths:
        try:
            entry, data = _look_at(top, path)
        except BlockedError as error:
            entry, data = Entry("blocked", target=str(error)), b""
        except OSError as error:
            if error.errno in PASSING:
                raise
            entry, data = Entry("blocked", target=f"{path}: {error.strerror}; correct its owner and mode"), b""
        looks.append((path, asdict(entry), data))
    return looks


def _look_at(top: str, path: str) -> tuple[Entry, bytes]:
    """A path below `top` as it is now."""
    try:
        with place_of(top, path) as place:
            status = _status(place)
            if stat_module.S_ISLNK(status.st_mode):
                return Entry("link", target=os.readlink(place.name, dir_fd=place.directory)), b""
            if not stat_module.S_ISREG(status.st_mode):
                raise BlockedError(
                    f"{path} is no regular file; a release consists of regular files. Move it out of the way"
                )
            data, status = _read_steady(place, path)
    except (FileNotFoundError, NotADirectoryError):
        return Entry("absent", missing_parents=tuple(_missing_parents(top, path))), b""
    return Entry(
        "file", sha256(data), stat_module.S_IMODE(status.st_mode), status.st_uid, status.st_gid, status.st_mtime_ns
    ), data


def _status(place: Place) -> os.stat_result:
    return os.stat(place.name, dir_fd=place.directory, follow_symlinks=False)


def _read_steady(place: Place, path: str) -> tuple[bytes, os.stat_result]:
    """A file's bytes with the status they belong to; read again when somebody wrote meanwhile."""
    for _ in range(5):
        fd = os.open(place.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=place.directory)
        with os.fdopen(fd, "rb") as file:
            before = os.fstat(fd)
            if not stat_module.S_ISREG(before.st_mode):
                raise BlockedError(f"{path} is no regular file; a release consists of regular files")
            if before.st_size > FILE_SIZE_LIMIT:
                raise BlockedError(f"{path} has {before.st_size} bytes; a file of a release may have {FILE_SIZE_LIMIT}")
            data = file.read(FILE_SIZE_LIMIT + 1)
            after = os.fstat(fd)
        if (before.st_mtime_ns, before.st_size) == (after.st_mtime_ns, after.st_size) and len(data) == after.st_size:
            return data, after
        time.sleep(0.05)
    raise RolloutError(f"{path} is being written by another process; run again when that is done")


def _missing_parents(top: str, path: str) -> list[str]:
    """Directories above a path that do not exist, deepest last."""
    missing: list[str] = []
    parent = os.path.dirname(path)
    while parent not in ("", "/", top) and not _is_directory(top, parent):
        missing.insert(0, parent)
        parent = os.path.dirname(parent)
    return missing


def _is_directory(top: str, path: str) -> bool:
    try:
        with place_of(top, path, follow=True) as place:
            return stat_module.S_ISDIR(_status(place).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def put_back(top: str, path: str, described: dict[str, Any], data: bytes) -> None:
    entry = Entry.load(described)
    if entry.kind == "absent":
        _remove(top, path, entry.missing_parents)
        return
    for parent in _missing_parents(top, path):
        _make_parent(top, parent)
    with place_of(top, path) as place:
        if entry.kind == "link":
            temporary = _temporary(place)
            os.symlink(entry.target, temporary.name, dir_fd=temporary.directory)
            _rename(temporary, place)
            return
        try:
            _replace_file(place, path, entry, data)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT) or not stat_module.S_ISREG(_status(place).st_mode):
                raise
            _overwrite_file(place, path, entry, data)


def _make_parent(top: str, path: str) -> None:
    """Make a directory that somebody has removed, the acting user's; root's are for all to look into."""
    with place_of(top, path) as place:
        os.mkdir(place.name, 0o755, dir_fd=place.directory)
        fd = os.open(place.name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=place.directory)
        try:
            os.fchmod(fd, 0o755)  # whatever the umask
        finally:
            os.close(fd)


def _temporary(place: Place) -> Place:
    """A name beside a path, free for use: what an earlier, killed attempt left there is removed."""
    temporary = Place(place.directory, f".{place.name}.webex-rollout")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary.name, dir_fd=temporary.directory)
    return temporary


def _rename(temporary: Place, place: Place) -> None:
    os.replace(temporary.name, place.name, src_dir_fd=temporary.directory, dst_dir_fd=place.directory)
    _sync(place.directory)


def _sync(directory: int) -> None:
    """Make renames and removals in a directory last, as far as it may be read."""
    with contextlib.suppress(PermissionError):
        fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def _replace_file(place: Place, path: str, entry: Entry, data: bytes) -> None:
    """Write beside, then rename."""
    temporary = _temporary(place)
    fd = os.open(
        temporary.name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=temporary.directory
    )
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            _set_attributes(file.fileno(), path, entry)
            os.fsync(file.fileno())
        _rename(temporary, place)
    except (OSError, RolloutError):
        with contextlib.suppress(OSError):
            os.unlink(temporary.name, dir_fd=temporary.directory)
        raise


def _overwrite_file(place: Place, path: str, entry: Entry, data: bytes) -> None:
    """On a full disk: write over the bytes that are there, which needs no new block as long as the old content is not
    the longer one. Not one step; whoever is killed here has left a phase that makes the guard do it again."""
    fd = os.open(place.name, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=place.directory)
    try:
        written = 0
        while written < len(data):
            written += os.pwrite(fd, data[written:], written)
        os.ftruncate(fd, len(data))
        _set_attributes(fd, path, entry)
        os.fsync(fd)
    finally:
        os.close(fd)


def _set_attributes(fd: int, path: str, entry: Entry) -> None:
    """Owner, mode and time; the time lets Python's own cache see that the source is another one."""
    status = os.fstat(fd)
    if (status.st_uid, status.st_gid) != (entry.uid, entry.gid):
        try:
            os.fchown(fd, entry.uid, entry.gid)
        except PermissionError:
            raise BlockedError(
                f"{path} belonged to {entry.uid}:{entry.gid}, and {os.geteuid()}, who puts it back, cannot give it away"
            ) from None
    os.fchmod(fd, entry.mode)
    os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))


def _remove(top: str, path: str, missing_parents: Sequence[str]) -> None:
    """Remove a file that was not there, Python's cache of it, and the directories made for it if they are empty."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), place_of(top, path) as place:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(place.name, dir_fd=place.directory)
            _sync(place.directory)
        if place.name.endswith(".py"):
            _remove_cached(place, gone=os.path.dirname(path) in missing_parents)
    for parent in reversed(missing_parents):
        with contextlib.suppress(OSError), place_of(top, parent) as place:
            os.rmdir(place.name, dir_fd=place.directory)


def _remove_cached(source: Place, gone: bool) -> None:
    """Remove what Python keeps of a source, and the directory it does so in if the source's own goes."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        cache = os.open("__pycache__", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=source.directory)
        try:
            for cached in os.listdir(cache):
                if cached.startswith(source.name[:-3] + ".") and cached.endswith(".pyc"):
                    os.unlink(cached, dir_fd=cache)
        finally:
            os.close(cache)
        if gone:
            with contextlib.suppress(OSError):
                os.rmdir("__pycache__", dir_fd=source.directory)


def clear_away(top: str, path: str, described: dict[str, Any]) -> None:
    entry = Entry.load(described)
    absent = True
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), place_of(top, path) as place:
        _temporary(place)
        _status(place)
        absent = False
    if entry.kind == "absent" and absent:
        _remove(top, path, entry.missing_parents)


def touched(top: str, paths: Sequence[str]) -> dict[str, float]:
    found = {}
    for path in paths:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), place_of(top, path) as place:
            found[path] = _status(place).st_ctime
    return found


def room(top: str, paths: Sequence[str]) -> list[tuple[str, int, str, int]]:
    found = []
    for path in paths:
        size = 0
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), place_of(top, path) as place:
            size = _status(place).st_size
        directory = os.path.dirname(path)
        while directory not in (top, "/") and not _is_directory(top, directory):
            directory = os.path.dirname(directory)
        with place_of(top, directory, follow=True) as place:
            fd = os.open(place.name, os.O_PATH | os.O_DIRECTORY, dir_fd=place.directory)
            try:
                status = os.statvfs(f"/proc/self/fd/{fd}")
            finally:
                os.close(fd)
        found.append((path, size, directory, status.f_bavail * status.f_frsize))
    return found


def must_be_restorable(top: str, path: str, described: dict[str, Any], user: str, groups: Sequence[int]) -> None:
    entry = Entry.load(described)
    if entry.kind == "file" and (entry.uid != os.geteuid() or entry.gid not in groups):
        raise RolloutError(
            f"{path} belongs to {entry.uid}:{entry.gid}, and {user} could not restore it like that; "
            f"give it to {user} (chown {user}: {path})"
        )
    directory = os.path.dirname(path)
    while directory in entry.missing_parents:
        directory = os.path.dirname(directory)
    with place_of(top, directory, follow=True) as place:
        if not os.access(place.name, os.W_OK | os.X_OK, dir_fd=place.directory):
            raise RolloutError(f"{user} may not write in {directory}, where {path} belongs; correct its owner and mode")
