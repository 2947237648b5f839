"""The guard: takes back what is due, whatever is wrong with the others, and rests when nothing is left."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from ansible.module_utils import webex_rollout as program
from ansible.module_utils.webex_rollout import Deadline, RolloutError, State, unseal

from tests.unit.rollout.machine import NEW, OLD, forward

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.rollout.machine import Machine

UNIT = "webex-bot@jarvis.service"
TIMER = program.GUARD_TIMER


def state_of(machine: Machine, bot: str = "jarvis") -> State:
    return State.load(unseal(machine.state / bot / "state.json"))


def edit_state(machine: Machine, bot: str = "jarvis", **changes: object) -> None:
    state = state_of(machine, bot)
    for name, value in changes.items():
        setattr(state, name, value)
    machine.vm.store(bot).save(state)


def opened(machine: Machine, bot: str = "jarvis", seconds: float = 600) -> None:
    program.record(machine.vm, machine.wanted(bot))
    program.arm(machine.vm, bot, seconds)
    machine.deploy(bot)


def test_nothing_is_taken_back_before_its_deadline(machine: Machine) -> None:
    pid = machine.nohup()
    opened(machine)
    assert program.guard(machine.vm) == []
    assert state_of(machine).phase == "armed"
    assert machine.script().read_text() == NEW
    assert machine.pids() == [pid]


def test_past_deadline_is_taken_back(machine: Machine) -> None:
    machine.nohup()
    before = machine.tree()
    opened(machine, seconds=0)
    assert program.guard(machine.vm) == []
    assert machine.tree() == before
    assert state_of(machine).note == "not blessed within 0 s"


@pytest.mark.parametrize("probation", [0, 600], ids=["for good", "on probation"])
def test_blessed_release_that_runs_is_left_and_the_guard_sleeps(machine: Machine, probation: int) -> None:
    machine.nohup()
    forward(machine, probation=probation)
    tree, pids = machine.tree(), machine.pids()
    assert not machine.systemd.read(TIMER)["on"]
    program.guard(machine.vm)
    assert (machine.tree(), machine.pids()) == (tree, pids)


def end_unit(machine: Machine) -> None:
    """The bot dies for good: systemd has given up starting it."""
    pid = machine.systemd.running(UNIT)
    os.kill(pid, signal.SIGKILL)
    machine.wait_for(lambda: not machine.pids())


def test_release_on_probation_whose_unit_failed_is_taken_back(machine: Machine) -> None:
    machine.nohup()
    before = machine.tree()
    forward(machine, probation=600)
    soak = machine.state / "jarvis/soak.json"
    soak.write_text("{}")
    end_unit(machine)
    assert program.guard_needed(machine.vm) == ["jarvis"]
    assert program.guard(machine.vm) == []
    assert machine.tree() == before
    assert len(machine.pids()) == 1
    state = state_of(machine)
    assert (state.phase, state.current) == ("reverted", "0")
    assert not soak.exists()  # nobody goes on from evidence that a later attempt did not give
    assert state.note.startswith(f"{UNIT} is failed")
    assert program.guard_needed(machine.vm) == []


def test_why_a_bot_was_taken_back_is_told_by_status_and_by_the_next_run(
    machine: Machine, capsys: pytest.CaptureFixture
) -> None:
    machine.nohup()
    forward(machine)
    program.revert(machine.vm, "jarvis", to="0", reason="it did not hold")
    program.print_status(program.status(machine.vm))
    assert "jarvis was taken back to release 0: it did not hold\n" in capsys.readouterr().out
    os.kill(machine.pids()[0], signal.SIGKILL)  # its parent is this test, which a run would take for its keeper
    machine.wait_for(lambda: not machine.pids())
    assert program.record(machine.vm, machine.wanted()).reasons == ["it did not hold"]
    program.arm(machine.vm, "jarvis", 600)
    program.print_status(program.status(machine.vm))
    assert "was taken back" not in capsys.readouterr().out


def test_run_that_changed_nothing_and_was_killed_costs_no_evidence(machine: Machine) -> None:
    machine.nohup()
    release = forward(machine).candidate
    soak = machine.state / "jarvis/soak.json"
    soak.write_text(json.dumps({"release": release}))
    pids = machine.pids()
    program.arm(machine.vm, "jarvis", 0)
    assert program.guard(machine.vm) == []
    assert (state_of(machine).phase, state_of(machine).current) == ("reverted", release)
    assert machine.pids() == pids
    assert soak.exists()


def test_second_release_on_probation_goes_back_to_the_first(machine: Machine) -> None:
    machine.nohup()
    forward(machine, probation=0)
    first = machine.tree()
    forward(machine, version=NEW + "# more\n", probation=600)
    end_unit(machine)
    program.guard(machine.vm)
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
    assert program.guard_needed(machine.vm) == []
    assert program.guard(machine.vm) == []
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
    real = program.systemctl

    def systemctl(*arguments: str) -> str:
        said = real(*arguments)
        if arguments[0] == "disable":
            end_unit(machine)
        return said

    monkeypatch.setattr(program, "systemctl", systemctl)
    program.rest_guard(machine.vm)
    assert machine.systemd.read(TIMER)["on"]


def test_unsteady_says_what_became_of_a_release_under_watch(machine: Machine) -> None:
    machine.nohup()
    program.record(machine.vm, machine.wanted())
    program.arm(machine.vm, "jarvis", 600)
    machine.deploy()
    release = program.switch(machine.vm, "jarvis").candidate
    assert program.unsteady(machine.vm, "jarvis", release) != ""  # not checked yet
    program.check_start(machine.vm, "jarvis", machine.proof)
    assert program.unsteady(machine.vm, "jarvis", release) == ""
    program.bless(machine.vm, "jarvis", probation=600)
    assert program.unsteady(machine.vm, "jarvis", release) == ""
    machine.systemd.restart_behind(UNIT)
    assert program.unsteady(machine.vm, "jarvis", release) == ""  # once may happen to the best
    machine.systemd.restart_behind(UNIT)
    assert program.unsteady(machine.vm, "jarvis", release).startswith("started again 2 times")
    program.revert(machine.vm, "jarvis", to="0", reason="tired of it")
    assert program.unsteady(machine.vm, "jarvis", release).endswith("(release 0, reverted: tired of it)")


def test_reboot_ends_an_attempt_though_its_deadline_is_far(machine: Machine) -> None:
    machine.nohup()
    opened(machine)
    program.switch(machine.vm, "jarvis")
    edit_state(machine, deadline=Deadline("another boot", 1e9, 1e12, 1e6))
    program.guard(machine.vm)
    assert state_of(machine).phase == "reverted"
    assert machine.script().read_text() == OLD
    assert len(machine.pids()) == 1


def test_clock_set_back_extends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    deadline = Deadline.after(10)
    monkeypatch.setattr(program.time, "time", lambda: 0.0)
    assert deadline.remaining() <= 10
    now = program.boot_clock
    monkeypatch.setattr(program, "boot_clock", lambda: now() + 11)
    assert deadline.past()


def test_clock_set_back_over_a_reboot_extends_by_no_more_than_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    deadline = Deadline("another boot", 0.0, program.time.time() + 10, 10)
    monkeypatch.setattr(program.time, "time", lambda: 0.0)
    assert deadline.remaining() == 10


def test_guard_sleeps_when_all_is_settled_and_not_before(machine: Machine) -> None:
    machine.add_bot("tars")
    machine.nohup()
    machine.nohup("tars")
    opened(machine)
    opened(machine, "tars")
    assert machine.systemd.read(TIMER)["on"]
    program.revert(machine.vm, "jarvis")
    assert machine.systemd.read(TIMER)["on"]
    program.revert(machine.vm, "tars")
    assert not machine.systemd.read(TIMER)["on"]
    assert not machine.systemd.read(TIMER)["enabled"]


def test_damaged_state_of_one_bot_keeps_the_guard_awake_and_the_other_is_taken_back(machine: Machine) -> None:
    machine.add_bot("alpha")  # before jarvis in every listing
    machine.nohup()
    machine.nohup("alpha")
    opened(machine, "alpha", seconds=0)
    opened(machine, seconds=0)
    path = machine.state / "alpha/state.json"
    path.write_bytes(path.read_bytes()[:100])
    (problem,) = program.guard(machine.vm)
    assert problem.startswith(f"alpha: {path} is damaged")
    assert state_of(machine).phase == "reverted"
    assert machine.script().read_text() == OLD
    assert machine.systemd.read(TIMER)["on"]


@pytest.mark.parametrize("phase", ["switching", "failed", "reverting"])
def test_step_left_half_way_is_taken_back_without_waiting(machine: Machine, phase: str) -> None:
    machine.nohup()
    before = machine.tree()
    opened(machine)
    program.switch(machine.vm, "jarvis")
    edit_state(machine, phase=phase)
    assert program.guard(machine.vm) == []
    assert machine.tree() == before
    assert len(machine.pids()) == 1


def test_bot_that_somebody_acts_on_is_left_for_the_next_tick(machine: Machine) -> None:
    machine.nohup()
    opened(machine, seconds=0)
    with machine.vm.store("jarvis").mutex():
        assert program.guard(machine.vm) == []
    assert state_of(machine).phase == "armed"


def test_shared_file_is_given_up_when_all_who_have_it_leave_it(machine: Machine) -> None:
    machine.add_bot("tars")
    for bot in ("jarvis", "tars"):
        machine.nohup(bot)
    before = machine.tree()
    for bot in ("jarvis", "tars"):
        opened(machine, bot, seconds=0)
    assert program.guard(machine.vm) == []
    assert machine.tree() == before


def test_shared_file_stays_while_another_bot_needs_it(machine: Machine) -> None:
    machine.add_bot("tars")
    for bot in ("jarvis", "tars"):
        machine.nohup(bot)
    before = machine.tree()
    forward(machine)
    forward(machine, "tars")
    result = program.revert(machine.vm, "jarvis", to="0")
    assert str(machine.pool) in result.kept_shared
    assert machine.pool.exists()
    assert machine.script().read_text() == OLD
    assert machine.pids("tars") == [machine.systemd.running("webex-bot@tars.service")]
    program.revert(machine.vm, "tars", to="0")
    assert machine.tree() == before


def test_process_that_was_not_replaced_runs_on_though_a_shared_file_stays(machine: Machine) -> None:
    """A bot of the fleet whose switch was refused, after its canary."""
    machine.add_bot("tars")
    machine.nohup()
    tars = machine.nohup("tars")
    forward(machine)
    opened(machine, "tars")
    result = program.revert(machine.vm, "tars")
    assert result.kept_shared
    assert machine.script("tars").read_text() == OLD
    assert not machine.drop_in("tars").exists()
    assert machine.pids("tars") == [tars]


def test_way_back_of_one_of_many_can_be_tried_again(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first try took the drop-in away; the template, which others need, is no unit without one."""
    machine.add_bot("tars")
    for bot in ("jarvis", "tars"):
        machine.nohup(bot)
        forward(machine, bot)

    def start_found(*_: object) -> tuple[int, float]:
        raise RolloutError("no room for a process")

    with monkeypatch.context() as patched:
        patched.setattr(program, "start_found", start_found)
        with pytest.raises(RolloutError, match="no room for a process"):
            program.revert(machine.vm, "tars", to="0")
    assert machine.pids("tars") == []
    edit_state(machine, "tars", retry=Deadline.after(-1))
    assert program.guard(machine.vm) == []
    assert len(machine.pids("tars")) == 1
    assert machine.script("tars").read_text() == OLD


def test_second_bot_is_recorded_with_the_shared_file_as_the_first_found_it(machine: Machine) -> None:
    machine.add_bot("tars")
    machine.nohup()
    tars = machine.nohup("tars")
    forward(machine)
    program.record(machine.vm, machine.wanted("tars"))
    assert machine.vm.store("tars").release("0").manifest[str(machine.pool)].kind == "absent"
    assert machine.pids("tars") == [tars]


def test_process_that_a_reboot_took_before_its_turn_is_started_again(machine: Machine) -> None:
    pid = machine.nohup()
    program.record(machine.vm, machine.wanted())
    os.kill(pid, signal.SIGKILL)
    machine.wait_for(lambda: machine.pids() == [])
    program.guard(machine.vm)
    assert machine.pids() == []  # no reboot, so it was ended by somebody, or by itself
    deadline = state_of(machine).deadline
    assert deadline is not None
    edit_state(machine, deadline=Deadline("another boot", 1e9, deadline.wall, deadline.seconds))
    program.guard(machine.vm)
    assert len(machine.pids()) == 1


def test_reboot_long_after_the_rollout_starts_nothing(machine: Machine) -> None:
    pid = machine.nohup()
    program.record(machine.vm, machine.wanted())
    os.kill(pid, signal.SIGKILL)
    machine.wait_for(lambda: pid not in machine.pids())
    edit_state(machine, deadline=Deadline("another boot", 1e9, 1.0, 900))
    program.guard(machine.vm)
    assert machine.pids() == []
    assert not machine.systemd.read(TIMER).get("on")


def test_failing_way_back_is_tried_again_later_and_not_for_ever(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "FOUND_SETTLE", 10)  # longer than a Python takes to start and to end
    machine.nohup(env={"BOT_ENDS": ""})
    opened(machine, seconds=0)
    release = machine.state / "jarvis/releases/0/release.json"
    content = unseal(release)
    content["runner"]["process"]["environment"].append("BOT_ENDS=1")
    content["runner"]["process"]["environment"].remove("BOT_ENDS=")
    release.write_bytes(program.seal(content))
    for pid in machine.pids():
        os.kill(pid, signal.SIGKILL)
    machine.wait_for(lambda: not machine.pids())
    for tries in range(1, program.TRIES_AT_MOST + 1):
        (problem,) = program.guard(machine.vm)
        assert "as it was found ended at once" in problem
        assert state_of(machine).tries == tries
        if tries < program.TRIES_AT_MOST:
            assert program.guard(machine.vm) == []  # not yet time for another try
            assert state_of(machine).tries == tries
        edit_state(machine, retry=Deadline.after(-1))
    (problem,) = program.guard(machine.vm)
    assert "given up after 8 tries" in problem
    assert "webex-rollout revert jarvis" in problem
    assert machine.script().read_text() == OLD  # the files are back all the same


def test_edited_file_stops_the_guard_and_is_said_in_status(machine: Machine) -> None:
    machine.nohup()
    opened(machine)
    program.switch(machine.vm, "jarvis")
    machine.script().write_text(NEW + "# mine\n")
    edit_state(machine, deadline=Deadline.after(0))
    (problem,) = program.guard(machine.vm)
    assert "was edited by somebody" in problem
    assert machine.pids() == [machine.systemd.running(UNIT)]
    problems = program.status_problems(program.status(machine.vm))
    assert any("was edited by somebody" in line for line in problems)


def test_steps_after_the_guard_took_the_attempt_back_are_refused(machine: Machine) -> None:
    machine.nohup()
    opened(machine, seconds=0)
    program.guard(machine.vm)
    for step in (
        lambda: program.switch(machine.vm, "jarvis"),
        lambda: program.check_start(machine.vm, "jarvis", machine.proof),
        lambda: program.bless(machine.vm, "jarvis"),
    ):
        with pytest.raises(RolloutError, match=r"jarvis was taken back to release 0: not blessed within 0 s\. Run"):
            step()


def test_steps_after_the_deadline_are_refused_even_before_the_guard_has_acted(machine: Machine) -> None:
    machine.nohup()
    opened(machine, seconds=0)
    with pytest.raises(RolloutError, match="the deadline of attempt 1 at jarvis has passed"):
        program.switch(machine.vm, "jarvis")


def test_same_command_again_converges_after_a_killed_controller(machine: Machine) -> None:
    machine.nohup()
    opened(machine)
    program.switch(machine.vm, "jarvis")
    (pid,) = machine.pids()
    forward(machine)
    assert machine.pids() == [pid]
    assert state_of(machine).phase == "blessed"
    assert state_of(machine).attempt == 2
    program.revert(machine.vm, "jarvis")
    assert machine.script().read_text() == OLD


def test_file_written_after_the_guard_acted_is_put_back_by_the_same_run(machine: Machine) -> None:
    """The controller was slow, not dead: its copy came after the guard. Its rescue must not take that for an edit."""
    machine.nohup()
    before = machine.tree()
    token = program.take_lock(machine.vm, program.Holder("me", "here", 1, "1", "p")).lock.token
    program.record(machine.vm, machine.wanted(), token)
    program.arm(machine.vm, "jarvis", 0, token)
    program.guard(machine.vm)
    machine.deploy()
    program.revert(machine.vm, "jarvis", token=token)
    assert machine.tree() == before


def test_status_shows_strays_and_what_does_not_run(machine: Machine) -> None:
    machine.nohup()
    forward(machine)
    assert program.status_problems(program.status(machine.vm)) == []
    stray = machine.nohup()
    (problem,) = program.status_problems(program.status(machine.vm))
    assert problem == f"jarvis: runs more than once, pids {stray} are strays; end them"
    os.kill(stray, signal.SIGKILL)
    machine.wait_for(lambda: stray not in machine.pids())
    machine.systemd(["systemctl", "stop", UNIT])
    machine.wait_for(lambda: machine.pids() == [])
    (problem,) = program.status_problems(program.status(machine.vm))
    assert problem == f"jarvis: does not run; `journalctl -u {UNIT}`"


def test_status_is_json_without_secrets(machine: Machine) -> None:
    machine.nohup()
    forward(machine)
    shown = json.dumps(program.status(machine.vm))
    assert "s3cret" not in shown
    assert "s3cret" not in "".join(machine.vm.audit_tail(100))


def test_guard_that_does_not_start_stops_the_rollout_before_anything_is_changed(machine: Machine) -> None:
    machine.env_file().write_text("")
    program.record(machine.vm, machine.wanted())
    machine.systemd.refuse.add(f"enable {TIMER}")
    with pytest.raises(RolloutError, match=f"enable --now {TIMER}` failed"):
        program.arm(machine.vm, "jarvis", 600)
    assert state_of(machine).phase == "recorded"


def test_running_bot_is_not_ended_for_a_release_that_cannot_be_started(machine: Machine) -> None:
    linked = machine.root / "python"
    linked.symlink_to(machine.python)
    machine.start("nohup", str(linked), "webex_bots/jarvis.py")
    machine.wait_for(lambda: "started" in machine.log())
    forward(machine)
    linked.unlink()
    pids, tree = machine.pids(), machine.tree()
    with pytest.raises(RolloutError, match=rf"{linked} is not there to run it\. It goes on as it runs now"):
        program.revert(machine.vm, "jarvis", to="0")
    assert (machine.pids(), machine.tree()) == (pids, tree)
    linked.symlink_to(machine.python)
    program.revert(machine.vm, "jarvis", to="0")
    assert machine.script().read_text() == OLD


def test_running_bot_is_not_ended_while_its_log_could_not_be_opened_anew(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.nohup()
    forward(machine)
    pids, tree = machine.pids(), machine.tree()
    busy = str(Path(machine.python).resolve())
    with monkeypatch.context() as patched:
        patched.setattr(program, "open_for_writing", lambda *_, **__: [busy])
        with pytest.raises(RolloutError, match=f"could not open anew.*{busy}.*goes on as it runs now"):
            program.revert(machine.vm, "jarvis", to="0")
    assert (machine.pids(), machine.tree()) == (pids, tree)
    program.revert(machine.vm, "jarvis", to="0")
    assert machine.script().read_text() == OLD


def test_bot_that_ends_while_it_is_looked_at_is_taken_back(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.nohup()
    forward(machine)
    real = program.open_for_writing

    def ended(pid: int, streams: bool = True) -> list[str]:
        if not streams:
            end_unit(machine)
            os.waitpid(pid, 0)  # this test is its parent, and would keep what is left of it
        return real(pid, streams)

    monkeypatch.setattr(program, "open_for_writing", ended)
    program.revert(machine.vm, "jarvis", to="0")
    assert machine.script().read_text() == OLD
    assert len(machine.pids()) == 1


def test_guard_is_awake_while_a_blessed_bot_is_taken_back(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.nohup()
    forward(machine)
    assert not machine.systemd.read(TIMER)["on"]
    seen = []
    real = program.stop_all
    monkeypatch.setattr(
        program, "stop_all", lambda *args: (seen.append(machine.systemd.read(TIMER)["on"]), real(*args))
    )
    program.revert(machine.vm, "jarvis")
    assert seen == [True]
    assert not machine.systemd.read(TIMER)["on"]


def test_way_back_goes_once_also_when_it_took_two_tries(machine: Machine) -> None:
    machine.nohup()
    forward(machine)
    edit_state(machine, phase="reverting", revert_to="0")
    program.guard(machine.vm)
    assert state_of(machine).previous == ""
    assert not program.revert(machine.vm, "jarvis").changed


def test_bots_of_one_machine_are_rolled_out_and_taken_back_side_by_side(machine: Machine) -> None:
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

    side_by_side(lambda bot: program.record(machine.vm, machine.wanted(bot)))
    side_by_side(lambda bot: program.arm(machine.vm, bot, 600))
    for bot in bots:
        machine.deploy(bot)
    side_by_side(lambda bot: program.switch(machine.vm, bot))
    side_by_side(lambda bot: program.check_start(machine.vm, bot, machine.proof))
    side_by_side(lambda bot: program.bless(machine.vm, bot))
    assert [state_of(machine, bot).phase for bot in bots] == ["blessed"] * 3
    assert [machine.pids(bot) for bot in bots] == [
        [machine.systemd.running(f"webex-bot@{bot}.service")] for bot in bots
    ]
    assert not machine.systemd.read(TIMER)["on"]
    side_by_side(lambda bot: program.revert(machine.vm, bot, to="0"))
    assert machine.tree() == before
    assert [len(machine.pids(bot)) for bot in bots] == [1] * 3
