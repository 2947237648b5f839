"""Work for many bots by several processes: the same answers, in order, and nobody left behind."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from ansible.module_utils.webex_rollout.errors import BlockedError, RolloutError
from ansible.module_utils.webex_rollout.side_by_side import side_by_side


def processors(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(number)))


@pytest.mark.parametrize("number", [1, 2, 3, 64])
@pytest.mark.parametrize("items", [[], [1], [1, 2, 3, 4, 5, 6, 7]])
def test_answers_are_the_same_on_any_number_of_processors(
    monkeypatch: pytest.MonkeyPatch, number: int, items: list[int]
) -> None:
    processors(monkeypatch, number)
    assert side_by_side(lambda item: {"item": (item, b"\xff")}, items) == [{"item": [item, b"\xff"]} for item in items]


def test_shares_are_worked_out_at_the_same_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    processors(monkeypatch, 2)

    def meets_the_other(item: str) -> int:
        """Whoever waits for an answer before he begins his own share, waits in vain."""
        (tmp_path / item).touch()
        until = time.monotonic() + 60
        while len(list(tmp_path.iterdir())) < 2:
            assert time.monotonic() < until
            time.sleep(0.005)
        return os.getpid()

    assert len(set(side_by_side(meets_the_other, ["a", "b"]))) == 2


@pytest.mark.parametrize("failing", [0, 1])
def test_an_error_is_raised_as_it_was_and_no_child_stays(monkeypatch: pytest.MonkeyPatch, failing: int) -> None:
    processors(monkeypatch, 2)

    def fails(item: int) -> None:
        if item == failing:
            raise BlockedError("in the way")
        if failing == 0:
            time.sleep(600)  # the other's child

    with pytest.raises(BlockedError, match="in the way"):
        side_by_side(fails, [0, 1])
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_a_child_that_is_killed_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    processors(monkeypatch, 2)
    here = os.getpid()

    def dies(item: int) -> int:
        if os.getpid() != here:
            os.kill(os.getpid(), 9)
        return item

    with pytest.raises(RolloutError, match="ended before it could answer"):
        side_by_side(dies, [0, 1])
