"""What the owner of a log can do to whoever reads it: cost a bounded time, and his own bot's evidence."""

from __future__ import annotations

import gzip
import os
from typing import TYPE_CHECKING

import pytest
from ansible.module_utils.webex_rollout.errors import LogError
from ansible.module_utils.webex_rollout.logs import files as log_files
from ansible.module_utils.webex_rollout.logs import holes
from ansible.module_utils.webex_rollout.logs import reader as readers
from ansible.module_utils.webex_rollout.logs.reader import LogReader

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.people import People

LINE = "2026-11-26 05:00:00,000 - bot.py:1 - INFO - at work\n"
ERROR = "2026-11-26 05:00:01,000 - bot.py:1 - ERROR - broken\n"


@pytest.fixture
def log(people: People) -> Path:
    path = people.home / "jarvis.log"
    path.write_text(LINE)
    people.give(people.home)
    return path


@pytest.fixture
def reader(people: People) -> LogReader:
    return LogReader("botuser")


def test_the_users_own_log_is_read(log: Path, reader: LogReader) -> None:
    assert reader.look_at_all(str(log), rotated=True)["dated"]


def test_a_link_to_roots_file_is_not_read(people: People, log: Path, reader: LogReader) -> None:
    secret = people.base / "secret"
    secret.write_text("2026-01-01 00:00:00,000 webex-pool ready pid=1 secret=hunter2\n")
    secret.chmod(0o600)
    log.unlink()
    log.symlink_to(secret)
    with pytest.raises(LogError, match="cannot be read: Permission denied"):
        reader.look_at_all(str(log), rotated=False)
    secret.chmod(0o644)
    with pytest.raises(LogError, match="belongs to uid 0, not to the bot's user"):
        reader.look_at_all(str(log), rotated=False)


@pytest.mark.parametrize("kind", ["fifo", "device", "directory"])
def test_what_is_no_file_is_refused_at_once(people: People, log: Path, reader: LogReader, kind: str) -> None:
    log.unlink()
    if kind == "fifo":
        os.mkfifo(log)
        people.give(log)
    elif kind == "device":
        log.symlink_to("/dev/zero")
    else:
        log.mkdir()
    with pytest.raises(LogError, match="is no regular file"):
        reader.look_at_all(str(log), rotated=False)
    with pytest.raises(LogError, match="is no regular file"):
        reader.find_ready(readers.fresh_cursor(str(log)).to_dict(), 1)


def test_a_log_that_is_one_hole_costs_no_more_than_what_is_written_in_it(
    log: Path, reader: LogReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "SECONDS", 2.0)
    taken = reader.take(str(log))["cursor"]
    with log.open("r+b") as file:
        file.seek(64 << 30)
        file.write(b"\n" + ERROR.encode() + LINE.encode())
        file.truncate(128 << 30)
    seen = reader.look(taken)
    assert (seen["errors"], seen["gaps"]) == (1, [])
    assert reader.look(seen["cursor"])["errors"] == 1
    assert reader.look_at_all(str(log), rotated=True)["errors"] == 1
    with log.open("ab") as file:
        file.write(b"\n" + ERROR.encode() + LINE.encode())
    assert reader.look(seen["cursor"])["errors"] == 2


@pytest.mark.parametrize("hole", [4096, 1 << 20])
def test_a_log_of_a_million_holes_is_not_read(
    log: Path, reader: LogReader, monkeypatch: pytest.MonkeyPatch, hole: int
) -> None:
    monkeypatch.setattr(readers, "SECONDS", 2.0)
    monkeypatch.setattr(holes, "MOST", 64)  # the kernel would need a minute to make as many as are meant
    with log.open("r+b") as file:
        for number in range(100):
            file.seek(number * (hole + 4096))
            file.write(LINE.encode())
    with pytest.raises(LogError, match="has more than 64 holes: no log has, so it is not read"):
        reader.look_at_all(str(log), rotated=False)
    with pytest.raises(LogError, match="more than 64 holes"):
        reader.take(str(log))


def test_a_hole_behind_a_packed_part_costs_nothing(
    people: People, log: Path, reader: LogReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "SECONDS", 2.0)
    part = people.home / "jarvis.log.1.gz"
    with gzip.open(part, "wt") as file:
        file.write(ERROR)
    with part.open("ab") as packed:
        packed.write(gzip.compress(ERROR.encode()))
        packed.truncate(64 << 30)
    people.give(people.home)
    seen = reader.look_at_all(str(log), rotated=True)
    assert (seen["errors"], seen["gaps"]) == (2, [])


def test_a_log_without_end_costs_a_bounded_time(log: Path, reader: LogReader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "SECONDS", 1.0)
    monkeypatch.setattr(holes, "LEAST", 128 << 30)  # as where the file system knows no holes
    with log.open("ab") as file:
        file.truncate(64 << 30)
    with pytest.raises(LogError, match="no answer within 1 s"):
        reader.look_at_all(str(log), rotated=False)


def test_a_packed_part_takes_a_bounded_room(
    people: People, log: Path, reader: LogReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_files, "UNPACKED_LIMIT", 2 << 20)
    part = people.home / "jarvis.log.1.gz"
    with gzip.open(part, "wb") as file:
        file.write(b"\0" * (8 << 20))
    people.give(people.home)
    found = reader.look_at_all(str(log), rotated=True)
    assert found["gaps"] == [f"{part} is damaged (it holds more than 2 MiB); what follows in it is lost"]
    assert found["dated"]


@pytest.mark.parametrize("text", ["requests=²", "pid=" + "9" * 400, "requests=٣", "failed=1e9", "open=-1"])
def test_numbers_that_are_none_are_no_pool_line(log: Path, reader: LogReader, text: str) -> None:
    with log.open("a") as file:
        file.write(f"2026-11-26 05:00:01,000 - INFO - webex-pool stats pid=7 {text}\n")
    assert reader.look_at_all(str(log), rotated=False)["pool"]["stats_lines"] == 0
