# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of the state: written whole or not at all, never believed when damaged, locked by the kernel."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .errors import BusyError, DamagedError, RolloutError
from .migration import migrated
from .system import utc
from .tree import is_roots

# Format of the sealed files. Older ones are migrated as they are read (migration.py), newer ones are refused.
STATE_VERSION = 4


def sync_directory(path: str | Path) -> None:
    """Make renames and removals in a directory last."""
    fd = os.open(str(path), os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_whole(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Replace a file of the state by new content in one step that survives a power cut."""
    temporary = path.with_name(f".{path.name}.tmp")
    with contextlib.suppress(FileNotFoundError):
        temporary.unlink()
    fd = os.open(str(temporary), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    try:
        with os.fdopen(fd, "wb") as file:
            os.fchmod(file.fileno(), mode)  # whatever the umask
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(str(temporary), str(path))
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    sync_directory(path.parent)


def make_directory(path: Path) -> None:
    """A directory only root can look into, and so its parents where they are made."""
    for directory in reversed([path, *path.parents]):
        if not directory.is_dir():
            directory.mkdir(mode=0o700, exist_ok=True)


def read_secret(path: str, limit: int) -> bytes | None:
    """A file of secrets, which must be root's alone; None where there is none.

    :raises RolloutError: when somebody else could read or change it, or it is longer. Without a word of it.
    """
    if not is_roots(path):
        raise RolloutError(f"{os.path.dirname(path)}, or a directory above it, is not root's alone")
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RolloutError(f"{path} cannot be read ({error.strerror})") from None
    with os.fdopen(fd, "rb") as file:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != 0 or status.st_mode & 0o077:
            raise RolloutError(
                f"{path} holds secrets and others could read or change it (`chown root:root {path}; chmod 0600 {path}`)"
            )
        data = file.read(limit + 1)
    if len(data) > limit:
        raise RolloutError(f"{path} is longer than {limit} bytes")
    return data


def sha256(data: bytes) -> str:
    """Hex digest of some bytes."""
    return hashlib.sha256(data).hexdigest()


def seal(content: dict[str, Any]) -> bytes:
    """JSON with its own checksum: a half-written or bit-rotten file must not pass for a state."""
    body = json.dumps(content, sort_keys=True, indent=1)
    return (
        json.dumps({"sha256": sha256(body.encode()), "version": STATE_VERSION})[:-1] + ', "content": ' + body + "}\n"
    ).encode()


def unseal(path: Path) -> dict[str, Any]:
    """Read a sealed file, in the present format.

    :raises FileNotFoundError: when there is none.
    :raises DamagedError: when it cannot be believed.
    :raises RolloutError: when a newer program wrote it.
    """
    data = path.read_bytes()
    try:
        outer = json.loads(data)
        if path.name == "soak.json" and "sha256" not in outer:  # version 0.1.0 did not seal soaks
            return migrated(path.name, outer["version"], outer)
        version, content = outer["version"], outer["content"]
        intact = outer["sha256"] == sha256(json.dumps(content, sort_keys=True, indent=1).encode())
    except (ValueError, KeyError, TypeError):
        intact, version, content = False, STATE_VERSION, {}
    if not intact:
        raise DamagedError(
            f"{path} is damaged: it does not match its own checksum. Nothing was done with it. "
            "Restore it from a backup, or see docs/on-the-vm.md, `A state file is damaged`"
        )
    if version not in range(1, STATE_VERSION + 1):
        raise RolloutError(
            f"{path} has format {version}, this program reads formats up to {STATE_VERSION}: a newer program wrote it. "
            "Nothing was done with it. Run the newer checkout of this project, or install its program again"
        )
    return migrated(path.name, version, content)


def format_of(path: Path) -> int:
    """The format that a sealed file was written in; 0 where there is none, or none that can be read."""
    try:
        return int(json.loads(path.read_bytes())["version"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0


@contextlib.contextmanager
def flock(path: Path, what: str, wait: float) -> Iterator[None]:
    """An exclusive lock that the kernel drops with its holder, however it dies."""
    fd = os.open(str(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        until = time.monotonic() + wait
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if time.monotonic() >= until:
                    holder = os.read(fd, 100).decode("utf-8", "replace") or "an unknown process"
                    raise BusyError(
                        f"{what} is still running ({holder} holds {path}); wait for it and run again"
                    ) from None
                time.sleep(0.05)
        with contextlib.suppress(OSError):  # only for the message above; a full disk is no reason to stop
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"pid {os.getpid()} since {utc(time.time())}".encode(), 0)
        yield
    finally:
        # A child that was forked meanwhile shares the descriptor, and with it the lock, until it execs or closes it
        with contextlib.suppress(OSError):
            fcntl.flock(fd, fcntl.LOCK_UN)
        os.close(fd)
