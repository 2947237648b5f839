"""The parts of a log are found under the names that are in use, in order, and nothing else is one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible.module_utils.webex_rollout.logs.cursor import look, look_at_all, take_cursor
from ansible.module_utils.webex_rollout.logs.names import rotated_names

NAMES = {
    "numbers": ["bot.log.3.gz", "bot.log.2", "bot.log.1"],
    "days": ["bot.log.2026-11-23", "bot.log.2026-11-24", "bot.log.2026-11-25"],
    "dateext": ["bot.log-20261123.gz", "bot.log-20261124.gz", "bot.log-20261125"],
    "hours": ["bot.log.2026-11-25_08", "bot.log.2026-11-25_09", "bot.log.2026-11-25_10"],
    "hours of logrotate": ["bot.log-2026112508", "bot.log-2026112509"],
    "loguru": ["bot.2026-11-24_10-00-00_123456.log", "bot.2026-11-25_10-00-00_123456.log"],
    "extension": ["bot-20261124.log", "bot-20261125.log.gz"],
    "numbers before the extension": ["bot.2.log", "bot.1.log"],
    "olddir": ["old/bot.log-20261123.gz", "old/bot.log-20261124"],
    "olddir beside": ["../archive/bot.log.2.gz", "../archive/bot.log.1"],
}


@pytest.mark.parametrize("kind", NAMES)
def test_the_parts_are_found_oldest_first(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    for name in reversed(NAMES[kind]):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    for other in ("bot.log", "bot.log.bak", "bot.log.1.swp", "bot2.log", "bot.log.errors", "tars.log.1", "bot-old.log"):
        (folder / other).touch()
    found = rotated_names(str(folder / "bot.log"))
    assert [os.path.normpath(name) for name in found] == [os.path.normpath(folder / name) for name in NAMES[kind]]


def write(path: Path, hour: int) -> None:
    with path.open("a") as stream:
        stream.write(f"2026-11-25 {hour:02d}:00:00,000 - x.py:1 - ERROR - Read timed out\n")


@pytest.mark.parametrize("names", [[f"bot-2026-11-{day}.log" for day in (24, 25, 26)], ["b_08.log", "b_09.log"]])
def test_a_log_with_the_date_in_its_name_goes_on_in_the_next(tmp_path: Path, names: list[str]) -> None:
    dated = "2026" in names[0]
    log = tmp_path / names[0]
    write(log, 1)
    cursor = take_cursor(str(log))
    write(log, 2)
    for hour, name in enumerate(names[1:], 3):
        write(tmp_path / name, hour)
    assert look(cursor).tally.failures == (len(names) if dated else 1)
    last = tmp_path / names[-1]
    assert look_at_all(str(last), rotated=True).tally.failures == (len(names) + 1 if dated else 1)
