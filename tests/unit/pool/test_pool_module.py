"""The pool module in the oldest and the newest environment of a bot: real SDKs, real sockets."""

from __future__ import annotations

import ast
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from plugin_utils.preconditions import _NUMBERS
from tests.unit.pool.environments import NEWEST, OLD_REQUESTS, OLDEST
from tests.unit.pool.mutants import MUTANTS, Mutant, apply
from tests.unit.pool.runner import MODULE, PROJECT, can_drop_flows, run_silence, run_suite


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


def _value(name: str) -> ast.expr:
    """What the module gives a name."""
    (value,) = [
        node.value
        for node in ast.parse(MODULE.read_text()).body
        if isinstance(node, (ast.Assign, ast.AnnAssign))
        and ast.unparse(node.targets[0] if isinstance(node, ast.Assign) else node.target) == name
        and node.value is not None
    ]
    return value


def _oldest() -> dict[str, str]:
    """`OLDEST` as preflight reads it, which has neither requests nor an SDK."""
    return ast.literal_eval(_value("OLDEST"))


def test_settings_that_preflight_takes_are_taken_at_run_time() -> None:
    ranges = eval(ast.unparse(_value("_RANGES")))
    for setting, name in (
        ("webex_pool_connections", "pool_connections"),
        ("webex_pool_maxsize", "pool_maxsize"),
        ("webex_max_retries", "max_retries"),
        ("webex_request_timeout", "request_timeout"),
    ):
        lowest, highest = _NUMBERS[setting]
        _, low, high = ranges[name]
        assert low <= lowest <= highest <= high, setting


def test_oldest_versions_are_those_that_the_suite_runs_with() -> None:
    assert {f"{name}=={_oldest()[name]}" for name in ("requests", "urllib3")} <= set(OLD_REQUESTS)
    assert set(OLD_REQUESTS) <= set(OLDEST.forced)


def test_oldest_versions_are_in_the_page() -> None:
    page = (PROJECT / "docs" / "pool-module.md").read_text().lower()
    assert [name for name, version in _oldest().items() if name not in page or f" {version}" not in page] == []


def test_module_is_of_the_oldest_python() -> None:
    version = tuple(map(int, _oldest()["python"].split(".")))
    code = f"import ast, sys; ast.parse(sys.stdin.read(), feature_version={version})"
    subprocess.run([sys.executable, "-c", code], input=MODULE.read_text(), text=True, check=True)
