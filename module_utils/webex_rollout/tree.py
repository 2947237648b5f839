# SPDX-License-Identifier: GPL-3.0-or-later
"""A directory and what is below it, held by descriptors: no link and no swapped directory leads out of it."""

from __future__ import annotations

import contextlib
import errno
import grp
import os
import pwd
import stat
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from .errors import BlockedError, RolloutError

LINKS_FOLLOWED = 40  # as the kernel's own path walk
_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


class Place(NamedTuple):
    """A name in an open directory: where a path leads, for good."""

    directory: int
    name: str


@contextlib.contextmanager
def place_of(top: str, path: str, follow: bool = False) -> Iterator[Place]:
    """Where a path below `top` is: links on the way are followed as long as they stay below.

    :param top: a directory, which may itself be a link.
    :param path: absolute, or relative to `top`.
    :param follow: whether a link at the path's end is followed, too.
    :raises BlockedError: when the path, or a link, leads out of `top`, or `top` is gone.
    :raises FileNotFoundError: when a directory on the way is missing.
    """
    try:
        first = os.open(top, _DIRECTORY)
    except (FileNotFoundError, NotADirectoryError):
        raise BlockedError(f"{path}: the directory {top} is not there") from None
    opened = [first]
    try:
        real_top = os.readlink(f"/proc/self/fd/{first}")
        directory, name = _walk(opened, deque(_parts(path, top, real_top)), (path, top, real_top), follow)
        yield Place(directory, name)
    finally:
        for fd in opened:
            os.close(fd)


def _walk(opened: list[int], parts: deque[str], asked: tuple[str, str, str], follow: bool) -> Place:
    """Go down part by part; `opened` are the directories from the top to the present one, closed by the caller."""
    path, top, real_top = asked
    links = 0
    while parts:
        part = parts.popleft()
        if part in ("", "."):
            continue
        if part == "..":
            if len(opened) == 1:
                raise BlockedError(f"{path} leads out of {top}")
            os.close(opened.pop())
            continue
        if not parts and not follow:
            return Place(opened[-1], part)
        try:
            status = os.stat(part, dir_fd=opened[-1], follow_symlinks=False)
        except FileNotFoundError:
            if parts:
                raise
            return Place(opened[-1], part)
        if stat.S_ISLNK(status.st_mode):
            links += 1
            if links > LINKS_FOLLOWED:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
            target = os.readlink(part, dir_fd=opened[-1])
            if target.startswith("/"):
                while len(opened) > 1:
                    os.close(opened.pop())
                target = "/".join(_parts(target, top, real_top, path))
            parts.extendleft(reversed(target.split("/")))
        elif not parts:
            return Place(opened[-1], part)
        else:
            opened.append(os.open(part, _DIRECTORY | os.O_NOFOLLOW, dir_fd=opened[-1]))
    return Place(opened[-1], ".")


def _parts(path: str, top: str, real_top: str, asked: str = "") -> list[str]:
    """The parts of a path below the top, by either of its names."""
    if not path.startswith("/"):
        return path.split("/")
    for base in (top, real_top):
        inside = base.rstrip("/") + "/"
        if path.startswith(inside):
            return path[len(inside) :].split("/")
        if path == base:
            return []
    raise BlockedError(f"{asked or path} leads out of {top}")


def real_below(top: str, path: str) -> str:
    """A path below `top` with every link followed; it need not exist.

    :raises BlockedError: when it leads out of `top`.
    """
    if not os.path.isdir(top):
        return os.path.join(os.path.realpath(top), path)
    try:
        with place_of(top, path, follow=True) as place:
            return os.path.join(os.readlink(f"/proc/self/fd/{place.directory}"), place.name)
    except (FileNotFoundError, NotADirectoryError):
        return os.path.join(os.path.realpath(top), path)


def real_places(home: str, paths: Sequence[str], script: str) -> dict[str, str]:
    """Where regular files of a checkout are, by path, once its links are followed; what is none is left out.

    :param script: a path that must not lead out of the checkout, nor be something else than a file.
    :raises BlockedError: when it does, or is.
    """
    found = {}
    for path in paths:
        try:
            with place_of(home, path, follow=True) as place:
                status = os.stat(place.name, dir_fd=place.directory, follow_symlinks=False)
                real = str(Path(f"/proc/self/fd/{place.directory}").readlink() / place.name)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (BlockedError, OSError) as error:
            if path == script or (isinstance(error, OSError) and error.errno != errno.ELOOP):
                raise
            continue
        if stat.S_ISREG(status.st_mode):
            found[path] = real
        elif path == script:
            raise BlockedError(f"{path} is no regular file")
    return found


def is_roots(path: str) -> bool:
    """Whether every directory above a path is root's, and nobody else's to change: only there does root act itself.

    A directory on the way that does not exist yet is root's to make. In a sticky one, as /tmp, root's directories are.
    """
    directory, shared = "", False
    for part in ["/", *filter(None, os.path.dirname(path).split("/"))]:
        directory = os.path.join(directory, part)
        try:
            status = os.lstat(directory)
        except FileNotFoundError:
            return not shared
        except NotADirectoryError:
            return False
        if stat.S_ISLNK(status.st_mode) and status.st_uid == 0:
            target = os.path.realpath(directory)
            return not os.path.islink(target) and is_roots(os.path.join(target, os.path.relpath(path, directory)))
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != 0:
            return False
        shared = _writable_by_others(status)
        if shared and not status.st_mode & stat.S_ISVTX:
            return False
    return not shared


def must_be_roots(path: str) -> None:
    """Refuse a place for a file of root's that somebody else could change.

    :raises RolloutError: naming it.
    """
    if not is_roots(path):
        raise RolloutError(
            f"{os.path.dirname(path)}, or a directory above it, is not root's alone, so {path} was left as it is. "
            "Give these directories to root, writable by no one else (chown root, chmod go-w), and run again"
        )


def must_be_roots_alone(state: str) -> None:
    """Refuse a directory of the state that somebody else could have written: it says what root runs, and as whom.

    :raises RolloutError: naming it.
    """
    if not is_roots(os.path.join(state, "x")):
        raise RolloutError(
            f"{state}, or a directory above it, is not root's alone, so what is in it cannot be believed. Nothing was "
            "done. Give it to root, writable by no one else (chown root, chmod go-w), or leave `--state` out"
        )


def _writable_by_others(status: os.stat_result) -> bool:
    if status.st_mode & stat.S_IWOTH:
        return True
    return bool(status.st_mode & stat.S_IWGRP) and _has_members(status.st_gid)


def _has_members(gid: int) -> bool:
    """Whether anybody but root is in a group; Debian gives /usr/local to the group `staff`, which is mostly empty."""
    try:
        named = set(grp.getgrgid(gid).gr_mem) - {"root"}
    except KeyError:
        named = set()
    return bool(named) or any(entry.pw_gid == gid and entry.pw_uid != 0 for entry in pwd.getpwall())
