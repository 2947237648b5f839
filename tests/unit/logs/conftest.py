"""The logs' time zone is UTC unless a test says otherwise, and small blocks put every border into a short log."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from ansible.module_utils import bot_logs


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Stamps are in UTC."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture(params=["memmem", "no memmem", "two processes"])
def small_blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Blocks of 64 bytes, spans of two blocks, half lines of up to 100 bytes; with each way of searching."""
    monkeypatch.setattr(bot_logs, "BLOCK", 64)
    monkeypatch.setattr(bot_logs, "SPAN", 128)
    monkeypatch.setattr(bot_logs, "MAX_HALF_LINE", 100)
    monkeypatch.setattr(bot_logs, "MANY_SPANS", 2 if request.param == "two processes" else 10**9)
    if request.param == "no memmem":
        monkeypatch.setattr(bot_logs, "_MEMMEM", None)
    return request.param
