"""The operator's own checks: as the bot's user, bounded, and what they find counts where they are required."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from ansible.module_utils.webex_rollout import soak as kept
from ansible.module_utils.webex_rollout.errors import RolloutError
from ansible.module_utils.webex_rollout.evidence import EXTEND, PROMOTE
from ansible.module_utils.webex_rollout.own_checks import checks_of, problems_of
from ansible.module_utils.webex_rollout.state import Phase

from tests.unit.watch.conftest import Canary, verdict_of
from tests.unit.watch.test_bulletin import told

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.tell.receivers import Service

__all__ = ["told"]


def check(*command: str, **more: Any) -> dict[str, Any]:
    (given,) = checks_of("bot_checks", [{"name": "answers", "command": list(command), **more}])
    return given


def with_checks(canary: Canary, *checks: dict[str, Any]) -> None:
    soak = canary.soak
    soak.checks = list(checks)
    kept.save(canary.machine.vm.store("jarvis"), soak)


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        (["/bin/true"], ""),
        (["/bin/sh", "-c", "echo fine; echo no answer >&2; exit 3"], "status 3: no answer"),
        (["/bin/sh", "-c", "echo only this; exit 1"], "status 1: only this"),
        (["/bin/false"], "status 1"),
        (["/nosuch/program"], "cannot run /nosuch/program: No such file or directory"),
        (["/bin/sh", "-c", "printf 'a\\033[31mb' >&2; exit 1"], "status 1: a\\x1b[31mb"),
    ],
)
def test_what_a_check_finds(canary: Canary, command: list[str], problem: str) -> None:
    user = canary.machine.bot("jarvis").user
    assert problems_of(user, [check(*command)]) == {"answers": problem}


def test_a_check_that_hangs_is_ended(canary: Canary, tmp_path: Path) -> None:
    user = canary.machine.bot("jarvis").user
    found = problems_of(user, [check("/bin/sleep", "60", seconds=1)])
    assert "did not answer within 1 s" in found["answers"]


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ({"name": "a", "command": "/bin/true"}, "check 1 has no command"),
        ({"name": "a", "command": ["true"]}, "check 1 has no command"),
        ({"name": "", "command": ["/bin/true"]}, "check 1 has no name"),
        ({"name": "a", "command": ["/bin/true"], "seconds": 31}, "check 1 may take 1 to 30 seconds"),
        ({"name": "a", "command": ["/bin/true"], "seconds": "x"}, "check 1 may take 1 to 30 seconds"),
        ({"name": "a", "command": ["/bin/true"], "required": "maybe"}, "check 1 says by something else"),
        ({"name": "a", "command": ["/bin/true"], "shell": True}, "check 1 has something else than"),
    ],
)
def test_what_is_no_check_is_refused(entry: dict[str, Any], problem: str) -> None:
    with pytest.raises(RolloutError, match=problem):
        checks_of("bot_checks", [entry])
    with pytest.raises(RolloutError, match="two checks have the same name"):
        checks_of("bot_checks", [check("/bin/true"), check("/bin/false")])


def test_a_required_check_that_fails_keeps_from_promotion_and_is_the_releases_fault(canary: Canary) -> None:
    canary.rolled_out().works(9)
    with_checks(canary, check("/bin/false"))
    canary.works(2)
    assert canary.soak.verdict == EXTEND
    assert verdict_of(canary.soak)["missing"] == ["a check that passes (answers: status 1)"]
    canary.works(1)
    assert canary.state.phase is Phase.ROLLED_BACK
    assert canary.state.note == "its check answers has failed 3 times in a row: status 1"


def test_one_that_is_not_required_is_told_only(canary: Canary, told: Service) -> None:
    canary.rolled_out().works(9)
    with_checks(canary, check("/bin/false", required=False))
    canary.works(15)
    assert (canary.state.phase, canary.soak.verdict) == (Phase.CONFIRMED, PROMOTE)
    texts = [json.loads(body)["text"] for _, _, body in told.received]
    assert texts.count("jarvis: its check answers fails: status 1") == 1


def test_what_fails_later_is_told_and_a_bot_that_does_not_run_is_not_checked(canary: Canary) -> None:
    canary.rolled_out().works(11)
    assert canary.soak.verdict == PROMOTE
    with_checks(canary, check("/bin/false"))
    for _ in range(6):
        canary.does(answered=1)
        canary.tick(300)
    assert canary.state.phase is Phase.CONFIRMED
    assert canary.soak.evidence().failing == ("answers: status 1",)
    canary.machine.systemd(["systemctl", "stop", canary.unit])
    looks = canary.soak.work.failed_looks
    canary.idles(20, 300)
    assert canary.soak.work.failed_looks == looks
