"""Gives a test a bot whose user has no rights, and others beside him."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.unit.security.case import Case

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.unit.people import People


@pytest.fixture
def case(people: People) -> Iterator[Case]:
    made = Case(people)
    yield made
    made.close()
