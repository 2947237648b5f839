# SPDX-License-Identifier: GPL-3.0-or-later
"""An operator's own checks of a bot (`bot_checks`): commands that run as the bot's user, and end with 0 if all is well.

A *required* one is a part of the start-up check, of the gate and of verify; what another one finds is told only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .become import account_of, run_as
from .errors import RolloutError
from .words import printable

CHECKS_AT_MOST = 10
# What the probe is called among the checks.
PROBE = "probe"
# Seconds for one check: the looks at other bots wait meanwhile.
SECONDS_AT_MOST = 30.0
SAID_AT_MOST = 200


def checks_of(where: str, entries: object) -> list[dict[str, Any]]:
    """The checks of a list, each a mapping with ``name``, ``command`` (a list: the program by its absolute path, and
    its arguments), ``required`` (without: true) and ``seconds`` (without: 10).

    :param where: what messages call the list.
    :raises RolloutError: when it is not what it should be.
    """
    if not isinstance(entries, list) or len(entries) > CHECKS_AT_MOST:
        raise RolloutError(f"{where} is no list of at most {CHECKS_AT_MOST} checks")
    checks = [_check(where, number, entry) for number, entry in enumerate(entries, 1)]
    if len({check["name"] for check in checks}) < len(checks):
        raise RolloutError(f"{where}: two checks have the same name")
    return checks


def _check(where: str, number: int, entry: object) -> dict[str, Any]:
    def wrong(what: str) -> RolloutError:
        return RolloutError(f"{where}: check {number} {what}")

    if not isinstance(entry, Mapping) or not set(entry) <= {"name", "command", "required", "seconds"}:
        raise wrong("has something else than name, command, required and seconds")
    name, command = entry.get("name"), entry.get("command")
    if not isinstance(name, str) or not name.isprintable() or not 0 < len(name) <= 60:
        raise wrong("has no name of at most 60 characters")
    if name == PROBE:
        raise wrong(f"has the name {PROBE}, which is that of bot_probe")
    words = [word for word in command if isinstance(word, str)] if isinstance(command, list) else []
    if not words or words != command or not words[0].startswith("/"):
        raise wrong("has no command: a list, with the absolute path of a program first")
    if not isinstance(entry.get("required", True), bool):
        raise wrong("says by something else than true or false whether it is required")
    try:
        seconds = float(entry.get("seconds", 10))
    except (TypeError, ValueError):
        seconds = 0.0
    if not 1 <= seconds <= SECONDS_AT_MOST:
        raise wrong(f"may take 1 to {SECONDS_AT_MOST:.0f} seconds")
    return {"name": name, "command": words, "required": entry.get("required", True), "seconds": seconds}


def problems_of(user: str, checks: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """What each check found, by its name: empty for nothing."""
    return {str(check["name"]): _problem(user, check) for check in checks}


def _problem(user: str, check: Mapping[str, Any]) -> str:
    """Why a check fails: its last words, or that it has none."""
    try:
        status, output, errors = run_as(account_of(user), check["command"], seconds=float(check["seconds"]))
    except (RolloutError, OSError) as error:
        return printable(str(error))[:SAID_AT_MOST]
    if status == 0:
        return ""
    said = (errors.strip() or output.strip()).decode("utf-8", "replace").splitlines()
    return printable(f"status {status}{': ' + said[-1] if said else ''}")[:SAID_AT_MOST]
