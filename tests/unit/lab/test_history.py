"""The five days of logs hold what was counted on the VM."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.lab import history
from tests.lab.paths import BOTS, CHECKOUT

RECORD = re.compile(
    r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}) - (\S+:\d+) - (DEBUG|INFO|WARNING|ERROR|CRITICAL) - (.*)$"
)


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("logs")
    history.write(directory)
    return directory


def lines_with(path: Path, text: str) -> int:
    """What `grep -c` counts."""
    return sum(text in line for line in path.read_text().splitlines())


def times(path: Path) -> list[datetime]:
    matches = (RECORD.match(line) for line in path.read_text().splitlines())
    return [datetime.strptime(match[1], "%Y-%m-%d %H:%M:%S,%f") for match in matches if match]


def test_time_out_lines_are_as_many_as_were_counted(logs: Path) -> None:
    counts = {bot: lines_with(logs / f"{bot}.log", "Read timed out") for bot in BOTS}

    assert counts["jarvis"] == 686
    assert sum(counts.values()) == 1338
    assert all(counts.values())


def test_the_rotated_file_has_older_records_and_no_time_out(logs: Path) -> None:
    rotated = logs / "jarvis.log.1"

    assert lines_with(rotated, "Read timed out") == 0
    assert times(rotated)[-1] <= times(logs / "jarvis.log")[0]
    # RotatingFileHandler rotates before the record that would not fit.
    assert 0.99 * history.ROTATED_BYTES < rotated.stat().st_size <= history.ROTATED_BYTES


def test_jarvis_fails_first_and_last_when_the_report_says(logs: Path) -> None:
    records = [match for match in map(RECORD.match, (logs / "jarvis.log").read_text().splitlines()) if match]
    time_outs = [match for match in records if "Read timed out" in match[4]]

    assert records[0] == time_outs[0]
    assert time_outs[0][1].startswith("2025-11-16 19:06")
    assert time_outs[-1][1].startswith("2025-11-21 15:25")
    assert records[-1][1].startswith("2025-11-21 15:34")
    assert "RemoteDisconnected" in records[-1][4]


@pytest.mark.parametrize("bot", BOTS)
def test_records_are_in_order_of_time(logs: Path, bot: str) -> None:
    stamps = times(logs / f"{bot}.log")

    assert stamps == sorted(stamps)
    assert all(history.END - history.LENGTH <= stamp <= history.END for stamp in stamps)


def test_a_failed_call_is_three_lines_of_one_record_or_one_line_of_its_own(logs: Path) -> None:
    per_record: list[int] = []
    for line in (logs / "jarvis.log").read_text().splitlines():
        if RECORD.match(line):
            per_record.append(0)
        per_record[-1] += "Read timed out" in line

    assert {count: per_record.count(count) for count in (1, 3)} == {1: 2, 3: 228}
    assert set(per_record) == {0, 1, 3}


def test_old_records_name_the_line_that_logs_today(logs: Path) -> None:
    source = (CHECKOUT / "src/utils/enhanced_websocket_client.py").read_text().splitlines()
    text = (logs / "jarvis.log").read_text()

    places = set(re.findall(r"enhanced_websocket_client\.py:(\d+) - ERROR", text))

    assert [source[int(number) - 1].strip()[:40] for number in places] == ['logger.error(f"Error processing message:']


def test_the_end_moves_everything(tmp_path: Path) -> None:
    end = datetime(2026, 3, 2, 10, 0)
    history.write(tmp_path, ["jarvis"], end)

    stamps = times(tmp_path / "jarvis.log")

    assert (stamps[0], stamps[-1]) == (end - history.LENGTH, end)
    assert lines_with(tmp_path / "jarvis.log", "Read timed out") == 686
    assert stamps[-1] - stamps[0] > timedelta(days=4)


def test_the_same_history_every_time(logs: Path, tmp_path: Path) -> None:
    history.write(tmp_path)

    assert all(path.read_bytes() == (tmp_path / path.name).read_bytes() for path in logs.iterdir())
