"""Reports of the scenes, in one time zone wherever the tests run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from plugin_utils.report.build import as_json, build
from plugin_utils.report.events import Run


@pytest.fixture(autouse=True)
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A zone an hour off UTC."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def report() -> Callable[[Run], dict[str, Any]]:
    """What report.json holds of a run."""
    return lambda run: as_json(build(run, run.ended))
