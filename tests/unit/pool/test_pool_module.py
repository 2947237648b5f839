"""The pool module in the oldest and the newest environment of a bot: real SDKs, real sockets."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.unit.pool.environments import NEWEST, OLDEST
from tests.unit.pool.mutants import MUTANTS, Mutant, apply
from tests.unit.pool.runner import MODULE, can_drop_flows, run_silence, run_suite


def test_suite_passes_in_the_oldest_and_the_newest_environment() -> None:
    # Together, because they mostly wait: for idle times, time-outs and the kernel's keep-alive seconds.
    runs = [(run_suite, OLDEST), (run_suite, NEWEST)]
    if can_drop_flows():
        runs += [(run_silence, OLDEST), (run_silence, NEWEST)]
    with ThreadPoolExecutor(len(runs)) as pool:
        outcomes = list(pool.map(lambda run: run[0](run[1]), runs))
    for outcome in outcomes:
        assert outcome.code == 0, outcome.text
        assert not outcome.counts.get("skipped"), outcome.text
    assert all(outcome.counts["passed"] > 200 for outcome in outcomes[:2])


def test_tests_that_drop_flows_refuse_to_run_on_a_network_that_is_not_theirs() -> None:
    outcome = run_suite(NEWEST, ["test_silence.py::test_default_client_waits_for_its_timeout"])
    assert outcome.code == 1
    assert "run by the runner, in a network namespace of its own" in outcome.text


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_mutant_changes_the_module(mutant: Mutant) -> None:
    # What each is caught by is proved by `python -m tests.bench.pool.mutants`, which takes minutes.
    source = MODULE.read_text()
    changed = apply(mutant, source)
    assert changed != source
    compile(changed, "mutant", "exec")


def test_module_is_python_3_9() -> None:
    code = "import ast, sys; ast.parse(sys.stdin.read(), feature_version=(3, 9))"
    subprocess.run([sys.executable, "-c", code], input=MODULE.read_text(), text=True, check=True)
