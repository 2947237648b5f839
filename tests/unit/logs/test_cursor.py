"""Looks follow a growing log wherever it goes, read nothing twice, lose nothing unsaid, and add up to one look."""

from __future__ import annotations

import dataclasses
import gzip
import json
import logging
import logging.handlers
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.webex_rollout.errors import LogError
from ansible.module_utils.webex_rollout.logs import cursor as cursors
from ansible.module_utils.webex_rollout.logs import files
from ansible.module_utils.webex_rollout.logs.cursor import Cursor, look, look_at_all, take_cursor
from ansible.module_utils.webex_rollout.logs.heads import ECHO_BYTES
from ansible.module_utils.webex_rollout.logs.signatures import SIGNATURES
from ansible.module_utils.webex_rollout.logs.tally import Count, Pool, Tally, evidence
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.logs.oracle import DIALECT, counted, expected
from tests.unit.logs.test_counts import logs

PROJECT = Path(__file__).resolve().parents[3]


def through_json(cursor: Cursor) -> Cursor:
    """As it comes back from the VM and goes there again."""
    return Cursor.from_dict(json.loads(json.dumps(cursor.to_dict())))


class Log:
    """A bot's log in a directory of its own, written to and rotated by the test."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(exist_ok=True)
        self.path = directory / "bot.log"
        self.number = 0

    def fail(self, times: int = 1) -> int:
        """Log failed calls, each an incident of its own; return how many were logged so far."""
        with self.path.open("a") as stream:
            for _ in range(times):
                when = datetime(2026, 11, 21) + timedelta(minutes=self.number)
                stream.write(f"{when:%Y-%m-%d %H:%M:%S},000 - x.py:1 - ERROR - Read timed out\n")
                self.number += 1
        return self.number

    def part(self, suffix: str) -> Path:
        """A rotated part."""
        return self.path.with_name(self.path.name + suffix)

    def rotate(self, backups: int = 5) -> None:
        """As RotatingFileHandler does."""
        for number in range(backups - 1, 0, -1):
            if self.part(f".{number}").exists():
                self.part(f".{number}").replace(self.part(f".{number + 1}"))
        self.path.replace(self.part(".1"))

    def copytruncate(self) -> None:
        """As logrotate does with that option."""
        for number in range(4, 0, -1):
            if self.part(f".{number}").exists():
                self.part(f".{number}").replace(self.part(f".{number + 1}"))
        shutil.copyfile(self.path, self.part(".1"))
        os.truncate(self.path, 0)

    def compress(self, suffix: str) -> None:
        """gzip a rotated part."""
        part = self.part(suffix)
        with part.open("rb") as plain, gzip.open(self.part(suffix + ".gz"), "wb") as packed:
            shutil.copyfileobj(plain, packed)
        times = part.stat()
        os.utime(self.part(suffix + ".gz"), ns=(times.st_atime_ns, times.st_mtime_ns))
        part.unlink()


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path / "logs")


def incidents(cursor: Cursor) -> tuple[int, list[str], Cursor]:
    seen = look(through_json(cursor))
    return seen.tally.incidents, seen.tally.gaps, seen.cursor


# --- any log, cut anywhere --------------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=logs, cuts=st.lists(st.integers(0, 2000), max_size=5), rotations=st.sets(st.integers(0, 5)))
def test_looks_at_parts_add_up_to_one_look(
    small_blocks: None, tmp_path: Path, data: bytes, cuts: list[int], rotations: set[int]
) -> None:
    directory = tmp_path / str(time.monotonic_ns())
    log = Log(directory)
    log.path.touch()
    cursor = take_cursor(str(log.path))
    cursor.dialect = DIALECT
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    whole = b""
    for number, (low, high) in enumerate(zip(places, places[1:])):
        with log.path.open("ab") as stream:
            stream.write(data[low:high])
        whole += data[low:high]
        if number in rotations and data[low:high].endswith(b"\n"):
            log.rotate()
            log.path.touch()
        seen = look(through_json(cursor))
        assert counted(evidence(seen.tally)) == expected(whole, SIGNATURES)
        cursor = seen.cursor
    assert cursor.tally.gaps == []
    shutil.rmtree(directory)


@pytest.mark.parametrize("rest", ["", "Read timed out"])
def test_a_line_longer_than_what_is_read_again(log: Log, monkeypatch: pytest.MonkeyPatch, rest: str) -> None:
    monkeypatch.setattr(cursors, "MAX_HALF_LINE", 100)
    log.path.touch()
    cursor = take_cursor(str(log.path))
    for text in (
        f"2026-11-21 15:25:01,000 - ERROR - Read timed out{'x' * 200}",
        "x" * 200,
        f"{rest}\nRead timed out\n",
    ):
        with log.path.open("a") as stream:
            stream.write(text)
        cursor = look(through_json(cursor)).cursor
    assert (cursor.tally.lines, look(cursor).tally.failures) == (2, 1)


def test_a_repeated_look_counts_nothing_twice(log: Log) -> None:
    log.fail(3)
    cursor = take_cursor(str(log.path))
    log.fail(2)
    first, again = look(cursor), look(cursor)
    assert (first.tally.incidents, again.tally.incidents, look(again.cursor).tally.incidents) == (2, 2, 2)


def test_what_was_there_before_is_not_counted(log: Log) -> None:
    log.fail(3)
    cursor = take_cursor(str(log.path))
    assert incidents(cursor)[0] == 0
    log.fail()
    assert incidents(cursor)[0] == 1


def test_a_traceback_still_being_written_when_the_cursor_is_taken_keeps_its_records_time(log: Log) -> None:
    log.path.write_text("2026-11-21 15:25:01,000 - ERROR - broken\nTraceback:\n")
    cursor = take_cursor(str(log.path))
    with log.path.open("a") as stream:
        stream.write("ReadTimeout: Read timed out\n2026-11-21 15:25:03,000 - ERROR - Read timed out\n")
    assert (look(cursor).tally.failures, look(cursor).tally.incidents) == (2, 1)


def test_bursts_records_and_lines_go_on_over_looks(log: Log) -> None:
    log.path.write_text("2026-11-21 15:25:01,000 - ERROR - Read timed out\n")
    cursor = look_at_all(str(log.path)).cursor
    cursor = dataclasses.replace(cursor, offset=0, tally=Tally())
    for text in ("Traceback:\nRead timed ", "out\n", "2026-11-21 15:25:04,000 - ERROR - Read timed out\n"):
        cursor = look(through_json(cursor)).cursor
        with log.path.open("a") as stream:
            stream.write(text)
    seen = look(cursor).tally
    assert (seen.lines, seen.failures, seen.incidents) == (3, 2, 1)


def test_only_new_bytes_are_read(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    log.fail(50_000)
    cursor = look_at_all(str(log.path)).cursor
    size = log.path.stat().st_size
    log.fail(100)
    new = log.path.stat().st_size - size
    read = 0
    for name in ("pread", "preadv"):
        real = getattr(os, name)

        def counting(*args: Any, real: Any = real) -> Any:
            nonlocal read
            got = real(*args)
            read += got if isinstance(got, int) else len(got)
            return got

        monkeypatch.setattr(os, name, counting)
    assert look(cursor).tally.incidents == 100
    # The head to know the file by, the new bytes a few times over, and what may have been repeated in them; never the
    # 3 MB before them.
    assert new <= read < 6 * new + 10 * cursors.HEAD_BYTES + ECHO_BYTES


# --- rotation ---------------------------------------------------------------------------------------------------------


def test_a_handler_that_rotates_is_followed(tmp_path: Path) -> None:
    path = tmp_path / "bot.log"
    path.touch()
    cursor = take_cursor(str(path))
    handler = logging.handlers.RotatingFileHandler(path, maxBytes=3000, backupCount=5)
    handler.setFormatter(logging.Formatter("%(asctime)s - %(filename)s:%(lineno)d - %(levelname)s - %(message)s"))
    logger = logging.Logger("bot")
    logger.addHandler(handler)
    choose = random.Random(5)
    written = 0
    while cursor.tally.rotations < 20:
        for _ in range(choose.randrange(1, 60)):
            logger.error("a call failed: %s", "Read timed out" if choose.random() < 0.5 else "no matter" * 5)
        seen = look(through_json(cursor))
        cursor = seen.cursor
        written += 1
    logger.removeHandler(handler)
    handler.close()
    assert cursor.tally.gaps == []
    everything = b"".join(
        part.read_bytes() for part in sorted(tmp_path.iterdir(), key=lambda part: part.suffix, reverse=True)
    )
    kept = expected(everything, SIGNATURES)
    assert seen.tally.lines >= kept.lines > 0
    assert seen.tally.lines == seen.tally.failures


@pytest.mark.parametrize("way", ["rotate", "copytruncate"])
@pytest.mark.parametrize("times", [1, 2, 4])
def test_a_rotated_log_is_read_on_where_it_went(log: Log, way: str, times: int) -> None:
    log.fail(3)
    cursor = take_cursor(str(log.path))
    for _ in range(times):
        log.fail(2)
        getattr(log, way)()
    total = log.fail(3)
    assert incidents(cursor)[:2] == (total - 3, [])
    # And after a look in between.
    cursor = incidents(cursor)[2]
    log.fail()
    getattr(log, way)()
    total = log.fail()
    assert incidents(cursor)[:2] == (total - 3, [])


def test_a_compressed_part_is_read_on(log: Log) -> None:
    log.fail(3)
    cursor = take_cursor(str(log.path))
    log.fail(2)
    log.rotate()
    log.fail(2)
    log.rotate()
    log.compress(".2")
    log.compress(".1")
    log.fail(2)
    assert incidents(cursor)[:2] == (6, [])


def test_dated_parts_are_read_in_order(log: Log) -> None:
    log.fail(3)
    cursor = take_cursor(str(log.path))
    for date in ("20261120", "20261121"):
        log.fail(2)
        log.path.replace(log.part(f"-{date}"))
    log.compress("-20261120")
    log.fail(1)
    assert incidents(cursor)[:2] == (5, [])


def test_a_log_that_was_empty_when_the_cursor_was_taken(log: Log) -> None:
    log.path.touch()
    cursor = take_cursor(str(log.path))
    log.fail(2)
    log.copytruncate()
    log.fail(1)
    assert incidents(cursor)[:2] == (3, [])


def test_an_empty_log_is_found_again_by_the_part_before_it(log: Log) -> None:
    log.fail(3)
    log.rotate()
    log.path.touch()
    cursor = take_cursor(str(log.path))
    log.fail(1)
    log.rotate()
    log.fail(1)
    assert incidents(cursor)[:2] == (2, [])


def test_a_look_at_an_empty_log_loses_nothing_and_doubles_nothing(log: Log) -> None:
    log.fail(1)
    cursor = take_cursor(str(log.path))
    log.fail(1)
    log.rotate()
    log.path.touch()
    for expected_count in (1, 2, 3):
        count, gaps, cursor = incidents(cursor)
        assert (count, gaps) == (expected_count, [])
        log.fail(1)
    assert cursor.tally.rotations == 1


def test_a_text_that_is_half_written_when_the_cursor_is_taken(log: Log) -> None:
    log.path.write_text("2026-11-21 15:25:01,000 - ERROR - Read tim")
    cursor = take_cursor(str(log.path))
    with log.path.open("a") as stream:
        stream.write("ed out\n")
    assert look(cursor).tally.lines == 1


def test_a_part_that_is_being_compressed_is_read_once(log: Log) -> None:
    log.fail(1)
    cursor = take_cursor(str(log.path))
    for _ in range(2):
        log.fail(1)
        log.rotate()
    whole = log.part(".1").read_bytes()
    log.compress(".1")
    log.part(".1").write_bytes(whole)
    log.part(".1.gz").write_bytes(log.part(".1.gz").read_bytes()[:20])
    log.fail(1)
    assert incidents(cursor)[:2] == (3, [])


def test_a_rotation_while_the_parts_are_opened(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    log.fail(1)
    cursor = take_cursor(str(log.path))
    log.rotate()
    log.fail(1)
    real = files.open_log
    opened = []

    def rotating(path: str) -> Any:
        file = real(path)
        opened.append(path)
        if len(opened) == 1:
            log.rotate()
            log.fail(1)
        return file

    monkeypatch.setattr(files, "open_log", rotating)
    assert incidents(cursor)[:2] == (2, [])


def test_a_log_cut_short_is_a_gap(log: Log) -> None:
    log.fail(200)
    cursor = take_cursor(str(log.path))
    os.truncate(log.path, log.path.stat().st_size // 2)
    log.fail(1)
    count, gaps, cursor = incidents(cursor)
    assert count == 0, "what stands before the cursor's place is old"
    assert "were read before" in gaps[0]
    log.fail(1)
    assert incidents(cursor)[0] == 1


def test_between_rename_and_reopening_nothing_is_missing(log: Log) -> None:
    log.fail(1)
    cursor = take_cursor(str(log.path))
    log.fail(2)
    log.rotate()
    count, gaps, cursor = incidents(cursor)
    assert (count, gaps) == (2, [])
    log.fail(1)
    assert incidents(cursor)[:2] == (3, [])


def test_a_reused_inode_is_not_taken_for_the_old_file(log: Log) -> None:
    """The number of a deleted file goes to the next new one; here the same file simply gets other contents."""
    log.fail(5)
    cursor = take_cursor(str(log.path))
    inode = log.path.stat().st_ino
    with log.path.open("r+") as stream:
        stream.truncate()
        for minute in range(10, 20):
            stream.write(f"2026-11-22 10:{minute}:00,000 - ERROR - RemoteDisconnected\n")
    assert log.path.stat().st_ino == inode
    assert log.path.stat().st_size > cursor.offset
    count, gaps, _ = incidents(cursor)
    assert count == 10
    assert "truncated after byte" in gaps[0]


def test_a_log_rotated_out_of_sight_is_a_gap(log: Log) -> None:
    log.fail(3)
    cursor = take_cursor(str(log.path))
    for _ in range(7):
        log.fail(1)
        log.rotate()
    log.part(".5").unlink()
    log.fail(1)
    count, gaps, cursor = incidents(cursor)
    assert count == 5
    assert "rotated away" in gaps[0]
    log.fail(1)
    assert incidents(cursor)[:2] == (6, gaps), "once lost, always lost"


def test_a_damaged_compressed_part_is_a_gap(log: Log) -> None:
    log.path.write_bytes(random.Random(1).randbytes(9000))
    log.fail(1)
    cursor = take_cursor(str(log.path))
    log.fail(1)
    log.rotate()
    log.compress(".1")
    packed = log.part(".1.gz")
    packed.write_bytes(packed.read_bytes()[:-60])
    log.fail(1)
    count, gaps, _ = incidents(cursor)
    assert count >= 1
    assert "damaged" in gaps[0] or "were read before" in gaps[0]


def test_other_files_beside_the_log_are_no_part_of_it(log: Log) -> None:
    log.fail(1)
    cursor = take_cursor(str(log.path))
    log.fail(1)
    log.rotate()
    log.fail(1)
    for suffix in (".bak", ".errors", "~", ".1.swp", ".old.1"):
        log.part(suffix).write_text("2026-11-21 23:00:00,000 - ERROR - Read timed out\n")
    assert incidents(cursor)[:2] == (2, [])
    assert look_at_all(str(log.path), rotated=True).tally.incidents == 3


def test_the_whole_history_has_the_rotated_parts(log: Log) -> None:
    for _ in range(3):
        log.fail(2)
        log.rotate()
    log.compress(".3")
    total = log.fail(2)
    seen = look_at_all(str(log.path), rotated=True)
    assert (seen.tally.incidents, seen.tally.gaps) == (total, [])
    assert look_at_all(str(log.path)).tally.incidents == 2
    assert incidents(seen.cursor)[0] == 0
    log.fail()
    assert incidents(seen.cursor)[0] == 1


def test_looks_while_another_process_rotates_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "bot.log"
    code = """
import logging, logging.handlers, sys
handler = logging.handlers.RotatingFileHandler(sys.argv[1], maxBytes=200_000, backupCount=5)
handler.setFormatter(logging.Formatter("%(asctime)s - %(levelname)s - %(message)s"))
logger = logging.Logger("bot"); logger.addHandler(handler)
print("ready", flush=True); sys.stdin.readline()
for number in range(12_000):
    logger.error("call %d: Read timed out", number)
print("done", flush=True); sys.stdin.readline()
"""
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdin
        assert writer.stdout
        writer.stdout.readline()
        cursor = take_cursor(str(path))
        writer.stdin.write("\n")
        writer.stdin.flush()
        while cursor.tally.lines < 12_000 and not cursor.tally.gaps:
            cursor = look(cursor).cursor
        writer.stdin.write("\n")
        writer.stdin.flush()
    assert (cursor.tally.lines, cursor.tally.gaps) == (12_000, [])
    assert cursor.tally.rotations >= 3


# --- bad input --------------------------------------------------------------------------------------------------------


def test_a_log_that_does_not_exist_yet(log: Log) -> None:
    cursor = take_cursor(str(log.path))
    with pytest.raises(LogError, match=r"bot\.log is missing: check that the bot runs"):
        look(cursor)
    log.fail(2)
    assert incidents(cursor)[0] == 2


def test_a_log_that_vanishes(log: Log) -> None:
    log.fail(2)
    cursor = take_cursor(str(log.path))
    log.path.unlink()
    with pytest.raises(LogError, match="is missing: check that the bot runs"):
        look(cursor)
    log.fail(1)
    count, gaps, _ = incidents(cursor)
    assert count == 1
    assert gaps


def test_a_log_that_vanishes_after_it_was_rotated(log: Log) -> None:
    log.fail(2)
    log.rotate()
    log.path.touch()
    cursor = take_cursor(str(log.path))
    log.path.unlink()
    with pytest.raises(LogError, match="is missing: check that the bot runs"):
        look(cursor)


def test_a_log_nobody_may_read() -> None:
    """As somebody else, since root may read everything."""
    code = (
        "import sys, os; sys.path.insert(0, sys.argv[1])\n"
        "from webex_rollout.errors import LogError\n"
        "from webex_rollout.logs.cursor import look_at_all\n"
        "if os.getuid() == 0: os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "try: look_at_all(sys.argv[2])\n"
        "except LogError as error: print(error)"
    )
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        path = Path(directory, "bot.log")
        path.touch(mode=0)
        ended = subprocess.run(
            [sys.executable, "-c", code, str(PROJECT / "module_utils"), str(path)],
            capture_output=True,
            check=True,
            text=True,
        )
    assert "cannot be read: Permission denied; give the bot's user access to it" in ended.stdout


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path, tmp_path / "fifo"):
        with pytest.raises(LogError, match="no regular file"):
            take_cursor(str(path))


def cursor_fields() -> Iterator[tuple[str, ...]]:
    yield from ((field.name,) for field in dataclasses.fields(Cursor))
    yield from (("tally", field.name) for field in dataclasses.fields(Tally))
    yield from (("tally", "pool", field.name) for field in dataclasses.fields(Pool))
    yield from (("tally", "counts", "read_timeout", field.name) for field in dataclasses.fields(Count))


@pytest.mark.parametrize("field", [*cursor_fields()], ids=".".join)
@pytest.mark.parametrize("damage", ["gone", "text"])
def test_a_damaged_cursor_is_refused(log: Log, field: tuple[str, ...], damage: str) -> None:
    cursor = take_cursor(str(log.path))
    log.fail(2)
    raw = json.loads(json.dumps(look(cursor).cursor.to_dict()))
    inner = raw
    for name in field[:-1]:
        inner = inner[name]
    if damage == "gone":
        del inner[field[-1]]
    elif field[-1] in ("path", "head_sha256"):
        inner[field[-1]] = None
    else:
        inner[field[-1]] = "x"
    with pytest.raises(LogError, match=r"cursor into the log is damaged: .*take a new one"):
        Cursor.from_dict(raw)


def test_a_cursor_of_the_first_version_goes_on(log: Log) -> None:
    """As the program kept it before the pool's `hears` was called `log_level`, with this log."""
    first = json.loads((PROJECT / "tests/unit/logs/cursor_v1.json").read_text())
    log.path.write_text(
        "2026-11-21 15:00:01,123 - jarvis.py:1 - INFO - started\n"
        "2026-11-21 15:01:01,123 - webex_pool_config.py:210 - INFO - webex-pool ready pid=4711 session=api "
        "timeout=120\n"
        "2026-11-21 15:02:01,123 - webex_pool_config.py:210 - INFO - webex-pool stats pid=4711 requests=100 retried=2 "
        "failed=1 recycled=3 open=2 hears=20\n"
        "2026-11-21 15:03:01,123 - jarvis.py:12 - ERROR - Read timed out. (read timeout=60)\n"
    )
    assert log.path.stat().st_size == first["offset"]
    cursor = Cursor.from_dict({**first, "path": str(log.path)})
    with log.path.open("a") as stream:
        stream.write("2026-11-21 15:04:01,123 - x.py:1 - INFO - webex-pool stats pid=4711 requests=150 retried=2 ")
        stream.write("failed=1 recycled=3 open=2\n")
        stream.write("2026-11-21 15:05:01,123 - x.py:1 - ERROR - Read timed out. (read timeout=60)\n")
    seen = look(cursor)
    found = evidence(seen.tally)
    assert (found["incidents"], found["gaps"], found["ready_line"]) == (2, [], True)
    assert (found["pool"]["requests"], found["pool"]["log_level"]) == (150, 20)
    assert through_json(seen.cursor).version == cursors.CURSOR_VERSION == 3
    assert first["version"] == 1
    del first["tally"]["pool"]["hears"]
    with pytest.raises(LogError, match=r"damaged: its pool is missing, or is of another version; take a new one"):
        Cursor.from_dict(first)


@pytest.mark.parametrize("raw", [None, "", [], {}, {"version": 99}])
def test_what_is_no_cursor_is_refused(raw: Any) -> None:
    with pytest.raises(LogError, match="damaged"):
        Cursor.from_dict(raw)
