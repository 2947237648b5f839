# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether what is installed on a VM is what a run installs: its program, and the units that start it."""

from __future__ import annotations

import hashlib
import os
import stat
import sys
from collections.abc import Mapping
from pathlib import Path

from .errors import RolloutError
from .paths import PROGRAM
from .tree import must_be_roots

# The Python that runs the modules runs the program, too; what is installed beside its own library is nobody's business.
FIRST_LINE = f"#!{sys.executable} -IS\n".encode()


def is_installed(path: Path, sha256: str, first_line: bytes = FIRST_LINE, mode: int = 0o755) -> bool:
    """Whether a file is there with this content below its first line, root's own and nobody else's to write."""
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode):
            return False
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return False
    own = (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) == (mode, os.geteuid(), os.getegid())
    return own and data.startswith(first_line) and hashlib.sha256(data[len(first_line) :]).hexdigest() == sha256


def must_be_installed(installed: Mapping[str, str]) -> None:
    """Refuse to act where the guard would run something else than this run has installed.

    :param installed: hashes by path.
    :raises RolloutError: naming the first file that differs.
    """
    for path, sha256 in installed.items():
        must_be_roots(path)
        first_line, mode = (FIRST_LINE, 0o755) if path == PROGRAM else (b"", 0o644)
        if not is_installed(Path(path), sha256, first_line, mode):
            raise RolloutError(
                f"{path} is not what this run has installed: it is missing, or its bytes, owner or mode are others. "
                "Nothing was armed. Find out who writes there, then run again"
            )
