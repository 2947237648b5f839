"""Gives each test what events are sent to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.unit.tell.receivers import Journal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def journald(tmp_path: Path) -> Iterator[Journal]:
    """A journal that nothing else writes to."""
    made = Journal(tmp_path / "journal.socket")
    yield made
    made.close()
