"""A representative part of `make chaos`: the machine looks after its bots when nobody else can."""

from __future__ import annotations

from tests.chaos.faults import CANARY, CONTROLLER_KILLED
from tests.chaos.scenario import Conditions, play


def test_left_alone_every_bot_is_old_or_new_and_the_same_command_converges() -> None:
    outcome = play(CONTROLLER_KILLED, (CANARY, "switched"), Conditions())
    assert outcome.struck
    assert outcome.problems == []
