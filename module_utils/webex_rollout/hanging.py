# SPDX-License-Identifier: GPL-3.0-or-later
"""Children that cannot be ended: they wait in the kernel for a file system that does not answer.

Every user can mount one of his own (FUSE) below his directories, and who waits for it is not ended by SIGKILL until it
answers or is gone. Such a child is left behind, and noted until the next boot at most, so that no second one follows.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

from .paths import RUN_DIR

DIRECTORY = f"{RUN_DIR}/hanging"
# How long a child that was killed may take to end.
PATIENCE = 5.0


def end_child(pid: int) -> bool:
    """End a child with its process group, and whatever becomes of it wait for a bounded time; whether it is gone."""
    until = time.monotonic() + PATIENCE
    pause, reaped = 0.0002, False
    while True:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
        if not reaped:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)  # before it has a group of its own
            reaped = os.waitpid(pid, os.WNOHANG)[0] == pid
        if reaped and not _group(pid):
            return True
        if time.monotonic() >= until:
            return reaped and not _alive(pid)
        time.sleep(pause)
        pause = min(2 * pause, 0.02)


def _group(pid: int) -> bool:
    """Whether anything, also what has ended and nobody has asked for yet, is in a process group."""
    try:
        os.killpg(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _alive(group: int) -> bool:
    """Whether a thread of a process in a group still runs, or waits."""
    if not _group(group):
        return False
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                if int(_stat(process / "stat")[2]) == group:
                    tasks = process / "task"
                    if any(_stat(task / "stat")[0] not in "ZX" for task in tasks.iterdir()):
                        return True
    return False


def _stat(path: Path) -> list[str]:
    """State, parent, group and what follows of a process or thread."""
    return path.read_text("utf-8", "replace").rpartition(")")[2].split()


def note_hanging(kind: str, pid: int) -> None:
    """Keep in mind that a child hangs.

    :param kind: as whom it was to do what.
    """
    with contextlib.suppress(OSError):
        os.makedirs(DIRECTORY, mode=0o700, exist_ok=True)
        Path(DIRECTORY, f"{kind}.{pid}").touch()


def hangs(kind: str) -> bool:
    """Whether a child of a kind still hangs."""
    try:
        names = os.listdir(DIRECTORY)
    except OSError:
        return False
    found = False
    for path in (Path(DIRECTORY, name) for name in names if name.rpartition(".")[0] == kind):
        with contextlib.suppress(OSError, ValueError):
            if _alive(int(path.suffix[1:])):
                found = True
            else:
                path.unlink()
    return found
