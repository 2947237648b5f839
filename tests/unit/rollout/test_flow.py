"""A rollout of one bot, forward and back, as its roles do it."""

from __future__ import annotations

import os
import resource
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from ansible.module_utils.webex_rollout.disk import unseal
from ansible.module_utils.webex_rollout.errors import RolloutError
from ansible.module_utils.webex_rollout.launch import _stop_family
from ansible.module_utils.webex_rollout.lock import Holder, acquire_lock, release_lock
from ansible.module_utils.webex_rollout.procfs import all_pids, read_limits, read_nul_list, read_stat, status_fields
from ansible.module_utils.webex_rollout.state import State
from ansible.module_utils.webex_rollout.steps.arm import arm
from ansible.module_utils.webex_rollout.steps.check import check_start
from ansible.module_utils.webex_rollout.steps.confirm import confirm
from ansible.module_utils.webex_rollout.steps.record import record
from ansible.module_utils.webex_rollout.steps.roll_back import roll_back
from ansible.module_utils.webex_rollout.steps.switch import switch

from tests.unit.rollout.machine import NEW, OLD, everywhere, forward

if TYPE_CHECKING:
    from tests.unit.rollout.machine import Machine, everywhere

UNIT = "webex-bot@jarvis.service"


def environment_of(pid: int) -> list[str]:
    return sorted(read_nul_list(f"/proc/{pid}/environ"))


def test_forward_and_back_restores_every_byte_and_the_process_as_found(machine: Machine) -> None:
    pid = machine.nohup(env={"TRICKY": "a\"b\\c$d`e'f\ng", "TERM": "xterm"})
    before, environment = machine.tree(), environment_of(pid)

    switched = forward(machine)

    (new,) = machine.pids()
    assert switched.pids_before == [pid]
    assert switched.pids_after == [new] == [machine.systemd.running(UNIT)]
    assert machine.script().read_text() == NEW
    assert machine.tree() != before

    result = roll_back(machine.vm, "jarvis", to="0")

    (back,) = machine.pids()
    assert result.changed
    assert machine.tree() == before
    assert environment_of(back) == environment
    assert machine.systemd.running(UNIT) == 0
    assert not machine.systemd.read(UNIT)["enabled"]


def test_second_run_changes_nothing_and_keeps_the_process(machine: Machine) -> None:
    machine.nohup()
    forward(machine)
    pids, tree = machine.pids(), machine.tree()
    results = []
    vm = machine.vm
    results.append(record(vm, machine.wanted()))
    results.append(arm(vm, "jarvis", 600))
    results.append(switch(vm, "jarvis"))
    results.append(check_start(vm, "jarvis", machine.proof))
    results.append(confirm(vm, "jarvis"))
    assert [result.changed for result in results] == [False] * 5
    assert (machine.pids(), machine.tree()) == (pids, tree)


def test_carried_variables_arrive_and_session_variables_do_not(machine: Machine) -> None:
    machine.nohup(env={"TRICKY": "a\"b\\c$d`e'f\ng"})
    forward(machine)
    found = dict(entry.split("=", 1) for entry in environment_of(machine.pids()[0]))
    assert found["WEBEX_TOKEN"] == "s3cret $pecial"
    assert found["TRICKY"] == "a\"b\\c$d`e'f\ng"
    assert "SSH_CLIENT" not in found
    assert machine.env_file().stat().st_mode & 0o777 == 0o600


def test_restart_is_decided_by_what_runs(machine: Machine) -> None:
    machine.nohup()
    forward(machine)
    (pid,) = machine.pids()
    arm(machine.vm, "jarvis", 600)
    machine.script().write_text(NEW + "# more\n")
    result = switch(machine.vm, "jarvis")
    assert result.changed
    assert result.reasons == [f"{machine.script()} has changed since it was started"]
    assert machine.pids() != [pid]


def test_file_that_wants_no_restart_causes_none(machine: Machine) -> None:
    machine.nohup()
    forward(machine)
    pids = machine.pids()
    arm(machine.vm, "jarvis", 600)
    (machine.units / "webex-bots.target").write_text("[Unit]\nDescription=other\n")
    assert not switch(machine.vm, "jarvis").changed
    assert machine.pids() == pids


def test_process_that_systemd_restarted_is_not_restarted_again(machine: Machine) -> None:
    """Its pid is another one, but it was started after the files were last written."""
    machine.nohup()
    forward(machine)
    for path in State.load(unseal(machine.state / "jarvis/state.json")).files:
        machine.age(path)
    machine.systemd.restart_behind(UNIT)
    machine.wait_for(lambda: len(machine.pids()) == 1)
    pids = machine.pids()
    arm(machine.vm, "jarvis", 600)
    result = switch(machine.vm, "jarvis")
    assert (result.changed, result.reasons) == (False, [])
    assert machine.pids() == pids


@pytest.mark.parametrize("copies", [0, 2])
def test_adopts_none_and_two(machine: Machine, copies: int) -> None:
    started = [machine.nohup() for _ in range(copies)]
    result = record(machine.vm, machine.wanted())
    assert result.pids_before == started
    assert result.found["copies"] == copies


def test_two_copies_become_one_and_go_back_to_one(machine: Machine) -> None:
    machine.nohup()
    machine.nohup()
    forward(machine)
    assert len(machine.pids()) == 1
    roll_back(machine.vm, "jarvis", to="0")
    assert len(machine.pids()) == 1


def test_bot_that_was_not_running_is_not_started_by_a_rollback(machine: Machine) -> None:
    machine.env_file().write_text(f'BOT_PORT="{machine.port}"\n')
    forward(machine)
    assert len(machine.pids()) == 1
    roll_back(machine.vm, "jarvis", to="0")
    assert machine.pids() == []


def test_rollback_goes_to_the_previous_release(machine: Machine) -> None:
    machine.nohup()
    forward(machine)
    first = machine.tree()
    forward(machine, version=NEW + "# second\n")
    (pid,) = machine.pids()
    roll_back(machine.vm, "jarvis")
    assert machine.tree() == first
    assert machine.pids() == [machine.systemd.running(UNIT)] != [pid]
    assert machine.systemd.read(UNIT)["enabled"]


def test_rolled_back_bot_rolls_back_no_further(machine: Machine) -> None:
    machine.nohup()
    forward(machine)
    roll_back(machine.vm, "jarvis")
    tree, pids = machine.tree(), machine.pids()
    assert not roll_back(machine.vm, "jarvis").changed
    assert (machine.tree(), machine.pids()) == (tree, pids)


def test_rollback_before_the_switch_leaves_the_old_process_alone(machine: Machine) -> None:
    pid = machine.nohup()
    before = machine.tree()
    record(machine.vm, machine.wanted())
    arm(machine.vm, "jarvis", 600)
    machine.deploy()
    result = roll_back(machine.vm, "jarvis")
    assert machine.tree() == before
    assert machine.pids() == [pid]
    assert result.seconds_down == 0


def test_edit_by_somebody_else_stops_the_rollback_before_anything_is_touched(machine: Machine) -> None:
    machine.nohup()
    forward(machine)
    machine.script().write_text(NEW + "# edited by hand\n")
    tree, pids = machine.tree(), machine.pids()
    with pytest.raises(RolloutError, match=r"jarvis\.py was edited since the rollout wrote it.* --force"):
        roll_back(machine.vm, "jarvis", to="0")
    assert (machine.tree(), machine.pids()) == (tree, pids)


def test_forced_rollback_keeps_the_bytes_it_gives_up(machine: Machine) -> None:
    machine.nohup()
    forward(machine)
    edited = NEW + "# edited by hand\n"
    machine.script().write_text(edited)
    roll_back(machine.vm, "jarvis", to="0", force=True)
    assert machine.script().read_text() == OLD
    (kept,) = (machine.state / "jarvis/backups").iterdir()
    assert kept.read_text() == edited
    assert any("action=back_up" in line for line in machine.vm.audit_tail(20))


def test_found_process_comes_back_with_its_limits_umask_and_outputs(machine: Machine) -> None:
    old_umask = os.umask(0o027)
    try:
        pid = machine.nohup()
    finally:
        os.umask(old_umask)
    os.setpriority(os.PRIO_PROCESS, pid, 5)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (512, 1024))
    forward(machine)
    roll_back(machine.vm, "jarvis", to="0")
    (back,) = machine.pids()
    assert read_limits(back)["open files"] == ["512", "1024"]
    assert status_fields(back)["Umask"] == "0027"
    assert os.getpriority(os.PRIO_PROCESS, back) == 5
    assert str(Path(f"/proc/{back}/fd/0").readlink()) == "/dev/null"
    stat = read_stat(back)
    assert stat is not None
    assert stat.session == back
    assert int(status_fields(back)["SigIgn"], 16) & 1  # SIGHUP


def test_look_alikes_survive_the_switch(machine: Machine) -> None:
    other = machine.root / "other/webex_bots"
    (machine.root / "other/logs").mkdir(parents=True)
    other.mkdir()
    (other / "jarvis.py").write_text(OLD)
    alike = [machine.nohup(cwd=machine.root / "other"), machine.start("tail", "-f", "webex_bots/jarvis.py")]
    machine.nohup()
    forward(machine)
    assert all(read_stat(pid) and read_stat(pid).state not in "ZX" for pid in alike)


def test_one_bot_switched_leaves_the_other_alone(machine: Machine) -> None:
    machine.add_bot("tars")
    machine.nohup()
    tars = machine.nohup("tars")
    forward(machine)
    assert machine.pids("tars") == [tars]


def test_bot_that_ignores_sigterm_is_killed(machine: Machine) -> None:
    machine.script().write_text("import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + OLD)
    pid = machine.nohup()
    machine.wait_for(lambda: "started" in machine.log())
    record(machine.vm, machine.wanted(stop_seconds=0.2))
    arm(machine.vm, "jarvis", 600)
    machine.deploy()
    switch(machine.vm, "jarvis")
    assert pid not in machine.pids()
    assert len(machine.pids()) == 1


def test_children_of_the_old_process_end_with_it(machine: Machine) -> None:
    machine.script().write_text("import subprocess; subprocess.Popen(['sleep', '300'])\n" + OLD)
    pid = machine.nohup()
    machine.wait_for(lambda: "started" in machine.log())
    (child,) = [p for p in all_pids() if (stat := read_stat(p)) and stat.ppid == pid]
    forward(machine)
    stat = read_stat(child)
    assert stat is None or stat.state in "ZX"


def test_switch_refuses_a_script_that_does_not_compile_before_the_stop(machine: Machine) -> None:
    pid = machine.nohup()
    record(machine.vm, machine.wanted())
    arm(machine.vm, "jarvis", 600)
    machine.deploy(version="def broken(:\n")
    with pytest.raises(RolloutError, match=r"cannot compile .*jarvis\.py.*, line 1: SyntaxError.* was not touched"):
        switch(machine.vm, "jarvis")
    assert machine.pids() == [pid]


def test_switch_refuses_a_unit_that_does_not_load_before_the_stop(machine: Machine) -> None:
    pid = machine.nohup()
    record(machine.vm, machine.wanted())
    arm(machine.vm, "jarvis", 600)
    machine.deploy()
    machine.drop_in().write_text("[Service]\nNonsense\n")
    with pytest.raises(RolloutError, match=r"cannot be started \(bad-setting\).*not touched"):
        switch(machine.vm, "jarvis")
    assert machine.pids() == [pid]


def test_releases_beyond_the_limit_go_but_never_the_one_to_roll_back_to(machine: Machine) -> None:
    machine.nohup()
    for number in range(4):
        forward(machine, version=f"{NEW}# {number}\n", keep=3)
    state = State.load(unseal(machine.state / "jarvis/state.json"))
    names = machine.vm.store("jarvis").release_names()
    assert len(names) == 3
    assert {"0", state.current, state.previous} <= set(names)
    roll_back(machine.vm, "jarvis")
    assert machine.script().read_text() == f"{NEW}# 2\n"
    roll_back(machine.vm, "jarvis", to="0")
    assert machine.script().read_text() == OLD


def test_unit_of_another_name_is_refused_unless_taken_over_and_comes_back(machine: Machine) -> None:
    other = "old-jarvis.service"
    unit = machine.units / other
    text = f"[Service]\nWorkingDirectory={machine.home}\nEnvironmentFile=/dev/null\n"
    unit.write_text(text + f"ExecStart=/usr/bin/env BOT_PORT={machine.port} {machine.python} webex_bots/jarvis.py\n")
    machine.systemd(["systemctl", "enable", other])
    machine.systemd(["systemctl", "start", other])
    machine.wait_for(lambda: len(machine.pids()) == 1)
    machine.in_unit(other)
    with pytest.raises(RolloutError, match=r"runs under the unit old-jarvis\.service.*take_over"):
        record(machine.vm, machine.wanted())
    record(machine.vm, machine.wanted(take_over=True))
    arm(machine.vm, "jarvis", 600)
    machine.deploy()
    switch(machine.vm, "jarvis")
    assert not machine.systemd.read(other)["enabled"]
    assert machine.pids() == [machine.systemd.running(UNIT)]
    roll_back(machine.vm, "jarvis")
    assert machine.systemd.read(other)["enabled"]
    assert machine.pids() == [machine.systemd.running(other)]


def test_restarting_parent_that_would_start_the_bot_again_is_refused(machine: Machine) -> None:
    loop = machine.root / "loop.sh"
    loop.write_text(f"while true; do {machine.python} webex_bots/jarvis.py; sleep 1; done\n")
    pid = machine.start("sh", str(loop))
    machine.wait_for(lambda: len(machine.pids()) == 1)
    with pytest.raises(RolloutError, match=rf"is a child of process {pid} \(sh\).*Nothing was done"):
        record(machine.vm, machine.wanted())


def test_restarted_by_something_unseen_stops_the_switch(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is no parent: here the test itself starts the bot whenever it has been stopped."""
    machine.nohup()
    record(machine.vm, machine.wanted())
    arm(machine.vm, "jarvis", 600)
    machine.deploy()
    real = _stop_family
    everywhere(monkeypatch, "_stop_family", lambda *stopped: (real(*stopped), machine.nohup()))
    with pytest.raises(RolloutError, match="jarvis is started again as soon as it is stopped"):
        switch(machine.vm, "jarvis")


def test_process_killed_by_hand_between_record_and_switch_is_no_obstacle(machine: Machine) -> None:
    pid = machine.nohup()
    record(machine.vm, machine.wanted())
    arm(machine.vm, "jarvis", 600)
    machine.deploy()
    os.kill(pid, signal.SIGKILL)
    machine.wait_for(lambda: not machine.pids())
    assert switch(machine.vm, "jarvis").reasons == ["it does not run"]


def test_a_log_nobody_could_open_anew_stops_the_switch_before_it_begins(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a file system that has turned read-only under a process that has its log open already."""
    pid = machine.nohup()
    record(machine.vm, machine.wanted())
    arm(machine.vm, "jarvis", 600)
    machine.deploy()
    busy = str(Path(machine.python).resolve())  # a running program: not even root can open it for writing
    everywhere(monkeypatch, "open_for_writing", lambda *_, **__: [busy])
    with pytest.raises(RolloutError, match=f"could not open anew.*{busy}.*not touched"):
        switch(machine.vm, "jarvis")
    assert machine.pids() == [pid]


def test_deadline_counts_from_the_switch(machine: Machine) -> None:
    machine.nohup()
    record(machine.vm, machine.wanted())
    armed = arm(machine.vm, "jarvis", 600)
    machine.deploy()
    time.sleep(0.2)
    switched = switch(machine.vm, "jarvis")
    assert switched.seconds_left > armed.seconds_left - 0.2


@pytest.mark.parametrize(("seconds", "ends_by_itself"), [(0.2, False), (5, True)])
def test_rollback_gives_a_bot_the_time_to_end_that_the_settings_give_it(
    machine: Machine, seconds: float, ends_by_itself: bool
) -> None:
    slow = "import signal, sys, time\nsignal.signal(signal.SIGTERM, lambda *_: (time.sleep(1), sys.exit(0)))\n"
    slow += "import atexit; atexit.register(lambda: open('ended', 'w').close())\n"
    machine.nohup()
    record(machine.vm, machine.wanted(stop_seconds=seconds))
    arm(machine.vm, "jarvis", 600)
    machine.deploy(version=slow + NEW)
    switch(machine.vm, "jarvis")
    pid = machine.systemd.running("webex-bot@jarvis.service")
    machine.systemd.write("webex-bot@jarvis.service", pid=0)  # as if started by hand, so that a rollback ends it itself
    machine.wait_for(lambda: f"started new {pid}" in machine.log())
    roll_back(machine.vm, "jarvis", to="0")
    assert pid not in machine.pids()
    assert (machine.home / "ended").exists() == ends_by_itself


def test_a_run_rolls_back_only_the_attempt_that_it_opened_itself(machine: Machine) -> None:
    """A run that fails before it has opened one, such as by --start-at-task, took a good release back."""
    machine.nohup()
    mine = acquire_lock(machine.vm, Holder("vinay", "desk", 1), 600).lock.token
    forward(machine, token=mine)
    pids = machine.pids()
    assert roll_back(machine.vm, "jarvis", own=True).changed is False  # without a lock
    release_lock(machine.vm, mine)
    another = acquire_lock(machine.vm, Holder("tars", "desk", 2), 600).lock.token
    result = roll_back(machine.vm, "jarvis", token=another, own=True)
    assert (result.changed, machine.pids()) == (False, pids)
    assert "this run has opened no attempt at it, so nothing was rolled back" in result.message
    arm(machine.vm, "jarvis", 600, another)
    assert roll_back(machine.vm, "jarvis", token=another, own=True).phase == "rolled_back"
