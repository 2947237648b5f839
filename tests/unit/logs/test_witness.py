"""What people write to a bot is no evidence, and errors of any kind are: counted by hour and by kind, within bounds."""

from __future__ import annotations

import json
import os
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.webex_rollout.logs import kinds
from ansible.module_utils.webex_rollout.logs.cursor import look, look_at_all, take_cursor
from ansible.module_utils.webex_rollout.logs.kinds import MAX_KINDS, MAX_LENGTH, OTHER
from ansible.module_utils.webex_rollout.logs.tally import evidence
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.logs.test_dialects import FORMS, MORE, scene

BEGIN = datetime(2026, 11, 25, 10)
TRACE = """Traceback (most recent call last):
  File "jarvis.py", line 3, in answer
    reply(None)
TypeError: 'NoneType' object is not callable
"""
CHAINED = (
    TRACE
    + """
During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "jarvis.py", line 9, in run
requests.exceptions.ReadTimeout: HTTPSConnectionPool(host='webexapis.com', port=443): Read timed out.
"""
)


def record(second: int, level: str, message: str, name: str = "webex_bot.py:222") -> str:
    return f"{BEGIN + timedelta(seconds=second):%Y-%m-%d %H:%M:%S},123 - {name} - {level} - {message}\n"


def count(directory: Path, text: str | bytes) -> dict[str, Any]:
    log = directory / "bot.log"
    log.write_bytes(text if isinstance(text, bytes) else text.encode())
    seen = look_at_all(str(log))
    return json.loads(json.dumps(evidence(seen.tally, dialect=seen.cursor.dialect)))


def chat(second: int, text: str) -> str:
    """What webex_bot logs for a message: as it came, as JSON, and its text."""
    written = json.dumps({"id": "x", "text": text, "html": f"<p>{text}</p>"}, indent=2)
    return record(second, "INFO", f"Message from a@b.example: {written}") + record(
        second, "INFO", f"user_command: {text}"
    )


@pytest.mark.parametrize(
    "words",
    [
        "I think Read timed out again?",
        "ERROR - x.py:1 - ERROR - Read timed out",
        "webex-pool ready pid=99999 session=x then",
        "x\n" + record(2, "ERROR", "Read timed out"),
        "x\n" + record(2, "CRITICAL", "MemoryError: x"),
        "x\n" + TRACE,
        "x\n" + CHAINED,
        "x\nrequests.exceptions.ReadTimeout: Read timed out",
        "x\n" + record(2, "INFO", "webex-pool stats pid=7 requests=5000 retried=0 failed=5000 recycled=0 open=0"),
        "x\x85ERROR\u2028ERROR \u0661 Read timed out",
    ],
)
def test_what_people_write_is_no_evidence(tmp_path: Path, words: str) -> None:
    text = "".join(record(n, "INFO", "alive") + chat(n, words) for n in range(30))
    seen = count(tmp_path, text)
    assert [seen[key] for key in ("lines", "failures", "incidents", "recovered", "errors", "tracebacks")] == [0] * 6
    assert (seen["ready_line"], seen["pool"]["requests"], seen["pool"]["failed"]) == (False, 0, 0)
    assert (seen["error_kinds"], seen["error_hours"], seen["hours"]) == ({}, {}, {})


def test_a_record_that_stood_in_a_message_is_told_and_the_next_genuine_one_counts(tmp_path: Path) -> None:
    forged = record(2, "ERROR", "Read timed out")
    seen = count(tmp_path, chat(1, f"x\n{forged}") + record(3, "ERROR", "Read timed out"))
    assert (seen["echoes"], seen["failures"], seen["errors"]) == (1, 1, 1)


def test_a_time_nobody_has_is_no_time(tmp_path: Path) -> None:
    text = record(0, "INFO", "x\n2999-01-01 00:00:00,000 - x.py:1 - ERROR - Read timed out") + record(5, "INFO", "y")
    seen = count(tmp_path, text)
    assert seen["last_time"] - seen["first_time"] == pytest.approx(5)
    assert seen["hours"] == {}


def test_errors_of_any_kind_count_by_hour_and_kind(tmp_path: Path) -> None:
    text = "".join(
        record(60 * n, "ERROR", f"Error processing message {n}") + TRACE + record(60 * n + 30, "INFO", "alive")
        for n in range(120)
    )
    seen = count(tmp_path, text + record(7300, "ERROR", "no room 4711") + record(7400, "ERROR", "no room 4712"))
    assert (seen["failures"], seen["errors"], seen["error_incidents"], seen["error_others"]) == (0, 122, 122, 122)
    assert sorted(seen["error_hours"].values()) == [2, 60, 60]
    assert seen["error_hours"] == seen["error_other_hours"]
    assert seen["error_kinds"] == {"TypeError": 120, "no room #": 2}


def test_a_burst_of_one_kind_is_one_incident_and_a_failure_is_none_of_the_others(tmp_path: Path) -> None:
    text = "".join(record(n, "ERROR", "failed") + CHAINED for n in range(4))
    seen = count(tmp_path, text + record(4, "WARNING", "odd") + TRACE)
    assert (seen["failures"], seen["incidents"]) == (4, 1)
    assert (seen["errors"], seen["error_incidents"], seen["error_others"]) == (5, 2, 1)
    assert seen["error_kinds"] == {"ReadTimeout": 1, "TypeError": 1}
    assert (seen["tracebacks"], seen["levels"]) == (5, {"warning": 1, "error": 4, "critical": 0})


def test_a_printed_traceback_is_told_but_no_evidence(tmp_path: Path) -> None:
    seen = count(tmp_path, record(0, "INFO", "alive") + TRACE + record(9, "INFO", "alive"))
    assert (seen["loose_tracebacks"], seen["tracebacks"], seen["errors"]) == (1, 0, 0)


def test_a_log_without_levels_counts_its_tracebacks(tmp_path: Path) -> None:
    text = "started\nuser_command: Read timed out, ERROR\n" + CHAINED + "answered\n" + TRACE
    text += "asked\nrequests.exceptions.ReadTimeout: Read timed out.\nanswered\n"
    seen = count(tmp_path, text)
    assert (seen["failures"], seen["errors"], seen["dated"]) == (2, 3, False)
    assert "let the bot log with a time stamp and a level" in seen["dialect"]


def test_kinds_are_few_and_short_and_plain(tmp_path: Path) -> None:
    names = ["".join(chr(97 + int(digit)) for digit in str(number)) for number in range(100)]
    text = "".join(record(n, "ERROR", f"{name}\x1b[31m é " + "long word " * 40) for n, name in enumerate(names))
    found = count(tmp_path, text)["error_kinds"]
    assert len(found) == MAX_KINDS + 1
    assert sum(found.values()) >= MAX_KINDS + 1
    assert OTHER in found
    assert all(len(kind) <= MAX_LENGTH and kind.isascii() and kind.isprintable() for kind in found)


def test_a_kind_shows_no_secret() -> None:
    message = b"login of a@b.example failed: 'secret' at https://x.example/?key=abc with Zm9vYmFyYmF6cXV4eHl6enk0NzE"
    assert kinds.kind_of(message, b"") == "login of <mail> failed: <text> at <url> with <id>"


def test_a_log_that_changes_its_form_is_learned_anew(tmp_path: Path) -> None:
    log = tmp_path / "bot.log"
    log.write_text("".join(record(n, "INFO", "alive") for n in range(300)))
    cursor = take_cursor(str(log))
    log.rename(tmp_path / "bot.log.1")
    log.write_text("\n".join(scene(FORMS["JSON"])) + "\n")
    seen = look(cursor)
    assert (seen.tally.failures, seen.tally.errors.records) == (15, 15)
    assert seen.cursor.dialect is not None
    assert "JSON" in seen.cursor.dialect.described()


def test_times_without_a_date_are_of_the_days_before_the_file_was_written(tmp_path: Path) -> None:
    log = tmp_path / "bot.log"
    hours = [(day, hour) for day in range(3) for hour in (1, 9, 23)]
    log.write_text("".join(f"{hour:02d}:30:00 ERROR Read timed out\n" for _, hour in hours))
    written = datetime(2026, 11, 25, 23, 40).timestamp()
    os.utime(log, (written, written))
    seen = evidence(look_at_all(str(log)).tally)
    days = {datetime.fromtimestamp(int(hour)) for hour in seen["hours"]}
    assert days == {datetime(2026, 11, 23 + day, hour) for day, hour in hours}


@pytest.mark.parametrize(
    ("days", "reading"),
    [(("05", "06", "07"), "%d.%m.%Y"), (("03", "03", "04"), "%d.%m.%Y")],
)
def test_dates_that_can_be_read_both_ways_are_read_by_their_order(
    tmp_path: Path, days: tuple[str, ...], reading: str
) -> None:
    log = tmp_path / "bot.log"
    log.write_text("".join(f"{day}/11/2026 10:00:00 ERROR Read timed out\n" for day in days))
    written = datetime(2026, 11, int(days[-1]), 10, 1).timestamp()
    os.utime(log, (written, written))
    seen = look_at_all(str(log))
    assert seen.cursor.dialect is not None
    assert reading in seen.cursor.dialect.described()
    assert seen.tally.last_time == datetime(2026, 11, int(days[-1]), 10).timestamp()


# --- any bytes --------------------------------------------------------------------------------------------------------

LINES = [line.encode() for form in {**FORMS, **MORE}.values() for line in scene(form)[:4] + scene(form)[-1:]]
mutated = st.lists(
    st.tuples(st.sampled_from(LINES), st.integers(0, 120), st.binary(max_size=6), st.integers(0, 4)).map(
        lambda each: each[0][: each[1]] + each[2] + each[0][each[1] + each[3] :]
    ),
    max_size=30,
).map(b"\n".join)
FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@FUZZ
@given(before=st.one_of(mutated, st.binary(max_size=3000)), after=st.one_of(mutated, st.binary(max_size=3000)))
def test_nothing_raises_and_everything_is_bounded(tmp_path: Path, before: bytes, after: bytes) -> None:
    log = tmp_path / "bot.log"
    log.write_bytes(before)
    cursor = take_cursor(str(log))
    with log.open("ab") as stream:
        stream.write(after)
    for seen in (look(cursor), look_at_all(str(log), rotated=True)):
        shown = json.dumps([evidence(seen.tally, dialect=seen.cursor.dialect), seen.cursor.to_dict()], allow_nan=False)
        assert len(shown) < 40_000
