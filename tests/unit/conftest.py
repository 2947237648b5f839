"""Makes the project's module_utils importable as Ansible makes them for modules: as part of ansible.module_utils.

Generated examples are the same in every run; the bench draws new ones.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import ansible.module_utils
import pytest
from hypothesis import settings

from tests.unit.people import People, make_people, remove

if TYPE_CHECKING:
    from collections.abc import Iterator

settings.register_profile("repeatable", derandomize=True)
settings.load_profile("repeatable")
ansible.module_utils.__path__.append(str(Path(__file__).resolve().parents[2] / "module_utils"))


@pytest.fixture
def people(monkeypatch: pytest.MonkeyPatch) -> Iterator[People]:
    """Users without rights, to act as."""
    made = make_people(monkeypatch)
    yield made
    remove(made)


@pytest.fixture(autouse=True)
def fair_weather(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test asks the network for Webex, unless it is about that."""
    from ansible.module_utils.webex_rollout import reach, weather

    monkeypatch.setattr(reach, "ask", lambda *_: weather.Look("good"))


@pytest.fixture(autouse=True)
def own_notes(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """What hangs in one test is nobody else's."""
    from ansible.module_utils.webex_rollout import hanging

    monkeypatch.setattr(hanging, "DIRECTORY", str(tmp_path_factory.getbasetemp() / f"hanging-{time.monotonic_ns()}"))
