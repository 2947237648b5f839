"""What the VM makes of bad releases, dead bots, other hands and no Webex; `make outages` prints the whole table."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.chaos.alone import alone
from tests.chaos.canaries import QUIET_HARM, RELEASES, play
from tests.chaos.outages import HANDS, HANDS_SECONDS, STRIKES, in_a_switch, outages, struck
from tests.chaos.rows import rollout
from tests.chaos.scenario import pristine
from tests.lab.lab import Lab
from tests.lab.playbooks import run_playbook

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """Six bots that are written to, and fail no more than they must."""
    with pristine("outages as tests") as fresh:
        yield fresh


def test_a_release_that_fails_in_another_way_is_rolled_back(lab: Lab) -> None:
    assert {row.what: row.problems for row in play(lab, RELEASES) if row.problems} == {}


def test_no_chat_is_evidence_and_a_dead_lock_is_found(lab: Lab) -> None:
    assert {row.what: row.problems for row in play(lab, QUIET_HARM) if row.problems} == {}


def test_the_vm_judges_while_nobody_is_connected_and_the_next_run_goes_on(lab: Lab) -> None:
    assert {row.what: row.problems for row in alone(lab) if row.problems} == {}
    run_playbook(lab, "playbooks/rollback.yml", extra={"rollout_to": "0"})


def test_an_outage_in_a_switch_is_survived(lab: Lab) -> None:
    assert {row.what: row.problems for row in in_a_switch(lab, 90) if row.problems} == {}


def test_whatever_strikes_a_bot_it_is_told_and_one_copy_runs(lab: Lab) -> None:
    assert {row.what: row.problems for row in struck(lab, STRIKES, 900) if row.problems} == {}


def test_what_others_deploy_is_told_and_no_second_copy_runs(lab: Lab) -> None:
    assert {row.what: row.problems for row in struck(lab, HANDS, HANDS_SECONDS) if row.problems} == {}


def test_without_webex_nothing_is_rolled_back_and_all_are_back_in_a_minute(lab: Lab) -> None:
    rollout(lab)
    assert {(row.what, row.bot): row.problems for row in outages(lab, [30, 300]) if row.problems} == {}
