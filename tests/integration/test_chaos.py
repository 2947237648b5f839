"""A representative part of `make chaos`: the machine looks after its bots when nobody else can."""

from __future__ import annotations

from tests.chaos.faults import MIDWAY
from tests.chaos.scenario import play


def test_left_alone_every_bot_is_old_or_new_and_the_same_command_converges() -> None:
    (killed,) = [fault for fault in MIDWAY if fault.name == "controller killed"]
    outcome = play(killed, ("Stage canary", "switched"))
    assert outcome.struck
    assert outcome.problems == []
