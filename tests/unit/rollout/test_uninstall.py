"""Leaving a machine as it was found, and restarting what runs there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from ansible.module_utils.webex_rollout import paths
from ansible.module_utils.webex_rollout import uninstall as room
from ansible.module_utils.webex_rollout.errors import RolloutError
from ansible.module_utils.webex_rollout.lock import Holder, acquire_lock
from ansible.module_utils.webex_rollout.steps.record import record
from ansible.module_utils.webex_rollout.steps.restart import restart
from ansible.module_utils.webex_rollout.steps.roll_back import roll_back
from ansible.module_utils.webex_rollout.uninstall import Uninstalled, uninstall

from tests.unit.rollout.machine import NEW, OLD, forward

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.rollout.machine import Machine

BOTS = ("jarvis", "tars")


@pytest.fixture
def two(machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    """Two bots that were started by hand, on a machine with program, units and metrics."""
    machine.add_bot("tars")
    monkeypatch.setattr(paths, "UNIT_DIR", str(machine.units))
    monkeypatch.setattr(room, "METRICS_DIR", str(tmp_path / "metrics"))
    for bot in BOTS:
        machine.nohup(bot)
    return machine


def install(machine: Machine) -> None:
    """What a rollout installs beside the bots' own files."""
    for name in ("guard", "watch"):
        for kind in ("service", "timer"):
            (machine.units / f"webex-rollout-{name}.{kind}").write_text("[Unit]\n")
    metrics = machine.root / "metrics"
    metrics.mkdir()
    (metrics / "webex_rollout.prom").write_text("webex_rollout_locked 0\n")
    machine.program.touch()


def everything(machine: Machine) -> set[str]:
    """Every file and directory of the machine but what the bots themselves write."""
    ours = (machine.root / "systemd", machine.root / "bin")
    return {
        str(path)
        for path in machine.root.rglob("*")
        if not any(top in path.parents or top == path for top in ours)
        and "logs" not in path.parts
        and "__pycache__" not in path.parts
    }


def test_nothing_is_left_and_check_mode_had_named_all_of_it(two: Machine) -> None:
    bare, program = two.tree(), str(two.program)
    before = everything(two)
    install(two)
    for bot in BOTS:
        forward(two, bot)
    full = everything(two)
    told = uninstall(two.vm, BOTS, check=True)
    assert everything(two) == full
    done = uninstall(two.vm, BOTS)
    assert two.tree().keys() | {str(two.env_dir)} == bare.keys() | {str(two.env_dir)}
    assert {name: value[:4] for name, value in two.tree().items()} == {name: value[:4] for name, value in bare.items()}
    gone = full - everything(two)
    assert everything(two) - before == {str(two.root / "metrics")}
    assert before - everything(two) == {program, str(two.env_dir)}
    assert set(done.removed) == set(told.removed)
    emptied = {str(two.drop_in(bot).parent) for bot in BOTS}
    assert {path for path in gone if not path.startswith(f"{two.state}/")} <= {*done.removed, *emptied}
    assert (done.changed, told.changed, done.kept, done.needed_by) == (True, True, {}, [])
    for bot in BOTS:
        assert two.script(bot).read_text() == OLD
        assert len(two.pids(bot)) == 1


def test_a_second_time_there_is_nothing_to_do(two: Machine) -> None:
    install(two)
    forward(two)
    uninstall(two.vm, BOTS)
    pids = [two.pids(bot) for bot in BOTS]
    two.program.touch()
    two.program.unlink()
    acquire_lock(two.vm, Holder("anna", "desk"))
    assert uninstall(two.vm, BOTS) == Uninstalled()
    assert [two.pids(bot) for bot in BOTS] == pids
    assert not two.state.exists()


def test_one_leaves_and_the_other_keeps_what_it_needs(two: Machine) -> None:
    install(two)
    for bot in BOTS:
        forward(two, bot)
    done = uninstall(two.vm, ["jarvis"])
    assert done.needed_by == ["tars"]
    assert two.script("jarvis").read_text() == OLD
    assert not (two.state / "jarvis").exists()
    assert two.pool.exists()
    assert (two.units / "webex-rollout-watch.timer").exists()
    assert two.vm.bot_names() == ["tars"]
    assert uninstall(two.vm, ["tars"]).needed_by == []
    assert not two.pool.exists()
    assert not two.state.exists()


def test_what_others_have_put_there_stays_and_is_named(two: Machine) -> None:
    install(two)
    forward(two)
    hooks = two.env_dir / "notify.json"
    hooks.write_text("[]")
    forward(two, "tars")
    two.script().write_text("VERSION = 'edited'\n" + NEW)
    with pytest.raises(RolloutError, match="was edited since"):
        uninstall(two.vm, BOTS)
    assert (two.state / "jarvis/state.json").exists()
    assert two.script("tars").read_text() == OLD, "one that cannot go back keeps no other from it"
    roll_back(two.vm, "jarvis", "0", force=True)
    done = uninstall(two.vm, BOTS)
    assert set(done.kept) == {str(hooks), str(two.state / "jarvis/backups")}
    assert hooks.exists()
    assert [path.name for path in two.state.rglob("*.py")] == [next((two.state / "jarvis/backups").iterdir()).name]
    assert uninstall(two.vm, BOTS).changed is False


def test_a_bot_that_is_as_it_was_found_keeps_running_and_its_own_edits(two: Machine) -> None:
    install(two)
    record(two.vm, two.wanted())
    (pid,) = two.pids()
    two.script().write_text("VERSION = 'pulled'\n" + NEW)
    uninstall(two.vm, BOTS)
    assert two.pids() == [pid]
    assert "pulled" in two.script().read_text()


def test_a_unit_without_a_record_is_refused(two: Machine) -> None:
    install(two)
    two.deploy()
    with pytest.raises(RolloutError, match=r"no record of what was found before\. Nothing was removed"):
        uninstall(two.vm, BOTS)
    assert two.program.exists()


def test_killed_in_the_middle_it_goes_on_where_it_stopped(two: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    install(two)
    for bot in BOTS:
        forward(two, bot)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(room.shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            uninstall(two.vm, BOTS)
    uninstall(two.vm, BOTS)
    assert not two.state.exists()
    assert not two.program.exists()
    assert two.script().read_text() == OLD


# -- restart --------------------------------------------------------------------------------------------------


def test_restart_of_a_release_is_the_same_release_in_another_process(machine: Machine) -> None:
    machine.nohup()
    forward(machine)
    (pid,) = machine.pids()
    told = restart(machine.vm, "jarvis", check=True)
    assert (told.changed, machine.pids()) == (True, [pid])
    done = restart(machine.vm, "jarvis")
    assert done.pids_before == [pid]
    assert done.pids_after == machine.pids() != [pid]
    assert (done.phase, done.release) == (told.phase, told.release)
    assert machine.systemd.running("webex-bot@jarvis.service") == machine.pids()[0]


def test_restart_of_what_was_found_is_the_found_process_again(machine: Machine) -> None:
    machine.nohup()
    forward(machine)
    roll_back(machine.vm, "jarvis", "0")
    (pid,) = machine.pids()
    done = restart(machine.vm, "jarvis")
    assert done.pids_after == machine.pids() != [pid]
    assert machine.systemd.running("webex-bot@jarvis.service") == 0


def test_restart_would_not_bring_up_what_nobody_rolled_out(machine: Machine) -> None:
    machine.nohup()
    forward(machine)
    pids = machine.pids()
    machine.script().write_text("VERSION = 'edited'\n" + NEW)
    with pytest.raises(RolloutError, match=r"jarvis was not restarted: .*jarvis\.py was edited since"):
        restart(machine.vm, "jarvis")
    assert machine.pids() == pids
