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
