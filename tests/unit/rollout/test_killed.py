"""SIGKILL between any two steps of the program: the guard alone brings the bot back, and never runs two of it.

A step is anything that can be seen from outside: a write made to last, a rename, a removal, a signal, a question or an
order to systemd, a start of a process.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from ansible.module_utils.webex_rollout import paths, system
from ansible.module_utils.webex_rollout.clock import boot_clock
from ansible.module_utils.webex_rollout.disk import sha256, unseal
from ansible.module_utils.webex_rollout.guard import guard
from ansible.module_utils.webex_rollout.state import State
from ansible.module_utils.webex_rollout.steps.arm import arm
from ansible.module_utils.webex_rollout.steps.check import check_start
from ansible.module_utils.webex_rollout.steps.confirm import confirm
from ansible.module_utils.webex_rollout.steps.record import record
from ansible.module_utils.webex_rollout.steps.roll_back import roll_back
from ansible.module_utils.webex_rollout.steps.switch import switch

from tests.unit.rollout.machine import NEW, Machine, everywhere, forward

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

UNIT = "webex-bot@jarvis.service"
# All steps take twenty minutes (make test-all); a run of the unit tests takes every thirteenth of them.
STRIDE = int(os.environ.get("KILL_STRIDE", "13"))
STEPS = (
    (os, ("fsync", "replace", "unlink", "mkdir", "rmdir")),
    (signal, ("pidfd_send_signal",)),
    (subprocess, ("Popen",)),
)


def killed_at(step: int, action: Callable[[], object]) -> bool:
    """Run an action in a child that is killed right before its n-th step; whether it got that far."""
    child = os.fork()
    if child == 0:
        left = step

        def counting(real: Callable) -> Callable:
            def count(*arguments: object, **named: object) -> object:
                nonlocal left
                left -= 1
                if left == 0:
                    signal.raise_signal(signal.SIGKILL)
                return real(*arguments, **named)

            return count

        for module, names in STEPS:
            for name in names:
                setattr(module, name, counting(getattr(module, name)))
        everywhere(pytest.MonkeyPatch(), "run_command", counting(system.run_command))
        try:
            action()
        except BaseException:
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, "the action failed by itself"
    return os.WIFSIGNALED(status)


class Watch:
    """Counts the copies of a bot all the while."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.most = 0
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.look)

    def look(self) -> None:
        while not self.over.wait(0.01):
            self.most = max(self.most, len(self.machine.pids()))

    def __enter__(self) -> Watch:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.thread.join()


def state_of(machine: Machine) -> State:
    return State.load(unseal(machine.state / "jarvis/state.json"))


def prepared(root: Path, step: int, monkeypatch: pytest.MonkeyPatch, after_canary: bool = False) -> Machine:
    """A machine with jarvis to roll out; `after_canary` has tars rolled out before, who needs the shared files."""
    machine = Machine(root / str(step))
    machine.timing = replace(machine.timing, found_settle=0.05)
    everywhere(monkeypatch, "run_command", machine.systemd)
    monkeypatch.setattr(paths, "ENVIRONMENT_DIR", str(machine.env_dir))
    monkeypatch.setenv("PATH", f"{machine.bin}:/usr/local/bin:/usr/bin:/bin")
    if after_canary:
        machine.add_bot("tars")
        machine.nohup("tars")
        forward(machine, "tars")
    return machine


def guard_ahead(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the guard tick twice, long after every deadline."""
    with monkeypatch.context() as patched:
        now = boot_clock
        everywhere(patched, "boot_clock", lambda: now() + 100_000)
        everywhere(patched, "wall_start", lambda ticks: ticks / 100 + time.time() - now())
        for _ in range(2):
            # What a killed one had just started holds its lock for a moment longer; the guard would leave it for its
            # next tick.
            with machine.vm.store("jarvis").mutex():
                pass
            assert guard(machine.vm) == []


def assert_all_old_or_all_new(machine: Machine, before: dict, step: int) -> None:
    state = state_of(machine)
    (pid,) = machine.pids()
    if state.phase == "confirmed":
        assert machine.script().read_text() == NEW, step
        assert pid == machine.systemd.running(UNIT), step
    else:
        assert state.phase in ("recorded", "rolled_back"), step
        assert machine.tree() == before, step
        assert machine.systemd.running(UNIT) == 0, step
        assert not machine.systemd.read(UNIT)["enabled"], step


def armed(machine: Machine) -> None:
    machine.nohup()
    record(machine.vm, machine.wanted())


def deployed(machine: Machine) -> None:
    armed(machine)
    arm(machine.vm, "jarvis", 600)
    machine.deploy()


def switched(machine: Machine) -> None:
    deployed(machine)
    switch(machine.vm, "jarvis")


def checked(machine: Machine) -> None:
    switched(machine)
    check_start(machine.vm, "jarvis", machine.proof)


def confirmed(machine: Machine) -> None:
    checked(machine)
    confirm(machine.vm, "jarvis")


AFTER_CANARY = pytest.mark.parametrize("after_canary", [False, True], ids=["canary", "fleet"])


@AFTER_CANARY
@pytest.mark.parametrize(
    ("before_it", "action", "least"),
    [
        (armed, lambda machine: arm(machine.vm, "jarvis", 600), 10),
        (deployed, lambda machine: switch(machine.vm, "jarvis"), 20),
        (checked, lambda machine: confirm(machine.vm, "jarvis"), 5),
        (switched, lambda machine: roll_back(machine.vm, "jarvis"), 20),
        (confirmed, lambda machine: roll_back(machine.vm, "jarvis", to="0"), 20),
    ],
    ids=["arm", "switch", "confirm", "rollback", "rollback-confirmed"],
)
def test_guard_recovers_from_a_kill_at_every_step(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    before_it: Callable,
    action: Callable,
    least: int,
    after_canary: bool,
) -> None:
    step, killed = 1 - STRIDE, True
    while killed:
        step += STRIDE
        machine = prepared(tmp_path, step, monkeypatch, after_canary)
        try:
            tree = machine.tree()
            before_it(machine)
            with Watch(machine) as watch:
                killed = killed_at(step, lambda: action(machine))  # noqa: B023 - called before the next round
                guard_ahead(machine, monkeypatch)
            assert_all_old_or_all_new(machine, tree, step)
            assert watch.most <= 1, step
        finally:
            machine.close()
    assert step > least


@AFTER_CANARY
def test_guard_recovers_from_a_kill_of_the_guard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after_canary: bool
) -> None:
    step, killed = 1 - STRIDE, True
    while killed:
        step += STRIDE
        machine = prepared(tmp_path, step, monkeypatch, after_canary)
        try:
            tree = machine.tree()
            switched(machine)
            with Watch(machine) as watch:
                killed = killed_at(step, lambda: guard_ahead(machine, monkeypatch))  # noqa: B023
                guard_ahead(machine, monkeypatch)
            assert_all_old_or_all_new(machine, tree, step)
            assert state_of(machine).phase == "rolled_back"
            assert watch.most <= 1, step
        finally:
            machine.close()
    assert step > 20


def test_record_killed_at_any_step_can_be_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step, killed = 1 - STRIDE, True
    while killed:
        step += STRIDE
        machine = prepared(tmp_path, step, monkeypatch)
        try:
            pid = machine.nohup()
            tree = machine.tree()
            killed = killed_at(step, lambda: record(machine.vm, machine.wanted()))  # noqa: B023
            assert guard(machine.vm) == []
            record(machine.vm, machine.wanted())
            found = machine.vm.store("jarvis").release("0")
            assert found.manifest[str(machine.script())].sha256 == sha256(machine.script().read_bytes())
            assert machine.pids() == [pid]
            assert machine.tree() == tree
        finally:
            machine.close()
    assert step > 8
