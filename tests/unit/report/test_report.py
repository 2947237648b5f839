"""What a report shows of a run, and that report.json is what its schema promises."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from module_utils.webex_rollout import __version__
from plugin_utils.report.events import Run
from plugin_utils.report.evidence import recent
from tests.unit.report.scenes import FLEET, HOUR, SCENES, SWITCH, Scene, log_look, ready
from tests.unit.report.test_mask import TOKEN

SCHEMA = json.loads((Path(__file__).parents[3] / "docs" / "report.schema.json").read_text())

Make = Callable[[Run], dict[str, Any]]

CONCLUSIONS = {
    "promoted": ("succeeded", "6 bots were promoted"),
    "rolled back": ("failed", "jarvis was rolled back; 5 bots were not changed"),
    "soaking": ("waiting", "jarvis is soaking; 5 bots are waiting"),
    "lost": ("failed", "toodles could not be reached; 4 bots were not changed"),
    "checked": ("check", "Check mode: nothing was changed; 6 bots would be"),
    "interrupted": ("interrupted", "Interrupted in the play “Stage canary”"),
    "running": ("running", "Not finished yet, in the play “Stage canary”"),
    "unchanged": ("succeeded", "Nothing had to be changed"),
    "paused": ("waiting", "jarvis is paused; 5 bots are waiting"),
    "held": ("failed", "jarvis is on hold; 5 bots were not changed"),
    "rolled back on request": ("succeeded", "jarvis was rolled back as requested"),
}


def results(report: dict[str, Any]) -> dict[str, str]:
    return {bot["name"]: bot["result"] for bot in report["bots"]}


def bot(report: dict[str, Any], name: str = "jarvis") -> dict[str, Any]:
    return next(bot for bot in report["bots"] if bot["name"] == name)


@pytest.mark.parametrize("scene", SCENES.values(), ids=SCENES.keys())
def test_report_json_is_what_the_schema_promises(scene: Callable[[], Run], report: Make) -> None:
    content = json.loads(json.dumps(report(scene())))
    jsonschema.Draft202012Validator(SCHEMA, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER).validate(
        content
    )


def test_the_schema_refuses_what_it_does_not_know(report: Make) -> None:
    content = report(SCENES["promoted"]()) | {"unknown": 1}
    with pytest.raises(jsonschema.ValidationError, match="unknown"):
        jsonschema.validate(content, SCHEMA)


@pytest.mark.parametrize("name", SCENES)
def test_how_the_run_came_out(name: str, report: Make) -> None:
    conclusion = report(SCENES[name]())["conclusion"]
    assert (conclusion["state"], conclusion["headline"]) == CONCLUSIONS[name]


def test_bots_in_the_inventorys_order_the_canary_first(report: Make) -> None:
    assert list(results(report(SCENES["lost"]()))) == ["jarvis", *FLEET]


def test_the_failed_canary_alone_is_to_blame(report: Make) -> None:
    found = results(report(SCENES["rolled back"]()))
    assert found.pop("jarvis") == "rolled back"
    assert set(found.values()) == {"unchanged"}


def test_a_gate_failing_for_all_is_no_failure_of_the_bot_it_ran_on(report: Make) -> None:
    content = report(SCENES["lost"]())
    assert results(content)["tars"] == "deployed"
    assert [(failure["bot"], failure["cause"]) for failure in content["failures"]] == [("toodles", True), (None, False)]


def test_the_cause_comes_first_with_its_message(report: Make) -> None:
    first, *rest = report(SCENES["rolled back"]())["failures"]
    assert first["message"].startswith("the log shows more failures with this release than before: 14 incidents")
    assert (first["bot"], first["task"], first["cause"]) == ("jarvis", "Judge by the log", True)
    assert [failure["cause"] for failure in rest] == [False]


def test_each_bots_first_failure_is_a_cause(report: Make) -> None:
    scene = Scene().play("Stage fleet")
    for name in ("tars", "msoar"):
        scene.fail(name, f"{name} is broken", "Deploy").fail(name, "so it stops", "Stop the rollout")
    content = report(scene.end())
    assert [f["message"] for f in content["failures"] if f["cause"]] == ["tars is broken", "msoar is broken"]


def test_ignored_failures_are_none(report: Make) -> None:
    run = Scene().play("Preflight").fail("jarvis", "no ping", "Reach the VM", ignored=True).end()
    assert report(run)["failures"] == []
    assert results(report(run))["jarvis"] == "unchanged"


def test_a_failed_loop_has_the_messages_of_its_failed_rounds(report: Make) -> None:
    rounds = {"msg": "One or more items failed", "results": [{"msg": "fine", "failed": False}]}
    rounds["results"] += [{"msg": "no such file", "failed": True}] * 2
    run = Scene().play("Stage canary").add("jarvis", "copy", "Copy", rounds, kind="failed").end()
    assert report(run)["failures"][0]["message"] == "no such file"


def test_the_end_of_a_failed_commands_output_is_kept(report: Make) -> None:
    printed = "\n".join(f"line {number}" for number in range(100))
    scene = Scene().play("Stage canary").fail("jarvis", "non-zero return code", "Run", result={"stderr": printed})
    detail = report(scene.end())["failures"][0]["detail"].splitlines()
    assert (detail[-1], len(detail)) == ("line 99", 40)


def test_the_plan_is_each_bots_own_though_one_asked_for_all(report: Make) -> None:
    bots = {bot["name"]: bot for bot in report(Scene().preflight().run)["bots"]}
    for name, bot in bots.items():
        assert [(row["what"], row["wanted"], row["fate"]) for row in bot["plan"]] == [
            ("runs", f"webex-bot@{name}.service", "changed"),
            ("options", "-u", "carried over"),
            ("input", "/dev/null", "noted"),
        ]


def test_settings_come_from_the_running_bot(report: Make) -> None:
    rows = [
        (row["label"], row["before"], row["after"], row["sessions"])
        for row in bot(report(SCENES["promoted"]()))["settings"]
    ]
    everywhere = ["api", "bot.teams", "bot.session"]
    assert rows == [
        ("Pool connections", "10", "50", everywhere),
        ("Pool maxsize", "10", "50", everywhere),
        ("Max retries", "0", "3", everywhere),
        ("Request timeout", "60 s", "120 s", ["api", "bot.teams"]),
        ("Request timeout", "none", "120 s", ["bot.session"]),
        ("TCP keep-alive", "off", "after 60 s, every 10 s, 3 times", everywhere),
        ("Give up on unacknowledged data after", "never", "30 s", everywhere),
        ("Discard idle connections after", "never", "60 s", everywhere),
        ("Runs as", "nohup", "webex-bot@jarvis.service", []),
        ("Open files", "1024", "65536", []),
    ]


@pytest.mark.parametrize("value", [{}, {"value": ""}, {"value": None}])
def test_a_check_without_its_value_is_no_error(value: dict[str, Any], report: Make) -> None:
    scene = Scene().preflight().play("Stage canary")
    check = {"name": "open files", "ok": True, "detail": "4096 (hard 4096)", **value}
    scene.add("jarvis", "webex_release", "Check the start", {"action": "check", "checks": [check]})
    rows = {row["name"]: row["after"] for row in bot(report(scene.end()))["settings"]}
    assert rows["open_files"] == "not known"


def test_the_open_files_are_the_checks_value_not_its_words(report: Make) -> None:
    scene = Scene().preflight().play("Stage canary")
    check = {"name": "open files", "ok": False, "detail": "limits of 3 processes differ", "value": 4096}
    scene.add("jarvis", "webex_release", "Check the start", {"action": "check", "checks": [check]})
    rows = {row["name"]: row["after"] for row in bot(report(scene.end()))["settings"]}
    assert rows["open_files"] == "4096"


def test_no_ready_line_no_settings(report: Make) -> None:
    assert bot(report(SCENES["checked"]()))["settings"] == []


def test_settings_before_are_what_an_earlier_release_logged(report: Make) -> None:
    scene = Scene().play("Stage canary")
    earlier = {"pool": {"ready": [line | {"pool_maxsize": "20"} for line in ready(4000, SWITCH - HOUR)]}}
    scene.add("jarvis", "bot_log_info", "History", log_look({}, SWITCH - HOUR, SWITCH, SWITCH) | earlier)
    scene.deploy("jarvis").soak("jarvis", 60, {"verdict": "extend"})
    rows = {row["name"]: row["before"] for row in bot(report(scene.end()))["settings"]}
    assert (rows["pool_maxsize"], rows["pool_connections"]) == ("20", "50")


def test_settings_before_are_unknown_where_somebody_wrapped_the_clients_before(report: Make) -> None:
    scene = Scene().play("Stage canary").deploy("jarvis").soak("jarvis", 60, {"verdict": "extend"})
    patch = next(event for event in scene.run.events if event.action == "client_patch")
    patch.result["constructions"][0]["action"] = "updated"
    assert {row["before"] for row in bot(report(scene.end()))["settings"]} == {"not known"}


def test_incidents_before_and_since(report: Make) -> None:
    found = bot(report(SCENES["rolled back"]()))
    assert found["before"]["incidents"] == sum(hour["incidents"] for hour in found["before"]["hours"]) > 50
    assert found["before"]["lines"] == 3 * found["before"]["incidents"]
    assert found["before"]["per_hour"] == pytest.approx(found["before"]["incidents"] / (4.9 * 24), rel=0.01)
    assert (found["after"]["incidents"], found["after"]["requests"]) == (14, 96)
    assert found["after"]["seconds"] == pytest.approx(12 * 60, abs=30)


def test_requests_are_what_the_channel_counts_whatever_the_log_says(report: Make) -> None:
    scene = Scene().play("Stage canary").deploy("jarvis")
    scene.soak("jarvis", 60, {"verdict": "extend"}, 31)
    scene.run.events[-1].result["since"]["pool"]["requests"] = 7
    scene.add("jarvis", "bot_log_info", "Check the log", log_look({}, SWITCH, SWITCH + 99, SWITCH + 99))
    assert bot(report(scene.end()))["after"]["requests"] == 31


def test_requests_are_unknown_where_the_pool_module_logged_nothing(report: Make) -> None:
    assert bot(report(SCENES["rolled back"]()))["before"]["requests"] is None


def test_what_was_tried_and_what_it_was_rolled_back_to(report: Make) -> None:
    found = bot(report(SCENES["rolled back"]()))
    assert (found["release"], found["tried"]) == ("0", "3f2a91c07be4")
    assert (found["pids_before"], found["pids_after"], found["seconds_down"]) == ([5000], [6000], 2.2)


def test_the_verdict_is_the_last_one_with_its_evidence(report: Make) -> None:
    scene = Scene().play("Stage canary").deploy("jarvis")
    scene.soak("jarvis", 60, {"verdict": "extend"}).soak("jarvis", 60, {"verdict": "promote", "summary": "all is well"})
    scene.add("jarvis", "webex_soak", "Read the soak", {"verdict": "hold", "soak": {}})
    found = bot(report(scene.end()))["verdict"]
    assert (found["verdict"], found["decided"], found["summary"]) == ("promote", False, "all is well")
    assert found["record"]["evidence"]["bot"] == "jarvis"


def test_a_human_pauses_and_the_evidence_holds(report: Make) -> None:
    paused, held = bot(report(SCENES["paused"]())), bot(report(SCENES["held"]()))
    assert (paused["result"], paused["verdict"]["verdict"], paused["verdict"]["decided"]) == ("paused", "hold", True)
    assert (held["result"], held["verdict"]["verdict"], held["verdict"]["decided"]) == ("held", "hold", False)


def test_the_projects_version(report: Make) -> None:
    assert report(SCENES["promoted"]())["version"] == __version__


def test_check_mode_claims_no_switch(report: Make) -> None:
    scene = Scene(check_mode=True).preflight().play("Stage canary").deploy("jarvis")
    found = bot(report(scene.end()))
    assert (found["result"], found["switched"], found["release"], found["checks"]) == ("would change", None, None, [])


def test_values_of_other_peoples_variables_are_not_kept(report: Make) -> None:
    run = report(SCENES["checked"]())["run"]
    assert (run["settings"], run["other_variables"]) == ({"webex_pool_maxsize": 60}, ["ticket"])


def test_changed_files_have_their_diffs(report: Make) -> None:
    changes = {change["path"]: change["diff"] for change in report(SCENES["rolled back"]())["changes"]}
    patch = changes["webex_bots/jarvis.py"]
    assert (patch["added"], patch["removed"]) == (4, 2)
    assert "+    single_request_timeout=120," in patch["text"].splitlines()


@pytest.mark.parametrize("path", ["/etc/webex-bots/jarvis.env", "/home/vinay/.env"])
def test_an_environment_is_never_shown(path: str, report: Make) -> None:
    result = {"changed": True, "dest": path, "diff": [{"before": "", "after": "GREETING=hello\n"}]}
    content = report(Scene().play("Stage canary").add("jarvis", "copy", "Carry variables", result).end())
    assert content["changes"][0]["path"] == path
    assert "hello" not in json.dumps(content)


def test_no_secret_gets_into_a_report(report: Make) -> None:
    scene = Scene(settings={"webex_pool_module": TOKEN}).play(f"Play {TOKEN}")
    diff = {"before": "", "after": f"KEY = '{TOKEN}'\n"}
    scene.add("jarvis", "copy", "Copy", {"changed": True, "dest": f"/x/{TOKEN}", "diff": [diff]})
    scene.fail("jarvis", f"401 Unauthorized: Bearer {TOKEN}", "Ask", result={"stdout": TOKEN, "module_stderr": TOKEN})
    scene.soak("tars", 60, {"verdict": "hold", "summary": TOKEN, "reasons": [TOKEN], "missing": [TOKEN]}, gaps=[TOKEN])
    assert TOKEN not in json.dumps(report(scene.end()))


def test_the_longest_tasks_and_plays(report: Make) -> None:
    run = report(SCENES["promoted"]())["run"]
    assert [play["name"] for play in run["plays"]] == ["Preflight", "Stage canary", "Stage fleet", "Verify"]
    assert run["slowest_tasks"][0]["task"] == "Check the start and confirm"
    lengths = [task["seconds"] for task in run["slowest_tasks"]]
    assert lengths == sorted(lengths, reverse=True)


def test_history_is_cut_to_what_the_verdict_takes_into_account() -> None:
    last = 500 * 24 * 3600
    week = 7 * 24 * 3600
    look = {
        "first_time": last - 50 * 24 * 3600,
        "last_time": last,
        "incidents": 9,
        "hours": {str(last - 20 * 24 * 3600): 6, str(last - 7200): 3},
    }
    cut = recent(look)
    assert (cut["incidents"], cut["first_time"], list(cut["hours"].values())) == (3, last - week, [3])
    short = {**look, "first_time": last - 7200, "hours": {str(last - 7200): 9}}
    assert recent(short)["incidents"] == 9
    assert recent({"incidents": 0}) == {"incidents": 0}
