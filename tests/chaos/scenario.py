"""One fault at one moment of a rollout, on a pristine lab, and what became of it."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from tests.chaos.faults import CANARY, MIDST, MOMENTS, Fault
from tests.chaos.outcome import NEW, OLD, Outcome, leftovers, releases, under_trial
from tests.integration.conftest import written
from tests.integration.test_rollout import QUICK
from tests.lab.errors import LabError
from tests.lab.lab import Lab, temporary
from tests.lab.paths import BOTS
from tests.lab.playbooks import Run, run_playbook
from tests.lab.run import wait_for
from tests.lab.webex.driver import Pattern

START = 20
"""Seconds a bot may take from its start to its websocket, and the guard to get there."""

TRAFFIC = Pattern(burst=1, gap=3.0)

BEFORE = ("-", "-")
"""The place of a fault that is there before the rollout begins."""


@dataclass(frozen=True)
class Conditions:
    """Under which the faults strike."""

    bots: tuple[str, ...] = BOTS
    """Who is rolled out; without the canary as a fleet without evidence."""
    deadline: int = 40
    """Seconds until the guard rolls an attempt back; longer than switch and start-up check take."""
    accounts: str = "vinay"
    """Who connects, as `tests.lab.accounts` has it."""

    @property
    def settings(self) -> dict[str, Any]:
        # Two batches of the fleet, so that there is a moment between two.
        batches = [max(1, len(self.bots) // 2), "100%"]
        return {
            **QUICK,
            "rollout_guard_deadline": self.deadline,
            "rollout_wait": 3 * self.deadline,
            "rollout_batches": batches,
            "rollout_skip_canary": BOTS[0] not in self.bots,
        }

    @property
    def limit(self) -> str | None:
        return None if self.bots == BOTS else ",".join(self.bots)

    def run(self, lab: Lab, **more: Any) -> Run:
        extra = {**self.settings, **more.pop("extra", {})}
        return run_playbook(lab, limit=self.limit, extra=extra, **more)


@contextmanager
def pristine(name: str, bots: tuple[str, ...] = BOTS, accounts: str = "vinay") -> Iterator[Lab]:
    """A pristine lab whose bots are written to."""
    digest = hashlib.sha256(f"{os.getpid()} {name}".encode()).hexdigest()
    with temporary(f"c{digest[:7]}", accounts) as lab:
        # What is lost here is to be lost to the fault, not to the NAT.
        lab.network.forget_idle_after(3600)
        lab.start_bots(bots)
        lab.webex.start(replace(TRAFFIC, bots=bots))
        yield lab


@dataclass
class Scene:
    """A lab with a fault in it, from the first run to the look at the end."""

    lab: Lab
    fault: Fault
    conditions: Conditions
    before: dict[str, str] = field(init=False)
    """The VM's files, as `written` lists them."""
    since: float = field(init=False)
    """By the stand-in's clock."""
    runs: list[Run] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.before = written(self.lab)
        self.since = self.lab.webex.books().now

    def _unfinished(self) -> list[str]:
        """What has yet to happen by itself before the bots can be judged."""
        found, first = under_trial(self.lab), self.conditions.bots[:1]
        if not found and self.fault.ends:
            found = [f"{bot} is {now}" for bot, now in releases(self.lab, first).items() if now != self.fault.ends]
        return found

    def conclude(self, moment: str, struck: bool) -> Outcome:
        """Wait until the guard has nothing left to do, look, mend, run the same command again, look again."""
        lab, bots = self.lab, self.conditions.bots
        # After a power cut nobody starts a process that was never under this project's care.
        cared = _recorded(lab) if self.fault.loses_processes else bots
        timeout = self.conditions.deadline + self.fault.takes + 120
        try:
            wait_for(lambda: not self._unfinished(), "nothing left to do", timeout=timeout, pause=3)
        except LabError as error:
            raise LabError("; ".join([str(error), *self._unfinished()])) from None
        # A bot that was rolled back is a process at once and a websocket a little later.
        lab.webex.wait_connected(cared, timeout=2 * START)
        left_alone, until = releases(lab, cared), lab.webex.books().now
        left_over = leftovers(lab, self.before, left_alone, self.fault.leaves)
        down = max((lab.webex.books().bots[bot].down_time(self.since, until) for bot in cared), default=0.0)
        self.fault.mend(lab)
        missing = tuple(bot for bot in bots if bot not in cared)
        if missing:
            lab.start_bots(missing)  # as somebody would, by hand
        self.runs.append(self.conditions.run(lab))
        after = releases(lab, bots)
        lab.webex.stop()
        lab.webex.wait_settled(timeout=90, lost_after=20)
        pages = lab.webex.books(lost_after=20).bots
        books = [pages[bot] for bot in bots]
        outcome = Outcome(
            self.fault.name,
            moment,
            struck,
            left_alone=left_alone,
            again=f"rc {self.runs[-1].rc}, failed {self.runs[-1].count('failures')}",
            after=after,
            down=down,
            limit=self.conditions.deadline + 2 * START,
            lost=sum(page.total.lost for page in books),
            twice=sum(page.total.answered_twice for page in books),
            consumers=sum(len(page.two_consumers) for page in books),
        )
        outcome.problems.extend(_problems(self, outcome, left_over))
        return outcome


def play(fault: Fault, place: tuple[str, str], conditions: Conditions) -> Outcome:
    """Strike at the end of a task of a play, in its midst, or before the run; leave alone, run again.

    `place` is the play's name and the task's, the latter also as one of MOMENTS.
    """
    where, moment = place
    name = moment if where in ("-", CANARY) else f"{moment} ({where.removeprefix('Stage ')})"
    with pristine(f"{fault.name} {place}", conditions.bots, conditions.accounts) as lab:
        struck = place == BEFORE
        if struck:
            fault.strike(lab)
        scene = Scene(lab, fault, conditions)

        at, after = ("runner_on_start", QUICK["rollout_settle"] / 2) if moment in MIDST else ("runner_on_ok", 0)
        begun = threading.Event()

        def strike() -> None:
            nonlocal struck
            fault.strike(lab)
            struck = True

        later = threading.Timer(after, strike)

        def on_event(event: dict[str, Any]) -> bool:
            data = event.get("event_data", {})
            if begun.is_set() or event["event"] != at or data["play"] != where:
                return True
            if data["task"].endswith(MOMENTS.get(moment, moment)):
                begun.set()
                later.start() if after else strike()
            return True

        scene.runs.append(conditions.run(lab, on_event=on_event, extra=fault.settings))
        later.cancel()  # a run that is over cannot be struck
        if begun.is_set() and after:
            later.join()
        return scene.conclude(name, struck)


def two_rollouts(conditions: Conditions) -> Outcome:
    """The same command twice at the same time: one works, the other is refused."""
    with pristine("two rollouts", conditions.bots, conditions.accounts) as lab:
        scene = Scene(lab, Fault("two rollouts at once", lambda lab: None), conditions)
        with ThreadPoolExecutor(2) as threads:
            both = [threads.submit(conditions.run, lab) for _ in range(2)]
            scene.runs.extend(each.result() for each in both)
        codes = [run.rc for run in scene.runs]
        outcome = scene.conclude("-", struck=True)
        if sorted(code == 0 for code in codes) != [False, True]:
            outcome.problems.append(f"exit codes {codes}; one has to work, the other to be refused")
        return outcome


def _problems(scene: Scene, outcome: Outcome, left_over: list[str]) -> list[str]:
    """What must not be: neither old nor new, down for too long, two at once, a file that cannot be restored, a
    second run that does not converge, a secret."""
    found = [f"{bot}: {state}" for bot, state in outcome.left_alone.items() if state not in (OLD, NEW)]
    found += [f"{bot} is {state} after the second run" for bot, state in outcome.after.items() if state != NEW]
    found += [f"changed, though no bot is new: {path}" for path in left_over[:5]]
    first = scene.conditions.bots[0]
    if scene.fault.ends and outcome.left_alone.get(first) != scene.fault.ends:
        found.append(f"{first} should be {scene.fault.ends} when left alone")
    if not outcome.again.startswith("rc 0, failed 0"):
        found.append(f"the same command again: {outcome.again}: {failure(scene.runs[-1])}")
    if outcome.down > outcome.limit:
        found.append(f"down for {outcome.down:.0f} s, at most {outcome.limit:.0f} s are allowed")
    if outcome.consumers:
        found.append(f"two copies at a time: {outcome.consumers} times")
    if outcome.twice:
        found.append(f"{outcome.twice} messages answered twice")
    if not outcome.struck:
        found.append("the run never came to this moment")
    secrets = [line.split("'")[1] for line in scene.lab.bot_environment() if "TOKEN" in line]
    if any(secret in run.output or secret in json.dumps(run.report) for secret in secrets for run in scene.runs):
        found.append("a secret was shown")
    return found


def failure(run: Run) -> str:
    """What a run failed with."""
    said = [
        str(event["event_data"]["res"].get("msg", ""))
        for event in run.events
        if event["event"] in ("runner_on_failed", "runner_on_unreachable")
    ]
    return said[0][:500] if said else run.output[-500:]


def _recorded(lab: Lab) -> tuple[str, ...]:
    """Bots whose rollback is on the VM's disk."""
    states = lab.machine.root.glob("var/lib/webex-rollout/*/state.json")
    return tuple(sorted(path.parent.name for path in states))


def tasks_of_a_rollout(conditions: Conditions) -> list[tuple[str, str]]:
    """Play and name of every task that an undisturbed rollout runs, in order."""
    with pristine("tasks", conditions.bots, conditions.accounts) as lab:
        run = conditions.run(lab)
    if run.rc != 0:
        raise RuntimeError(f"an undisturbed rollout ended with {run.rc}: {failure(run)}")
    found = [event["event_data"] for event in run.events if event["event"] == "runner_on_ok"]
    return list(dict.fromkeys((data["play"], data["task"]) for data in found))
