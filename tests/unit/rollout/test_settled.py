"""A bot takes part in a run until it is what is wanted, proven, confirmed and promoted; from then on in nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from ansible.module_utils.webex_rollout import inputs
from ansible.module_utils.webex_rollout.clock import vm_clock
from ansible.module_utils.webex_rollout.logs.reader import LogReader
from ansible.module_utils.webex_rollout.look import Looked, found_of
from ansible.module_utils.webex_rollout.settled import differences
from ansible.module_utils.webex_rollout.soak import Soak, Watched, load, save
from ansible.module_utils.webex_rollout.steps.arm import arm
from ansible.module_utils.webex_rollout.steps.check import check_start
from ansible.module_utils.webex_rollout.steps.confirm import confirm
from ansible.module_utils.webex_rollout.steps.record import record
from ansible.module_utils.webex_rollout.steps.roll_back import roll_back
from ansible.module_utils.webex_rollout.steps.switch import switch

from tests.unit.rollout.machine import NEW, Machine

WANTED, HASH = "settings and project", "settings"
UNIT = "webex-bot@jarvis.service"


def rolled_out(machine: Machine, verdict: str = "promote") -> None:
    """Rolled out and judged, with a word of what the release is made from."""
    vm = machine.vm
    record(vm, machine.wanted())
    arm(vm, "jarvis", 600)
    machine.deploy("jarvis", NEW)
    switch(vm, "jarvis")
    check_start(vm, "jarvis", machine.proof)
    confirm(vm, "jarvis", inputs=WANTED)
    store, now = vm.store("jarvis"), vm_clock()
    log = Watched(str(machine.home / "logs/jarvis.log"), {}, {}, user="root")
    release = store.need().current
    save(store, Soak("jarvis", release, now, now, 60.0, log, settings_hash=HASH, verdict=verdict))


def left(machine: Machine, wanted: str = WANTED, settings: str = HASH) -> list[str]:
    return differences(machine.vm, "jarvis", wanted, settings)


def test_a_promoted_bot_has_nothing_left_to_do(machine: Machine) -> None:
    machine.nohup()
    assert left(machine) == ["it was never rolled out"]
    rolled_out(machine)
    assert left(machine) == []
    # The look itself changes nothing.
    assert left(machine) == []


@pytest.mark.parametrize("verdict", ["", "extend", "hold", "roll back"])
def test_one_that_is_not_promoted_takes_part(machine: Machine, verdict: str) -> None:
    machine.nohup()
    rolled_out(machine, verdict)
    assert [reason for reason in left(machine) if "is not promoted" in reason] == left(machine) != []


def test_other_settings_another_project_and_another_soak_are_seen(machine: Machine) -> None:
    machine.nohup()
    rolled_out(machine)
    assert "other settings" in " ".join(left(machine, wanted="others"))
    assert "not promoted" in " ".join(left(machine, settings="others"))


def test_of_its_soak_a_look_hands_over_what_shows_how_it_is(machine: Machine) -> None:
    machine.nohup()
    rolled_out(machine)
    store = machine.vm.store("jarvis")
    kept = load(store)
    assert kept is not None
    kept.own.cursor = LogReader("root").take(kept.own.log)["cursor"]
    kept.own.since, kept.own.history = {"incidents": 2, "failures": 3}, {"error_kinds": {}, "incidents": 1}
    kept.controls, kept.record = {"tars": replace(kept.own)}, {"verdict": "long"}
    save(store, kept)
    found = found_of(machine.vm, Looked("jarvis", "root", WANTED, HASH))
    assert (found["soak_problem"], found["differences"]) == ("", [])
    seen = Soak.load(found["soak"])
    assert seen.evidence() == replace(kept.evidence(), controls=())
    assert (seen.controls, seen.record, seen.own.cursor) == ({}, None, {})
    assert (found["since"]["incidents"], found["since"]["failures"]) == (0, 0)


def test_what_the_machine_adds_to_the_files_counts(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.nohup()
    rolled_out(machine)
    monkeypatch.setattr(inputs, "allowed_open_files", lambda: 7)
    assert "other settings" in " ".join(left(machine))


def test_a_release_confirmed_without_a_word_of_its_inputs_takes_part(machine: Machine) -> None:
    """As by an older version, after a newer one."""
    machine.nohup()
    rolled_out(machine)
    kept = machine.vm.store("jarvis").path / "inputs.json"
    before = kept.read_bytes()
    kept.write_bytes(before.replace(b'"release": "', b'"release": "x'))
    assert "other settings" in " ".join(left(machine))
    kept.unlink()
    assert "other settings" in " ".join(left(machine))


BREAKS: dict[str, tuple[Callable[[Machine], object], str]] = {
    "script edited": (lambda m: m.script().write_text(NEW + "# more\n"), "webex_bots/jarvis.py is not what release"),
    "script gone": (lambda m: m.script().unlink(), "webex_bots/jarvis.py is not what release"),
    "script's mode": (lambda m: m.script().chmod(0o600), "webex_bots/jarvis.py is not what release"),
    "pool module edited": (lambda m: m.pool.write_text("pool = 0\n"), "webex_pool_config.py is not what release"),
    "variables edited": (lambda m: m.env_file().write_text('A="b"\n'), "jarvis.env is not what release"),
    "not enabled": (lambda m: m.systemd.write(UNIT, enabled=False), f"{UNIT} is not enabled"),
    "not running": (lambda m: m.systemd._stop(UNIT, []), "it does not run"),
    "rolled back": (lambda m: roll_back(m.vm, "jarvis"), "it is rolled_back"),
    "an open attempt": (lambda m: arm(m.vm, "jarvis", 600), "it is armed"),
    "a damaged soak": (lambda m: m.vm.store("jarvis").soak_path.write_text("{"), "cannot be read"),
    "no soak": (lambda m: m.vm.store("jarvis").soak_path.unlink(), "is not promoted"),
}


@pytest.mark.parametrize("case", BREAKS)
def test_whatever_differs_is_named(machine: Machine, case: str) -> None:
    machine.nohup()
    rolled_out(machine)
    strike, words = BREAKS[case]
    strike(machine)
    assert words in "; ".join(left(machine))


def test_a_second_copy_is_seen(machine: Machine) -> None:
    machine.nohup()
    rolled_out(machine)
    machine.nohup()
    assert "it runs 2 times" in "; ".join(left(machine))


def test_nothing_is_written_by_looking(machine: Machine) -> None:
    machine.nohup()
    rolled_out(machine)
    before = {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in Path(machine.state).rglob("*")}
    left(machine, wanted="others")
    assert {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in Path(machine.state).rglob("*")} == before
