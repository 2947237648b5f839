"""A bot that does not run, and is not to be started: patched, with its unit installed, and left stopped."""

from __future__ import annotations

import os
import signal

import pytest
from ansible.module_utils.webex_rollout.errors import RolloutError
from ansible.module_utils.webex_rollout.look import Looked, found_of
from ansible.module_utils.webex_rollout.settled import differences
from ansible.module_utils.webex_rollout.status import bot_status, status, status_problems
from ansible.module_utils.webex_rollout.steps.arm import arm
from ansible.module_utils.webex_rollout.steps.check import check_start
from ansible.module_utils.webex_rollout.steps.confirm import confirm
from ansible.module_utils.webex_rollout.steps.record import record
from ansible.module_utils.webex_rollout.steps.restart import restart
from ansible.module_utils.webex_rollout.steps.roll_back import roll_back
from ansible.module_utils.webex_rollout.steps.step import Result
from ansible.module_utils.webex_rollout.steps.switch import switch

from plugin_utils import status as controllers_status
from plugin_utils.gate.verified import verified
from tests.unit.rollout.machine import NEW, OLD, Machine

UNIT = "webex-bot@jarvis.service"


def rolled_out(machine: Machine, start: bool, version: str = NEW) -> Result:
    vm = machine.vm
    record(vm, machine.wanted())
    arm(vm, "jarvis", 600)
    machine.deploy(version=version)
    switched = switch(vm, "jarvis", start=start)
    check_start(vm, "jarvis", machine.proof)
    confirm(vm, "jarvis", keep=5, probation=60.0, inputs="made from")
    return switched


def test_bot_that_does_not_run_is_patched_and_left_stopped(machine: Machine) -> None:
    switched = rolled_out(machine, start=False)
    assert (switched.stopped, switched.changed) == (True, False)
    assert machine.pids() == []
    assert machine.script().read_text() == NEW
    assert machine.drop_in().exists()
    assert not machine.systemd.read(UNIT)["enabled"]
    state = machine.vm.store("jarvis").need()
    assert (state.phase, state.probation) == ("confirmed", None)
    assert differences(machine.vm, "jarvis", "made from", "") == []
    assert found_of(machine.vm, Looked("jarvis", "root"))["stopped"]
    assert differences(machine.vm, "jarvis", "other settings", "") != []
    shown = bot_status(machine.vm, "jarvis")
    assert (shown["stopped"], shown["main_pid"]) == (True, 0)
    assert [p for p in status_problems(status(machine.vm)) if "jarvis" in p] == []


def test_it_is_started_once_that_is_asked_for(machine: Machine) -> None:
    machine.env_file().write_text(f'BOT_PORT="{machine.port}"\n')
    rolled_out(machine, start=False)
    switched = rolled_out(machine, start=True)
    assert (switched.stopped, switched.reasons) == (False, ["it does not run"])
    assert machine.pids() == [machine.systemd.running(UNIT)]
    assert machine.systemd.read(UNIT)["enabled"]
    assert not found_of(machine.vm, Looked("jarvis", "root"))["stopped"]


def test_its_rollback_starts_nothing(machine: Machine) -> None:
    before = machine.tree()
    rolled_out(machine, start=False)
    roll_back(machine.vm, "jarvis", to="0")
    assert machine.pids() == []
    assert machine.tree() == before


@pytest.mark.parametrize("to", ["previous", "0"])
def test_a_start_that_crashes_again_and_again_is_rolled_back_to_nothing(machine: Machine, to: str) -> None:
    """Between two starts of systemd's there is no process, and the unit is not at rest."""
    if to == "previous":
        rolled_out(machine, start=False)
    else:
        record(machine.vm, machine.wanted())
    machine.env_file().write_text(f'BOT_PORT="{machine.port}"\n')
    record(machine.vm, machine.wanted())
    arm(machine.vm, "jarvis", 600)
    machine.deploy(version=NEW)
    switch(machine.vm, "jarvis")
    os.kill(machine.systemd.running(UNIT), signal.SIGKILL)
    machine.wait_for(lambda: not machine.systemd.running(UNIT))
    machine.systemd.write(UNIT, ended="activating")
    roll_back(machine.vm, "jarvis", to=to)
    assert machine.systemd.read(UNIT)["ended"] == "inactive", "systemd would start it again"
    assert not machine.systemd.read(UNIT)["enabled"]
    assert machine.pids() == []


def test_bot_that_runs_is_rolled_out_all_the_same(machine: Machine) -> None:
    machine.nohup()
    switched = rolled_out(machine, start=False)
    assert (switched.stopped, switched.changed) == (False, True)
    assert machine.pids() == [machine.systemd.running(UNIT)]


def test_restart_leaves_it_stopped(machine: Machine) -> None:
    rolled_out(machine, start=False)
    result = restart(machine.vm, "jarvis")
    assert (result.stopped, result.changed) == (True, False)
    assert machine.pids() == []


def test_one_that_is_started_meanwhile_is_not_confirmed_as_stopped(machine: Machine) -> None:
    record(machine.vm, machine.wanted())
    arm(machine.vm, "jarvis", 600)
    machine.deploy()
    switch(machine.vm, "jarvis", start=False)
    machine.nohup()
    with pytest.raises(RolloutError, match="left stopped"):
        check_start(machine.vm, "jarvis", machine.proof)


def test_check_mode_shows_that_it_would_be_left_stopped(machine: Machine) -> None:
    record(machine.vm, machine.wanted())
    result = switch(machine.vm, "jarvis", check=True, start=False)
    assert (result.stopped, result.changed, result.message) == (True, False, "would be left stopped")
    assert machine.script().read_text() == OLD


def test_verify_passes_it_and_names_one_that_runs_after_all() -> None:
    found = {"stopped": True, "facts": {"processes": []}, "problems": [], "soak_problem": "", "since": None}
    passed = verified("jarvis", found, UNIT, "x.log", 1.0)
    assert (passed.passed, passed.evidence) == (True, "jarvis is left stopped (bot_start)")
    found["facts"] = {"processes": [{"pid": 7}]}
    assert "jarvis was left stopped and runs now (pid 7)" in verified("jarvis", found, UNIT, "x.log", 1.0).problem


def test_status_on_the_controller_shows_it_as_stopped() -> None:
    row = controllers_status._row("jarvis", {"vm": "lab", "phase": "confirmed", "release": "abc", "stopped": True})
    assert row == ("jarvis", "lab", "confirmed", "abc", "stopped", "-")
