"""One fault at one moment of a rollout, on a pristine lab, and what became of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from tests.chaos.faults import MOMENTS, Fault
from tests.chaos.outcome import NEW, OLD, Outcome, guard_awake, standings
from tests.integration.test_rollout import QUICK
from tests.lab.lab import Lab, temporary
from tests.lab.paths import BOTS
from tests.lab.playbooks import Run, run_playbook
from tests.lab.run import wait_for
from tests.lab.webex.driver import Pattern

DEADLINE = 40
"""Seconds until the guard takes an attempt back; it has to be longer than switch and start-up check."""

START = 20
"""Seconds a bot may take from its start to its websocket, and the guard to get there."""

SETTINGS: dict[str, Any] = {**QUICK, "rollout_guard_deadline": DEADLINE, "rollout_wait": 120}
TRAFFIC = Pattern(burst=1, gap=3.0)


def play(fault: Fault, moment: str, stage: str = "canary") -> Outcome:
    """Strike at the end of the moment's task in that stage (or before the run), leave alone, run again."""
    with pristine(f"{fault.name} {moment} {stage}") as lab:
        since = lab.webex.books().now
        struck = fault.before
        if fault.before:
            fault.strike(lab)

        def on_event(event: dict[str, Any]) -> bool:
            nonlocal struck
            data = event.get("event_data", {})
            if struck or event["event"] != "runner_on_ok" or f"Stage {stage}" not in data["play"]:
                return True
            if data["task"].endswith(MOMENTS.get(moment, moment)):
                struck = True
                fault.strike(lab)
            return True

        first = run_playbook(lab, extra=SETTINGS, on_event=on_event)
        # After a power cut nobody starts a process that was never under this project's care.
        bots = _recorded(lab) if fault.loses_processes else BOTS
        place = moment if stage == "canary" else f"{moment} ({stage})"
        return _conclude(lab, (fault.name, place, struck), since, bots, [first], fault.mend)


def two_rollouts() -> Outcome:
    """The same command twice at the same time: one works, the other is refused."""
    with pristine("two rollouts") as lab:
        since = lab.webex.books().now
        with ThreadPoolExecutor(2) as threads:
            both = [threads.submit(run_playbook, lab, extra=SETTINGS) for _ in range(2)]
            runs = [each.result() for each in both]
        outcome = _conclude(lab, ("two rollouts at once", "-", True), since, BOTS, runs)
        if sorted(run.rc == 0 for run in runs) != [False, True]:
            outcome.problems.append(f"exit codes {[run.rc for run in runs]}; one has to work, the other to be refused")
        return outcome


@contextmanager
def pristine(name: str) -> Iterator[Lab]:
    """A pristine lab whose six bots are written to."""
    with temporary(f"c{hashlib.sha256(name.encode()).hexdigest()[:7]}") as lab:
        # What is lost here is to be lost to the fault, not to the NAT.
        lab.network.forget_idle_after(3600)
        lab.start_bots()
        lab.webex.start(TRAFFIC)
        yield lab


def _conclude(
    lab: Lab,
    what: tuple[str, str, bool],
    since: float,
    bots: tuple[str, ...],
    runs: list[Run],
    mend: Callable[[Lab], None] = lambda lab: None,
) -> Outcome:
    """Wait until the guard has nothing left to do, look, mend, run the same command again, look again."""
    wait_for(lambda: not guard_awake(lab), "the guard to be done", timeout=DEADLINE + 120, pause=1)
    # A bot that was put back is a process at once and a websocket a little later.
    lab.webex.wait_connected(bots, timeout=2 * START)
    left_alone, until = standings(lab, bots), lab.webex.books().now
    down = max((lab.webex.books().bots[bot].down_time(since, until) for bot in bots), default=0.0)
    mend(lab)
    missing = tuple(bot for bot in BOTS if bot not in bots)
    if missing:
        lab.start_bots(missing)  # as somebody would, by hand
    runs.append(run_playbook(lab, extra=SETTINGS))
    after = standings(lab)
    lab.webex.stop()
    lab.webex.wait_settled(timeout=90, lost_after=20)
    books = lab.webex.books(lost_after=20).bots.values()
    outcome = Outcome(
        *what,
        left_alone=left_alone,
        again=f"rc {runs[-1].rc}, failed {runs[-1].count('failures')}",
        after=after,
        down=down,
        limit=DEADLINE + 2 * START,
        lost=sum(page.total.lost for page in books),
        twice=sum(page.total.answered_twice for page in books),
        consumers=sum(len(page.two_consumers) for page in books),
    )
    outcome.problems.extend(problems(lab, outcome, runs))
    return outcome


def problems(lab: Lab, outcome: Outcome, runs: Sequence[Run]) -> list[str]:
    """What must not be: neither old nor new, down for too long, two at once, a run that does not converge, a secret."""
    found = [f"{bot}: {state}" for bot, state in outcome.left_alone.items() if state not in (OLD, NEW)]
    found += [f"{bot} is {state} after the second run" for bot, state in outcome.after.items() if state != NEW]
    if not outcome.again.startswith("rc 0, failed 0"):
        found.append(f"the same command again: {outcome.again}: {failure(runs[-1])}")
    if outcome.down > outcome.limit:
        found.append(f"down for {outcome.down:.0f} s, at most {outcome.limit:.0f} s are allowed")
    if outcome.consumers:
        found.append(f"two copies at a time: {outcome.consumers} times")
    if outcome.twice:
        found.append(f"{outcome.twice} messages answered twice")
    if not outcome.struck:
        found.append("the run never came to this moment")
    secrets = [line.split("'")[1] for line in lab.bot_environment() if "TOKEN" in line]
    if any(secret in run.output or secret in json.dumps(run.report) for secret in secrets for run in runs):
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
    """Bots whose way back is on the VM's disk."""
    states = lab.machine.root.glob("var/lib/webex-rollout/*/state.json")
    return tuple(sorted(path.parent.name for path in states))


def tasks_of_a_rollout() -> list[tuple[str, str]]:
    """Stage and name of every task that an undisturbed rollout runs for a bot, in order."""
    with pristine("tasks") as lab:
        run = run_playbook(lab, extra=SETTINGS)
    found = []
    for event in run.events:
        data = event.get("event_data", {})
        if event["event"] == "runner_on_ok" and data["play"].startswith("Stage "):
            found.append((data["play"].split()[1], data["task"]))
    return list(dict.fromkeys(found))
