# SPDX-License-Identifier: GPL-3.0-or-later
"""What the steps share: their result, who may take one, and how a release is started."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from ..clock import boot_key
from ..command_line import secret_arguments
from ..environment import EnvironmentPlan, plan_environment
from ..errors import RolloutError
from ..launch import start_found, start_unit
from ..procfs import read_stat
from ..state import Phase, Release, Runner, Running, State
from ..store import Store
from ..system import utc


@dataclass
class Result:
    """What an action found, did, or (in check mode) would do. Holds names and numbers, no values of variables."""

    bot: str
    action: str
    changed: bool = False
    phase: str = ""
    release: str = ""
    candidate: str = ""
    previous: str = ""
    attempt: int = 0
    deadline: str = ""
    seconds_left: float = 0.0
    reasons: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    kept_shared: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    stopped: bool = False
    """Whether the bot does not run, and is left so."""
    pids_before: list[int] = field(default_factory=list)
    pids_after: list[int] = field(default_factory=list)
    seconds_down: float = 0.0
    found: dict[str, object] = field(default_factory=dict)
    environment: dict[str, list[str]] = field(default_factory=dict)
    checks: list[dict[str, object]] = field(default_factory=list)
    before: str = ""
    after: str = ""
    message: str = ""

    def of(self, state: State) -> Result:
        """Fill in where the bot's rollout stands."""
        self.phase, self.release, self.candidate = state.phase, state.current, state.candidate
        self.previous, self.attempt = state.previous, state.attempt
        if state.deadline:
            self.deadline = utc(time.time() + state.deadline.remaining())
            self.seconds_left = round(state.deadline.remaining(), 1)
        return self


def environment_plan(keep: Sequence[str], drop: Sequence[str], runner: Runner) -> EnvironmentPlan:
    """What becomes of the variables of the process that was found; nothing for one that was not.

    Its secret arguments are variables of its unit.
    """
    if runner.process is None:
        return EnvironmentPlan()
    argv = runner.process.argv
    secrets = [f"{name}={argv[index]}" for index, name in secret_arguments(argv).items()]
    return plan_environment([*secrets, *runner.process.environment], keep, drop)


def must_be_open(state: State, token: int | None, phases: Sequence[Phase] = ()) -> None:
    """Refuse a step of an attempt that is over, or another run's."""
    bot = state.bot.name
    if state.phase.interrupted or state.phase is Phase.ROLLED_BACK:
        back = "was rolled back" if state.phase is Phase.ROLLED_BACK else "is being rolled back"
        raise RolloutError(
            f"{bot} {back} to release {state.roll_back_to or state.current}: {state.note}. Run the rollout again"
        )
    allowed = phases or [phase for phase in Phase if phase.open]
    if state.phase not in allowed:
        needed = " or ".join(phase.value for phase in allowed)
        raise RolloutError(f"{bot} is {state.phase}; this step needs it to be {needed}")
    if token is not None and token != state.token:
        raise RolloutError(
            f"attempt {state.attempt} at {bot} was opened under another run's lock (token {state.token}, this run has "
            f"{token}); arm it in this run first"
        )
    if state.deadline and (state.deadline.rebooted() or state.deadline.past()):
        raise RolloutError(
            f"the deadline of attempt {state.attempt} at {bot} has passed, the guard rolls it back to release "
            f"{state.current}. Run the rollout again, with a longer deadline if it was too short"
        )


def units_at_boot(state: State) -> list[str]:
    """Units a boot has to start: the bot's, and the targets its release brings along."""
    targets = [path for path in state.files if path.endswith(".target") and os.path.isfile(path)]
    return [*map(os.path.basename, targets), state.unit]


def start_runner(store: Store, state: State, release: Release) -> float:
    """Start what a release runs as, and note it; returns when it was up."""
    looks = state.bot.files.entries_of(path for path, rule in state.files.items() if rule.restart)
    files = {path: entry.identity for path, entry in looks.items()}
    state.running = None
    if release.runner.kind == "none":
        return time.monotonic()
    if release.runner.kind == "process":
        pid, up = start_found(store, release.id)
        restarts = 0
    else:
        unit = start_unit(state.bot, release.runner.unit, store.vm.timing)
        pid, up, restarts = unit.main_pid, time.monotonic(), unit.restarts
    stat = read_stat(pid)
    if stat is not None:
        state.running = Running(pid, stat.start_time, boot_key(), files, restarts)
    return up
