"""The guard: rolls back what is due, whatever is wrong with the others, and rests when nothing is left."""

from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from ansible.module_utils.webex_rollout import reach, weather
from ansible.module_utils.webex_rollout.clock import Deadline, boot_clock, boot_key
from ansible.module_utils.webex_rollout.disk import seal, unseal
from ansible.module_utils.webex_rollout.drift import unstable
from ansible.module_utils.webex_rollout.errors import RolloutError
from ansible.module_utils.webex_rollout.guard import TRIES_AT_MOST, guard
from ansible.module_utils.webex_rollout.launch import stop_all
from ansible.module_utils.webex_rollout.lock import Holder, acquire_lock
from ansible.module_utils.webex_rollout.paths import GUARD_TIMER
from ansible.module_utils.webex_rollout.procfs import open_for_writing
from ansible.module_utils.webex_rollout.state import State
from ansible.module_utils.webex_rollout.status import print_status, status, status_problems
from ansible.module_utils.webex_rollout.steps.arm import arm
from ansible.module_utils.webex_rollout.steps.check import check_start
from ansible.module_utils.webex_rollout.steps.confirm import confirm
from ansible.module_utils.webex_rollout.steps.record import record
from ansible.module_utils.webex_rollout.steps.roll_back import roll_back
from ansible.module_utils.webex_rollout.steps.switch import switch
from ansible.module_utils.webex_rollout.systemd import systemctl
from ansible.module_utils.webex_rollout.timer import guard_needed, rest_guard
from ansible.module_utils.webex_rollout.weather import Look

from tests.unit.rollout.machine import NEW, OLD, everywhere, forward

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.rollout.machine import Machine, everywhere

UNIT = "webex-bot@jarvis.service"
TIMER = GUARD_TIMER


def state_of(machine: Machine, bot: str = "jarvis") -> State:
    return State.load(unseal(machine.state / bot / "state.json"))


def edit_state(machine: Machine, bot: str = "jarvis", **changes: object) -> None:
    state = state_of(machine, bot)
    for name, value in changes.items():
        setattr(state, name, value)
    machine.vm.store(bot).save(state)


def opened(machine: Machine, bot: str = "jarvis", seconds: float = 600) -> None:
    record(machine.vm, machine.wanted(bot))
    arm(machine.vm, bot, seconds)
    machine.deploy(bot)


def test_nothing_is_rolled_back_before_its_deadline(machine: Machine) -> None:
    pid = machine.nohup()
    opened(machine)
    assert guard(machine.vm) == []
    assert state_of(machine).phase == "armed"
    assert machine.script().read_text() == NEW
    assert machine.pids() == [pid]


def test_past_deadline_is_rolled_back(machine: Machine) -> None:
    machine.nohup()
    before = machine.tree()
    opened(machine, seconds=0)
    assert guard(machine.vm) == []
    assert machine.tree() == before
    assert state_of(machine).note == "not confirmed within 0 s"


@pytest.mark.parametrize("jump", [0.0, 7200.0])
def test_in_bad_weather_the_deadline_waits_an_hour_whatever_the_time_is_set_to(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, jump: float
) -> None:
    found = machine.nohup()
    opened(machine, seconds=0)
    clock = {"since_boot": boot_clock(), "epoch": time.time()}
    monkeypatch.setattr(weather, "vm_clock", lambda: {**clock, "boot": boot_key()})
    monkeypatch.setattr(time, "time", lambda real=time.time: real() + jump)
    monkeypatch.setattr(reach, "ask", lambda *_: Look("bad", "connect", "no answer"))
    for minutes in (0, 1, 10, 20, 30, 40, 50, 59, 62):
        clock["since_boot"] = boot_clock() + 60 * minutes
        assert guard(machine.vm) == []
        assert state_of(machine).phase == ("rolled_back" if minutes == 62 else "armed"), minutes
    assert machine.pids() == [found]


@pytest.mark.parametrize("probation", [0, 600], ids=["for good", "on probation"])
def test_confirmed_release_that_runs_is_left_and_the_guard_sleeps(machine: Machine, probation: int) -> None:
    machine.nohup()
    forward(machine, probation=probation)
    tree, pids = machine.tree(), machine.pids()
    assert not machine.systemd.read(TIMER)["on"]
    guard(machine.vm)
    assert (machine.tree(), machine.pids()) == (tree, pids)


def end_unit(machine: Machine) -> None:
    """The bot dies for good: systemd has given up starting it."""
    pid = machine.systemd.running(UNIT)
    os.kill(pid, signal.SIGKILL)
    # A process that ends has lost its program some time before it is gone for its parent.
    machine.wait_for(lambda: not machine.pids() and not machine.systemd.running(UNIT))


def test_release_on_probation_whose_unit_failed_is_rolled_back(machine: Machine) -> None:
    machine.nohup()
    before = machine.tree()
    forward(machine, probation=600)
    soak = machine.state / "jarvis/soak.json"
    soak.write_bytes(seal({"release": state_of(machine).current}))
    end_unit(machine)
    assert guard_needed(machine.vm) == ["jarvis"]
    assert guard(machine.vm) == []
    assert machine.tree() == before
    assert len(machine.pids()) == 1
    state = state_of(machine)
    assert (state.phase, state.current) == ("rolled_back", "0")
    assert not soak.exists()  # nobody continues from evidence that a later attempt did not give
    assert state.note.startswith(f"{UNIT} is failed")
    assert guard_needed(machine.vm) == []


def test_why_a_bot_was_rolled_back_is_shown_by_status_and_by_the_next_run(
    machine: Machine, capsys: pytest.CaptureFixture
) -> None:
    machine.nohup()
    forward(machine)
    roll_back(machine.vm, "jarvis", to="0", reason="it did not hold")
    print_status(status(machine.vm))
    assert "jarvis was rolled back to release 0: it did not hold\n" in capsys.readouterr().out
    os.kill(machine.pids()[0], signal.SIGKILL)  # its parent is this test: no process left to object to
    machine.wait_for(lambda: not machine.pids())
    assert record(machine.vm, machine.wanted()).reasons == ["it did not hold"]
    arm(machine.vm, "jarvis", 600)
    print_status(status(machine.vm))
    assert "was rolled back" not in capsys.readouterr().out


def test_run_that_changed_nothing_and_was_killed_costs_no_evidence(machine: Machine) -> None:
    machine.nohup()
    release = forward(machine).candidate
    soak = machine.state / "jarvis/soak.json"
    soak.write_bytes(seal({"release": release}))
    pids = machine.pids()
    arm(machine.vm, "jarvis", 0)
    assert guard(machine.vm) == []
    assert (state_of(machine).phase, state_of(machine).current) == ("rolled_back", release)
    assert machine.pids() == pids
    assert soak.exists()


def test_second_release_on_probation_goes_back_to_the_first(machine: Machine) -> None:
    machine.nohup()
    forward(machine, probation=0)
    first = machine.tree()
    forward(machine, version=NEW + "# more\n", probation=600)
    end_unit(machine)
    guard(machine.vm)
    assert machine.tree() == first
    assert len(machine.pids()) == 1
    assert machine.pids() == [machine.systemd.running(UNIT)]


@pytest.mark.parametrize(
    ("probation", "result"), [(0.0, "exit-code"), (600.0, "timeout")], ids=["probation over", "stopped by somebody"]
)
def test_failed_unit_that_says_nothing_of_its_release_is_left(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, probation: float, result: str
) -> None:
    machine.nohup()
    forward(machine, probation=probation)
    end_unit(machine)
    machine.systemd.write(UNIT, result=result)
    tree = machine.tree()
    assert guard_needed(machine.vm) == []
    assert guard(machine.vm) == []
    assert (machine.tree(), machine.pids()) == (tree, [])


def test_probation_is_not_begun_anew_by_a_run_that_changes_nothing(machine: Machine) -> None:
    machine.nohup()
    forward(machine, probation=600)
    since = state_of(machine).probation
    forward(machine, probation=600)
    assert state_of(machine).probation == since


def test_unit_that_fails_while_the_guard_goes_to_sleep_wakes_it_again(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.nohup()
    forward(machine, probation=600)
    machine.systemd.write(TIMER, on=True, enabled=True)
    real = systemctl

    def waking(*arguments: str, **named: object) -> str:
        said = real(*arguments, **named)
        if arguments[0] == "disable":
            end_unit(machine)
        return said

    everywhere(monkeypatch, "systemctl", waking)
    rest_guard(machine.vm)
    assert machine.systemd.read(TIMER)["on"]


def test_unstable_shows_what_became_of_a_release_under_watch(machine: Machine) -> None:
    machine.nohup()
    record(machine.vm, machine.wanted())
    arm(machine.vm, "jarvis", 600)
    machine.deploy()
    release = switch(machine.vm, "jarvis").candidate
    assert unstable(machine.vm, "jarvis", release) != ""  # not checked yet
    check_start(machine.vm, "jarvis", machine.proof)
    assert unstable(machine.vm, "jarvis", release) == ""
    confirm(machine.vm, "jarvis", probation=600)
    assert unstable(machine.vm, "jarvis", release) == ""
    machine.systemd.restart_behind(UNIT)
    assert unstable(machine.vm, "jarvis", release) == ""  # how often is the watch's to judge
    machine.systemd.write(UNIT, pid=0, ended="failed")
    assert "is failed" in unstable(machine.vm, "jarvis", release)
    roll_back(machine.vm, "jarvis", to="0", reason="tired of it")
    assert unstable(machine.vm, "jarvis", release).endswith("(release 0, rolled_back: tired of it)")


def test_reboot_ends_an_attempt_though_its_deadline_is_far(machine: Machine) -> None:
    machine.nohup()
    opened(machine)
    switch(machine.vm, "jarvis")
    edit_state(machine, deadline=Deadline("another boot", 1e9, 1e12, 1e6))
    guard(machine.vm)
    assert state_of(machine).phase == "rolled_back"
    assert machine.script().read_text() == OLD
    assert len(machine.pids()) == 1


def test_clock_set_back_extends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    deadline = Deadline.after(10)
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert deadline.remaining() <= 10
    now = boot_clock
    everywhere(monkeypatch, "boot_clock", lambda: now() + 11)
    assert deadline.past()


def test_clock_set_back_over_a_reboot_extends_by_no_more_than_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    deadline = Deadline("another boot", 0.0, time.time() + 10, 10)
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert deadline.remaining() == 10


def test_guard_sleeps_when_all_is_settled_and_not_before(machine: Machine) -> None:
    machine.add_bot("tars")
    machine.nohup()
    machine.nohup("tars")
    opened(machine)
    opened(machine, "tars")
    assert machine.systemd.read(TIMER)["on"]
    roll_back(machine.vm, "jarvis")
    assert machine.systemd.read(TIMER)["on"]
    roll_back(machine.vm, "tars")
    assert not machine.systemd.read(TIMER)["on"]
    assert not machine.systemd.read(TIMER)["enabled"]


def test_damaged_state_of_one_bot_keeps_the_guard_awake_and_the_other_is_rolled_back(machine: Machine) -> None:
    machine.add_bot("alpha")  # before jarvis in every listing
    machine.nohup()
    machine.nohup("alpha")
    opened(machine, "alpha", seconds=0)
    opened(machine, seconds=0)
    path = machine.state / "alpha/state.json"
    path.write_bytes(path.read_bytes()[:100])
    (problem,) = guard(machine.vm)
    assert problem.startswith(f"alpha: {path} is damaged")
    assert state_of(machine).phase == "rolled_back"
    assert machine.script().read_text() == OLD
    assert machine.systemd.read(TIMER)["on"]


@pytest.mark.parametrize("phase", ["switching", "failed", "rolling_back"])
def test_step_left_half_way_is_rolled_back_without_waiting(machine: Machine, phase: str) -> None:
    machine.nohup()
    before = machine.tree()
    opened(machine)
    switch(machine.vm, "jarvis")
    edit_state(machine, phase=phase)
    assert guard(machine.vm) == []
    assert machine.tree() == before
    assert len(machine.pids()) == 1


def test_bot_that_somebody_acts_on_is_left_for_the_next_tick(machine: Machine) -> None:
    machine.nohup()
    opened(machine, seconds=0)
    with machine.vm.store("jarvis").mutex():
        assert guard(machine.vm) == []
    assert state_of(machine).phase == "armed"


def test_shared_file_is_given_up_when_all_who_have_it_leave_it(machine: Machine) -> None:
    machine.add_bot("tars")
    for bot in ("jarvis", "tars"):
        machine.nohup(bot)
    before = machine.tree()
    for bot in ("jarvis", "tars"):
        opened(machine, bot, seconds=0)
    assert guard(machine.vm) == []
    assert machine.tree() == before


def test_shared_file_stays_while_another_bot_needs_it(machine: Machine) -> None:
    machine.add_bot("tars")
    for bot in ("jarvis", "tars"):
        machine.nohup(bot)
    before = machine.tree()
    forward(machine)
    forward(machine, "tars")
    result = roll_back(machine.vm, "jarvis", to="0")
    assert str(machine.pool) in result.kept_shared
    assert machine.pool.exists()
    assert machine.script().read_text() == OLD
    assert machine.pids("tars") == [machine.systemd.running("webex-bot@tars.service")]
    roll_back(machine.vm, "tars", to="0")
    assert machine.tree() == before


def test_process_that_was_not_replaced_runs_on_though_a_shared_file_stays(machine: Machine) -> None:
    """A bot of the fleet whose switch was refused, after its canary."""
    machine.add_bot("tars")
    machine.nohup()
    tars = machine.nohup("tars")
    forward(machine)
    opened(machine, "tars")
    result = roll_back(machine.vm, "tars")
    assert result.kept_shared
    assert machine.script("tars").read_text() == OLD
    assert not machine.drop_in("tars").exists()
    assert machine.pids("tars") == [tars]


def test_rollback_of_one_of_many_can_be_tried_again(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first try took the drop-in away; the template, which others need, is no unit without one."""
    machine.add_bot("tars")
    for bot in ("jarvis", "tars"):
        machine.nohup(bot)
        forward(machine, bot)

    def start_found(*_: object) -> tuple[int, float]:
        raise RolloutError("no room for a process")

    with monkeypatch.context() as patched:
        everywhere(patched, "start_found", start_found)
        with pytest.raises(RolloutError, match="no room for a process"):
            roll_back(machine.vm, "tars", to="0")
    assert machine.pids("tars") == []
    edit_state(machine, "tars", retry=Deadline.after(-1))
    assert guard(machine.vm) == []
    assert len(machine.pids("tars")) == 1
    assert machine.script("tars").read_text() == OLD


def test_second_bot_is_recorded_with_the_shared_file_as_the_first_found_it(machine: Machine) -> None:
    machine.add_bot("tars")
    machine.nohup()
    tars = machine.nohup("tars")
    forward(machine)
    record(machine.vm, machine.wanted("tars"))
    assert machine.vm.store("tars").release("0").manifest[str(machine.pool)].kind == "absent"
    assert machine.pids("tars") == [tars]


def test_process_that_a_reboot_took_before_its_turn_is_started_again(machine: Machine) -> None:
    pid = machine.nohup()
    record(machine.vm, machine.wanted())
    os.kill(pid, signal.SIGKILL)
    machine.wait_for(lambda: machine.pids() == [])
    guard(machine.vm)
    assert machine.pids() == []  # no reboot, so it was ended by somebody, or by itself
    deadline = state_of(machine).deadline
    assert deadline is not None
    edit_state(machine, deadline=Deadline("another boot", 1e9, deadline.wall, deadline.seconds))
    guard(machine.vm)
    assert len(machine.pids()) == 1


def test_reboot_long_after_the_rollout_starts_nothing(machine: Machine) -> None:
    pid = machine.nohup()
    record(machine.vm, machine.wanted())
    os.kill(pid, signal.SIGKILL)
    machine.wait_for(lambda: pid not in machine.pids())
    edit_state(machine, deadline=Deadline("another boot", 1e9, 1.0, 900))
    guard(machine.vm)
    assert machine.pids() == []
    assert not machine.systemd.read(TIMER).get("on")


def test_failing_rollback_is_tried_again_later_and_not_for_ever(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.timing = replace(machine.timing, found_settle=10)  # longer than a Python takes to start and to end
    machine.nohup(env={"BOT_ENDS": ""})
    opened(machine, seconds=0)
    release = machine.state / "jarvis/releases/0/release.json"
    content = unseal(release)
    content["runner"]["process"]["environment"].append("BOT_ENDS=1")
    content["runner"]["process"]["environment"].remove("BOT_ENDS=")
    release.write_bytes(seal(content))
    for pid in machine.pids():
        os.kill(pid, signal.SIGKILL)
    machine.wait_for(lambda: not machine.pids())
    for tries in range(1, TRIES_AT_MOST + 1):
        (problem,) = guard(machine.vm)
        assert "as it was found ended at once" in problem
        assert state_of(machine).tries == tries
        if tries < TRIES_AT_MOST:
            assert guard(machine.vm) == []  # not yet time for another try
            assert state_of(machine).tries == tries
        edit_state(machine, retry=Deadline.after(-1))
    (problem,) = guard(machine.vm)
    assert "given up after 8 tries" in problem
    assert "webex-rollout rollback jarvis" in problem
    assert machine.script().read_text() == OLD  # the files are back all the same


def test_edited_file_stops_the_guard_and_is_said_in_status(machine: Machine) -> None:
    machine.nohup()
    opened(machine)
    switch(machine.vm, "jarvis")
    machine.wait_for(lambda: "started new" in machine.log())  # an edit before its Python has read the script ends it
    machine.script().write_text(NEW + "# mine\n")
    edit_state(machine, deadline=Deadline.after(0))
    (problem,) = guard(machine.vm)
    assert "was edited since the rollout wrote it" in problem
    assert machine.pids() == [machine.systemd.running(UNIT)]
    problems = status_problems(status(machine.vm))
    assert any("was edited since the rollout wrote it" in line for line in problems)


def test_steps_after_the_guard_took_the_attempt_back_are_refused(machine: Machine) -> None:
    machine.nohup()
    opened(machine, seconds=0)
    guard(machine.vm)
    for step in (
        lambda: switch(machine.vm, "jarvis"),
        lambda: check_start(machine.vm, "jarvis", machine.proof),
        lambda: confirm(machine.vm, "jarvis"),
    ):
        with pytest.raises(RolloutError, match=r"jarvis was rolled back to release 0: not confirmed within 0 s\. Run"):
            step()


def test_steps_after_the_deadline_are_refused_even_before_the_guard_has_acted(machine: Machine) -> None:
    machine.nohup()
    opened(machine, seconds=0)
    with pytest.raises(RolloutError, match="the deadline of attempt 1 at jarvis has passed"):
        switch(machine.vm, "jarvis")


def test_same_command_again_converges_after_a_killed_controller(machine: Machine) -> None:
    machine.nohup()
    opened(machine)
    switch(machine.vm, "jarvis")
    (pid,) = machine.pids()
    forward(machine)
    assert machine.pids() == [pid]
    assert state_of(machine).phase == "confirmed"
    assert state_of(machine).attempt == 2
    roll_back(machine.vm, "jarvis")
    assert machine.script().read_text() == OLD


def test_file_written_after_the_guard_acted_is_put_back_by_the_same_run(machine: Machine) -> None:
    """The controller was slow, not dead: its copy came after the guard. Its rescue must not take that for an edit."""
    machine.nohup()
    before = machine.tree()
    token = acquire_lock(machine.vm, Holder("me", "here", 1, "1", "p")).lock.token
    record(machine.vm, machine.wanted(), token)
    arm(machine.vm, "jarvis", 0, token)
    guard(machine.vm)
    machine.deploy()
    roll_back(machine.vm, "jarvis", token=token)
    assert machine.tree() == before


def test_status_shows_strays_and_what_does_not_run(machine: Machine) -> None:
    machine.nohup()
    forward(machine)
    assert status_problems(status(machine.vm)) == []
    stray = machine.nohup()
    (problem,) = status_problems(status(machine.vm))
    assert problem == f"jarvis: runs more than once, pids {stray} are strays; end them"
    os.kill(stray, signal.SIGKILL)
    machine.wait_for(lambda: stray not in machine.pids())
    machine.systemd(["systemctl", "stop", UNIT])
    machine.wait_for(lambda: machine.pids() == [])
    (problem,) = status_problems(status(machine.vm))
    assert problem == f"jarvis: does not run; `journalctl -u {UNIT}`"


def test_status_is_json_without_secrets(machine: Machine) -> None:
    machine.nohup()
    forward(machine)
    shown = json.dumps(status(machine.vm))
    assert "s3cret" not in shown
    assert "s3cret" not in "".join(machine.vm.audit_tail(100))


def test_guard_that_does_not_start_stops_the_rollout_before_anything_is_changed(machine: Machine) -> None:
    machine.env_file().write_text("")
    record(machine.vm, machine.wanted())
    machine.systemd.refuse.add(f"enable {TIMER}")
    with pytest.raises(RolloutError, match=f"enable --now {TIMER}` failed"):
        arm(machine.vm, "jarvis", 600)
    assert state_of(machine).phase == "recorded"


def test_running_bot_is_not_ended_for_a_release_that_cannot_be_started(machine: Machine) -> None:
    linked = machine.root / "python"
    linked.symlink_to(machine.python)
    machine.start("nohup", str(linked), "webex_bots/jarvis.py")
    machine.wait_for(lambda: "started" in machine.log())
    forward(machine)
    linked.unlink()
    pids, tree = machine.pids(), machine.tree()
    with pytest.raises(RolloutError, match=rf"{linked} is not there to run it\. It keeps running as it is"):
        roll_back(machine.vm, "jarvis", to="0")
    assert (machine.pids(), machine.tree()) == (pids, tree)
    linked.symlink_to(machine.python)
    roll_back(machine.vm, "jarvis", to="0")
    assert machine.script().read_text() == OLD


def test_running_bot_is_not_ended_while_its_log_could_not_be_opened_anew(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.nohup()
    forward(machine)
    pids, tree = machine.pids(), machine.tree()
    busy = str(Path(machine.python).resolve())
    with monkeypatch.context() as patched:
        everywhere(patched, "open_for_writing", lambda *_, **__: [busy])
        with pytest.raises(RolloutError, match=f"could not open anew.*{busy}.*keeps running as it is"):
            roll_back(machine.vm, "jarvis", to="0")
    assert (machine.pids(), machine.tree()) == (pids, tree)
    roll_back(machine.vm, "jarvis", to="0")
    assert machine.script().read_text() == OLD


def test_bot_that_ends_while_it_is_looked_at_is_rolled_back(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.nohup()
    forward(machine)
    real = open_for_writing

    def ended(pid: int, streams: bool = True) -> list[str]:
        if not streams:
            end_unit(machine)
            os.waitpid(pid, 0)  # this test is its parent, and would keep what is left of it
        return real(pid, streams)

    everywhere(monkeypatch, "open_for_writing", ended)
    roll_back(machine.vm, "jarvis", to="0")
    assert machine.script().read_text() == OLD
    assert len(machine.pids()) == 1


def test_guard_is_awake_while_a_confirmed_bot_is_rolled_back(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.nohup()
    forward(machine)
    assert not machine.systemd.read(TIMER)["on"]
    seen = []
    real = stop_all
    everywhere(monkeypatch, "stop_all", lambda *args: (seen.append(machine.systemd.read(TIMER)["on"]), real(*args)))
    roll_back(machine.vm, "jarvis")
    assert seen == [True]
    assert not machine.systemd.read(TIMER)["on"]


def test_rollback_goes_once_also_when_it_took_two_tries(machine: Machine) -> None:
    machine.nohup()
    forward(machine)
    edit_state(machine, phase="rolling_back", roll_back_to="0")
    guard(machine.vm)
    assert state_of(machine).previous == ""
    assert not roll_back(machine.vm, "jarvis").changed


def test_bots_of_one_machine_are_rolled_out_and_rolled_back_side_by_side(machine: Machine) -> None:
    """One process a bot, as Ansible's forks do it."""
    bots = ["jarvis", "tars", "toodles"]
    for bot in bots:
        machine.add_bot(bot)
        machine.nohup(bot)
    before = machine.tree()

    def side_by_side(action: Callable[[str], object]) -> None:
        children = {}
        for bot in bots:
            child = os.fork()
            if child == 0:
                try:
                    action(bot)
                except BaseException as error:
                    print(bot, repr(error))
                    os._exit(1)
                os._exit(0)
            children[child] = bot
        assert {os.waitpid(child, 0)[1] for child in children} == {0}

    side_by_side(lambda bot: record(machine.vm, machine.wanted(bot)))
    side_by_side(lambda bot: arm(machine.vm, bot, 600))
    for bot in bots:
        machine.deploy(bot)
    side_by_side(lambda bot: switch(machine.vm, bot))
    side_by_side(lambda bot: check_start(machine.vm, bot, machine.proof))
    side_by_side(lambda bot: confirm(machine.vm, bot))
    assert [state_of(machine, bot).phase for bot in bots] == ["confirmed"] * 3
    assert [machine.pids(bot) for bot in bots] == [
        [machine.systemd.running(f"webex-bot@{bot}.service")] for bot in bots
    ]
    assert not machine.systemd.read(TIMER)["on"]
    side_by_side(lambda bot: roll_back(machine.vm, bot, to="0"))
    assert machine.tree() == before
    assert [len(machine.pids(bot)) for bot in bots] == [1] * 3
