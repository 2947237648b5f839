"""The modules and the command line: arguments, check mode, what they return, what they keep to themselves."""

from __future__ import annotations

import configparser
import functools
import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.testing import patch_module_args
from ansible.module_utils.webex_rollout.cli import main
from ansible.module_utils.webex_rollout.errors import RolloutError
from ansible.module_utils.webex_rollout.logs.cursor import fresh_cursor
from ansible.module_utils.webex_rollout.paths import GUARD_TIMER, PROGRAM
from ansible.module_utils.webex_rollout.procfs import connections_of
from ansible.module_utils.webex_rollout.questions import lock, log, release
from ansible.module_utils.webex_rollout.soak import load as load_soak
from ansible.module_utils.webex_rollout.steps.check import Proof
from ansible.module_utils.webex_soak_options import BEGUN

from tests.unit.rollout.machine import OLD, forward

if TYPE_CHECKING:
    from types import ModuleType

    from tests.unit.rollout.machine import Machine

ROOMS = {"webex_release": release, "webex_lock": lock, "bot_log_info": log}
ROOT = Path(__file__).resolve().parents[3]


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"library_{name}", ROOT / f"library/{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Run:
    """Runs a module as Ansible would and returns its result."""

    def __init__(self, machine: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
        self.machine, self.monkeypatch, self.capsys = machine, monkeypatch, capsys
        self.port = machine.port

    def __call__(self, name: str, check: bool = False, **arguments: Any) -> dict[str, Any]:
        module = load(name)
        room = ROOMS.get(name, module)
        if hasattr(room, "Vm"):
            self.monkeypatch.setattr(room, "Vm", lambda who="": self.machine.vm)
        if room is release:
            self.monkeypatch.setattr(room, "Proof", functools.partial(Proof, ports=(self.port,)))
        self.capsys.readouterr()
        with (
            patch_module_args({**arguments, "_ansible_check_mode": check, "_ansible_diff": True}),
            pytest.raises(SystemExit),
        ):
            module.main()
        out = self.capsys.readouterr().out
        assert "s3cret" not in out
        return json.loads(out)

    def recorded(self, **more: Any) -> dict[str, Any]:
        bot, wanted = self.machine.bot(), self.machine.wanted()
        files = [{"path": path, "shared": r.shared, "restart": r.restart} for path, r in wanted.files.items()]
        place = {"home": bot.home, "script": bot.script, "python": bot.python, "user": bot.user}
        return self("webex_release", bot="jarvis", state="recorded", **place, files=files, **more)

    def step(self, state: str, **more: Any) -> dict[str, Any]:
        return self("webex_release", bot="jarvis", state=state, **more)


def typed(**given: Any) -> dict[str, Any]:
    """What a soak begins with, as the action gives it."""
    return ArgumentSpecValidator(BEGUN).validate(given).validated_parameters


@pytest.fixture
def run(machine: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> Run:
    return Run(machine, monkeypatch, capsys)


def test_whole_rollout_by_modules(machine: Machine, run: Run) -> None:
    pid = machine.nohup()
    recorded = run.recorded()
    assert recorded["changed"]
    assert recorded["release"] == "0"
    assert recorded["found"]["supervisor"] == "nohup"
    assert recorded["found"]["copies"] == 1
    assert "WEBEX_TOKEN" in recorded["environment"]["carried"]
    assert "SSH_CLIENT" in recorded["environment"]["dropped"]
    assert recorded["diff"]["before"] == ""
    assert "run by process" in recorded["diff"]["after"]
    armed = run.recorded(arm=True, seconds=500)
    assert (armed["phase"], armed["attempt"], armed["changed"]) == ("armed", 1, True)
    assert armed["seconds_left"] > 400
    assert (armed["release"], armed["found"]["copies"]) == ("0", 1)
    machine.deploy()
    switched = run.step("switched")
    assert switched["changed"]
    assert switched["pids_before"] == [pid]
    assert switched["pids_after"] == machine.pids()
    assert 0 < switched["seconds_down"] < 20
    checked = run.step(
        "checked",
        settle=0.2,
        log=str(machine.home / "logs/jarvis.log"),
        log_cursor=fresh_cursor(str(machine.home / "logs/jarvis.log")).to_dict(),
    )
    assert (checked["changed"], {finding["ok"] for finding in checked["checks"]}) == (False, {True})
    confirmed = run.step("confirmed")
    assert (confirmed["changed"], confirmed["release"], confirmed["previous"]) == (True, switched["candidate"], "0")
    rolled_back = run.step("rolled_back", reason="test")
    assert (rolled_back["changed"], rolled_back["release"], rolled_back["pids_after"]) == (True, "0", machine.pids())
    assert machine.script().read_text() == OLD
    assert not run.step("rolled_back")["changed"]


def test_check_mode_on_a_bare_machine_tells_and_changes_nothing(machine: Machine, run: Run) -> None:
    pid = machine.nohup()
    before = machine.tree()
    soak = typed(log="/jarvis.log", soak_max=100)
    results = {
        "recorded": run.recorded(check=True),
        "recorded and armed": run.recorded(check=True, arm=True),
        "armed": run.step("armed", check=True),
        "switched": run.step("switched", check=True, pending=True),
        "checked": run.step("checked", check=True),
        "checked and confirmed": run.step("checked", check=True, confirm=True, soak=soak),
        "confirmed": run.step("confirmed", check=True),
        "rolled_back": run.step("rolled_back", check=True),
    }
    assert {name: result["changed"] for name, result in results.items()} == {
        "recorded": True,
        "recorded and armed": True,
        "armed": False,
        "switched": True,
        "checked": False,
        "checked and confirmed": False,
        "confirmed": False,
        "rolled_back": False,
    }
    assert not any(result.get("failed") for result in results.values())
    assert machine.tree() == before
    assert machine.pids() == [pid]
    assert not machine.state.exists()


def test_check_mode_on_a_deployed_machine_tells_of_a_restart_only_if_there_would_be_one(
    machine: Machine, run: Run
) -> None:
    machine.nohup()
    forward(machine)
    state, pids = {p: p.read_bytes() for p in machine.state.rglob("*.json")}, machine.pids()
    assert not run.recorded(check=True)["changed"]
    assert not run.step("switched", check=True, pending=False)["changed"]
    assert run.step("switched", check=True, pending=True)["changed"]
    assert run.step("rolled_back", check=True, to="0")["changed"]
    assert {p: p.read_bytes() for p in machine.state.rglob("*.json")} == state
    assert machine.pids() == pids


def test_what_passes_its_check_has_its_soak_begun_and_is_confirmed_in_one_run(
    machine: Machine, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    phases = []
    begin = release.soak.begin_for
    monkeypatch.setattr(
        release.soak,
        "begin_for",
        lambda *given: (phases.append(machine.vm.store("jarvis").need().phase), begin(*given)),
    )
    machine.nohup()
    run.recorded(arm=True)
    machine.deploy()
    log_path = str(machine.home / "logs/jarvis.log")
    before = run("bot_log_info", path=log_path, user=machine.bot().user, history=True, buckets=True)
    switched = run.step("switched")
    soak = typed(log=log_path, soak_max="200", before=before, settings_hash="x")
    done = run.step("checked", settle=0.2, confirm=True, soak=soak, inputs="made of", probation=50)
    assert (done["action"], done["changed"], done["phase"]) == ("check", True, "confirmed")
    assert (done["release"], done["candidate"], done["previous"]) == (switched["candidate"], "", "0")
    assert {finding["ok"] for finding in done["checks"]} == {True}
    kept = load_soak(machine.vm.store("jarvis"))
    assert kept is not None
    assert (kept.release, kept.until, kept.settings_hash) == (switched["candidate"], 200, "x")
    assert phases == ["checked"], "a run that is killed in between leaves no release of which nothing is known"
    again = run.step("checked", settle=0.2, confirm=True)
    assert (again["changed"], again["phase"], len(phases)) == (False, "confirmed", 1)


def test_what_passes_and_cannot_be_confirmed_shows_its_check(
    machine: Machine, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.nohup()
    run.recorded(arm=True)
    machine.deploy()
    run.step("switched")

    def refuse(*_: Any) -> None:
        raise RolloutError("its soak cannot be kept")

    monkeypatch.setattr(release.soak, "begin_for", refuse)
    soak = typed(log=str(machine.home / "logs/jarvis.log"), soak_max=200)
    failed = run.step("checked", settle=0.2, confirm=True, soak=soak)
    assert (failed["msg"], failed["action"], failed["phase"]) == ("its soak cannot be kept", "check", "checked")
    assert {finding["ok"] for finding in failed["checks"]} == {True}


def test_what_does_not_pass_its_check_is_not_confirmed_and_has_no_soak(machine: Machine, run: Run) -> None:
    machine.nohup()
    run.recorded(arm=True)
    machine.deploy(version="import time\ntime.sleep(300)\n")
    run.step("switched")
    run.port = 9
    soak = typed(log=str(machine.home / "logs/jarvis.log"), soak_max=200)
    failed = run.step("checked", settle=0.1, confirm=True, soak=soak)
    assert "jarvis did not pass its start-up check: connection: no established" in failed["msg"]
    assert (failed["phase"], load_soak(machine.vm.store("jarvis"))) == ("failed", None)


def test_failed_check_says_which_part(machine: Machine, run: Run) -> None:
    machine.nohup()
    machine.wait_for(lambda: connections_of(machine.pids()[0], (machine.port,)) > 0)
    run.recorded()
    run.step("armed")
    machine.deploy(version="import time\ntime.sleep(300)\n")
    run.step("switched")
    run.port = 9
    failed = run.step("checked", settle=0.1)
    assert failed["failed"]
    assert "jarvis did not pass its start-up check: connection: no established" in failed["msg"]
    assert [finding["name"] for finding in failed["checks"] if not finding["ok"]] == ["connection"]


def test_refusal_is_one_message(machine: Machine, run: Run) -> None:
    assert "jarvis was never recorded" in run.step("armed")["msg"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"bot": "jarvis"}, "missing required arguments: state"),
        ({"bot": "jarvis", "state": "done"}, "value of state must be one of: recorded, armed"),
        ({"bot": "jarvis", "state": "recorded", "home": "/x"}, "missing: script, python, user"),
        ({"bot": "jarvis", "state": "armed", "deadline": 5}, "Unsupported parameters"),
    ],
)
def test_bad_arguments_are_refused(run: Run, arguments: dict[str, Any], said: str) -> None:
    assert said in run("webex_release", **arguments)["msg"]


def test_lock_module_takes_tells_and_releases(run: Run) -> None:
    anna = {"who": "anna", "host": "laptop", "pid": 1, "start_time": "1", "place": "a"}
    bert = {"who": "bert", "host": "desk", "pid": 2, "start_time": "2", "place": "b"}
    dry = run("webex_lock", check=True, holder=anna)
    assert (dry["changed"], dry["token"], dry["held_by_us"]) == (True, None, False)
    taken = run("webex_lock", holder=anna)
    assert (taken["changed"], taken["token"], taken["held_by_us"], taken["refused"]) == (True, 1, True, False)
    refused = run("webex_lock", holder=bert)
    assert (refused["changed"], refused["refused"], refused["held_token"]) == (False, True, 1)
    assert "anna on laptop (pid 1)" in refused["message"]
    over = run("webex_lock", holder=bert, dead_token=1)
    assert (over["changed"], over["token"]) == (True, 2)
    assert not run("webex_lock", state="released", token=1)["changed"]
    assert run("webex_lock", state="released", token=2)["changed"]


# -- the program ----------------------------------------------------------------------------------------------


def call(machine: Machine, *arguments: str, python: str = sys.executable) -> subprocess.CompletedProcess:
    return subprocess.run(
        [python, "-I", str(machine.program), "--state", str(machine.state), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


def test_lock_and_unlock_by_hand(machine: Machine) -> None:
    assert call(machine, "lock").returncode == 0
    second = call(machine, "lock")
    assert second.returncode == 1
    assert "(by hand) since" in second.stdout
    assert call(machine, "unlock").stdout == "free\n"


def test_error_is_one_line_and_the_status_1(machine: Machine) -> None:
    done = call(machine, "rollback", "nosuch")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "webex-rollout: nosuch was never recorded on this machine (recorded: none); roll it out first\n"
    )


@pytest.mark.parametrize("name", ["../etc", "a b", "", "jarvis\n", "-x/y"])
def test_name_that_is_none_is_refused_and_nothing_is_made(machine: Machine, name: str) -> None:
    done = call(machine, "rollback", "--", name)
    assert done.returncode == 1
    assert "cannot be a bot's name" in done.stderr
    assert not machine.state.exists()


def test_rollback_of_an_unknown_bot_makes_nothing(machine: Machine) -> None:
    assert call(machine, "rollback", "nosuch").returncode == 1
    assert not machine.state.exists()


def test_needs_root(machine: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert main(["--state", str(machine.state), "lock"]) == 1
    assert capsys.readouterr().err == "webex-rollout: this needs root (sudo webex-rollout …)\n"
    assert not machine.state.exists()


def test_all_commands_are_known_and_the_internal_one_is_not_shown(machine: Machine) -> None:
    shown = call(machine, "--help").stdout
    commands = set(re.findall(r"^    ([a-z-]+)", shown, re.MULTILINE))
    assert commands == {"status", "rollback", "guard", "watch", "lock", "unlock"}


def test_command_line_rolls_back_and_shows_it(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    machine.nohup()
    monkeypatch.setattr(sys, "argv", [str(machine.program)])
    forward(machine)
    at = ["--state", str(machine.state)]
    assert main([*at, "revert", "jarvis", "--to", "0"]) == 0  # the name of the command in version 0.1.0
    assert machine.script().read_text() == OLD
    assert "jarvis: changed, rolled_back, release 0" in capsys.readouterr().out
    assert main([*at, "rollback", "jarvis"]) == 0
    assert "jarvis: unchanged, rolled_back, release 0" in capsys.readouterr().out
    assert main([*at, "guard"]) == 0
    assert main([*at, "status"]) == 0
    assert re.search(r"^jarvis +rolled_back +0 ", capsys.readouterr().out, re.MULTILINE)
    assert main([*at, "status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["bots"][0]["bot"] == "jarvis"


def test_guard_unit_calls_the_program_and_the_timer_needs_no_wall_clock() -> None:
    files = ROOT / "roles/rollout/files"
    service, timer = (configparser.ConfigParser(strict=False) for _ in range(2))
    service.read(files / "webex-rollout-guard.service")
    timer.read(files / GUARD_TIMER)
    assert service["Service"]["ExecStart"] == f"{PROGRAM} guard"
    assert "OnCalendar" not in timer["Timer"]
    assert timer["Install"]["WantedBy"] == "timers.target"
