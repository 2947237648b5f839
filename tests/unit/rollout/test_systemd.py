"""Asking systemd, and waiting for it as long as a unit is given."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
from ansible.module_utils.webex_rollout import systemd

if TYPE_CHECKING:
    from collections.abc import Sequence


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("15s", 15.0), ("2min 30s", 150.0), ("1h 1min 1.5s", 3661.5), ("500ms", 0.5), ("0", 0.0), ("infinity", None)],
)
def test_time_spans_are_read_as_systemctl_prints_them(text: str, seconds: float | None) -> None:
    assert systemd.time_span(text) == seconds


@pytest.mark.parametrize(("given", "least"), [("3min 20s", 200), ("15s", 15), ("infinity", None)])
def test_a_stop_is_waited_for_as_long_as_the_unit_gives_its_process(
    monkeypatch: pytest.MonkeyPatch, given: str, least: float | None
) -> None:
    waits: list[float | None] = []

    def answer(argv: Sequence[str], timeout: float | None = 120, stdin: bytes | None = None) -> object:
        if argv[1] == "stop":
            waits.append(timeout)
        return subprocess.CompletedProcess(argv, 0, f"TimeoutStopUSec={given}\n".encode(), b"")

    monkeypatch.setattr(systemd, "run_command", answer)
    systemd.stop_unit(systemd.show_unit("webex-bot@jarvis.service"))
    assert len(waits) == 1
    assert waits[0] is None if least is None else waits[0] is not None and waits[0] > least


def shown(monkeypatch: pytest.MonkeyPatch, refuses: int = 0) -> list[tuple[str, ...]]:
    """A systemd that has each unit's pid in its name; the units it was asked for, each time."""
    asked: list[tuple[str, ...]] = []

    def answer(argv: Sequence[str], timeout: float | None = 120) -> object:
        names = tuple(word for word in argv[2:] if word.endswith(".service"))
        asked.append(names)
        blocks = [f"LoadState=loaded\nMainPID={name[: -len('.service')]}\n" for name in names]
        return subprocess.CompletedProcess(argv, len(names) == refuses, "\n".join(blocks).encode(), b"no bus")

    monkeypatch.setattr(systemd, "run_command", answer)
    return asked


def test_a_look_at_many_units_is_one_question(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = shown(monkeypatch)
    with systemd.units_seen_once(["7.service", "8.service"]):
        pids = [systemd.show_unit(f"{number}.service").main_pid for number in (8, 7, 9, 8, 9)]
    assert pids == [8, 7, 9, 8, 9]
    assert asked == [("7.service", "8.service"), ("9.service",)]


@pytest.mark.parametrize("names", [[], ["7.service"]])
def test_after_the_look_systemd_is_asked_each_time(monkeypatch: pytest.MonkeyPatch, names: list[str]) -> None:
    asked = shown(monkeypatch)
    with pytest.raises(KeyError, match="broken off"), systemd.units_seen_once(names):
        raise KeyError("broken off")
    asked.clear()
    assert [systemd.show_unit("7.service").main_pid for _ in range(2)] == [7, 7]
    assert asked == [("7.service",)] * 2


def test_units_that_cannot_be_had_at_once_are_asked_for_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = shown(monkeypatch, refuses=2)
    with systemd.units_seen_once(["7.service", "8.service"]):
        assert systemd.show_unit("8.service").main_pid == 8
    assert asked == [("7.service", "8.service"), ("8.service",)]
