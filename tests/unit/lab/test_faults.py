"""Which requests a fault befalls."""

from __future__ import annotations

import random

import pytest

from tests.lab.webex.faults import Fault, Faults

GET_MESSAGE = ("jarvis", "GET", "webexapis.com", "/v1/messages/abc")


def faults(*rules: Fault) -> Faults:
    made = Faults(random.Random(1))
    made.rules.extend(rules)
    return made


@pytest.mark.parametrize(
    ("rule", "hit"),
    [
        (Fault("delay"), True),
        (Fault("delay", bot="jarvis"), True),
        (Fault("delay", bot="tars"), False),
        (Fault("delay", method="POST"), False),
        (Fault("delay", host="conv-a.wbx2.com"), False),
        (Fault("delay", path="^/v1/messages/"), True),
        (Fault("delay", path="^/v1/messages$"), False),
        (Fault("delay", share=0.0), False),
    ],
    ids=lambda value: repr(value) if isinstance(value, Fault) else "",
)
def test_a_rule_matches_by_bot_method_host_and_path(rule: Fault, hit: bool) -> None:
    assert (faults(rule).pick(*GET_MESSAGE) is rule) is hit


def test_the_first_matching_rule_decides() -> None:
    other, first, second = Fault("delay", bot="tars"), Fault("hang"), Fault("status")

    assert faults(other, first, second).pick(*GET_MESSAGE) is first


def test_a_rule_is_used_up_after_its_times() -> None:
    rule = Fault("status", times=2)
    rules = faults(rule)

    assert [rules.pick(*GET_MESSAGE) is rule for _ in range(4)] == [True, True, False, False]
    assert rule.hits == 2


def test_a_share_befalls_that_part_of_the_requests() -> None:
    rules = faults(Fault("delay", share=0.25))

    hits = sum(rules.pick(*GET_MESSAGE) is not None for _ in range(4000))

    # Binomial: five standard deviations around 1000.
    assert 863 < hits < 1137


def test_an_unknown_kind_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"'hung'.*delay, status, hang, hang_after, disconnect, disconnect_after"):
        Fault("hung")
