"""What the verdict does with evidence: never a pass without any, back on bad news, hold when it is nobody's fault."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from module_utils.webex_rollout.evidence import (
    EXTEND,
    HOLD,
    HOUR,
    PROMOTE,
    ROLL_BACK,
    Control,
    Decision,
    Evidence,
    GateSettings,
    History,
)
from module_utils.webex_rollout.record import RecordError, evidence_of, replay, to_record
from module_utils.webex_rollout.verdict import earliest, judge, summary
from module_utils.webex_rollout.words import duration, number

# Two incidents an hour for five days, evenly.
BEFORE = History(240, 120.0, tuple((hour, 2) for hour in range(120)))
SHORT = GateSettings(soak_min=60.0)
GOOD = Evidence("jarvis", 24 * HOUR, requests=5000, ready_line=True, history=BEFORE)


def controls(*incidents: int, hours: float = 24.0) -> tuple[Control, ...]:
    return tuple(Control(f"bot{number}", count, hours, BEFORE) for number, count in enumerate(incidents))


def test_a_quiet_day_after_bad_ones_is_promoted() -> None:
    verdict = judge(GOOD)
    assert (verdict.verdict, verdict.missing) == (PROMOTE, [])
    assert verdict.figures.due == pytest.approx(48)
    assert "against a rise is more than a million (20 needed)" in verdict.reasons[0]


# --- never on nothing -------------------------------------------------------------------------------------------------

FLAWS: dict[str, dict[str, Any]] = {
    "no ready line": {"ready_line": False},
    "logging starts at CRITICAL": {"log_level": 50},
    "no time stamps": {"dated": False},
    "part of the log lost": {"gaps": ("bot.log was rotated away",)},
    "log unreadable": {"problem": "log bot.log is missing"},
    "no request": {"requests": 0},
    "too few requests": {"requests": 199},
    "too early": {"elapsed": 24 * HOUR - 1},
    "over budget": {"incidents": 25, "failures": 25},
    "failures the log does not show": {"pool_failed": 25},
}


@pytest.mark.parametrize("why", FLAWS)
def test_without_it_nothing_is_promoted_and_the_reason_is_said(why: str) -> None:
    verdict = judge(replace(GOOD, **FLAWS[why]))
    assert verdict.verdict == EXTEND
    assert len(verdict.missing) == 1, "each flaw alone, so that each is seen to count"
    words = {
        "no ready line": "a ready line of the pool module since the restart",
        "logging starts at CRITICAL": "records errors (the bot's logging starts at level 50)",
        "no time stamps": "records with a time stamp",
        "part of the log lost": "a log without gaps (bot.log was rotated away)",
        "log unreadable": "a readable log (log bot.log is missing)",
        "no request": "200 more requests (200 needed)",
        "too few requests": "1 more requests (200 needed)",
        "too early": "1 s of soak (24 h needed)",
        "over budget": "a rate within the budget (1 an hour, 1 allowed)",
        "failures the log does not show": "a rate within the budget (1 an hour, 1 allowed)",
    }
    assert words[why] in verdict.missing[0]


def test_at_the_end_of_the_longest_soak_it_is_hold() -> None:
    flawed = replace(GOOD, requests=0, elapsed=48 * HOUR - 1)
    assert judge(flawed).verdict == EXTEND
    verdict = judge(replace(flawed, elapsed=48 * HOUR))
    assert (verdict.verdict, verdict.reasons) == (HOLD, ["48 h were not enough"])
    assert verdict.missing


@settings(max_examples=200, deadline=None)
@given(
    flaw=st.sampled_from(["no ready line", "logging starts at CRITICAL", "log unreadable", "no request"]),
    elapsed=st.floats(0, 60 * HOUR),
    incidents=st.integers(0, 50),
    others=st.lists(st.integers(0, 50), max_size=5),
    old=st.integers(0, 500),
    least=st.integers(0, 300),
    beta=st.floats(0.001, 1),
)
def test_no_evidence_whatever_is_promoted_on_zero_exposure_or_a_log_without_a_ready_line(
    flaw: str, elapsed: float, incidents: int, others: list[int], old: int, least: int, beta: float
) -> None:
    evidence = replace(
        GOOD,
        elapsed=elapsed,
        incidents=incidents,
        failures=incidents,
        history=History(old, 120.0),
        controls=controls(*others, hours=elapsed / HOUR),
        settings=GateSettings(soak_min=0.0, min_requests=least, timeouts_per_hour=100.0, beta=beta),
    )
    assert judge(replace(evidence, **FLAWS[flaw])).verdict != PROMOTE


def test_the_ratio_that_is_missing_is_named_with_what_is_needed() -> None:
    verdict = judge(replace(GOOD, elapsed=600.0, settings=SHORT, history=History(1, 120.0)))
    assert verdict.missing == [
        f"the likelihood ratio against a tenfold rise ({number(verdict.figures.sound)} so far, 20 needed)"
    ]


def test_a_bot_that_never_failed_needs_long_enough_to_be_within_its_budget() -> None:
    fresh = replace(GOOD, history=History(0, 120.0), settings=SHORT)
    assert judge(replace(fresh, elapsed=2 * HOUR)).verdict == EXTEND
    assert judge(replace(fresh, elapsed=20 * HOUR)).verdict == PROMOTE


# --- bad news ---------------------------------------------------------------------------------------------------------


def test_a_worse_release_goes_back_long_before_the_soak_is_over() -> None:
    verdict = judge(replace(GOOD, elapsed=HOUR, incidents=20, failures=20))
    assert verdict.verdict == ROLL_BACK
    assert "likelihood ratio for a worse rate than before" in verdict.reasons[0]
    assert "(100 needed)" in verdict.reasons[0]


def test_a_missing_ready_line_does_not_save_a_worse_release() -> None:
    assert judge(replace(GOOD, elapsed=HOUR, incidents=20, failures=20, ready_line=False)).verdict == ROLL_BACK


def test_a_release_that_mends_nothing_is_not_rolled_back_but_not_promoted() -> None:
    same = replace(GOOD, incidents=48, failures=48)
    assert judge(same).verdict == EXTEND
    assert judge(replace(same, elapsed=48 * HOUR, incidents=96, failures=96)).verdict == HOLD


def test_when_all_bots_suffer_at_once_it_is_hold() -> None:
    verdict = judge(replace(GOOD, elapsed=HOUR, incidents=20, failures=20, controls=controls(20, 22, 18, hours=1.0)))
    assert verdict.verdict == HOLD
    assert "the bots without the release fail more often too (60, 6.0 were due)" in verdict.reasons[1]


def test_worse_than_all_others_in_an_outage_still_goes_back() -> None:
    evidence = replace(GOOD, elapsed=HOUR, incidents=90, failures=90, controls=controls(6, 5, 7, hours=1.0))
    assert judge(evidence).verdict == ROLL_BACK


def test_as_long_as_it_is_not_clear_whose_fault_it_is_the_soak_goes_on() -> None:
    evidence = replace(GOOD, elapsed=HOUR, incidents=14, failures=14, controls=controls(5, 5, 5, hours=1.0))
    assert judge(evidence).verdict == EXTEND


def test_other_bots_that_do_well_do_not_hide_a_worse_one() -> None:
    evidence = replace(GOOD, elapsed=HOUR, incidents=20, failures=20, controls=controls(2, 1, 3, hours=1.0))
    assert judge(evidence).verdict == ROLL_BACK


def test_other_bots_that_fail_meanwhile_make_a_quiet_one_count_sooner() -> None:
    quiet = replace(
        GOOD, elapsed=300.0, settings=SHORT, history=History(24, 120.0, tuple((i, 1) for i in range(0, 120, 5)))
    )
    assert judge(quiet).verdict == EXTEND
    assert judge(replace(quiet, controls=controls(40, 50, 45, hours=1 / 12))).verdict == PROMOTE


def test_failures_that_come_in_clusters_weigh_less() -> None:
    """Twelve in an hour: unheard of where they came one by one, nothing new where they always came ten at a time."""
    tens = History(240, 120.0, tuple((hour, 10) for hour in range(0, 120, 5)))
    news = replace(GOOD, elapsed=HOUR, incidents=12, failures=12)
    assert judge(news).verdict == ROLL_BACK
    assert judge(replace(news, history=tens)).verdict == EXTEND


# --- by hand ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", [PROMOTE, ROLL_BACK, HOLD])
def test_a_human_decides_and_is_named(word: str) -> None:
    verdict = judge(replace(GOOD, ready_line=False, decision=Decision(word, "vinay", "known outage")))
    assert (verdict.verdict, verdict.reasons) == (word, ["decided by vinay: known outage"])
    assert verdict.missing, "what the human overrode stays in the record"


# --- words and times --------------------------------------------------------------------------------------------------


def test_the_summary_reads_as_a_person_would_say_it() -> None:
    old = History(684, 120.0, tuple((hour, 6) for hour in range(114)))
    evidence = Evidence("jarvis", 41 * 60.0, requests=214, recovered=3, ready_line=True, history=old)
    line = summary(evidence, judge(evidence))
    assert line.startswith(
        "0 incidents in 214 requests over 41 min; 3 recovered; at the old rate (5.7 an hour) 3.9 were due"
    )
    assert "likelihood ratios: against a rise" in line
    with_others = replace(evidence, incidents=1, failures=1, pool_failed=3, controls=controls(2, 1, hours=41 / 60))
    line = summary(with_others, judge(with_others))
    assert line.startswith("1 incident in 214 requests")
    assert "2 more failed calls that the log does not show" in line
    assert "the 2 bots without the release had 3 (2.7 due)" in line


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (50.2, "51 s"), (119.5, "120 s"), (2460, "41 min"), (7500, "2 h 5 min"), (86400, "24 h")],
)
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("ratio", "words"), [(0.0234, "0.023"), (1.25, "1.2"), (53.4, "53"), (1e9, "more than a million")]
)
def test_ratios(ratio: float, words: str) -> None:
    assert number(ratio) == words


@pytest.mark.parametrize("old", [0, 12, 60, 240])
@pytest.mark.parametrize("incidents", [0, 1])
def test_at_the_earliest_time_named_it_is_promoted_and_not_before(old: int, incidents: int) -> None:
    evidence = Evidence(
        "jarvis",
        300.0,
        incidents=incidents,
        failures=incidents,
        requests=30,
        ready_line=True,
        history=History(old, 120.0),
        settings=SHORT,
    )
    when = earliest(evidence)
    assert when is not None

    def at(elapsed: float) -> str:
        return judge(replace(evidence, elapsed=elapsed, requests=int(elapsed / 10))).verdict

    assert at(when) == PROMOTE
    assert at(when * 0.97) == EXTEND


def test_there_is_no_earliest_time_for_what_time_does_not_mend() -> None:
    assert earliest(replace(GOOD, ready_line=False, elapsed=HOUR)) is None
    assert earliest(replace(GOOD, requests=0, elapsed=HOUR)) is None
    assert earliest(replace(GOOD, elapsed=0.0)) is None
    assert earliest(replace(GOOD, elapsed=HOUR, requests=200)) == 24 * HOUR


# --- the record -------------------------------------------------------------------------------------------------------

histories = st.builds(
    History,
    incidents=st.integers(0, 300),
    hours=st.floats(0, 200),
    hourly=st.lists(st.tuples(st.integers(0, 500_000), st.integers(1, 20)), max_size=5).map(tuple),
)
evidences = st.builds(
    Evidence,
    bot=st.text(max_size=8),
    elapsed=st.floats(0, 60 * HOUR),
    incidents=st.integers(0, 60),
    failures=st.integers(0, 80),
    recovered=st.integers(0, 9),
    requests=st.integers(0, 9999),
    pool_failed=st.integers(0, 9),
    ready_line=st.booleans(),
    log_level=st.sampled_from([None, 20, 50]),
    gaps=st.lists(st.text(max_size=5), max_size=2).map(tuple),
    history=histories,
    controls=st.lists(
        st.builds(
            Control, bot=st.text(max_size=4), incidents=st.integers(0, 99), hours=st.floats(0, 60), history=histories
        ),
        max_size=5,
    ),
    decision=st.one_of(st.none(), st.builds(Decision, verdict=st.sampled_from([PROMOTE, HOLD]), who=st.just("vinay"))),
    settings=st.builds(GateSettings, soak_min=st.floats(0, 1e5), timeouts_per_hour=st.floats(0, 50)),
)


@settings(max_examples=150, deadline=None)
@given(evidence=evidences)
def test_any_record_gives_the_same_verdict_again(evidence: Evidence) -> None:
    verdict = judge(evidence)
    record = json.loads(json.dumps(to_record(evidence, verdict)))
    again = replay(record)
    assert (again.verdict, list(again.reasons), list(again.missing)) == (
        verdict.verdict,
        list(verdict.reasons),
        list(verdict.missing),
    )
    assert again.figures == verdict.figures
    assert to_record(evidence_of(record), again)["verdict"]["summary"] == record["verdict"]["summary"]


def test_less_than_a_second_of_history_gives_no_rate() -> None:
    assert judge(replace(GOOD, elapsed=0.0, history=History(incidents=1, hours=5e-324))).figures.due is None


def test_a_record_of_format_1_is_refused_in_one_sentence() -> None:
    kept = json.loads((Path(__file__).parents[1] / "soak/format1.json").read_text())
    with pytest.raises(RecordError) as refusal:
        replay(kept["record"])
    assert str(refusal.value) == (
        "the decision record has format 1, this program reads format 2: "
        "judge it anew with version 0.1.0 of this project"
    )


def test_a_record_that_says_otherwise_is_found_out() -> None:
    record = to_record(GOOD, judge(GOOD))
    record["verdict"]["verdict"] = ROLL_BACK
    with pytest.raises(RecordError, match="the recorded verdict is roll back, its evidence gives promote"):
        replay(record)


@pytest.mark.parametrize("field", ["version", "evidence"])
@pytest.mark.parametrize("damage", [None, {}, "x", 7])
def test_a_damaged_record_is_refused(field: str, damage: Any) -> None:
    record = {**to_record(GOOD, judge(GOOD)), field: damage}
    with pytest.raises(RecordError, match="the decision record is damaged"):
        replay(record)


@pytest.mark.parametrize("record", [None, {}, [], "x"])
def test_what_is_no_record_is_refused(record: Any) -> None:
    with pytest.raises(RecordError, match="the decision record is damaged"):
        replay(record)
