"""A rollout beside the root-cause report's manual procedure, in one lab, in turn: python -m tests.bench.rollout.

The manual procedure is the report's for each of six bots: two scp (pool module, script) and one ssh that ends the bot,
starts it under nohup and greps its log. It copies the script as it is, and the module beside the checkout, so that the
rollout after it finds what it always finds. Ends with 1 if a line under "must" does not hold.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.lab.lab import PORT, Lab, temporary
from tests.lab.paths import BOTS, PROJECT, VM_CHECKOUT, VM_HOME, VM_USER

HOLDS = {"rollout_settle": 10, "rollout_soak_min": 10, "rollout_fleet_soak": 5}
"""What a rollout waits for on purpose; of the canary's stage once, of the fleet's once a batch."""
SETTINGS = {**HOLDS, "rollout_wait": 120, "rollout_min_requests": 1, "rollout_beta": 1}
BATCHES = 2
HELD = (1 + BATCHES) * HOLDS["rollout_settle"] + HOLDS["rollout_soak_min"] + BATCHES * HOLDS["rollout_fleet_soak"]
FIRST, SECOND = 3.0, 1.0
"""What is wanted at most, as multiples of the manual procedure: a first rollout without its holds, a second run."""


@dataclass
class Took:
    """What one thing took, in seconds: by the clock, and of this machine's processor for the controller's part."""

    wall: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)

    def shown(self, held: float = 0.0) -> str:
        low, middle, high = min(self.wall), statistics.median(self.wall), max(self.wall)
        less = f", {middle - held:.1f} s without {held:.0f} s of holds" if held else ""
        return f"{middle:6.1f} s ({low:.1f} to {high:.1f}){less}; processor {statistics.median(self.processor):.1f} s"


def timed(took: Took, action: Callable[[], object]) -> None:
    """Do something, and note what it took."""
    begun, used = time.monotonic(), _children()
    action()
    took.wall.append(time.monotonic() - begun)
    took.processor.append(_children() - used)


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def by_hand(lab: Lab) -> None:
    """The report's procedure for six bots that run under nohup."""
    copy, host = ["scp", "-P", str(PORT), *lab.ssh_options], f"{VM_USER}@{lab.address}"
    scripts = PROJECT / "tests/lab/checkout/webex_bots"
    for bot in BOTS:
        for source, target in (
            (PROJECT / "files/webex_pool_config.py", VM_HOME),
            (scripts / f"{bot}.py", f"{VM_CHECKOUT}/webex_bots"),
        ):
            subprocess.run([*copy, source, f"{host}:{target}/"], check=True)
        lines = [
            f"cd {VM_CHECKOUT}",
            f"pkill -f 'python.*[w]ebex_bots/{bot}.py'",
            *lab.bot_environment(),
            lab.start_line(bot),
            f"grep -c 'Read timed out' logs/{bot}.log || true",
        ]
        lab.shell(VM_USER, "\n".join(lines) + "\n")


def play(lab: Lab, playbook: str, *options: str) -> None:
    """Run a playbook as an operator does."""
    command = [Path(sys.executable).with_name("ansible-playbook"), "-i", lab.inventory, playbook, *options]
    done = subprocess.run(
        [*command, "-e", json.dumps(SETTINGS)], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{playbook} ended with {done.returncode}:\n{done.stdout[-4000:]}{done.stderr[-2000:]}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.rollout", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    manual, first, second, check, status, back = (Took() for _ in range(6))
    with temporary("bench_rollout") as lab:
        lab.start_bots()
        for number in range(1, rounds + 1):
            print(f"round {number} of {rounds}", file=sys.stderr, flush=True)
            timed(manual, lambda: by_hand(lab))
            if not lab.webex.wait_connected(BOTS, timeout=60):
                raise SystemExit("the bots did not connect after the manual procedure")
            timed(first, lambda: play(lab, "rollout.yml"))
            timed(second, lambda: play(lab, "rollout.yml"))
            timed(check, lambda: play(lab, "rollout.yml", "--check"))
            timed(status, lambda: play(lab, "playbooks/status.yml"))
            timed(back, lambda: play(lab, "playbooks/rollback.yml", "-e", "rollout_to=0"))
    print(f"manual procedure:    {manual.shown()}")
    print(f"first rollout:       {first.shown(HELD)}")
    print(f"second run:          {second.shown()}")
    print(f"second run, --check: {check.shown()}")
    print(f"status:              {status.shown()}")
    print(f"rollback of all:     {back.shown()}")
    print(
        f"Conditions: {len(BOTS)} bots on one VM, {rounds} rounds in turn, median (and range); controller and VM share "
        f"{os.cpu_count()} cores; load at the end {os.getloadavg()[0]:.1f}"
    )
    by = statistics.median(manual.wall)
    musts = (
        ("a first rollout without its holds", (statistics.median(first.wall) - HELD) / by, FIRST),
        ("a second run", statistics.median(second.wall) / by, SECOND),
    )
    for text, ratio, most in musts:
        holds = "holds" if ratio <= most else "DOES NOT HOLD"
        print(f"must: {text} takes at most {most:g} times the manual procedure: {ratio:.1f}, {holds}")
    return 0 if all(ratio <= most for _, ratio, most in musts) else 1


if __name__ == "__main__":
    sys.exit(main())
