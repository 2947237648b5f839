"""`make demo`: the six bots failing as in the field, the rollout, and the same traffic afterwards.

Everything printed is counted: time-outs with grep in the bots' own logs, messages in the stand-in's books, processes on
the VM. Ends with exit code 0 only if the fault was there before and is gone after.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tests.lab.errors import LabError
from tests.lab.lab import FORGET_IDLE_AFTER, Lab
from tests.lab.network import RETRANSMISSIONS
from tests.lab.paths import BOTS, PROJECT, VM_CHECKOUT
from tests.lab.webex.books import Summary
from tests.lab.webex.driver import Pattern

TRAFFIC = Pattern(burst=8, gap=15.0)
# A call that the NAT swallowed takes the bots' own 60 s to fail, or the kernel's 102 s: in less, a bot might show none.
SECONDS = 130


@dataclass(frozen=True)
class Moment:
    """Per bot: lines with "Read timed out" in its log so far, and what runs (pid, and its unit or nohup)."""

    timeouts: dict[str, int]
    running: dict[str, str]


def look(lab: Lab) -> Moment:
    """Count and list what is on the VM now."""
    logs = " ".join(f"{VM_CHECKOUT}/logs/{bot}.log" for bot in BOTS)
    counted = lab.machine.execute(["sh", "-c", f"grep -c 'Read timed out' {logs}"], check=False).stdout
    timeouts = {bot: int(count) for bot, count in re.findall(r"/(\w+)\.log:(\d+)", counted)}
    listed = lab.machine.execute(["ps", "-ww", "-eo", "pid=,unit:64=,args="]).stdout
    running = dict.fromkeys(BOTS, "not running")
    for pid, unit, bot in re.findall(r"^ *(\d+) +(\S+) +\S*python\S* \S*webex_bots/(\w+)\.py", listed, re.M):
        running[bot] = f"{unit if unit.startswith('webex-bot@') else 'nohup'} (pid {pid})"
    return Moment(timeouts, running)


def drive(lab: Lab, phase: str, seconds: int) -> None:
    """Count what is sent from now on under `phase`, and let the traffic go on for a while."""
    lab.webex.phase(phase)
    _say(f"traffic '{phase}': {TRAFFIC.burst} messages to each bot every {TRAFFIC.gap:.0f} s, for {seconds} s")
    time.sleep(seconds)


def settle(lab: Lab) -> None:
    """Stop the traffic and wait until every message is answered or lost."""
    lab.webex.stop()
    lab.webex.wait_settled(timeout=180, lost_after=30)


def table(lab: Lab, before: tuple[Moment, Moment], after: tuple[Moment, Moment]) -> bool:
    """Print what became of each bot; return whether the fault was there before and is gone after."""
    books = lab.webex.books(lost_after=30).bots
    columns = "{:<11} {:>9} {:>8}   {:>19} {:>19}   {}"
    print("\n" + columns.format("", "time-outs", "", "answered/lost/twice", "", ""))
    print(columns.format("bot", "before", "after", "before", "after", "runs as"))
    cured = True
    for bot in BOTS:
        failed = [moments[1].timeouts[bot] - moments[0].timeouts[bot] for moments in (before, after)]
        phases = [books[bot].phases[phase] for phase in ("before", "after")]
        change = f"{before[1].running[bot]} -> {after[1].running[bot]}"
        print(columns.format(bot, *failed, *(_messages(phase) for phase in phases), change))
        cured &= failed[1] == 0 and phases[1].lost == 0 and phases[1].answered == phases[1].sent
        cured &= failed[0] > 0 and books[bot].total.answered_twice == 0 and not books[bot].two_consumers
    print(
        f"\nConditions: the gateway forgets a connection idle for {FORGET_IDLE_AFTER} s; {SECONDS} s of traffic before;"
    )
    print(f"its kernel gives a connection up after {RETRANSMISSIONS} retransmissions (102 s), not after 15 (924 s);")
    print('time-outs are lines with "Read timed out"; a message unanswered 30 s after the last one was sent is lost.')
    return cured


def _messages(summary: Summary) -> str:
    return f"{summary.answered}/{summary.lost}/{summary.answered_twice} of {summary.sent}"


def _say(text: str) -> None:
    print(f"\n=== {text}", flush=True)


def demonstrate(lab: Lab, seconds_after: int) -> int:
    """The whole demonstration on a lab that is up."""
    lab.start_bots()
    lab.webex.start(TRAFFIC)
    found = look(lab)
    drive(lab, "before", SECONDS)
    failing = look(lab)
    _say("ansible-playbook rollout.yml (traffic goes on)")
    lab.webex.phase("rollout")
    playbook = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", lab.inventory, "rollout.yml"]
    rollout = subprocess.run(playbook, cwd=PROJECT, env={**os.environ, "ANSIBLE_FORCE_COLOR": "1"}, check=False)
    if rollout.returncode != 0:
        raise LabError(f"the rollout ended with exit code {rollout.returncode}; the reason is printed above")
    deployed = look(lab)
    drive(lab, "after", seconds_after)
    settle(lab)
    return 0 if table(lab, (found, failing), (deployed, look(lab))) else 1


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.lab.demo", description=__doc__)
    parser.add_argument("--after", type=int, default=SECONDS, help="seconds of traffic after the rollout")
    parser.add_argument("--keep", action="store_true", help="leave the lab up (make lab-down takes it down)")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    lab = Lab("default")
    try:
        lab.up(owned=not options.keep, say=_say)
        code = demonstrate(lab, options.after)
    except LabError as error:
        print(f"demo: {error}", file=sys.stderr)
        code = 1
    except KeyboardInterrupt:
        print("demo: interrupted", file=sys.stderr)
        code = 130
    finally:
        if not options.keep:
            lab.down()
    if code == 0:
        _say("the fault was there, and it is gone")
    return code


if __name__ == "__main__":
    sys.exit(main())
