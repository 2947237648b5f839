# SPDX-License-Identifier: GPL-3.0-or-later
"""A log and its rotated parts, as open files that are read by offset."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ..errors import LogError
from .holes import Stretches
from .names import newest_name, rotated_names

# Bytes read at a time: long enough that the call costs nothing, short enough to stay in the processor's cache.
BLOCK = 256 * 1024
# Of a packed part; it is unpacked to the disk of whoever reads it.
UNPACKED_LIMIT = 1024 * 1024 * 1024
_MAGIC = b"\x1f\x8b"


class LogAbsentError(LogError):
    """The log is missing, or is moved each time it is looked at: a later look may find it."""


class LogFile:
    """An open log, or a part of one. Everything is read by position, which is an offset but for the file's holes."""

    def __init__(self, fd: int, path: str) -> None:
        self.fd = fd
        self.path = path
        status = os.fstat(fd)
        self.device, self.inode, self.end = status.st_dev, status.st_ino, status.st_size
        self.written = status.st_mtime
        self.stretches = Stretches(fd, self.end, path)
        self.size = self.stretches.size
        """Without its holes, which `end` has in it."""

    def read(self, start: int, end: int) -> bytes:
        if self.stretches.whole:
            return os.pread(self.fd, max(0, end - start), start)
        return self.stretches.read(self.fd, start, end)

    def line_end(self, start: int, end: int) -> int:
        """Offset after the first newline in [start, end), ``end`` without one."""
        step = 4096
        while start < end:
            block = self.read(start, min(start + step, end))
            newline = block.find(b"\n")
            if newline >= 0:
                return start + newline + 1
            if not block:
                break
            start += len(block)
            step = BLOCK
        return end

    def line_start(self, position: int, low: int) -> int:
        """Where the line at ``position`` begins, or ``low`` when that is before it."""
        high = position
        while high > low:
            start = max(low, high - BLOCK)
            newline = self.read(start, high).rfind(b"\n")
            if newline >= 0:
                return start + newline + 1
            high = start
        return low


def open_log(path: str) -> LogFile:
    """:raises FileNotFoundError: as it is, for the caller to judge. :raises LogError: when it cannot be read."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise LogError(f"log {path} cannot be read: {error.strerror}; give the bot's user access to it") from error
    status = os.fstat(fd)
    problem = ""
    if not stat.S_ISREG(status.st_mode):
        problem = "is no regular file: set the bot's log path to the file the bot writes"
    elif status.st_uid != os.geteuid():
        problem = f"belongs to uid {status.st_uid}, not to the bot's user (uid {os.geteuid()}): give it to him (chown)"
    if problem:
        os.close(fd)
        raise LogError(f"log {path} {problem}")
    return LogFile(fd, path)


@contextmanager
def suppress_elsewhere(name: str, path: str) -> Iterator[None]:
    """Leave out a part in another directory than the log's that cannot be read, or is somebody else's."""
    try:
        yield
    except LogError:
        if Path(name).parent == Path(path).parent:
            raise


class Parts:
    """The log and its rotated parts, oldest first, opened so that a rotation meanwhile moves nothing out of sight."""

    def __init__(self, path: str) -> None:
        self.path = path
        for _ in range(10):
            path = newest_name(self.path)
            names = rotated_names(path)
            self.files: list[LogFile] = []
            try:
                for name in names:
                    with suppress_elsewhere(name, path):
                        self.files.append(open_log(name))
                self.current: LogFile | None = open_log(path)
                self.files.append(self.current)
            except LogError:
                self.close()
                raise
            except FileNotFoundError as error:
                self.current = None
                if error.filename != path:
                    self.close()
                    continue
            if names == rotated_names(path) and self._in_place():
                return
            self.close()
        raise LogAbsentError(f"log {path} was being rotated each time it was looked at: try again")

    def _in_place(self) -> bool:
        for file in self.files:
            try:
                status = Path(file.path).stat()
            except OSError:
                return False
            if (status.st_dev, status.st_ino) != (file.device, file.inode):
                return False
        return self.current is not None or not Path(newest_name(self.path)).exists()

    def close(self) -> None:
        for file in self.files:
            os.close(file.fd)
        self.files = []


@contextmanager
def parts_of(path: str) -> Iterator[Parts]:
    parts = Parts(path)
    try:
        yield parts
    finally:
        parts.close()


@contextmanager
def unpacked(file: LogFile) -> Iterator[tuple[LogFile, str]]:
    """The file, unpacked to an unnamed temporary file when it is compressed, and what is wrong with it, if anything."""
    if not file.path.endswith(".gz"):
        yield file, ""
        return
    problem = ""
    with tempfile.TemporaryFile() as copy, open(file.fd, "rb", closefd=False) as packed:
        packed.seek(0)
        try:
            for block in _unpacking(packed):
                if copy.tell() >= UNPACKED_LIMIT:
                    raise EOFError(f"it holds more than {UNPACKED_LIMIT >> 20} MiB")
                copy.write(block)
        except (EOFError, OSError, zlib.error) as error:
            problem = f"{file.path} is damaged ({error}); what follows in it is lost"
        copy.flush()
        whole = LogFile(copy.fileno(), file.path[: -len(".gz")])
        whole.written = file.written
        yield whole, problem


def _unpacking(packed: BinaryIO) -> Iterator[bytes]:
    """What a packed file holds, block by block, up to what is not packed: gzip's own module would search a hole behind
    it, byte by byte, for more.

    :raises EOFError: when it ends too early. :raises zlib.error: when it is damaged.
    """
    data = packed.read(1 << 16)
    if data and not data.startswith(_MAGIC):
        raise EOFError("it is not packed")
    while data.startswith(_MAGIC):
        member = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        while not member.eof:
            yield member.decompress(data, 1 << 20)
            data = member.unconsumed_tail or member.unused_data
            if not member.eof and not data:
                data = packed.read(1 << 16)
                if not data:
                    raise EOFError("it ends too early")
        if len(data) < len(_MAGIC):
            data += packed.read(1 << 16)


def head_hash(file: LogFile, length: int) -> str | None:
    """Hash of the first ``length`` bytes, or of all there are; None when they cannot be unpacked."""
    if file.path.endswith(".gz"):
        with open(file.fd, "rb", closefd=False) as packed:
            packed.seek(0)
            head = b""
            try:
                for block in _unpacking(packed):
                    head += block
                    if len(head) >= length:
                        break
            except (EOFError, OSError, zlib.error):
                return None
        head = head[:length]
    else:
        head = os.pread(file.fd, length, 0)  # with its holes: they may be filled
    return hashlib.sha256(head).hexdigest()
