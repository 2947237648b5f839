"""The start-up check's question, asked every few milliseconds: has this process written its ready line?"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.webex_rollout.errors import LogError
from ansible.module_utils.webex_rollout.logs import cursor as cursors
from ansible.module_utils.webex_rollout.logs.cursor import look, look_at_all, take_cursor
from ansible.module_utils.webex_rollout.logs.reader import LogReader, ReadyLine
from ansible.module_utils.webex_rollout.logs.ready_line import find_ready, search_begin

from tests.unit.logs.test_cursor import Log

STAMP = "2026-11-21 15:00:01,123 - webex_pool_config.py:210 - INFO - "
READY = STAMP + "webex-pool ready pid={pid} session=api pool_connections=50 timeout=120\n"


@pytest.fixture
def log(tmp_path: Path) -> Log:
    log = Log(tmp_path / "logs")
    log.fail(3)
    return log


def ready(log: Log, cursor: dict[str, Any] | None, pid: int = 123) -> ReadyLine:
    return ReadyLine(LogReader("root"), str(log.path), cursor, pid)


def now(log: Log) -> dict[str, Any]:
    """A cursor at the log's end, as the module hands it over."""
    return take_cursor(str(log.path)).to_dict()


def write(log: Log, text: str) -> None:
    with log.path.open("a") as stream:
        stream.write(text)


def test_a_line_is_seen_once_it_is_written_and_stays_seen(log: Log) -> None:
    line = ready(log, now(log))
    assert not line.seen()
    write(log, READY.format(pid=123))
    assert line.seen()
    log.path.unlink()
    assert line.seen()
    assert line.text == "webex-pool ready pid=123"


def test_a_line_before_the_cursor_is_none(log: Log) -> None:
    write(log, READY.format(pid=123))
    assert not ready(log, now(log)).seen()


def test_the_cursor_of_the_history_will_do(log: Log) -> None:
    write(log, READY.format(pid=123))
    cursor = look_at_all(str(log.path), rotated=True).cursor.to_dict()
    line = ready(log, cursor)
    assert not line.seen()
    write(log, READY.format(pid=123))
    assert line.seen()


@pytest.mark.parametrize(("written", "asked"), [(123, 12), (12, 123), (123, 23), (1234, 123)])
def test_a_pid_that_is_part_of_another_is_not_that_one(log: Log, written: int, asked: int) -> None:
    line = ready(log, now(log), asked)
    write(log, READY.format(pid=written))
    assert not line.seen()
    write(log, READY.format(pid=asked))
    assert line.seen()


def test_a_line_in_two_writes_counts_when_it_is_whole(log: Log) -> None:
    line = ready(log, now(log), 1234)
    text = READY.format(pid=1234)
    for cut in range(len(STAMP), len(text) - 1):
        before = ready(log, now(log), 123)
        write(log, text[:cut])
        assert not line.seen()
        assert not before.seen()
        write(log, text[cut:])
        assert line.seen()
        assert not before.seen(), "half of 1234 is no 123"
        line = ready(log, now(log), 1234)


def test_what_goes_on_in_a_long_line_is_no_line(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cursors, "MAX_HALF_LINE", 100)
    line = ready(log, now(log))
    write(log, STAMP + "x" * 6000)
    assert not line.seen()
    write(log, "webex-pool ready pid=123 session=api\n")
    assert not line.seen()


def test_a_line_begun_before_the_cursor_is_none(log: Log) -> None:
    write(log, STAMP)
    line = ready(log, now(log))
    write(log, "webex-pool ready pid=123 session=api\n")
    assert not line.seen()
    write(log, READY.format(pid=123))
    assert line.seen()


def by_number(log: Log, _: int) -> None:
    log.rotate()


def by_copy(log: Log, _: int) -> None:
    log.copytruncate()


def by_date(log: Log, turn: int) -> None:
    log.path.replace(log.part(f"-2026112{turn}"))


def compressed(log: Log, turn: int) -> None:
    for number in range(turn - 1, 0, -1):
        log.part(f".{number}.gz").replace(log.part(f".{number + 1}.gz"))
    log.rotate()
    log.compress(".1")


ROTATIONS = [by_number, by_copy, by_date, compressed]


@pytest.mark.parametrize("rotate", ROTATIONS)
@pytest.mark.parametrize("polled", [True, False])
@pytest.mark.parametrize("after", [1, 2, 3])
def test_a_line_is_found_behind_rotations(
    log: Log, rotate: Callable[[Log, int], None], polled: bool, after: int
) -> None:
    """Three rotations, the line before the first, second or third; asked in between or only at the end."""
    line = ready(log, now(log))
    for turn in range(1, 4):
        log.fail(2)
        if polled:
            assert not line.seen() or turn > after
        if turn == after:
            write(log, READY.format(pid=123))
        rotate(log, turn)
        log.fail(1)
    assert line.seen()
    assert line.gaps == []


def test_between_rename_and_reopening_it_is_not_there_yet(log: Log) -> None:
    line = ready(log, now(log))
    log.rotate()
    assert not line.seen()
    write(log, READY.format(pid=123))
    assert line.seen()


def test_a_log_that_is_not_there_yet(tmp_path: Path) -> None:
    log = Log(tmp_path / "logs")
    for line in (ready(log, now(log)), ready(log, None)):
        log.path.unlink(missing_ok=True)
        assert not line.seen()
        write(log, READY.format(pid=123))
        assert line.seen()


def test_a_log_cut_short_is_read_anew_and_its_loss_is_reported(log: Log) -> None:
    line = ready(log, now(log))
    log.path.write_text("2026-11-22 10:00:00,000 - INFO - started\n")
    assert not line.seen()
    assert "truncated after byte" in line.gaps[0]
    write(log, READY.format(pid=123))
    assert line.seen()


def test_without_a_cursor_the_whole_log_is_searched_with_its_rotated_parts(log: Log) -> None:
    write(log, READY.format(pid=123))
    assert ready(log, None).seen()
    log.rotate()
    log.compress(".1")
    log.fail(1)
    line = ready(log, None)
    assert line.seen()
    assert not ready(log, None, 124).seen()


@pytest.mark.parametrize(
    "text",
    [
        "webex-pool ready pid=123 session=api\n",  # a log without time stamps
        '{"time": "15:00", "message": "webex-pool ready pid=123 session=api timeout=120", "level": "INFO"}\n',
        STAMP + "webex-pool ready pid=123 session=api [MainThread]\n",
    ],
)
def test_a_start_does_not_fail_for_the_logs_format(log: Log, text: str) -> None:
    line = ready(log, now(log))
    write(log, text)
    assert line.seen()


@pytest.mark.parametrize(
    "message", ["webex-pool ready", "webex-pool stats pid=123 requests=1", "ready pid=123", "webex-pool ready pid=x123"]
)
def test_what_is_no_ready_line(log: Log, message: str) -> None:
    line = ready(log, now(log))
    write(log, STAMP + message + "\n")
    assert not line.seen()


def test_only_new_bytes_are_read_at_each_poll(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """50 MB before the cursor and 50 MB after it; the first poll reads the latter, no later one does."""
    lines = (STAMP + "x" * 900 + "\n").encode() * 1000
    for _ in range(52):
        with log.path.open("ab") as stream:
            stream.write(lines)
    cursor = now(log)
    for _ in range(52):
        with log.path.open("ab") as stream:
            stream.write(lines)
    real, read, largest = os.pread, 0, 0

    def counting(fd: int, length: int, offset: int) -> bytes:
        nonlocal read, largest
        got = real(fd, length, offset)
        read, largest = read + len(got), max(largest, len(got))
        return got

    monkeypatch.setattr(os, "pread", counting)
    at = search_begin(cursor)

    def seen() -> bool:
        nonlocal at
        found = find_ready((), at, 123)  # in this process, where its reads can be counted
        at = found["cursor"]
        return bool(found["seen"])

    assert not seen()
    first, read = read, 0
    assert 50e6 < first < 55e6
    assert largest < 1e6, "memory is bounded"
    for _ in range(100):
        assert not seen()
    assert read < 100 * 10 * cursors.HEAD_BYTES
    read = 0
    log.rotate()
    write(log, READY.format(pid=123))
    assert seen()
    assert read < 20 * cursors.HEAD_BYTES


def test_the_cursor_given_stays_as_it_is(log: Log) -> None:
    cursor = now(log)
    write(log, READY.format(pid=123))
    before = repr(cursor)
    assert ready(log, cursor).seen()
    assert repr(cursor) == before
    seen = look(cursors.Cursor.from_dict(cursor))
    assert seen.tally.pool.ready_lines == 1


def test_what_cannot_be_read_is_an_error(log: Log) -> None:
    with pytest.raises(LogError, match="belongs to log"):
        ReadyLine(LogReader("root"), str(log.part(".other")), now(log), 123)
    with pytest.raises(LogError, match="is damaged"):
        ReadyLine(LogReader("root"), str(log.path), {"path": str(log.path)}, 123)
    line = ready(log, now(log))
    log.path.unlink()
    log.path.mkdir()
    with pytest.raises(LogError, match="no regular file"):
        line.seen()
