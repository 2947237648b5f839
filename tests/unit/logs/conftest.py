"""The logs' time zone is UTC unless a test says otherwise, and small blocks put every border into a short log."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from ansible.module_utils.webex_rollout.logs import cursor, files, search


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Stamps are in UTC."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of 64 bytes, spans of two blocks, half lines of up to 100 bytes."""
    for room in (files, search):
        monkeypatch.setattr(room, "BLOCK", 64)
    monkeypatch.setattr(search, "SPAN", 128)
    monkeypatch.setattr(cursor, "MAX_HALF_LINE", 100)
