# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers for `webex_release`: one step of a bot's rollout."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

from ..errors import RolloutError
from ..installed import must_be_installed
from ..own_checks import checks_of
from ..probe import probe_of
from ..processes import Bot
from ..state import FileRule
from ..steps.arm import arm
from ..steps.check import CheckFailedError, Proof, check_start
from ..steps.confirm import confirm
from ..steps.record import Wanted, record
from ..steps.restart import restart
from ..steps.roll_back import roll_back
from ..steps.step import Result
from ..steps.switch import switch
from ..store import Vm
from ..words import printable
from . import soak


class _NotConfirmedError(RolloutError):
    """What passed its check could not be confirmed; ``result`` is the check's."""

    def __init__(self, message: str, result: Result) -> None:
        super().__init__(message)
        self.result = result


def _wanted(given: dict[str, Any]) -> Wanted:
    """What to record."""
    return Wanted(
        bot=Bot(
            given["bot"],
            given["home"],
            given["script"],
            given["python"],
            given["user"],
            tuple(map(tuple, given["commands"])),
        ),
        files={file["path"]: FileRule(file["shared"], file["restart"]) for file in given["files"]},
        take_over=given["take_over"],
        keep_variables=given["keep_variables"],
        drop_variables=given["drop_variables"],
        stop_seconds=given["stop_seconds"],
    )


def act(vm: Vm, given: dict[str, Any], check: bool) -> Result:
    """Take the step that is asked for."""
    bot, token = given["bot"], given["token"]
    if given["state"] == "recorded":
        recorded = record(vm, _wanted(given), token, check)
        return recorded if recorded.problems or not given["arm"] else _with_guard(recorded, _armed(vm, given, check))
    if given["state"] == "armed":
        return _armed(vm, given, check)
    if given["state"] == "switched":
        return switch(vm, bot, token, check, given["pending"], given["start"])
    if given["state"] == "checked":
        checked = check_start(vm, bot, _proof(given), token, check)
        return _with_confirmation(vm, given, checked, check) if given["confirm"] else checked
    if given["state"] == "confirmed":
        return _confirmed(vm, given, check)
    if given["state"] == "restarted":
        return restart(vm, bot, token, check)
    return roll_back(vm, bot, given["to"], given["reason"], token=token, own=given["own"], check=check)


def _proof(given: dict[str, Any]) -> Proof:
    """What the start-up check asks for."""
    return Proof(
        given["settle"],
        given["open_files"],
        log=given["log"] or "",
        took_to_start=given["took_to_start"],
        checks=checks_of("checks", given["checks"]),
        probe=probe_of("probe", given["probe"]),
        cursor=given["log_cursor"],
    )


def _confirmed(vm: Vm, given: dict[str, Any], check: bool) -> Result:
    """Let the release stay."""
    return confirm(vm, given["bot"], given["token"], given["keep"], given["probation"], given["inputs"], check)


def _with_confirmation(vm: Vm, given: dict[str, Any], checked: Result, check: bool) -> Result:
    """What was checked, with its soak begun and the release confirmed; in this order: a run that is killed in between
    would leave a release of which nothing is known since its start."""
    try:
        if given["soak"] and not check:
            soak.begin_for(vm, given["bot"], checked.candidate or checked.release, given["soak"])
        confirmed = _confirmed(vm, given, check)
    except RolloutError as error:
        raise _NotConfirmedError(str(error), checked) from None
    message = "would be checked and confirmed" if check else confirmed.message
    return replace(confirmed, action=checked.action, checks=checked.checks, stopped=checked.stopped, message=message)


def _armed(vm: Vm, given: dict[str, Any], check: bool) -> Result:
    """Arm the guard, where what it would run is what this run has installed."""
    if not check:
        must_be_installed(given["installed"])
    return arm(vm, given["bot"], given["seconds"], given["token"], check)


def _with_guard(recorded: Result, armed: Result) -> Result:
    """What was recorded, with the attempt that was opened at once."""
    return replace(
        recorded,
        changed=recorded.changed or armed.changed,
        phase=armed.phase,
        candidate=armed.candidate,
        attempt=armed.attempt,
        deadline=armed.deadline,
        seconds_left=armed.seconds_left,
        environment=armed.environment or recorded.environment,
    )


def _report(result: Result) -> dict[str, Any]:
    """A result as a module returns it."""
    returned = asdict(result)
    returned["diff"] = {"before": returned.pop("before"), "after": returned.pop("after")}
    return returned


def answer(given: dict[str, Any], check: bool) -> dict[str, Any]:
    """Take the step that is asked for."""
    try:
        result = act(Vm(), given, check)
    except (CheckFailedError, _NotConfirmedError) as error:
        return {"failed": True, "msg": printable(str(error)), **_report(error.result)}
    except RolloutError as error:
        return {"failed": True, "msg": printable(str(error))}
    except OSError as error:
        return {
            "failed": True,
            "msg": printable(f"{given['bot']}: {error.filename or 'the machine'}: {error.strerror}"),
        }
    failure = {"failed": True, "msg": printable(f"{result.bot}: {result.message}")} if result.problems else {}
    return {**failure, **_report(result)}
