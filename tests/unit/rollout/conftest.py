"""Gives each test a machine of its own."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from ansible.module_utils.webex_rollout import paths

from tests.unit.rollout.machine import Machine, everywhere

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    """A machine with one bot, jarvis, not running."""
    made = Machine(tmp_path)
    everywhere(monkeypatch, "run_command", made.systemd)
    monkeypatch.setattr(paths, "ENVIRONMENT_DIR", str(made.env_dir))
    monkeypatch.setenv("PATH", f"{made.bin}:{os.environ['PATH']}")
    yield made
    made.close()
