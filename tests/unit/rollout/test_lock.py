"""The machine's lock: who has it, who may take it over, and whom its token keeps out."""

from __future__ import annotations

import importlib.util
import itertools
import multiprocessing
import os
import subprocess
import sys
import time
import uuid
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ansible.errors import AnsibleActionFail
from ansible.module_utils.webex_rollout.clock import Deadline, boot_clock
from ansible.module_utils.webex_rollout.disk import make_directory, seal
from ansible.module_utils.webex_rollout.errors import RolloutError
from ansible.module_utils.webex_rollout.lock import (
    Holder,
    Lock,
    acquire_lock,
    act_under_lock,
    read_lock,
    release_lock,
    repair_lock,
)
from ansible.module_utils.webex_rollout.steps.arm import arm
from ansible.module_utils.webex_rollout.steps.check import check_start
from ansible.module_utils.webex_rollout.steps.confirm import confirm
from ansible.module_utils.webex_rollout.steps.record import record
from ansible.module_utils.webex_rollout.steps.roll_back import roll_back
from ansible.module_utils.webex_rollout.steps.switch import switch
from ansible.module_utils.webex_rollout.store import Vm

from tests.unit.rollout.machine import everywhere

if TYPE_CHECKING:
    from types import ModuleType

    from tests.unit.rollout.machine import Machine

ANNA = Holder("anna", "laptop", 100, "1", "laptop-place")
BERT = Holder("bert", "desk", 200, "2", "desk-place")


@pytest.fixture
def vm(tmp_path: Path) -> Vm:
    return Vm(str(tmp_path / "state"), "tester@here")


def expire(vm: Vm) -> None:
    lock = read_lock(vm)
    vm.write(vm.path / "lock.json", asdict(Lock(lock.token, lock.holder, lock.since, Deadline.after(-1))))


def test_one_run_holds_it_and_the_other_is_told_who(vm: Vm) -> None:
    first = acquire_lock(vm, ANNA)
    assert (first.got, first.changed, first.lock.token) == (True, True, 1)
    second = acquire_lock(vm, BERT)
    assert not second.got
    assert "anna on laptop (pid 100) since 2" in second.lock.described()
    assert " until 2" in second.lock.described()


def test_same_run_gets_the_same_token_for_each_of_its_bots(vm: Vm) -> None:
    token = acquire_lock(vm, ANNA).lock.token
    again = acquire_lock(vm, ANNA)
    assert (again.got, again.changed, again.lock.token) == (True, False, token)


def test_run_whose_lock_expired_unclaimed_goes_on_with_its_token(vm: Vm) -> None:
    token = acquire_lock(vm, ANNA).lock.token
    expire(vm)
    assert acquire_lock(vm, ANNA).lock.token == token
    act_under_lock(vm, token)


def test_expired_lock_is_taken_over_and_its_token_is_stale(vm: Vm) -> None:
    old = acquire_lock(vm, ANNA).lock.token
    expire(vm)
    new = acquire_lock(vm, BERT)
    assert new.got
    assert new.lock.token > old
    with pytest.raises(RolloutError, match=rf"lock \(token {old}\) is stale: .* held by bert on desk \(pid 200\)"):
        act_under_lock(vm, old)


def test_dead_holder_is_taken_over_at_once_but_only_that_one(vm: Vm) -> None:
    token = acquire_lock(vm, ANNA).lock.token
    assert not acquire_lock(vm, BERT, dead=token - 1).got
    assert acquire_lock(vm, BERT, dead=token).got
    late = acquire_lock(vm, Holder("carl", "desk", 300, "3", "desk-place"), dead=token)
    assert not late.got  # he saw the same dead holder, but bert was quicker


def test_each_step_holds_it_on(vm: Vm, monkeypatch: pytest.MonkeyPatch) -> None:
    token = acquire_lock(vm, ANNA, seconds=100).lock.token
    now = boot_clock
    everywhere(monkeypatch, "boot_clock", lambda: now() + 90)
    act_under_lock(vm, token)
    everywhere(monkeypatch, "boot_clock", lambda: now() + 180)
    assert not acquire_lock(vm, BERT).got


def test_release_frees_ones_own_and_leaves_anothers(vm: Vm) -> None:
    token = acquire_lock(vm, ANNA).lock.token
    assert not release_lock(vm, token + 1).changed
    assert read_lock(vm).held
    assert release_lock(vm, token).changed
    assert not read_lock(vm).held
    assert acquire_lock(vm, BERT).lock.token == token + 1


def test_release_by_hand_is_recorded(vm: Vm) -> None:
    acquire_lock(vm, ANNA)
    release_lock(vm, 0, force=True)
    (line,) = [line for line in vm.audit_tail(5) if "action=unlock" in line]
    assert "who=tester@here" in line
    assert "result=forced" in line
    assert "anna on laptop" in line


def test_check_mode_takes_nothing(vm: Vm) -> None:
    assert acquire_lock(vm, ANNA, check=True).got
    assert not vm.path.exists()


def test_damaged_lock_is_an_error_and_is_mended_above_every_used_token(vm: Vm) -> None:
    token = acquire_lock(vm, ANNA).lock.token
    path = vm.path / "lock.json"
    path.write_bytes(path.read_bytes().replace(b"anna", b"anne"))
    with pytest.raises(RolloutError, match=r"lock\.json is damaged"):
        acquire_lock(vm, BERT)
    with pytest.raises(RolloutError, match=r"lock\.json is damaged"):
        act_under_lock(vm, token)
    assert repair_lock(vm).token > token
    assert acquire_lock(vm, BERT).got


def test_lock_with_a_missing_field_is_an_error(vm: Vm) -> None:
    make_directory(vm.path)
    (vm.path / "lock.json").write_bytes(seal({"token": 3}))
    with pytest.raises(RolloutError, match="is not what this program writes"):
        read_lock(vm)


def test_steps_without_the_lock_are_refused_and_do_nothing(machine: Machine) -> None:
    pid = machine.nohup()
    token = acquire_lock(machine.vm, ANNA).lock.token
    record(machine.vm, machine.wanted(), token)
    arm(machine.vm, "jarvis", 600, token)
    machine.deploy()
    release_lock(machine.vm, token)
    acquire_lock(machine.vm, BERT)
    for step in (
        lambda: record(machine.vm, machine.wanted(), token),
        lambda: arm(machine.vm, "jarvis", 600, token),
        lambda: switch(machine.vm, "jarvis", token),
        lambda: check_start(machine.vm, "jarvis", machine.proof, token),
        lambda: confirm(machine.vm, "jarvis", token),
        lambda: roll_back(machine.vm, "jarvis", token=token),
    ):
        with pytest.raises(RolloutError, match="is stale"):
            step()
    assert machine.pids() == [pid]


def test_attempt_of_an_earlier_run_is_not_switched_by_a_later_one(machine: Machine) -> None:
    machine.nohup()
    first = acquire_lock(machine.vm, ANNA).lock.token
    record(machine.vm, machine.wanted(), first)
    arm(machine.vm, "jarvis", 600, first)
    machine.deploy()
    second = acquire_lock(machine.vm, BERT, dead=first).lock.token
    with pytest.raises(RolloutError, match="opened under another run's lock"):
        switch(machine.vm, "jarvis", second)


def test_arming_again_in_one_run_moves_the_deadline_and_opens_no_new_attempt(machine: Machine) -> None:
    machine.nohup()
    token = acquire_lock(machine.vm, ANNA).lock.token
    record(machine.vm, machine.wanted(), token)
    assert arm(machine.vm, "jarvis", 5, token).attempt == 1
    machine.deploy()
    switch(machine.vm, "jarvis", token)
    again = arm(machine.vm, "jarvis", 500, token)
    assert (again.attempt, again.phase) == (1, "switched")
    assert again.seconds_left > 400


# -- the controller's side ------------------------------------------------------------------------------------


@pytest.fixture
def plugin() -> ModuleType:
    path = Path(__file__).resolve().parents[3] / "action_plugins/webex_lock.py"
    spec = importlib.util.spec_from_file_location("webex_lock_plugin", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def holder_of(plugin: Any, pid: int) -> dict[str, Any]:
    return {"who": "x", "host": "y", "pid": pid, "start_time": plugin.start_time(pid), "place": plugin.place()}


def test_living_holder_of_this_host_is_not_dead(plugin: ModuleType) -> None:
    assert not plugin.is_dead(holder_of(plugin, os.getpid()))


def test_ended_holder_of_this_host_is_dead(plugin: ModuleType) -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    holder = holder_of(plugin, child.pid)
    assert not plugin.is_dead(holder)
    child.communicate(b"\n")
    assert plugin.is_dead(holder)


def test_process_that_got_the_pid_later_is_not_the_holder(plugin: ModuleType) -> None:
    assert plugin.is_dead({**holder_of(plugin, os.getpid()), "start_time": "1"})


@pytest.mark.parametrize("changes", [{"place": "elsewhere"}, {"pid": 0}])
def test_nothing_is_known_of_a_holder_elsewhere_or_by_hand(plugin: ModuleType, changes: dict[str, Any]) -> None:
    holder = {**holder_of(plugin, os.getpid()), "start_time": "1", **changes}
    assert not plugin.is_dead(holder)


def test_asks_in_the_name_of_the_run_not_of_the_task(plugin: ModuleType) -> None:
    us = plugin.ourselves()
    assert us["pid"] == os.getppid()
    assert us["start_time"] == plugin.start_time(os.getppid())


def test_task_whose_run_was_killed_does_not_ask_in_the_name_of_init(plugin: ModuleType) -> None:
    """As when the controller is killed between two tasks: the worker of the second one is init's child by then."""
    processes = multiprocessing.get_context("fork")
    receiver, sender = processes.Pipe(duplex=False)

    def task(run: int) -> None:
        while os.getppid() == run:
            time.sleep(0.01)
        try:
            sender.send(plugin.ourselves())
        except AnsibleActionFail as error:
            sender.send(str(error))

    def run() -> None:
        processes.Process(target=task, args=(os.getpid(),)).start()
        os._exit(0)

    controller = processes.Process(target=run)
    controller.start()
    assert receiver.poll(30)
    assert receiver.recv() == f"the run that asks for the lock (pid {controller.pid}) is gone. Nothing was done"
    controller.join()


def test_every_worker_of_a_run_names_the_same_place(plugin: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no interface has a MAC, each process makes one up."""
    made_up = itertools.count(1)
    monkeypatch.setattr(uuid, "getnode", lambda: next(made_up))
    assert plugin.place() == plugin.place()
