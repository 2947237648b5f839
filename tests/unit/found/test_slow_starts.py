"""A bot that takes long to connect has as long under its unit; how long it took, its log shows."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ansible.module_utils.webex_rollout.clock import Deadline
from ansible.module_utils.webex_rollout.logs.reader import LogReader
from ansible.module_utils.webex_rollout.steps.check import _patience

if TYPE_CHECKING:
    from tests.unit.found.conftest import Preflight
    from tests.unit.rollout.machine import Machine

OPENED = "WebSocket Opened."


def line(when: float, text: str) -> str:
    return f"{datetime.fromtimestamp(when):%Y-%m-%d %H:%M:%S},000 - INFO - {text}\n"


def log_of(path: Path, started: float, took: float, others: int = 3000) -> Path:
    """A log that reaches back before the start and goes on after it, with an earlier and a later connection."""
    lines = [line(started - 9000 + number, "hello") for number in range(others)]
    lines.insert(7, line(started - 8999, OPENED))
    lines += [line(started + 1, "Starting")]
    lines += [line(started + took, OPENED)]
    lines += [line(started + took + number, f"said {OPENED}") for number in range(others)]
    path.write_text("".join(lines))
    return path


@pytest.mark.parametrize("took", [2, 45, 300])
def test_how_long_a_start_took_is_read_from_the_log(tmp_path: Path, took: float) -> None:
    started = time.time() - 4000
    assert LogReader("root").took_to_start(str(log_of(tmp_path / "x.log", started, took)), started) == pytest.approx(
        took, abs=1
    )


def test_a_log_that_does_not_reach_back_shows_nothing(tmp_path: Path) -> None:
    started = time.time() - 4000
    log = log_of(tmp_path / "x.log", started, 45)
    (tmp_path / "x.log.1").write_text(line(started + 1000, OPENED))
    log.write_text(line(started + 2000, OPENED) * 20)
    assert LogReader("root").took_to_start(str(log), started) is None
    log.write_text("no time at all\n" * 20)
    assert LogReader("root").took_to_start(str(log), started) is None


def rows(preflight: Preflight) -> list[dict[str, Any]]:
    return [each for each in preflight.plan["differences"] if each["what"] == "start-up"]


@pytest.mark.parametrize(
    ("deadline", "fate", "wanted"), [(300, "carried over", "up to 7"), (60, "noted", "60 s at most")]
)
def test_the_plan_shows_what_a_slow_start_has(
    machine: Machine, preflight: Preflight, deadline: int, fate: str, wanted: str
) -> None:
    machine.nohup()
    log_of(machine.home / "logs/jarvis.log", time.time(), 45, others=30)
    assert preflight.look(guard_deadline=deadline) == []
    (row,) = rows(preflight)
    assert row["fate"] == fate
    assert row["wanted"].startswith(wanted)
    assert preflight.facts["took_to_start"] == pytest.approx(45, abs=2)


def test_the_check_waits_accordingly_and_never_beyond_the_deadline(machine: Machine) -> None:
    timing = machine.timing
    state: Any = type("State", (), {"deadline": Deadline.after(300)})
    assert _patience(state, machine.proof, timing) == timing.connect
    slow = replace(machine.proof, settle=10, took_to_start=45.0)
    assert _patience(state, slow, timing) == pytest.approx(1.5 * 45 + 5 - 10, abs=1)
    state.deadline = Deadline.after(20)
    assert _patience(state, slow, timing) == pytest.approx(20 - timing.connect, abs=1)
