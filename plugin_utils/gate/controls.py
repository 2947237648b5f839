"""Which bots a bot under watch is compared with: those of its VM that do not have the release yet."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from typing import Any

from module_utils.webex_rollout.probe import probe_of
from plugin_utils.settings import path_of, value_of

Variables = Mapping[str, Mapping[str, Any]]
"""The variables of all bots, as ``hostvars`` has them."""


def vm_of(bot: str, variables: Variables) -> str:
    """The machine that a bot runs on, as the inventory names it."""
    return str(variables[bot].get("ansible_host") or bot)


def bots_of_vm(bot: str, variables: Variables) -> list[str]:
    """All bots of the inventory on a bot's machine, itself among them, in the inventory's order."""
    vm = vm_of(bot, variables)
    return [each for each in variables[bot]["groups"]["bots"] if vm_of(each, variables) == vm]


def leader(bot: str, variables: Variables, play: Sequence[str], checkout: bool = False) -> str:
    """The bot that does what is done once a machine, or once a checkout: the first of the play that shares it.

    :param play: the bots that are still in the play, in order.
    """

    def place(each: str) -> tuple[str, ...]:
        home = value_of("bot_home", each, variables[each]) if checkout else ""
        return vm_of(each, variables), posixpath.normpath(home)

    # Looking a bot up in `hostvars` is what costs, and every bot of a run asks this several times.
    own = place(bot)
    return next((each for each in play if place(each) == own), bot)


WAY = (
    *("ansible_become", "ansible_connection", "ansible_pass", "ansible_port", "ansible_private_key_file"),
    *("ansible_python", "ansible_shell", "ansible_ssh", "ansible_sudo", "ansible_user"),
)
"""How the variables begin that say by which way a machine is worked on."""


def same_way(bot: str, other: str, variables: Variables) -> bool:
    """Whether two bots of a machine are reached, and root there become, in the same way by all that is set."""

    def way(each: str) -> dict[str, Any]:
        return {name: variables[each][name] for name in variables[each] if name.startswith(WAY)}

    return way(bot) == way(other)


def vm_has(what: str, bot: str, variables: Variables) -> bool:
    """Whether this run has found on a bot's machine what its bots share, or has put it there for another of them.

    :param what: the key of what is handed over for it (roles/rollout/README.md).
    """
    near = (variables[each].get("rollout_bot") or {} for each in bots_of_vm(bot, variables))
    return any(each.get(what) for each in near)


def settled(variables: Variables, groups: Mapping[str, Sequence[str]]) -> list[str]:
    """The bots that this run has looked at and found nothing to do with. A human's verdict is something to do."""
    found = []
    for bot in groups.get("bots") or []:
        own = variables.get(bot) or {}
        decided = bot in (groups.get("canary") or []) and own.get("rollout_verdict")
        if not decided and (own.get("rollout_bot") or {}).get("differences") == []:
            found.append(bot)
    return found


def vm_settings(bot: str, variables: Variables, name: str) -> list[Any]:
    """The different values that a setting has among the bots of a machine, in the inventory's order."""
    return list(dict.fromkeys(value_of(name, each, variables[each]) for each in bots_of_vm(bot, variables)))


def without_release(bot: str, variables: Variables, play: Sequence[str], batch: Sequence[str]) -> list[str]:
    """Bots that do not have the release while `bot` is watched: for a canary all that are none, else those whose batch
    comes later.

    :param play: all bots of the play, in order, lost ones included.
    :param batch: those of the present batch that are still in it.
    """
    groups = variables[bot]["groups"]
    canaries = groups.get("canary", [])
    if bot in canaries:
        return [each for each in groups["bots"] if each not in canaries]
    return list(play[play.index(batch[-1]) + 1 :])


def controls(bot: str, variables: Variables, play: Sequence[str], batch: Sequence[str]) -> list[dict[str, Any]]:
    """The bots to compare with, each as `webex_soak` takes it: ``bot``, its ``user`` and ``log``, how that is read, and
    how it is probed."""
    near = set(bots_of_vm(bot, variables))
    found = []
    for each in without_release(bot, variables, play, batch):
        if each in near:
            user, home, log, timezone, signatures, probe = (
                value_of(name, each, variables[each])
                for name in ("bot_user", "bot_home", "bot_log", "bot_timezone", "rollout_signatures", "bot_probe")
            )
            found.append(
                {
                    "bot": each,
                    "user": user,
                    "log": path_of(home, log),
                    "timezone": timezone,
                    "signatures": signatures,
                    "probe": probe_of("bot_probe", probe),
                }
            )
    return found
