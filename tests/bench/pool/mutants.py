"""Proves that the tests guard each promise of the pool module: python -m tests.bench.pool.mutants [part of a name …].

For each mutant, the tests that must notice run against it; one that passes is a hole in the suite.
"""

from __future__ import annotations

import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.unit.pool.environments import NEWEST
from tests.unit.pool.mutants import MUTANTS, Mutant, apply
from tests.unit.pool.runner import MODULE, Outcome, run_silence, run_suite


def survivors(mutant: Mutant) -> list[str]:
    """The tests that should have failed against `mutant` and did not."""
    with tempfile.TemporaryDirectory(prefix="wbr-mutant-") as scratch:
        module = Path(scratch) / MODULE.name
        module.write_text(apply(mutant, MODULE.read_text()))
        silent = [test for test in mutant.tests if test.startswith("test_silence.py")]
        others = [test for test in mutant.tests if test not in silent]
        passed = []
        if others:
            passed += _passed(run_suite(NEWEST, [*others, "-rA"], module), others)
        if silent:
            passed += _passed(run_silence(NEWEST, [*silent, "-rA"], module), silent)
        return passed


def _passed(outcome: Outcome, tests: list[str]) -> list[str]:
    assert outcome.code in (0, 1), outcome.text  # anything else is a test that was not found, or a broken run
    failed = {line.split(" ")[1] for line in outcome.text.splitlines() if line.startswith(("FAILED ", "ERROR "))}
    return [test for test in tests if test not in failed]


def main(words: list[str]) -> int:
    """Run the chosen mutants, two at a time, and name the survivors."""
    chosen = [mutant for mutant in MUTANTS if not words or any(word in mutant.name for word in words)]
    NEWEST.interpreter()
    lived = 0
    with ThreadPoolExecutor(2) as pool:
        for mutant, passed in zip(chosen, pool.map(survivors, chosen), strict=True):
            lived += bool(passed)
            print(f"{'LIVES ' if passed else 'caught'} {mutant.name}: {mutant.promise}", flush=True)
            for test in passed:
                print(f"         by {test}", flush=True)
    print(f"{len(chosen) - lived} of {len(chosen)} mutants caught by every test that should")
    return 1 if lived else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
