"""The hand-written cases: what becomes of each source, byte for byte, and what is reported of it."""

from __future__ import annotations

import ast

import pytest

from plugin_utils.client_patch import PatchError, patch, unpatch

from .case_files import CASES, SETTINGS, Case, describe, describe_error, read

ALL = [read(path) for path in sorted(CASES.glob("*.case"))]
GOOD = [case for case in ALL if case.after is not None]
BAD = [case for case in ALL if case.after is None]


def _named(cases: list[Case]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", cases, ids=[case.name for case in cases])


def test_cases_are_there() -> None:
    assert len(GOOD) >= 30
    assert len(BAD) >= 5


@_named(GOOD)
def test_patched_source(case: Case) -> None:
    result = patch(case.before, SETTINGS, case.name)
    assert result.source == case.after
    assert describe(result) == case.reported


@_named(BAD)
def test_refused_source(case: Case) -> None:
    with pytest.raises(PatchError) as refused:
        patch(case.before, SETTINGS, case.name)
    assert [describe_error(refused.value)] == case.reported


@_named(GOOD)
def test_second_patch_changes_nothing(case: Case) -> None:
    assert case.after is not None
    again = patch(case.after, SETTINGS, case.name)
    assert again.source == case.after
    assert {item.action for item in again.constructions} == {"unchanged"}


@_named(GOOD)
def test_unpatching_restores_every_byte(case: Case) -> None:
    assert case.after is not None
    assert unpatch(case.after, SETTINGS, case.before, case.name).source == case.before


@_named(GOOD)
def test_patched_source_compiles(case: Case) -> None:
    assert case.after is not None
    try:
        ast.parse(case.before)
    except SyntaxError:
        pytest.skip("syntax newer than this Python")
    compile(case.after, case.name, "exec", dont_inherit=True)
