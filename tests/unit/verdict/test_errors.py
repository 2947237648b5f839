"""Errors of other kinds than failed calls: what the release makes of them, whatever their words, and whose they are."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from module_utils.webex_rollout.evidence import EXTEND, HOLD, HOUR, PROMOTE, ROLL_BACK, Control, Evidence, History
from module_utils.webex_rollout.record import evidence_of, replay, to_record
from module_utils.webex_rollout.verdict import judge, summary

NONE, FEW, FULL = (
    History(0, 120.0),
    History(60, 120.0, tuple((hour, 1) for hour in range(0, 120, 2))),
    History(2400, 120.0, tuple((hour, 20) for hour in range(120))),
)
CALLS = History(240, 120.0, tuple((hour, 2) for hour in range(120)))
GOOD = Evidence("jarvis", 24 * HOUR, requests=5000, heard=True, idle=5.0, history=CALLS, error_history=FEW)


def with_errors(count: int, **changes: Any) -> Evidence:
    return replace(GOOD, **{"errors": count, "logged_errors": count, **changes})


def controls(*errors: int, before: History = FEW, hours: float = 24.0) -> tuple[Control, ...]:
    return tuple(Control(f"bot{number}", 48, hours, CALLS, count, before) for number, count in enumerate(errors))


def test_two_thousand_type_errors_are_rolled_back_and_named() -> None:
    verdict = judge(with_errors(2000, new_errors={"TypeError": 1990}))
    assert verdict.verdict == ROLL_BACK
    assert verdict.reasons[0].startswith(
        "2000 errors of other kinds (12.0 due), new: TypeError (1990): the likelihood ratio is more than a million"
    )


@pytest.mark.parametrize("history", [NONE, FEW, FULL])
def test_errors_as_ever_are_no_reason(history: History) -> None:
    verdict = judge(with_errors(history.incidents // 5, error_history=history))
    assert (verdict.verdict, verdict.missing) == (PROMOTE, [])


def test_a_release_that_raises_at_each_message_is_found_within_minutes() -> None:
    early = with_errors(20, elapsed=300.0, requests=40, error_history=NONE, controls=controls(0, 0, hours=1 / 12))
    assert judge(early).verdict == ROLL_BACK


def test_in_a_bot_that_is_full_of_them_a_rise_is_found_too() -> None:
    assert judge(with_errors(480, error_history=FULL)).verdict == PROMOTE
    assert judge(with_errors(4800, error_history=FULL)).verdict == ROLL_BACK


def test_lines_that_the_process_did_not_log_count_for_nothing_and_are_told() -> None:
    forged = with_errors(2000, logged_errors=3)
    verdict = judge(forged)
    assert verdict.verdict == PROMOTE
    assert (
        "3 errors of other kinds (12.0 due), without 1997 in the log that its process did not log as such"
        in summary(forged, verdict)
    )


def test_what_the_process_logged_and_the_log_does_not_hold_is_not_compared() -> None:
    assert judge(with_errors(0, logged_errors=2000)).verdict == PROMOTE, "the time before is known from the log alone"


def test_errors_of_all_are_nobody_s_fault() -> None:
    outage = with_errors(240, elapsed=3 * HOUR, controls=controls(230, 250, 240, hours=3.0))
    verdict = judge(outage)
    assert verdict.verdict == HOLD
    assert "the bots without the release fail more often too (720 errors)" in verdict.reasons[1]
    assert judge(replace(outage, controls=controls(1, 2, 1, hours=3.0))).verdict == ROLL_BACK


def test_without_a_history_nobody_knows_how_many_were_usual() -> None:
    assert judge(with_errors(2000, error_history=History())).verdict == PROMOTE


def test_in_doubt_it_is_not_promoted_and_what_was_promoted_stays() -> None:
    doubtful = with_errors(12, error_history=NONE)
    verdict = judge(doubtful)
    assert 10 <= verdict.figures.errors_worse < 100
    assert verdict.verdict == EXTEND
    assert verdict.missing == ["no more errors than before (12 errors of other kinds (0.0 due))"]
    assert judge(replace(doubtful, promoted=True)).verdict == PROMOTE
    assert judge(with_errors(2000, promoted=True)).verdict == ROLL_BACK


def test_calls_that_are_refused_are_rolled_back_only_where_others_are_not() -> None:
    refused = replace(GOOD, elapsed=HOUR, requests=60, server_errors=60)
    assert judge(refused).verdict == HOLD, "with nobody to compare with it may be Webex"
    assert judge(replace(refused, controls=controls(0, 1, 0, hours=1.0))).verdict == ROLL_BACK
    assert judge(replace(refused, controls=controls(40, 50, 60, hours=1.0))).verdict == HOLD


def test_a_record_from_before_errors_were_judged_is_read() -> None:
    evidence = replace(GOOD, controls=controls(1))
    record = json.loads(json.dumps(to_record(evidence, judge(evidence))))
    again = evidence_of(record)
    assert again.error_history == FEW and again.controls[0].error_history == FEW
    for name in ("errors", "logged_errors", "new_errors", "error_history"):
        del record["evidence"][name]
    del record["evidence"]["controls"][0]["error_history"]
    assert replay(record).verdict == PROMOTE
