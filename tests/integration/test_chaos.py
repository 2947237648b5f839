"""A representative part of `make chaos`: the machine looks after its bots when nobody else can."""

from __future__ import annotations

import pytest

from tests.chaos.faults import MIDWAY
from tests.chaos.scenario import play

FAULTS = {fault.name: fault for fault in MIDWAY}


@pytest.mark.parametrize("name", ["controller killed", "VM loses power"])
def test_left_alone_every_bot_is_old_or_new_and_the_same_command_converges(name: str) -> None:
    outcome = play(FAULTS[name], "switched")
    assert outcome.struck
    assert outcome.problems == []
