# SPDX-License-Identifier: GPL-3.0-or-later
"""Time. The wall clock is for people: it can be set back. Decisions use the clock of the boot, and the boot itself."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .procfs import read_stat


def boot_clock() -> float:
    """Seconds since boot, suspension included; no administrator can set it."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def boot_key() -> str:
    """Names this boot. PID 1's start tells apart two boots of a container that is given its host's boot id."""
    first = read_stat(1)
    return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()}:{first.start_time if first else 0}"


@dataclass(frozen=True)
class Deadline:
    """A moment some seconds ahead, measured by the boot's clock; ``wall`` is the same moment for people."""

    boot: str
    clock: float
    wall: float
    seconds: float

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        """The moment `seconds` from now."""
        return cls(boot_key(), boot_clock() + seconds, time.time() + seconds, seconds)

    @classmethod
    def load(cls, data: Any) -> Deadline | None:
        """Read back what `asdict` wrote."""
        return None if data is None else cls(str(data["boot"]), *(float(data[k]) for k in ("clock", "wall", "seconds")))

    def rebooted(self) -> bool:
        """Whether the machine was booted again since the deadline was set."""
        return self.boot != boot_key()

    def remaining(self) -> float:
        """Seconds left, never more than were given. After a reboot only the wall clock can tell."""
        left = self.wall - time.time() if self.rebooted() else self.clock - boot_clock()
        return max(0.0, min(left, self.seconds))

    def past(self) -> bool:
        """Whether the time is up."""
        return self.remaining() <= 0


@dataclass(frozen=True)
class Timing:
    """How long the program waits, in seconds, where no setting says so."""

    mutex: float = 60.0
    """For another action on the same bot or machine."""
    kill: float = 5.0
    """For a killed process to be gone."""
    start: float = 15.0
    """For a bot to come up."""
    found_settle: float = 2.0
    """A process as found has nobody to restart it; one that ends this soon did not come up."""
    connect: float = 5.0
    """For a new process to connect and to write its ready line, after it has settled."""
    turn: float = 900.0
    """For a recorded bot's turn to come; a reboot meanwhile must not cost it its process."""
    retry: float = 10.0
    """Between two tries of a rollback; doubled with each."""
    retry_at_most: float = 600.0
    lock: float = 900.0
    """Until a lock that nobody holds on expires."""


def vm_clock() -> dict[str, Any]:
    """The machine's clocks at this moment: ``epoch`` and ``since_boot`` in seconds, and which ``boot`` it is."""
    return {"epoch": time.time(), "since_boot": boot_clock(), "boot": boot_key()}


def same_boot(earlier: str, now: str) -> bool:
    """Whether a boot that was noted earlier is the present one. Version 0.1.0 noted its id alone, without PID 1."""
    return earlier == now or earlier == now.partition(":")[0]


def up_seconds(now: Mapping[str, Any]) -> float:
    """Seconds since this boot, or since a container's start: its time since boot is its host's.

    :param now: as `vm_clock` gives it.
    """
    started = int(now["boot"].partition(":")[2] or 0) / os.sysconf("SC_CLK_TCK")
    return max(0.0, float(now["since_boot"]) - started)


def wall_start(process_start: int) -> float:
    """A process start (ticks since boot) on the wall clock as it is set now."""
    return time.time() - boot_clock() + process_start / os.sysconf("SC_CLK_TCK")
