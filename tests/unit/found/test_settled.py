"""A bot that is as it is wanted: of it nothing is asked that only a start may fail of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from ansible.module_utils.bot_info_options import OPTIONS
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.webex_rollout.errors import RolloutError
from ansible.module_utils.webex_rollout.processes import bot_pids
from ansible.module_utils.webex_rollout.questions import bots

if TYPE_CHECKING:
    from tests.unit.found.conftest import Preflight
    from tests.unit.rollout.machine import Machine


def asked(machine: Machine, **more: Any) -> dict[str, Any]:
    """The question about jarvis, whose source does not parse and whose log is not there."""
    bot = {"bot": "jarvis", "home": str(machine.home), "script": "webex_bots/jarvis.py", "log": "logs/jarvis.log"}
    bot |= {"python": machine.bot().python, "user": machine.bot().user}
    bot |= {"open_files": 1024, "connections": 1, "min_free_mib": 1}
    checked = ArgumentSpecValidator(OPTIONS).validate({"bots": [bot], **more})
    assert not checked.error_messages
    return checked.validated_parameters


@pytest.mark.parametrize(
    ("left", "ahead", "told"), [([], True, False), (["it is new"], True, True), (["x"], False, False)]
)
def test_only_what_is_to_be_started_is_asked_what_a_start_may_fail_of(
    machine: Machine,
    preflight: Preflight,
    monkeypatch: pytest.MonkeyPatch,
    left: list[str],
    ahead: bool,
    told: bool,
) -> None:
    preflight.written()
    pid = machine.nohup()
    preflight.started()
    machine.script().write_text("this does not parse\n")
    monkeypatch.setattr(bots, "_shared_differences", lambda _: [])
    stand = {"differences": left, "stopped": False, "soak": None, "since": None, "soak_problem": ""}
    monkeypatch.setattr(bots, "found_of", lambda *_: stand)
    monkeypatch.setattr(bots, "systemd_version", lambda: 252)
    found = bots.answer(asked(machine, start_ahead=ahead), check=False)["bots"]["jarvis"]
    assert [process["pid"] for process in found["facts"]["processes"]] == [pid] == list(bot_pids(machine.bot()))
    assert any("does not parse" in problem for problem in found["problems"]) is told


@pytest.mark.parametrize(("room", "ahead", "read"), [(8 << 20, True, True), (0, True, False), (8 << 20, False, False)])
def test_the_sources_of_what_is_to_be_patched_are_read_as_far_as_there_is_room(
    machine: Machine, preflight: Preflight, monkeypatch: pytest.MonkeyPatch, room: int, ahead: bool, read: bool
) -> None:
    preflight.written()
    machine.nohup()
    preflight.started()
    stand = {"differences": ["it is new"], "stopped": False, "soak": None, "since": None, "soak_problem": ""}
    monkeypatch.setattr(bots, "_shared_differences", lambda _: [])
    monkeypatch.setattr(bots, "found_of", lambda *_: stand)
    monkeypatch.setattr(bots, "systemd_version", lambda: 252)
    monkeypatch.setattr(bots, "problems", lambda *_: [])
    monkeypatch.setattr(bots, "BYTES_LIMIT", room)
    found = bots.answer(asked(machine, start_ahead=ahead), check=False)["bots"]["jarvis"]
    assert ("sources" in found) is read
    assert not read or "webex_bots/jarvis.py" in found["sources"]["contents"]


def test_a_look_whose_part_is_lost_says_so(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a child that was killed, for want of memory for example."""

    def lost(*_: object) -> None:
        raise RolloutError("acting as root: it was ended before it could answer")

    monkeypatch.setattr(bots, "_shared_differences", lambda _: [])
    monkeypatch.setattr(bots, "side_by_side", lost)
    monkeypatch.setattr(bots, "systemd_version", lambda: 252)
    found = bots.answer(asked(machine), check=False)
    assert found == {"failed": True, "msg": "acting as root: it was ended before it could answer", "bots": {}}
