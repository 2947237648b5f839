"""The properties on a few hundred generated programs; `make bench-patch` runs ten thousand and more."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings

from .programs import Program, any_program
from .properties import check_program


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(any_program())
def test_properties(program: Program) -> None:
    check_program(program)
