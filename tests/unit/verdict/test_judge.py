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
GOOD = Evidence("jarvis", 24 * HOUR, requests=5000, heard=True, idle=5.0, history=BEFORE)


def controls(*incidents: int, hours: float = 24.0) -> tuple[Control, ...]:
    return tuple(Control(f"bot{number}", count, hours, BEFORE) for number, count in enumerate(incidents))


def test_a_quiet_day_after_bad_ones_is_promoted() -> None:
    verdict = judge(GOOD)
    assert (verdict.verdict, verdict.missing) == (PROMOTE, [])
    assert verdict.figures.due == pytest.approx(48)
    assert "against a rise is more than a million (20 needed)" in verdict.reasons[0]


# --- never on nothing -------------------------------------------------------------------------------------------------

FLAWS: dict[str, dict[str, Any]] = {
    "never heard": {"heard": False},
    "not heard just now": {"silence": "no sign of life for 200 s"},
    "no request": {"requests": 0},
    "too few requests": {"requests": 199},
    "answers with errors of the server's": {"requests": 260, "server_errors": 61},
    "nothing done lately": {"idle": 3601.0},
    "nothing done in this boot": {"idle": None},
    "ended too often": {"crashes": 3},
    "too early": {"elapsed": 24 * HOUR - 1},
    "over budget": {"incidents": 25, "failures": 25, "failed_calls": 25},
    "failures the log does not show": {"failed_calls": 25},
}
WORDS = {
    "never heard": "a sign of the pool module since the restart (none so far)",
    "not heard just now": "a bot that is heard (no sign of life for 200 s)",
    "no request": "200 more requests (200 needed)",
    "too few requests": "1 more requests (200 needed)",
    "answers with errors of the server's": "1 more requests (200 needed)",
    "nothing done lately": "a request within the last hour (the last one was 61 min ago)",
    "nothing done in this boot": "a request within the last hour",
    "ended too often": "a process that stays (it was started again 3 times)",
    "too early": "1 s of soak (24 h needed)",
    "over budget": "a rate within the budget (1 an hour, 1 allowed)",
    "failures the log does not show": "a rate within the budget (1 an hour, 1 allowed)",
}


@pytest.mark.parametrize("why", FLAWS)
def test_without_it_nothing_is_promoted_and_the_reason_is_said(why: str) -> None:
    verdict = judge(replace(GOOD, **FLAWS[why]))
    assert verdict.verdict == EXTEND
    assert verdict.missing == [WORDS[why]], "each flaw alone, so that each is seen to count"


def test_at_the_end_of_the_longest_soak_it_is_hold() -> None:
    flawed = replace(GOOD, requests=0, elapsed=48 * HOUR - 1)
    assert judge(flawed).verdict == EXTEND
    verdict = judge(replace(flawed, elapsed=48 * HOUR))
    assert (verdict.verdict, verdict.reasons) == (HOLD, ["48 h were not enough"])
    assert verdict.missing


@settings(max_examples=200, deadline=None)
@given(
    flaw=st.sampled_from(["never heard", "not heard just now", "nothing done lately", "no request"]),
    elapsed=st.floats(0, 60 * HOUR),
    incidents=st.integers(0, 50),
    others=st.lists(st.integers(0, 50), max_size=5),
    old=st.integers(0, 500),
    least=st.integers(0, 300),
    beta=st.floats(0.001, 1),
)
def test_no_evidence_whatever_is_promoted_on_zero_exposure_or_unheard(
    flaw: str, elapsed: float, incidents: int, others: list[int], old: int, least: int, beta: float
) -> None:
    evidence = replace(
        GOOD,
        elapsed=elapsed,
        incidents=incidents,
        failures=incidents,
        failed_calls=incidents,
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
    verdict = judge(replace(GOOD, elapsed=HOUR, incidents=20, failures=20, failed_calls=20))
    assert verdict.verdict == ROLL_BACK
    assert "likelihood ratio for a worse rate than before" in verdict.reasons[0]
    assert "(100 needed)" in verdict.reasons[0]


def test_silence_does_not_save_a_worse_release() -> None:
    assert (
        judge(replace(GOOD, elapsed=HOUR, incidents=20, failures=20, failed_calls=20, heard=False)).verdict == ROLL_BACK
    )


def test_a_release_that_mends_nothing_is_not_rolled_back_but_not_promoted() -> None:
    same = replace(GOOD, incidents=48, failures=48, failed_calls=48)
    assert judge(same).verdict == EXTEND
    assert judge(replace(same, elapsed=48 * HOUR, incidents=96, failures=96, failed_calls=96)).verdict == HOLD


def test_when_all_bots_suffer_at_once_it_is_hold() -> None:
    verdict = judge(
        replace(
            GOOD, elapsed=HOUR, incidents=20, failures=20, failed_calls=20, controls=controls(20, 22, 18, hours=1.0)
        )
    )
    assert verdict.verdict == HOLD
    assert "the bots without the release fail more often too (60, 6.0 were due)" in verdict.reasons[1]


def test_worse_than_all_others_in_an_outage_still_goes_back() -> None:
    evidence = replace(
        GOOD, elapsed=HOUR, incidents=90, failures=90, failed_calls=90, controls=controls(6, 5, 7, hours=1.0)
    )
    assert judge(evidence).verdict == ROLL_BACK


def test_as_long_as_it_is_not_clear_whose_fault_it_is_the_soak_goes_on() -> None:
    evidence = replace(
        GOOD, elapsed=HOUR, incidents=14, failures=14, failed_calls=14, controls=controls(5, 5, 5, hours=1.0)
    )
    assert judge(evidence).verdict == EXTEND


@pytest.mark.parametrize(("incidents", "word"), [(13, EXTEND), (14, ROLL_BACK)])
def test_it_has_to_be_surer_whose_fault_it_is_than_that_there_is_one(incidents: int, word: str) -> None:
    counts = {"incidents": incidents, "failures": incidents, "failed_calls": incidents}
    verdict = judge(replace(GOOD, elapsed=HOUR, **counts, controls=controls(2, 1, 3, hours=1.0)))
    assert verdict.figures.control_worse is not None
    assert (verdict.figures.control_worse > 1000) is (word == ROLL_BACK)
    assert verdict.figures.control_worse > 100
    assert verdict.verdict == word


def test_other_bots_that_do_well_do_not_hide_a_worse_one() -> None:
    evidence = replace(
        GOOD, elapsed=HOUR, incidents=20, failures=20, failed_calls=20, controls=controls(2, 1, 3, hours=1.0)
    )
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
    news = replace(GOOD, elapsed=HOUR, incidents=12, failures=12, failed_calls=12)
    assert judge(news).verdict == ROLL_BACK
    assert judge(replace(news, history=tens)).verdict == EXTEND


# --- words are no evidence --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lines", [13, 500])
def test_failures_that_no_call_bears_out_count_as_nothing(lines: int) -> None:
    """Somebody writes "Read timed out" to the bot, which logs what it is sent."""
    verdict = judge(replace(GOOD, elapsed=HOUR, incidents=lines, failures=lines))
    assert verdict.verdict == EXTEND
    assert f"{lines} of the incidents are no call's" in summary(
        replace(GOOD, elapsed=HOUR, incidents=lines, failures=lines), verdict
    )
    assert judge(replace(GOOD, incidents=lines, failures=lines)).verdict == PROMOTE


def test_of_many_lines_as_many_count_as_calls_failed() -> None:
    seen = replace(GOOD, incidents=500, failures=500, failed_calls=3)
    assert (seen.borne_out, seen.counted) == (3, 3)
    assert judge(seen).verdict == PROMOTE


# --- work that is none ------------------------------------------------------------------------------------------------

# Failures that came in pairs: of few calls it cannot be told that they are worse by their rate alone.
BUSY = History(120, 120.0, tuple((hour, 2) for hour in range(60)))
BROKEN = replace(GOOD, elapsed=HOUR, requests=21, incidents=11, failures=11, failed_calls=11, history=BUSY)


def test_most_calls_fail_is_a_finding_by_itself() -> None:
    verdict = judge(replace(BROKEN, elapsed=HOUR / 3))
    assert 10 < verdict.figures.worse < 100
    assert verdict.verdict == ROLL_BACK
    assert verdict.reasons[0].startswith("11 of 21 calls fail, and ")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"requests": 22}, "half of them are not most"),
        ({"requests": 19}, "too few to say most"),
        ({"history": History(3960, 120.0, tuple((hour, 33) for hour in range(120)))}, "so it was before"),
        ({"controls": controls(9, 9, 9, hours=1 / 3)}, "so it is with all"),
        ({"weather": "Webex cannot be reached from the VM"}, "nobody's fault"),
    ],
)
def test_most_calls_fail_only_counts_against_a_release_that(changes: dict[str, Any], why: str) -> None:
    verdict = judge(replace(BROKEN, elapsed=HOUR / 3, **changes))
    assert verdict.verdict in (EXTEND, HOLD), why


def test_answers_that_are_mostly_the_servers_errors_are_held() -> None:
    verdict = judge(replace(GOOD, requests=500, server_errors=251))
    assert (verdict.verdict, verdict.reasons) == (HOLD, ["251 of 500 answers were errors of the server's own (5xx)"])
    assert judge(replace(GOOD, requests=500, server_errors=250)).verdict == PROMOTE


def test_what_the_watch_saw_happen_is_rolled_back_at_once() -> None:
    verdict = judge(replace(GOOD, elapsed=60.0, fault="it was started again 3 times; webex-bot@jarvis is active"))
    assert (verdict.verdict, verdict.reasons[0][:28]) == (ROLL_BACK, "it was started again 3 times")


@pytest.mark.parametrize("bad", [{"fault": "it was started again 3 times"}, {"failed_calls": 4000}])
@pytest.mark.parametrize(("promoted", "word"), [(False, EXTEND), (True, PROMOTE)])
def test_in_bad_weather_nothing_changes(bad: dict[str, Any], promoted: bool, word: str) -> None:
    verdict = judge(replace(GOOD, promoted=promoted, weather="Webex cannot be reached from the VM", **bad))
    assert (verdict.verdict, verdict.reasons) == (word, ["Webex cannot be reached from the VM"])


# --- after the promotion ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flaw", FLAWS)
def test_what_was_promoted_stays_so_for_want_of_evidence(flaw: str) -> None:
    assert judge(replace(GOOD, promoted=True, **FLAWS[flaw])).verdict == PROMOTE
    assert judge(replace(GOOD, promoted=True, **{**FLAWS[flaw], "elapsed": 72 * HOUR})).verdict == PROMOTE


def test_what_was_promoted_and_turns_out_worse_is_rolled_back() -> None:
    assert judge(replace(GOOD, promoted=True, incidents=200, failures=200, failed_calls=200)).verdict == ROLL_BACK
    assert judge(replace(GOOD, promoted=True, fault="it was started again 3 times")).verdict == ROLL_BACK


def test_an_outage_of_all_takes_no_promotion_away() -> None:
    outage = replace(GOOD, promoted=True, elapsed=HOUR, incidents=20, failures=20, failed_calls=20)
    assert judge(replace(outage, controls=controls(20, 22, 18, hours=1.0))).verdict == PROMOTE


# --- by hand ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", [PROMOTE, ROLL_BACK, HOLD])
def test_a_human_decides_and_is_named(word: str) -> None:
    verdict = judge(replace(GOOD, heard=False, decision=Decision(word, "vinay", "known outage")))
    assert (verdict.verdict, verdict.reasons) == (word, ["decided by vinay: known outage"])
    assert verdict.missing, "what the human overrode stays in the record"


# --- words and times --------------------------------------------------------------------------------------------------


def test_the_summary_reads_as_a_person_would_say_it() -> None:
    old = History(684, 120.0, tuple((hour, 6) for hour in range(114)))
    evidence = Evidence("jarvis", 41 * 60.0, requests=214, recovered=3, heard=True, idle=5.0, history=old)
    line = summary(evidence, judge(evidence))
    assert line.startswith(
        "0 incidents in 214 requests over 41 min; 3 recovered; at the old rate (5.7 an hour) 3.9 were due"
    )
    assert "likelihood ratios: against a rise" in line
    with_others = replace(evidence, incidents=1, failures=1, failed_calls=3, controls=controls(2, 1, hours=41 / 60))
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
        failed_calls=incidents,
        requests=30,
        heard=True,
        idle=5.0,
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
    assert earliest(replace(GOOD, heard=False, elapsed=HOUR)) is None
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
    failed_calls=st.integers(0, 60),
    server_errors=st.integers(0, 99),
    idle=st.sampled_from([None, 0.0, 5e4]),
    heard=st.booleans(),
    silence=st.sampled_from(["", "it does not run"]),
    crashes=st.integers(0, 4),
    fault=st.sampled_from(["", "it was started again 3 times"]),
    weather=st.sampled_from(["", "Webex cannot be reached from the VM"]),
    promoted=st.booleans(),
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
        "the decision record has format 1, this program reads format 3: "
        "judge it anew with the version of this project that wrote it"
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
