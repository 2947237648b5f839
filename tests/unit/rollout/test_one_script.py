"""Two bots of one script, told apart by their arguments: what one of them leaves, the other one keeps."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ansible.module_utils.webex_rollout.drift import edited_files
from ansible.module_utils.webex_rollout.processes import Bot, bot_pids
from ansible.module_utils.webex_rollout.state import FileRule
from ansible.module_utils.webex_rollout.steps.arm import arm
from ansible.module_utils.webex_rollout.steps.check import check_start
from ansible.module_utils.webex_rollout.steps.confirm import confirm
from ansible.module_utils.webex_rollout.steps.record import Wanted, record
from ansible.module_utils.webex_rollout.steps.roll_back import roll_back
from ansible.module_utils.webex_rollout.steps.switch import switch

from tests.unit.rollout.machine import DROP_IN, NEW, OLD, Machine

if TYPE_CHECKING:
    from collections.abc import Iterator

SPACES = ("emea", "apac")


def bot(machine: Machine, space: str) -> Bot:
    """One of the bots of jarvis' script."""
    return replace(machine.bot(), name=space, commands=((str(machine.script()), "--space", space),))


def rolled_out(machine: Machine, space: str) -> None:
    wanted = machine.wanted()
    files = {path: rule for path, rule in wanted.files.items() if path != str(machine.drop_in())}
    record(machine.vm, Wanted(bot(machine, space), {**files, str(machine.drop_in(space)): FileRule()}))
    arm(machine.vm, space, 600)
    machine.deploy()
    drop_in = DROP_IN.format(home=machine.home, env=machine.env_file(space), python=machine.python, bot="jarvis")
    machine.drop_in(space).parent.mkdir(exist_ok=True)
    machine.drop_in(space).write_text(f"{drop_in.rstrip()} --space {space}\n")
    switch(machine.vm, space)
    machine.in_unit(f"webex-bot@{space}.service")
    check_start(machine.vm, space, machine.proof)
    confirm(machine.vm, space, keep=5, probation=0.0)


def both(machine: Machine) -> Iterator[str]:
    for space in SPACES:
        machine.start(machine.python, "webex_bots/jarvis.py", "--space", space)
    for space in SPACES:
        machine.wait_for(lambda space=space: bool(bot_pids(bot(machine, space))))
        yield space


def test_rollback_of_one_leaves_the_script_to_the_other(machine: Machine) -> None:
    for space in both(machine):
        rolled_out(machine, space)
    result = roll_back(machine.vm, "emea", to="0")
    assert str(machine.script()) in result.kept_shared
    assert machine.script().read_text() == NEW
    assert list(bot_pids(bot(machine, "apac"))) == [machine.systemd.running("webex-bot@apac.service")]
    assert len(bot_pids(bot(machine, "emea"))) == 1
    roll_back(machine.vm, "apac", to="0")
    assert machine.script().read_text() == OLD
    assert not machine.pool.exists()
    assert [len(bot_pids(bot(machine, space))) for space in SPACES] == [1, 1]


def test_second_bot_is_recorded_with_the_script_as_the_first_found_it(machine: Machine) -> None:
    first, second = both(machine)
    rolled_out(machine, first)
    rolled_out(machine, second)
    found = machine.vm.store(second).release("0").manifest[str(machine.script())]
    assert machine.vm.store(second).bytes_of(found) == OLD.encode()


def test_a_new_release_of_one_is_no_edit_for_the_other(machine: Machine) -> None:
    first, second = both(machine)
    rolled_out(machine, first)
    rolled_out(machine, second)
    store = machine.vm.store(first)
    state = store.need()
    path = str(machine.script())
    looks = {path: store.release("0").manifest[path]}
    assert edited_files(store, state, store.release(state.current), looks) == []
