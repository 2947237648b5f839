# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters of the roles: the gate's decisions, settings of other bots, and values for unit files.

Each only hands over to a tested function of plugin_utils.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ansible import constants as C
from ansible import context
from ansible.errors import AnsibleFilterError
from ansible.plugins.loader import connection_loader

# Ansible puts neither the project nor a plugin's own directory on the path.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from plugin_utils import (
    asked,
    inputs,
    installed,
    left_behind,
    no_way,
    preconditions,
    preflight_notes,
    preflight_table,
    settings,
    status,
    unit_file,
)
from plugin_utils.gate import controls, may_follow, settings_hash, verified
from plugin_utils.words import printable

Variables = Mapping[str, Mapping[str, Any]]


def webex_settings_hash(hostvars: Variables, bot: str) -> str:
    """``hostvars | webex_settings_hash(bot)``: what the bot's soak stands for."""
    return settings_hash.settings_hash(bot, hostvars[bot])


def webex_controls(hostvars: Variables, bot: str, play: Sequence[str], batch: Sequence[str]) -> list[dict[str, Any]]:
    """``hostvars | webex_controls(bot, ansible_play_hosts_all, ansible_play_batch)``: bots to compare the bot with."""
    return controls.controls(bot, hostvars, play, batch)


def webex_leader(hostvars: Variables, bot: str, play: Sequence[str], checkout: bool = False) -> str:
    """``hostvars | webex_leader(bot, ansible_play_hosts)``: who does what is done once a VM, or once a `checkout`."""
    return controls.leader(bot, hostvars, play, checkout)


def webex_vm_has(hostvars: Variables, what: str, bot: str) -> bool:
    """``hostvars | webex_vm_has('vm_ready', bot)``: whether this run has seen to that part of the bot's VM."""
    return controls.vm_has(what, bot, hostvars)


def webex_no_way(way: Mapping[str, Any], bot: str, host: str, user: str, port: object = "") -> str:
    """``result | webex_no_way(bot, host, user, port)``: why the bot's VM cannot be worked on, and what to do."""
    return no_way.no_way(way, bot, host, user, port)


def webex_same_way(hostvars: Variables, bot: str, other: str) -> bool:
    """``hostvars | webex_same_way(bot, other)``: whether Ansible works on both in the same way."""
    return controls.same_way(bot, other, hostvars)


def webex_vm_settings(hostvars: Variables, bot: str, name: str) -> list[Any]:
    """``hostvars | webex_vm_settings(bot, name)``: the values of a setting among the bots of the bot's VM."""
    return controls.vm_settings(bot, hostvars, name)


def webex_bots_of_vm(hostvars: Variables, bot: str, play: Sequence[str]) -> list[str]:
    """``hostvars | webex_bots_of_vm(bot, ansible_play_hosts)``: the play's bots on the bot's VM."""
    return [each for each in controls.bots_of_vm(bot, hostvars) if each in play]


def webex_status(hostvars: Variables, play: Sequence[str], reached: Sequence[str]) -> dict[str, Any]:
    """``hostvars | webex_status(ansible_play_hosts_all, ansible_play_hosts)``: the fields of `status.Shown`."""
    return asdict(status.shown(hostvars, play, reached))


def webex_left(left: Mapping[str, Any], vm: str) -> list[str]:
    """``result | webex_left(vm)``: what an uninstallation did to a VM, a line each."""
    return left_behind.lines(left, vm)


def webex_asked(hostvars: Variables, bot: str, batch: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """``hostvars | webex_asked(bot, ansible_play_batch)``: the VM's bots as `bot_info` takes them."""
    return asked.asked(bot, hostvars, batch)


def webex_handed_over(hostvars: Variables, play: Sequence[str]) -> dict[str, Any]:
    """``hostvars | webex_handed_over(ansible_play_hosts)``: what roles have handed over of each bot (`rollout_bot`)."""
    return {bot: hostvars[bot]["rollout_bot"] for bot in play if "rollout_bot" in hostvars[bot]}


def webex_may_follow(canaries: Sequence[Mapping[str, Any]], fleet: Sequence[str], gate: str) -> dict[str, Any]:
    """``results | webex_may_follow(ansible_play_hosts, rollout_gate)``: ``refusal`` and ``waiting``, empty for yes."""
    return asdict(may_follow.may_follow(canaries, fleet, gate))


def webex_verified(found: Mapping[str, Any], bot: str, unit: str, log: str, per_hour: Any) -> dict[str, Any]:
    """``rollout_bot | webex_verified(bot, unit, log, per_hour)``: ``passed``, ``problem`` and ``evidence``."""
    return asdict(verified.verified(bot, found, unit, log, float(per_hour)))


def webex_settled(hostvars: Variables, groups: Mapping[str, Sequence[str]]) -> list[str]:
    """``hostvars | webex_settled(groups)``: the bots that this run has looked at and found nothing to do with."""
    return controls.settled(hostvars, groups)


def webex_inputs(hostvars: Variables, bot: str) -> str:
    """``hostvars | webex_inputs(bot)``: what a rollout makes the bot's release from."""
    return inputs.inputs(bot, hostvars)


def webex_installed(_: object) -> dict[str, str]:
    """``'' | webex_installed``: hashes by path of the program and units that a run installs."""
    return installed.installed()


def webex_notes(about: Mapping[str, Any]) -> list[str]:
    """``{...} | webex_notes``: what preflight says of a bot, from the fields of `preflight_notes.About`."""
    return preflight_notes.notes(preflight_notes.About(**about, pipelining=_pipelining))


def _pipelining() -> bool:
    """Whether modules reach a VM without a file there. Of the configuration: variables of this name are always set."""
    connection_loader.get("ssh", class_only=True)  # which makes its options known
    configured = C.config.get_config_value("pipelining", plugin_type="connection", plugin_name="ssh")
    return bool(configured) and not C.DEFAULT_KEEP_REMOTE_FILES


def webex_shown(value: Any) -> Any:
    """``text | webex_shown``: text from the VM, or a list of it, as a terminal may get it."""
    if isinstance(value, (list, tuple)):
        return [webex_shown(each) for each in value]
    return printable(str(value))


def webex_path(home: str, *parts: str) -> str:
    """``bot_home | webex_path(bot_log)``: a path of a bot, relative to its checkout or absolute, without ornament."""
    return settings.path_of(home, *parts)


def _for_unit_file(escape: Callable[[Any], str]) -> Callable[[Any], str]:
    def filtered(value: Any) -> str:
        try:
            return escape(value)
        except unit_file.UnitFileError as error:
            raise AnsibleFilterError(str(error)) from error

    return filtered


def webex_whole_run(pattern: Any) -> Any:
    """``'bots' | webex_whole_run``: a play's hosts, if no option leaves out a part of the run.

    Here and in no task: a task is what such an option leaves out.
    """
    flags = context.CLIARGS
    problem = preconditions.parts_problem(
        flags.get("tags") or (), flags.get("skip_tags") or (), flags.get("start_at_task")
    )
    if problem:
        raise AnsibleFilterError(f"{problem}. Nothing was changed.")
    return pattern


class FilterModule:
    """What Ansible asks for the filters."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters by name."""
        return {
            "webex_settings_hash": webex_settings_hash,
            "webex_controls": webex_controls,
            "webex_leader": webex_leader,
            "webex_vm_has": webex_vm_has,
            "webex_no_way": webex_no_way,
            "webex_same_way": webex_same_way,
            "webex_vm_settings": webex_vm_settings,
            "webex_bots_of_vm": webex_bots_of_vm,
            "webex_status": webex_status,
            "webex_left": webex_left,
            "webex_asked": webex_asked,
            "webex_handed_over": webex_handed_over,
            "webex_plan": preflight_table.table,
            "webex_may_follow": webex_may_follow,
            "webex_verified": webex_verified,
            "webex_settled": webex_settled,
            "webex_inputs": webex_inputs,
            "webex_installed": webex_installed,
            "webex_notes": webex_notes,
            "webex_shown": webex_shown,
            "webex_path": webex_path,
            "webex_whole_run": webex_whole_run,
            "systemd_path": _for_unit_file(unit_file.path),
            "systemd_word": _for_unit_file(unit_file.word),
            "systemd_command": _for_unit_file(unit_file.command),
        }
