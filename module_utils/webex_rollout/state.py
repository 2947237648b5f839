# SPDX-License-Identifier: GPL-3.0-or-later
"""One bot's state: its releases, and where its rollout stands."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .clock import Deadline
from .disk import sha256
from .entries import Entry
from .found import FoundProcess
from .processes import Bot


class Phase(str, enum.Enum):
    """Where a bot's rollout stands, as it is written down before the step is taken."""

    RECORDING = "recording"
    """What the bot is now is being written down for the first time; nothing was changed."""
    RECORDED = "recorded"
    """What to roll back to is known."""
    ARMED = "armed"
    """Files may change from now on; the guard rolls back what is not confirmed by the deadline."""
    SWITCHING = "switching"
    """The old process is being replaced."""
    SWITCHED = "switched"
    """The new one runs, unproven."""
    CHECKED = "checked"
    """The start-up check passed."""
    CONFIRMED = "confirmed"
    """The release stays; on probation the guard still rolls back one whose unit ends as failed."""
    FAILED = "failed"
    """The start-up check failed: to be rolled back without waiting for the deadline."""
    ROLLING_BACK = "rolling_back"
    ROLLED_BACK = "rolled_back"

    def __str__(self) -> str:
        """The word itself, for messages; what format() gives of a str and Enum differs between Pythons."""
        return self.value

    @property
    def open(self) -> bool:
        """Whether an attempt is under way."""
        return self in (Phase.ARMED, Phase.SWITCHED, Phase.CHECKED)

    @property
    def interrupted(self) -> bool:
        """Whether a program died, or a step failed: the guard need not wait for a deadline."""
        return self in (Phase.SWITCHING, Phase.FAILED, Phase.ROLLING_BACK)


KEEP_RELEASES = 5


@dataclass(frozen=True)
class FileRule:
    """How a path is treated: shared by all bots of the machine, and whether a change of it wants a restart."""

    shared: bool = False
    restart: bool = True


@dataclass(frozen=True)
class Runner:
    """How a release's process is run: ``unit``, ``process`` (started by hand), or ``none`` (it was not running, or
    is left stopped).

    A process has a unit only if `systemd-run` made one for it.
    """

    kind: str
    unit: str = ""
    enabled: bool = False
    process: FoundProcess | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Release:
    """Files and the way to run them. Release ``0`` is what was found first."""

    id: str
    origin: str  # found or rollout
    created: float
    manifest: dict[str, Entry]
    runner: Runner

    @property
    def stopped(self) -> bool:
        """Whether it is one of a rollout that left its bot stopped."""
        return self.origin == "rollout" and self.runner.kind == "none"

    @classmethod
    def load(cls, data: Any) -> Release:
        """Read back what `asdict` wrote."""
        manifest = {path: Entry.load(entry) for path, entry in data["manifest"].items()}
        runner, process = data["runner"], data["runner"]["process"]
        found = None if process is None else FoundProcess(**process)
        return cls(**{**data, "manifest": manifest, "runner": Runner(**{**runner, "process": found})})


def release_id(manifest: Mapping[str, Entry], runner: Runner) -> str:
    """Names a release by what it consists of."""
    lines = [f"{path} {entry.identity}" for path, entry in sorted(manifest.items())]
    return sha256("\n".join([*lines, runner.kind, runner.unit]).encode("utf-8", "surrogateescape"))[:12]


@dataclass(frozen=True)
class Running:
    """The process that was started last, and the files it was started from (path -> identity)."""

    pid: int
    start_time: int
    boot: str
    files: dict[str, str]
    restarts: int = 0


@dataclass
class State:
    """Where a bot's rollout stands. ``current`` is the release that stays; ``candidate`` the one under trial."""

    bot: Bot
    unit: str
    environment_file: str
    files: dict[str, FileRule]
    phase: Phase = Phase.RECORDING
    current: str = "0"
    previous: str = ""
    candidate: str = ""
    roll_back_to: str = ""
    restoring: list[str] = field(default_factory=list)
    attempt: int = 0
    token: int = 0
    deadline: Deadline | None = None
    probation: Deadline | None = None
    running: Running | None = None
    stop_seconds: float = 10.0  # how long a stopped bot may take to end by itself
    carried_from: str = ""  # the release whose process the environment comes from
    keep_variables: list[str] = field(default_factory=list)
    drop_variables: list[str] = field(default_factory=list)
    tries: int = 0
    retry: Deadline | None = None
    note: str = ""

    @classmethod
    def load(cls, data: Any) -> State:
        """Read back what `asdict` wrote."""
        nested = {
            "bot": Bot(**data["bot"]),
            "files": {path: FileRule(**rule) for path, rule in data["files"].items()},
            "phase": Phase(data["phase"]),
            "deadline": Deadline.load(data["deadline"]),
            "probation": Deadline.load(data["probation"]),
            "running": None if data["running"] is None else Running(**data["running"]),
            "retry": Deadline.load(data["retry"]),
        }
        return cls(**{**data, **nested})

    @property
    def pending(self) -> bool:
        """Whether the guard has to roll something back, now or later."""
        return self.phase.open or self.phase.interrupted

    @property
    def watched(self) -> bool:
        """Whether the guard has to start a process again that a reboot takes before its bot's turn came."""
        return self.phase is Phase.RECORDED and self.deadline is not None
