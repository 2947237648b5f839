"""A file system that one user has mounted, and that answers as little as he likes: FUSE, spoken by hand. Needs root."""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
import threading
from pathlib import Path

_LIBC = ctypes.CDLL(None, use_errno=True)
_HEADER = struct.Struct("<IIQQIIII")
_NOSUID_NODEV, _FORCE_DETACH = 6, 3
_LOOKUP, _GETATTR, _INIT = 1, 3, 26
_NO_SUCH_CALL = -38


class SilentMount:
    """Mounted at a directory of a user's: whatever he asks for there, he waits until this is closed."""

    def __init__(self, where: Path, uid: int) -> None:
        where.mkdir(exist_ok=True)
        self.where, self._uid = where, uid
        self._fd = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        options = f"fd={self._fd},rootmode=40000,user_id={uid},group_id={uid}".encode()
        if _LIBC.mount(b"silent", bytes(where), b"fuse.silent", _NOSUID_NODEV, options):
            raise OSError(ctypes.get_errno(), "mount", str(where))
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        """End it: all who wait are told so."""
        _LIBC.umount2(bytes(self.where), _FORCE_DETACH)

    def _serve(self) -> None:
        while True:
            try:
                asked = os.read(self._fd, 1 << 17)
            except OSError:
                os.close(self._fd)
                return
            _, call, number, *_ = _HEADER.unpack_from(asked)
            if call == _LOOKUP:
                continue
            problem, data = _NO_SUCH_CALL, b""
            if call == _INIT:
                problem, data = 0, struct.pack("<IIIIHHII", 7, 31, 0, 0, 12, 10, 4096, 1).ljust(64, b"\0")
            elif call == _GETATTR:
                owner = [self._uid] * 2
                problem, data = 0, struct.pack("<QII6Q10I", 1, 0, 0, 1, *[0] * 8, 0o40755, 1, *owner, *[0] * 3)
            with contextlib.suppress(OSError):  # who asked has gone
                os.write(self._fd, struct.pack("<IiQ", 16 + len(data), problem, number) + data)
