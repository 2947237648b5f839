"""Real objects of every version of every SDK, given to the pool module: python -m tests.bench.pool.objects [PACKAGE …].

Each version is taken by the pool module, or refused in preflight; one that is refused when the bot runs is a fault.
Each is laid over the newest environment of the suite, else the oldest (and wxc_sdk over one with the pydantic of its
time, which it does not ask for by version), else installed with all that it asks for.
Exits with 1 if one is refused at run time.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from module_utils.webex_rollout.refusals import OLDEST as OLDEST_VERSIONS
from module_utils.webex_rollout.refusals import version_problems
from tests.bench.pool.matrix import REFERENCE, find_python
from tests.unit.pool.environments import CACHE, NEWEST, OLDEST, Environment
from tests.unit.pool.runner import MODULE

CLIENT = Path(__file__).with_name("object_client.py")
PACKAGES = tuple(name for name in OLDEST_VERSIONS if name not in ("python", "requests", "urllib3"))
OLD_PYDANTIC = Environment(
    "pydantic-1", ("wxc_sdk==1.15.0", "pydantic==1.10.26", "backoff==2.2.1", "requests==2.31.0", "urllib3==2.0.7")
)
BASES = {"wxc_sdk": (NEWEST, OLDEST, OLD_PYDANTIC)}
# webexpythonsdk 2.0.2 has syntax of 3.12.
PYTHONS = (REFERENCE, "3.12", "3.8")
TAKEN, REFUSED, UNMADE, FAULT = "taken", "refused in preflight", "cannot be made at all", "REFUSED AT RUN TIME"


@dataclass(frozen=True)
class Outcome:
    """What became of one version's object."""

    package: str
    version: str
    outcome: str
    reason: str = ""


def released(package: str) -> list[str]:
    """The versions that can be installed, newest first."""
    argv = [NEWEST.interpreter(), "-m", "pip", "--disable-pip-version-check", "index", "versions", package]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    found = re.search(r"^Available versions: (.*)$", done.stdout, re.MULTILINE)
    if found is None:
        raise RuntimeError(f"the versions of {package} cannot be had: {done.stderr.strip()[-300:]}")
    return found[1].split(", ")


def try_version(package: str, version: str) -> Outcome:
    """Make an object of this version, and see what the pool module, and preflight, say of it."""
    refusals = list(version_problems("python", REFERENCE, {package: version}))
    if refusals:
        return Outcome(package, version, REFUSED, refusals[0])
    problem = ""
    for told in _answers(package, version):
        problem = str(told["problem"])
        if told["version"] != version or not told["made"]:
            continue  # for want of what it asks for
        return Outcome(package, version, FAULT if problem else TAKEN, problem)
    return Outcome(package, version, UNMADE, problem)


def _answers(package: str, version: str) -> Iterator[dict[str, object]]:
    """What each environment has to say, the cheapest first."""
    for base in BASES.get(package, (NEWEST, OLDEST)):
        yield _ask(base.interpreter(), package, _laid_over(base, package, version))
    for python in PYTHONS:
        found = find_python(python)
        if found is not None:
            pins = (f"{package}=={version}", "future==1.0.0", "setuptools<81")
            try:
                yield _ask(Environment(f"objects-{package}-{version}", pins, python=found).interpreter(), package)
            except RuntimeError as error:
                yield {"version": "", "made": False, "problem": str(error)}


def _laid_over(base: Environment, package: str, version: str) -> Path:
    """The package alone, in a directory of its own."""
    target = CACHE / "objects" / f"{base.name}-{package}-{version}"
    if not target.exists():
        argv = [base.interpreter(), "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps"]
        subprocess.run([*argv, "--target", target, f"{package}=={version}"], capture_output=True, check=False)
    return target


def _ask(python: Path, package: str, over: Path | None = None) -> dict[str, object]:
    environment = {**os.environ, "PYTHONPATH": str(over or ""), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [python, CLIENT, MODULE, package], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    try:
        answer: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        return {"version": "", "made": False, "problem": (done.stderr.strip().splitlines() or ["no answer"])[-1]}
    return answer


def main() -> int:
    """Try them, and print what became of each package's versions."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.pool.objects", description=__doc__.split("\n")[0])
    parser.add_argument("packages", nargs="*", help=f"of {', '.join(PACKAGES)}; all if none is named")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    faults = 0
    for package in arguments.packages or PACKAGES:
        versions = released(package)
        with ThreadPoolExecutor(arguments.workers) as threads:
            outcomes = list(threads.map(lambda version, package=package: try_version(package, version), versions))
        counted = Counter(each.outcome for each in outcomes)
        print(f"{package}: {', '.join(f'{count} {name}' for name, count in counted.most_common())}", flush=True)
        for each in outcomes:
            if each.outcome in (UNMADE, FAULT):
                print(f"  {each.version}: {each.outcome}: {each.reason[-300:]}", flush=True)
        faults += counted[FAULT]
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
