"""`make chaos`: every fault at every moment, on real machines: python -m tests.chaos [--only TEXT] [--kill-every N].

Prints a line a case: each bot's release when it was left alone until the guard was done, the longest that a bot had no
websocket, messages lost and answered twice by the stand-in's books, moments with two copies of one bot, and how the
same command ended afterwards. Ends with 1 if any case leaves what must not be.
"""

from __future__ import annotations

import argparse
import platform
import signal
import sys
from collections.abc import Callable, Iterator
from functools import partial

from tests.chaos.faults import AT_A_MOMENT, BROKEN_RELEASE, MIDWAY, MOMENTS, Fault, kill_controller
from tests.chaos.measures import rehearsal, switch_against_manual
from tests.chaos.outcome import HEADER, Outcome
from tests.chaos.scenario import DEADLINE, TRAFFIC, play, tasks_of_a_rollout, two_rollouts

Case = tuple[str, Callable[[], Outcome]]


def cases(kill_every: int) -> Iterator[Case]:
    """All of them, by name. With `kill_every` the controller is killed after each n-th task of a rollout too."""
    for fault in MIDWAY:
        for moment in MOMENTS:
            yield f"{fault.name}, {moment}", partial(play, fault, moment)
        yield f"{fault.name}, switched (fleet)", partial(play, fault, "switched", "fleet")
    for fault, moment in AT_A_MOMENT:
        yield f"{fault.name}, {moment}", partial(play, fault, moment)
    for fault in BROKEN_RELEASE:
        yield fault.name, partial(play, fault, "-")
    yield "two rollouts at once", two_rollouts
    if kill_every:
        kill = Fault("controller killed", kill_controller)
        for stage, task in tasks_of_a_rollout()[::kill_every]:
            yield f"controller killed, {task} ({stage})", partial(play, kill, task, stage)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--kill-every", type=int, default=1, help="kill after each n-th task of a rollout (0: not)")
    parser.add_argument("--list", action="store_true", help="name the cases and end")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    chosen = [case for case in cases(options.kill_every) if options.only in case[0]]
    if options.list:
        print("\n".join(name for name, _ in chosen))
        return 0
    print(HEADER, flush=True)
    bad = 0
    for name, run in chosen:
        try:
            outcome = run()
        except Exception as error:  # the other cases are still worth their time
            bad += 1
            print(f"{name}: {type(error).__name__}: {error}", flush=True)
            continue
        print(outcome.row(), flush=True)
        for problem in outcome.problems:
            print(f"    {problem}", flush=True)
        bad += not outcome.good
    if not options.only:
        bad += not switch_against_manual()
        bad += not rehearsal()
    print(
        f"\n{bad} of {len(chosen)} cases bad. Conditions: guard's deadline {DEADLINE} s; {TRAFFIC.burst} message to "
        f"each bot every {TRAFFIC.gap:.0f} s; lost: unanswered 20 s after the last one; Linux {platform.release()}"
    )
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
