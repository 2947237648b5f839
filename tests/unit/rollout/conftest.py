"""Gives each test a machine of its own."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from ansible.module_utils import webex_rollout

from tests.unit.rollout.machine import Machine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    """A machine with one bot, jarvis, not running."""
    made = Machine(tmp_path)
    monkeypatch.setattr(webex_rollout, "run_command", made.systemd)
    monkeypatch.setattr(webex_rollout, "FOUND_SETTLE", 0.1)
    monkeypatch.setattr(webex_rollout, "CONNECT_GRACE", 0.2)
    monkeypatch.setenv("PATH", f"{made.bin}:{os.environ['PATH']}")
    yield made
    made.close()
