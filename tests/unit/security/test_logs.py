"""What the owner of a log can do to whoever reads it: cost a bounded time, and his own bot's evidence."""

from __future__ import annotations

import gzip
import os
from typing import TYPE_CHECKING

import pytest
from ansible.module_utils.webex_rollout.errors import LogError
from ansible.module_utils.webex_rollout.logs import files as log_files
from ansible.module_utils.webex_rollout.logs import reader as readers
from ansible.module_utils.webex_rollout.logs.reader import LogReader

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.people import People

LINE = "2026-11-26 05:00:00,000 - bot.py:1 - INFO - at work\n"


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


def test_a_log_without_end_costs_a_bounded_time(log: Path, reader: LogReader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "SECONDS", 1.0)
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
