"""Job templates, surveys and schedules as files: their shape, and that they are brought to an AWX once only."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from plugin_utils import awx as program
from plugin_utils.settings import known_settings
from tests.unit.controller.awx_stand_in import FIELDS, TOKEN, StandIn, awx, rrule_problem, survey_problem

ROOT = Path(__file__).resolve().parents[3]
FILES = sorted((ROOT / "controller/awx").glob("*.json"))


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    monkeypatch.setenv("AWX_TOKEN", TOKEN)
    with awx() as stand_in:
        yield stand_in


def run(there: StandIn, *more: str) -> int:
    return program.main(["--url", there.url, "--project-url", "https://git.example.org/bots.git", *more])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_has_what_the_api_takes(path: Path) -> None:
    wanted = json.loads(path.read_text())
    assert set(wanted) == {"template", "survey", "schedules"}
    assert set(wanted["template"]) <= FIELDS["job_templates"]
    assert (ROOT / wanted["template"]["playbook"]).is_file()
    assert wanted["template"]["survey_enabled"] == bool(wanted["survey"])
    if wanted["survey"]:
        assert survey_problem(wanted["survey"]) == ""
    assert [rrule_problem(schedule["rrule"]) for schedule in wanted["schedules"]] == [""] * len(wanted["schedules"])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_survey_asks_for_settings_that_there_are(path: Path) -> None:
    survey = json.loads(path.read_text())["survey"] or {"spec": []}
    assert {question["variable"] for question in survey["spec"]} <= set(known_settings())
    for question in survey["spec"]:
        if question["type"] == "multiplechoice":
            assert set(question["choices"]) == set(known_settings()[question["variable"]]["choices"]) - {""}


def test_everything_is_made_once(there: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(there) == 0
    templates = {each["name"]: each for each in there.things["job_templates"]}
    assert len(templates) == len(FILES)
    rollout = templates["Webex bots: roll out"]
    assert there.things[f"job_templates/{rollout['id']}/credentials"] == [{"id": 3}]
    assert there.surveys[rollout["id"]]["spec"][1]["variable"] == "rollout_verdict"
    assert there.things[f"job_templates/{rollout['id']}/schedules"][0]["enabled"] is False
    there.writes.clear()
    capsys.readouterr()
    assert run(there) == 0
    assert (there.writes, capsys.readouterr().out) == ([], "nothing to do\n")


def test_in_check_mode_nothing_is_written(there: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(there, "--check") == 0
    assert there.writes == []
    assert "Webex bots: roll out: created" in capsys.readouterr().out


def test_what_somebody_changed_is_put_right_and_an_enabled_schedule_stays_so(there: StandIn) -> None:
    run(there)
    template = there.things["job_templates"][0]
    (schedule,) = next(
        listed for path, listed in there.things.items() if path.endswith("/schedules") and "ten" in str(listed)
    )
    template["timeout"], schedule["enabled"] = 1, True
    there.surveys[next(iter(there.surveys))]["spec"].pop()
    there.writes.clear()
    assert run(there) == 0
    assert sorted(write.split("/")[0] for write in there.writes) == ["PATCH job_templates", "POST job_templates"]
    assert schedule["enabled"] is True
    assert template["timeout"] != 1


def test_what_is_missing_is_named(there: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(there, "--inventory", "nowhere") == 1
    assert "there is no 'nowhere' among the inventories; make it first" in capsys.readouterr().err
    assert there.writes == []


def test_a_token_that_is_not_taken_is_not_shown(
    there: StandIn, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWX_TOKEN", "another-token")
    assert run(there) == 1
    said = capsys.readouterr().err
    assert "401" in said
    assert "another-token" not in said


def test_a_token_does_not_travel_in_clear(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("AWX_TOKEN", TOKEN)
    assert program.main(["--url", "http://awx.example.org", "--project-url", "x"]) == 1
    assert "would travel in clear" in capsys.readouterr().err
