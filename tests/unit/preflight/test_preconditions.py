"""What a run cannot do is refused in its first task, with the reason and the way that works."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from plugin_utils.preconditions import (
    canary_problem,
    core_problem,
    module_problem,
    parts_problem,
    probes_problem,
    settings_problems,
)
from plugin_utils.settings import PROJECT, value_of

NOWHERE = {
    "ansible_host": "192.0.2.1",
    "ansible_user": "vinay",
    "ansible_connection": "local",
    "ansible_python_interpreter": "/nosuch/python",
}


def run(
    tmp_path: Path, *options: str, cwd: Path = PROJECT, bots: Any = None, play: str = "rollout.yml", **env: str
) -> tuple[int, str]:
    """A rollout whose VM cannot be reached: what is refused is refused without it. Returns its status and output."""
    groups = bots or {"canary": {"hosts": {"jarvis": {}}}, "fleet": {"hosts": {"tars": {}}}}
    inventory = tmp_path / "hosts.yml"
    inventory.write_text(yaml.safe_dump({"bots": {"children": groups, "vars": NOWHERE}}))
    done = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "-i", inventory, PROJECT / play, *options],
        cwd=cwd,
        env={**os.environ, "ROLLOUT_REPORT_DIRECTORY": str(tmp_path / "reports"), **env},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, " ".join((done.stdout + done.stderr).split())


@pytest.mark.parametrize(
    ("webhooks", "sentence"),
    [
        ([{"form": "webex", "url": "http://example.org/SECRET"}], "webhook 1 has a URL of http"),
        ([{"form": "slack", "url": "https://u:SECRET@example.org/"}], "webhook 1 has a user's name in its URL"),
        ([{"form": "irc", "url": "https://example.org/SECRET"}], "webhook 1 has no form of webex, slack, teams, json"),
        ([{"form": "json", "url": "https://example.org/SECRET", "events": ["SECRET"]}], "webhook 1 has events other"),
        ([{"form": "json", "url": "https://example.org/SECRET", "token": 1}], "webhook 1 has something else than"),
        ("https://example.org/SECRET", "rollout_notify is no list of at most 20 webhooks"),
    ],
)
def test_a_webhook_that_nobody_could_use_is_refused_without_a_word_of_it(webhooks: Any, sentence: str) -> None:
    given = {"ansible_user": "vinay", "rollout_notify": webhooks}
    (problem,) = settings_problems("jarvis", lambda name: value_of(name, "jarvis", given))
    assert sentence in problem
    assert problem.endswith("nobody is notified (set for jarvis)")
    assert "SECRET" not in problem


@pytest.mark.parametrize("token", ["SECRET SECRET", ["SECRET"], "SECRET\n", "SECRET" * 1000])
def test_what_is_no_token_is_refused_without_a_word_of_it(token: Any) -> None:
    given = {"ansible_user": "vinay", "rollout_probe_token": token}
    (problem,) = settings_problems("jarvis", lambda name: value_of(name, "jarvis", given))
    assert problem == "rollout_probe_token is no token: one word of ASCII characters (set for jarvis)"


@pytest.mark.parametrize(
    ("deadline", "probe", "problem"),
    [
        (300, {"to": "jarvis"}, "bot_probe: `to` is neither"),
        (84, {"to": "jarvis@webex.bot"}, "leave 75 s more for the start-up check"),
        (85, {"to": "jarvis@webex.bot"}, ""),
    ],
)
def test_a_probe_is_usable_and_fits_into_the_deadline(deadline: int, probe: Any, problem: str) -> None:
    given = {"ansible_user": "vinay", "bot_probe": probe, "rollout_guard_deadline": deadline}
    said = " ".join(settings_problems("jarvis", lambda name: value_of(name, "jarvis", given)))
    assert problem in said if problem else said == ""


def test_a_webhook_that_can_be_used_is_taken() -> None:
    webhooks = [{"form": "webex", "url": "https://webexapis.com/v1/webhooks/incoming/x", "events": ["roll_back"]}]
    given = {"ansible_user": "vinay", "rollout_notify": webhooks}
    assert list(settings_problems("jarvis", lambda name: value_of(name, "jarvis", given))) == []


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            ["-e", "rollout_settle=300"],
            "jarvis has to settle for 300 s (rollout_settle) and is rolled back after 300 s",
        ),
        (["-e", "rollout_alpha=2"], "rollout_alpha is 2 for jarvis, and is a probability above 0 and below 1"),
        (["-e", "rollout_soak_min=500000"], "the shortest soak of jarvis (500000 s, rollout_soak_min) is longer than"),
        (["-e", "webex_pool_maxsize=0"], "webex_pool_maxsize is 0 for jarvis, and must be between 1 and 10000"),
        (
            ["-e", "rolout_settle=5"],
            "rolout_settle (set for jarvis, tars) is no setting of this project; did you mean ",
        ),
        (
            ["-e", "{bot_probe: {to: bots@webex.bot}}"],
            "bot_probe has the same address for jarvis and tars, so one would answer for all",
        ),
        (["-e", "bot_home=IR"], "bot_home is IR for jarvis: give the checkout's path on the VM, absolute or from"),
    ],
)
def test_what_no_run_can_do_is_refused_in_its_first_task(tmp_path: Path, options: list[str], sentence: str) -> None:
    status, said = run(tmp_path, *options)
    assert status != 0
    assert sentence in said
    assert "Nothing was changed" in said
    assert "/nosuch/python" not in said, "the VM was to be reached"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--tags", "canary"], "no task of this project has a tag, so --tags canary would leave out parts"),
        (["--skip-tags", "always"], "no task of this project has a tag, so --skip-tags always would leave out parts"),
        (["--start-at-task", "Copy the pool module into the checkout"], "--start-at-task leaves out the lock and the"),
        (["--start-at-task", "no such task"], "--start-at-task leaves out the lock and the record"),
    ],
)
def test_an_option_that_leaves_out_a_part_of_a_run_is_refused_before_its_first_task(
    tmp_path: Path, options: list[str], sentence: str
) -> None:
    status, said = run(tmp_path, *options)
    assert status != 0
    assert sentence in said
    assert "Nothing was changed" in said
    assert "TASK [" not in said


def test_each_play_of_bots_is_run_as_a_whole() -> None:
    for path in [PROJECT / "rollout.yml", *(PROJECT / "playbooks").glob("*.yml")]:
        for play in yaml.safe_load(path.read_text()):
            hosts = str(play.get("hosts", "localhost"))
            assert hosts == "localhost" or "webex_whole_run }}" in hosts, path


def test_tags_that_mean_all_leave_nothing_out() -> None:
    assert parts_problem(["all"], [], None) == ""
    assert parts_problem([], [], "") == ""


def test_an_inventory_without_a_canary_is_refused(tmp_path: Path) -> None:
    status, said = run(tmp_path, bots={"fleet": {"hosts": {"tars": {}}}})
    assert status != 0
    assert "this inventory has no canary" in said
    assert "rollout_skip_canary" in said


def test_a_rollout_starts_from_any_directory(tmp_path: Path) -> None:
    environment = {"ANSIBLE_CONFIG": ""}
    status, said = run(tmp_path, "-e", "rollout_settle=300", cwd=tmp_path, **environment)
    assert status != 0
    assert "jarvis has to settle for 300 s" in said
    status, said = run(tmp_path, cwd=tmp_path, **environment)
    assert f"Set ANSIBLE_CONFIG={PROJECT}/ansible.cfg" in said


@pytest.mark.parametrize("playbook", sorted(path.name for path in (PROJECT / "playbooks").glob("*.yml")))
def test_each_playbook_finds_its_parts_from_any_directory(tmp_path: Path, playbook: str) -> None:
    inventory = tmp_path / "hosts.yml"
    inventory.write_text(yaml.safe_dump({"bots": {"children": {"canary": {"hosts": {"jarvis": {}}}}, "vars": NOWHERE}}))
    done = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "-i", inventory, PROJECT / "playbooks" / playbook]
        + ["--syntax-check"],
        cwd=tmp_path,
        env={**os.environ, "ANSIBLE_CONFIG": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("version", ["2.14.18", "2.16.3", "2.22.0b1", "3.0", "what"])
def test_another_ansible_core_is_refused_by_its_version(version: str) -> None:
    assert f"this is ansible-core {version}, and a rollout needs 2.17 to 2.21" in core_problem(version)


@pytest.mark.parametrize("version", ["2.17.0", "2.18.12", "2.21.0rc1"])
def test_a_tested_ansible_core_is_taken(version: str) -> None:
    assert core_problem(version) == ""


def test_the_settings_of_the_project_contradict_nothing() -> None:
    assert list(settings_problems("jarvis", lambda name: value_of(name, "jarvis", {"ansible_user": "vinay"}))) == []


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("auto", ""),
        ("src.utils.webex_pool_config", ""),
        ("lib/pool.py", "takes `auto` or a module's dotted name"),
        ("my pool", "takes `auto` or a module's dotted name"),
        ("class.pool", "takes `auto` or a module's dotted name"),
        (".pool", "takes `auto` or a module's dotted name"),
        ("json", "would no longer find its own json"),
        ("requests.pool", "would no longer find its own requests"),
        ("wxc_sdk", "would no longer find its own wxc_sdk"),
        ("ciscosparkapi.pool", "would no longer find its own ciscosparkapi"),
    ],
)
def test_the_pool_module_has_a_name_that_python_takes_and_nobody_has(name: str, sentence: str) -> None:
    given = {"ansible_user": "vinay", "webex_pool_module": name}
    problems = list(settings_problems("jarvis", lambda setting: value_of(setting, "jarvis", given)))
    assert module_problem(name).count(sentence) == 1 if sentence else module_problem(name) == ""
    assert [sentence in problem and problem.endswith("(jarvis)") for problem in problems] == [True] * bool(sentence)


def test_who_rolls_back_is_not_kept_by_what_only_a_rollout_minds(tmp_path: Path) -> None:
    _, said = run(tmp_path, "-e", "{bot_probe: {to: bots@webex.bot}}", play="playbooks/rollback.yml")
    assert "the same address" not in said
    assert "/nosuch/python" in said, "the VM was to be reached"


ROOM2 = base64.b64encode(b"ciscospark://us/ROOM/2").decode()
ROOM = base64.b64encode(b"ciscospark://us/ROOM/1").decode()


@pytest.mark.parametrize(
    ("one", "other", "refused"),
    [
        ({"to": "a@webex.bot"}, {"to": "b@webex.bot"}, False),
        ({"to": "a@webex.bot"}, {"to": "A@webex.bot", "text": "hello"}, True),
        (
            {"to": ROOM, "text": "<@personEmail:a@webex.bot> help"},
            {"to": ROOM, "text": "<@personEmail:b@webex.bot>"},
            False,
        ),
        (
            {"to": ROOM, "text": "<@personEmail:a@webex.bot> help"},
            {"to": ROOM, "text": "<@personEmail:a@webex.bot>"},
            True,
        ),
        ({"to": ROOM, "text": "<@personEmail:a@webex.bot>"}, {"to": ROOM2, "text": "<@personEmail:A@webex.bot>"}, True),
        ({"to": "a@webex.bot"}, {"to": ROOM, "text": "<@personEmail:a@webex.bot>"}, True),
        ({}, {}, False),
        ({"to": "nobody"}, {"to": "nobody"}, False),
    ],
)
def test_one_bot_must_not_answer_for_another(one: Any, other: Any, refused: bool) -> None:
    assert ("jarvis and tars" in probes_problem({"jarvis": one, "tars": other})) is refused
    assert probes_problem({"jarvis": one}) == ""


def test_who_does_without_a_canary_says_so() -> None:
    assert canary_problem({}, skip_canary=True) == ""
    assert canary_problem({"canary": ["jarvis"]}, skip_canary=False) == ""
