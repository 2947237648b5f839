"""The page made anew from a report.json."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from plugin_utils.report.__main__ import main
from plugin_utils.report.events import Run
from plugin_utils.report.page import render
from tests.unit.report.scenes import SCENES

Make = Callable[[Run], dict[str, Any]]


def test_the_page_again(tmp_path: Path, report: Make, capsys: pytest.CaptureFixture[str]) -> None:
    content = report(SCENES["promoted"]())
    path = tmp_path / "report.json"
    path.write_text(json.dumps(content))
    assert main([str(path)]) == 0
    assert capsys.readouterr().out == render(content)


def test_a_report_of_an_earlier_version(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "report.json"
    path.write_text('{"schema": 1, "outcome": {"state": "succeeded"}, "bots": []}')
    assert main([str(path)]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(
        f"{path}: this is a report of format 1, and this version of the project reads format 2;"
    )


@pytest.mark.parametrize("content", ["{}", "[]", '{"schema": "2"}'])
def test_what_is_no_report(tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str) -> None:
    path = tmp_path / "report.json"
    path.write_text(content)
    assert main([str(path)]) == 1
    assert capsys.readouterr().err == f"{path}: this is no report of a rollout\n"


def test_what_cannot_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "report.json"
    assert main([str(path)]) == 1
    assert "No such file" in capsys.readouterr().err
    path.write_text("{")
    assert main([str(path)]) == 1
    assert str(path) in capsys.readouterr().err


def test_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "python -m plugin_utils.report reports/" in capsys.readouterr().err
