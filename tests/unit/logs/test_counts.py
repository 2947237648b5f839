"""Lines are what grep counts, incidents are records: against grep itself and against a slow and obvious count."""

from __future__ import annotations

import os
import random
import subprocess
import tempfile
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from ansible.module_utils.webex_rollout.errors import LogError
from ansible.module_utils.webex_rollout.logs.cursor import Look, fresh_cursor, look, look_at_all
from ansible.module_utils.webex_rollout.logs.signatures import SIGNATURES, Signature, signatures_with
from ansible.module_utils.webex_rollout.logs.tally import evidence
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.lab import history
from tests.unit.logs.oracle import DIALECT, counted, expected

PROJECT = Path(__file__).resolve().parents[3]
FRAGMENTS = [
    b"\n",
    b"\n2026-11-21 15:25:01,123 - x.py:88 - ERROR - ",
    b"\n2026-11-21 15:25:04,900 - x.py:88 - ERROR - ",
    b"\n2026-11-21 15:25:10,000 - x.py:88 - WARNING - ",
    b"\n2026-11-21 15:27:10,000 - x.py:8 - INFO - answered ",
    b"\n2026-11-21 15:27:10,000 - x.py:8 - INFO - ERROR - Read timed out",
    b"\n2026-11-21 15:27:10,000 - x.py:8 - CRITICAL - ",
    b"\n2026-11-21 15:27:10,000 without a level",
    b"\n2 apples",
    b"\n2026-13-41 nonsense",
    b"Traceback (most recent call last):",
    b"Read timed out",
    b"Read timed out. (read timeout=None)",
    b"Read timed ",
    b"out",
    b"Retrying (Retry(total=2)) after connection broken by ",
    b"RetryError",
    b"SSLError",
    b"('Connection aborted.', RemoteDisconnected('Remote",
    b"Connection pool is full, discarding",
    b"webex-pool ",
    b"webex-pool repeat=1 method=GET",
    b"\0\0",
    b"\xff\xfe\xc3",
    b" " * 70,
    b"x" * 150,
]
logs = st.lists(st.sampled_from(FRAGMENTS), max_size=60).map(b"".join)
QUICK = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def count_all(data: bytes, dialect: bool = False) -> dict:
    """What the reader sees in a log of these bytes."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "bot.log")
        path.write_bytes(data)
        seen = look_with_dialect(path) if dialect else look_at_all(str(path))
        return evidence(seen.tally, dialect=seen.cursor.dialect)


def look_with_dialect(path: Path) -> Look:
    """A look at a whole log whose dialect was learned before."""
    cursor = fresh_cursor(str(path))
    cursor.dialect = DIALECT
    return look(cursor)


def grep(path: Path, *texts: str) -> int:
    """`grep -c`, with -a: without it grep takes a NUL for the end of a line."""
    options = [option for text in texts for option in ("-e", text)]
    ended = subprocess.run(
        ["grep", "-caF", *options, str(path)], env={**os.environ, "LC_ALL": "C"}, capture_output=True, check=False
    )
    assert ended.returncode in (0, 1), ended.stderr
    return int(ended.stdout)


@QUICK
@given(data=logs)
def test_random_logs_are_counted_as_the_slow_way_counts(small_blocks: None, data: bytes) -> None:
    assert counted(count_all(data, dialect=True)) == expected(data, SIGNATURES)


@pytest.mark.parametrize("seed", range(8))
def test_lines_equal_grep_where_every_record_counts(small_blocks: None, tmp_path: Path, seed: int) -> None:
    choose = random.Random(seed)
    path = tmp_path / "bot.log"
    counting = [
        each for each in FRAGMENTS if not each.startswith(b"\n2026") or b"WARN" in each or b" - ERROR - " in each
    ]
    counting = [each for each in counting if b"INFO" not in each]
    path.write_bytes(counting[1] + b"".join(choose.choice(counting) for _ in range(400)))
    seen = evidence(look_with_dialect(path).tally)
    assert {name: each["lines"] for name, each in seen["signatures"].items()} == {
        signature.name: grep(path, signature.text) for signature in SIGNATURES
    }
    assert seen["lines"] == grep(path, *(signature.text for signature in SIGNATURES))
    assert seen["lines"] > 20


def test_the_labs_history_has_the_reports_figures(tmp_path: Path) -> None:
    history.write(tmp_path)
    lines, incidents = {}, {}
    for path in tmp_path.glob("*.log"):
        seen = evidence(look_at_all(str(path), rotated=True).tally)
        lines[path.stem] = seen["signatures"]["read_timeout"]["lines"]
        incidents[path.stem] = seen["signatures"]["read_timeout"]["failures"]
        assert lines[path.stem] == grep(path, "Read timed out")
        assert counted(evidence(look_at_all(str(path)).tally)) == expected(path.read_bytes(), SIGNATURES)
    assert lines["jarvis"] == 686
    assert sum(lines.values()) == 1338
    assert incidents == {name: plan.traced + plan.bare for name, plan in history.PLANS.items()}


def test_a_traceback_is_one_incident_and_so_is_a_burst() -> None:
    trace = "Traceback (most recent call last):\nReadTimeoutError: Read timed out.\n"
    trace += "During handling:\nReadTimeout: Read timed out.\n"
    begin = datetime(2026, 11, 21, 15, 25)
    # Eight threads meet the same dead connection within 4 s, a ninth one 6 s after the first.
    times = [begin + timedelta(seconds=second) for second in (0, 0, 1, 1, 2, 3, 4, 4, 6)]
    data = "".join(f"{time:%Y-%m-%d %H:%M:%S},000 - x.py:1 - ERROR - Read timed out.\n{trace}" for time in times)
    seen = count_all(data.encode())
    assert (seen["lines"], seen["failures"], seen["incidents"]) == (27, 9, 2)


def test_a_bot_that_fails_without_end_is_not_one_burst() -> None:
    begin = datetime(2026, 11, 21, 15, 25)
    times = [begin + timedelta(seconds=second) for second in range(60)]
    data = "".join(f"{time:%Y-%m-%d %H:%M:%S},000 - ERROR - Read timed out\n" for time in times)
    assert count_all(data.encode())["incidents"] == 10


def test_what_is_tried_again_is_no_failure() -> None:
    seen = count_all(
        b"2026-11-21 15:25:01,000 - connectionpool.py:868 - WARNING - Retrying (Retry(total=2, connect=None)) after "
        b"connection broken by 'ReadTimeoutError(\"...: Read timed out. (read timeout=60)\")': /v1/messages\n"
        b"2026-11-21 15:26:01,000 - connectionpool.py:325 - WARNING - Connection pool is full, discarding connection\n"
    )
    assert (seen["lines"], seen["failures"], seen["incidents"], seen["recovered"]) == (2, 0, 0, 1)
    assert seen["signatures"]["read_timeout"]["recovered"] == 1
    assert seen["signatures"]["pool_full"]["lines"] == 1


def test_a_call_without_a_time_out_is_named() -> None:
    seen = count_all(b"2026-11-21 15:25:01,000 - ERROR - x: Read timed out. (read timeout=None)\n")
    assert seen["signatures"]["hang"]["incidents"] == 1
    assert seen["incidents"] == 1


def test_incidents_fall_into_their_hours() -> None:
    data = "".join(f"2026-11-21 {hour}:59:58,000 - ERROR - Read timed out\n" for hour in (15, 15, 17))
    hours = count_all(data.encode())["hours"]
    begins = int(datetime.fromisoformat("2026-11-21T15:00:00+00:00").timestamp())
    assert hours == {str(begins): 1, str(begins + 7200): 1}


def test_signatures_can_be_added_changed_and_removed(tmp_path: Path) -> None:
    path = tmp_path / "bot.log"
    path.write_bytes(b"2026-11-21 15:25:01,000 - ERROR - SSLError, kaputt\n2026-11-21 15:26:01,000 - ERROR - Kaputt!\n")
    own = signatures_with([{"name": "broken", "text": "aputt"}, {"name": "ssl_error", "text": ""}])
    seen = evidence(look_at_all(str(path), own).tally, own)
    assert (seen["lines"], seen["incidents"], seen["signatures"]["broken"]["incidents"]) == (2, 2, 2)
    assert "ssl_error" not in seen["signatures"]
    for bad in ({"name": "", "text": "x"}, {"name": "x", "text": "a\nb"}, {"name": "x", "text": "x", "kind": "y"}):
        with pytest.raises(LogError, match="one line, and a kind"):
            signatures_with([bad])


def test_a_signature_with_the_pool_modules_own_words_counts_as_any_other(tmp_path: Path) -> None:
    path = tmp_path / "bot.log"
    path.write_bytes(b"2026-11-21 15:25:01,000 - WARNING - webex-pool ready pid=1\nwebex-pool \n")
    own = (Signature("marked", "webex-pool "), Signature("part", "ex-po"))
    seen = evidence(look_at_all(str(path), own).tally, own)
    assert [seen["signatures"][name]["lines"] for name in ("marked", "part")] == [2, 2]
    assert seen["ready_line"]


def test_a_line_of_100_mb_needs_no_memory() -> None:
    """A child reads it, so that its peak is its own."""
    code = (
        "import resource, sys; sys.path.insert(0, sys.argv[1])\n"
        "from webex_rollout.logs.cursor import look_at_all\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "seen = look_at_all(sys.argv[2])\n"
        "after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "print(after - before, seen.tally.lines, seen.tally.counts['read_timeout'].lines, seen.tally.bytes_read)"
    )
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "bot.log")
        with path.open("wb") as stream:
            stream.write(b"2026-11-21 15:25:01,000 - ERROR - ")
            for _ in range(100):
                stream.write(b"Read timed out" + b"\0\xff" * 500_000)
        ended = subprocess.run(
            [os.sys.executable, "-c", code, str(PROJECT / "module_utils"), str(path)],
            capture_output=True,
            check=True,
            text=True,
        )
        grown_kib, lines, timeouts, read = map(int, ended.stdout.split())
        assert (lines, timeouts, read) == (1, 1, path.stat().st_size)
    assert grown_kib < 16 * 1024
