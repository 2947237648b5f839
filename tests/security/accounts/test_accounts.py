"""Whoever Ansible connects as: the six bots are rolled out, verified, left alone in mid-rollout, and rolled back.

Not part of `make test`, which has jarvis alone with a deploy account: `make test-all`.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.chaos.scenario import failure
from tests.integration.conftest import processes
from tests.integration.test_rollout import QUICK
from tests.lab.accounts import ACCOUNTS
from tests.lab.lab import Lab, temporary
from tests.lab.paths import BOTS
from tests.lab.playbooks import run_playbook
from tests.lab.webex.driver import Pattern
from tests.security.lab.conftest import abandon, copies, wait_for_the_guard

WAIT = {**QUICK, "rollout_wait": 300}


@pytest.fixture(scope="module", params=list(ACCOUNTS))
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """A lab of each set-up, whose bots are written to; the tests go on where the one before stopped."""
    with temporary(f"a_{request.param}", request.param) as fresh:
        fresh.network.forget_idle_after(3600)
        fresh.start_bots()
        fresh.webex.start(Pattern(burst=2, gap=4.0))
        yield fresh
        fresh.webex.stop()


def units(lab: Lab) -> dict[str, list[str]]:
    return {bot: [copy.unit for copy in found] for bot, found in processes(lab).items()}


def test_an_abandoned_rollout_is_rolled_back_by_the_vm(lab: Lab) -> None:
    deadline = abandon(lab)
    wait_for_the_guard(lab, deadline)


def test_rollout(lab: Lab) -> None:
    run = run_playbook(lab, extra=WAIT)
    assert (run.rc, run.count("failures")) == (0, 0), failure(run)
    assert units(lab) == {bot: [f"webex-bot@{bot}.service"] for bot in BOTS}
    assert [copy.user for copy in copies(lab, "vinay")] == ["vinay"]


def test_a_second_run_changes_nothing(lab: Lab) -> None:
    run = run_playbook(lab, extra=WAIT)
    assert run.rc == 0, failure(run)
    assert run.changed_tasks() == []


def test_verify(lab: Lab) -> None:
    run = run_playbook(lab, "playbooks/verify.yml", extra=QUICK)
    assert run.rc == 0, failure(run)


def test_rollback(lab: Lab) -> None:
    run = run_playbook(lab, "playbooks/rollback.yml", extra={"rollout_to": "0"})
    assert run.rc == 0, failure(run)
    assert units(lab) == {bot: [""] for bot in BOTS}
    assert lab.webex.wait_connected(BOTS, timeout=60)
