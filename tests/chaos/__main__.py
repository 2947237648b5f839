"""`make chaos`: every fault at every moment, on real machines: python -m tests.chaos [--only TEXT] [--jobs N].

Prints a line a case: each bot's release when it was left alone until the guard was done, the longest that a bot had no
websocket, messages lost and answered twice by the stand-in's books, moments with two copies of one bot, and how the
same command ended afterwards. Ends with 1 if any case leaves what must not be.
"""

from __future__ import annotations

import argparse
import platform
import re
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from functools import partial

from tests.chaos.faults import (
    AT_A_MOMENT,
    BROKEN_RELEASE,
    CANARY,
    CONTROLLER_KILLED,
    DISK_FULL,
    FLEET,
    MIDWAY,
    MOMENTS,
    WRITES,
)
from tests.chaos.measures import exposures, rehearsal, switch_against_manual
from tests.chaos.outcome import HEADER, Outcome
from tests.chaos.scenario import BEFORE, TRAFFIC, Conditions, play, tasks_of_a_rollout, two_rollouts
from tests.lab.accounts import ACCOUNTS
from tests.lab.paths import BOTS

Case = tuple[str, Callable[[Conditions], Outcome]]


def cases(tasks: list[tuple[str, str]]) -> Iterator[Case]:
    """All of them, by name. The controller is killed after each of `tasks`, too."""
    for fault in BROKEN_RELEASE:
        yield fault.name, partial(play, fault, BEFORE)
    for fault, moment in AT_A_MOMENT:
        yield f"{fault.name}, {moment}", partial(play, fault, (CANARY, moment))
    yield "two rollouts at once", two_rollouts
    for fault in MIDWAY:
        for moment in MOMENTS:
            yield f"{fault.name}, {moment}", partial(play, fault, (CANARY, moment))
        yield f"{fault.name}, switched (fleet)", partial(play, fault, (FLEET, "switched"))
    for place in WRITES:
        yield f"{DISK_FULL.name}, {place[1]}", partial(play, DISK_FULL, place)
    for place in tasks:
        yield f"{CONTROLLER_KILLED.name}, {place[1]} ({place[0]})", partial(play, CONTROLLER_KILLED, place)


def run_all(chosen: list[Case], conditions: Conditions, jobs: int) -> int:
    """Run some cases, some at a time, print each as it ends; returns how many are bad."""
    bad = 0
    with ThreadPoolExecutor(jobs) as threads:
        running = {threads.submit(run, conditions): name for name, run in chosen}
        try:
            for future in as_completed(running):
                bad += not _told(running[future], future)
        except KeyboardInterrupt:  # those at work take their labs down, the others do not begin
            threads.shutdown(cancel_futures=True)
            raise
    return bad


def _told(name: str, future: Future[Outcome]) -> bool:
    """Print what became of a case; whether it is good."""
    try:
        outcome = future.result()
    except Exception as error:  # the other cases are still worth their time
        print(f"{name}: {type(error).__name__}: {error}", flush=True)
        return False
    print(outcome.row(), flush=True)
    for problem in outcome.problems:
        print(f"    {problem}", flush=True)
    return outcome.good


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--only", default="", help="cases whose name matches this expression, and no measurements")
    parser.add_argument("--kill-every", type=int, default=1, help="kill after each n-th task of a rollout (0: not)")
    parser.add_argument("--bots", default=",".join(BOTS), help="who is rolled out (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=1, help="cases at a time")
    parser.add_argument(
        "--deadline", type=int, default=40, help="the guard's, in seconds; longer where jobs share cores"
    )
    parser.add_argument(
        "--accounts", choices=list(ACCOUNTS), default="vinay", help="who connects (default: %(default)s)"
    )
    parser.add_argument("--list", action="store_true", help="name the cases and end")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    bots = tuple(options.bots.split(","))
    if unknown := set(bots) - set(BOTS):
        parser.error(f"no such bot: {', '.join(sorted(unknown))}; there are {', '.join(BOTS)}")
    conditions = Conditions(bots, options.deadline, options.accounts)
    tasks = tasks_of_a_rollout(conditions)[:: options.kill_every] if options.kill_every else []
    chosen = [case for case in cases(tasks) if re.search(options.only, case[0])]
    if options.list:
        print("\n".join(name for name, _ in chosen))
        return 0
    print(HEADER, flush=True)
    bad = run_all(chosen, conditions, options.jobs)
    if not options.only:
        bad += not switch_against_manual()
        bad += not rehearsal()
        bad += not exposures()
    print(
        f"\n{bad} of {len(chosen)} cases bad. Conditions: {', '.join(bots)}, accounts {conditions.accounts}, "
        f"{options.jobs} cases at a time, "
        f"guard's deadline {conditions.deadline} s; {TRAFFIC.burst} message to each bot every {TRAFFIC.gap:.0f} s; "
        f"lost: unanswered 20 s after the last one; Linux {platform.release()}"
    )
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
