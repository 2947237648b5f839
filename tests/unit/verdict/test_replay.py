"""A report's verdicts judged anew."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from module_utils.webex_rollout.evidence import ROLL_BACK
from module_utils.webex_rollout.record import to_record
from module_utils.webex_rollout.verdict import judge
from plugin_utils.gate.replay import main
from tests.unit.verdict.test_judge import GOOD


def written(path: Path, **change: Any) -> str:
    record = to_record(GOOD, judge(GOOD))
    record["verdict"].update(change)
    content = {"bots": [{"name": "jarvis", "verdict": {"record": record}}, {"name": "tars", "verdict": None}]}
    path.write_text(json.dumps(content))
    return str(path)


def test_the_same_verdict_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([written(tmp_path / "report.json")]) == 0
    said = capsys.readouterr().out
    assert said.startswith("jarvis: promote, as recorded. 0 incidents in 5000 requests over 24 h")
    assert "tars" not in said


def test_another_verdict_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([written(tmp_path / "report.json", verdict=ROLL_BACK)]) == 1
    assert "jarvis: the recorded verdict is roll back, its evidence gives promote" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"bots": [{"name": 1}]}'])
def test_what_is_no_report(tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str) -> None:
    path = tmp_path / "report.json"
    path.write_text(content)
    assert main([str(path)]) == 1
    assert str(path) in capsys.readouterr().err


def test_a_report_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["/no/such/report.json"]) == 1
    assert "No such file" in capsys.readouterr().err
