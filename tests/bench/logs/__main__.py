"""Speed of the log reading, beside `grep -c` of the same file: python -m tests.bench.logs [--megabytes N].

Seconds are the processor's, taken in turn, the best of several rounds: what else runs does not count. The file is in
the page cache for both. Ends with 1 if a line under "must" does not hold.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import ansible.module_utils

ansible.module_utils.__path__.append(str(Path(__file__).resolve().parents[3] / "module_utils"))

from ansible.module_utils.webex_rollout.logs.cursor import look, look_at_all  # noqa: E402
from ansible.module_utils.webex_rollout.logs.signatures import SIGNATURES  # noqa: E402

from tests.lab import history  # noqa: E402

MIB = 1024 * 1024
ROUNDS = 5
TEXT = "Read timed out"


def make_log(directory: Path, size: int) -> Path:
    """A log of that size: the lab's five days of jarvis, again and again."""
    history.write(directory, ["jarvis"])
    days = (directory / "jarvis.log.1").read_bytes() + (directory / "jarvis.log").read_bytes()
    (directory / "jarvis.log.1").unlink()
    log = directory / "jarvis.log"
    with log.open("wb") as file:
        for _ in range(-(-size // len(days))):
            file.write(days)
        file.truncate(size)
    return log


def seconds(action: Callable[[], object]) -> float:
    """Processor time of an action, children included."""
    begun = _processor()
    action()
    return _processor() - begun


def _processor() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def grep(log: Path) -> int:
    """What `grep -c` counts, as the report did it."""
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    done = subprocess.run(["grep", "-c", TEXT, log], capture_output=True, text=True, check=False, env=environment)
    return int(done.stdout)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.logs", description=__doc__)
    parser.add_argument("--megabytes", type=int, default=500)
    size = parser.parse_args().megabytes * MIB
    with tempfile.TemporaryDirectory() as directory:
        log = make_log(Path(directory), size)
        counted, seen = grep(log), look_at_all(str(log))
        ours, theirs = [], []
        for _ in range(ROUNDS):
            theirs.append(seconds(lambda: grep(log)))
            ours.append(seconds(lambda: look_at_all(str(log))))
        more = (log.read_bytes()[:MIB]).rpartition(b"\n")[0] + b"\n"
        with log.open("ab") as file:
            file.write(more)
        again = [seconds(lambda: look(seen.cursor)) for _ in range(ROUNDS)]
    first, second, beside = map(min, (ours, again, theirs))
    speed, saved = size / 1e6 / first, first / second
    lines = seen.tally.counts["read_timeout"].lines
    print(f"lines with '{TEXT}': {lines} (grep -c: {counted})")
    print(f"first look, {len(SIGNATURES)} signatures: {first:.2f} s, {speed:.0f} MB/s")
    print(f"one grep -c '{TEXT}': {beside:.2f} s, {size / 1e6 / beside:.0f} MB/s")
    print(f"second look after 1 MiB more: {second * 1000:.1f} ms, 1/{saved:.0f} of the first")
    print(f"Conditions: {size // MIB} MiB of the lab's history, page cache warm, best of {ROUNDS} rounds in turn")
    musts = (
        ("lines equal grep -c", lines == counted),
        ("a first look reads at least 200 MB/s", speed >= 200),
        ("a second look takes at most 1/50 of the first", saved >= 50),
    )
    for text, holds in musts:
        print(f"must: {text}: {'holds' if holds else 'DOES NOT HOLD'}")
    return 0 if all(holds for _, holds in musts) else 1


if __name__ == "__main__":
    sys.exit(main())
