"""What a rollout costs, in labs, beside what else does it: python -m tests.bench.rollout.

Three parts: six bots on one VM beside the root-cause report's manual procedure; the same for several VMs; and a second
run beside pyinfra. Ends with 1 if a line under "must" does not hold.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from importlib.metadata import version

from tests.bench.rollout import many, peer, six

PARTS = ("six", "many", "pyinfra")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.rollout", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="how often everything is done (default: 3)")
    parser.add_argument("--only", choices=PARTS, action="append", help="this part alone; can be repeated")
    text = f"sizes of the part many, in VMs of six bots each (default: {' '.join(map(str, many.VMS))})"
    parser.add_argument("--vms", type=int, nargs="+", default=many.VMS, help=text)
    asked = parser.parse_args()
    parts = {
        "six": lambda: six.measure(asked.rounds),
        "many": lambda: many.measure(asked.rounds, asked.vms),
        "pyinfra": lambda: peer.measure(asked.rounds),
    }
    print(_conditions("begin"), f"{asked.rounds} rounds, each in turn.", flush=True)
    held = [parts[part]() for part in asked.only or PARTS]
    print("\n" + _conditions("end"))
    return 0 if all(held) else 1


def _conditions(when: str) -> str:
    return (
        f"Conditions at the {when}: controller and VMs share {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; "
        f"Python {platform.python_version()}, ansible-core {version('ansible-core')}, Linux {platform.release()}."
    )


if __name__ == "__main__":
    sys.exit(main())
