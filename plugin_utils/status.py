"""The status of all VMs of a play as one table for people and one document for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from plugin_utils.gate.controls import Variables, leader, vm_of

FORMAT = 1
"""Of the document; grows when a key is renamed or goes."""

HEAD = ("bot", "vm", "phase", "release", "pid", "soak")
ASKED = "__rollout_status"


@dataclass(frozen=True)
class Shown:
    """A status as it is shown."""

    table: list[str]
    document: dict[str, Any]
    """``format``, ``healthy``, ``problems``, ``bots`` by name with their ``vm``, and ``vms`` with lock and guard."""
    problems: list[str]


def shown(variables: Variables, play: Sequence[str], reached: Sequence[str]) -> Shown:
    """What the VMs have answered.

    :param variables: of all bots, with each VM's answer registered at its leader.
    :param play: the play's bots.
    :param reached: those of them whose VM was reached.
    """
    bots: dict[str, dict[str, Any]] = {bot: {"vm": vm_of(bot, variables), "phase": "not rolled out"} for bot in play}
    vms: dict[str, dict[str, Any]] = {}
    problems = [f"{bot}: {bots[bot]['vm']} could not be asked" for bot in play if bot not in reached]
    for bot in reached:
        vm = vm_of(bot, variables)
        if bot != leader(bot, variables, reached):
            continue
        answer = _answer(variables[bot].get(ASKED) or {})
        vms[vm] = {"installed": answer is not None}
        if answer is None:
            continue
        vms[vm].update({key: answer.get(key) for key in ("lock", "guard", "audit", "notify")})
        for each in answer.get("bots", ()):
            bots[str(each["bot"])] = {"vm": vm, **each}
        several = f"{vm}: " if len({vm_of(each, variables) for each in play}) > 1 else ""
        problems += [f"{several}{problem}" for problem in answer.get("problems", ())]
    document = {"format": FORMAT, "healthy": not problems, "problems": problems, "bots": bots, "vms": vms}
    return Shown(_table(bots, vms, problems), document, problems)


def _answer(registered: Mapping[str, Any]) -> dict[str, Any] | None:
    """What a VM's program printed; None where there is no program."""
    text = str(registered.get("stdout") or "")
    if not text:
        return None
    try:
        answer = json.loads(text)
        return answer if isinstance(answer, dict) else {"problems": ["its status is no object"]}
    except ValueError:
        return {"problems": ["its status cannot be read; `sudo webex-rollout status` there shows it"]}


def _table(
    bots: Mapping[str, Mapping[str, Any]], vms: Mapping[str, Mapping[str, Any]], problems: list[str]
) -> list[str]:
    rows = [HEAD, *(_row(name, bot) for name, bot in bots.items())]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    for vm, about in vms.items():
        if about["installed"]:
            guard = "active" if (about.get("guard") or {}).get("active") else "inactive"
            lines.append(f"{vm}: lock {(about.get('lock') or {}).get('described', 'unknown')}, guard {guard}")
    lines += [
        f"{name} was rolled back to release {bot.get('release')}: {bot.get('note')}"
        for name, bot in bots.items()
        if bot["phase"] == "rolled_back"
    ]
    return [*lines, *(f"PROBLEM {problem}" for problem in problems)]


def _row(name: str, bot: Mapping[str, Any]) -> tuple[str, ...]:
    release = str(bot.get("release") or "-")
    trial = f"{release} > {bot['candidate']}" if bot.get("candidate") else release
    pid = bot.get("main_pid") or ("stopped" if bot.get("stopped") else "-")
    cells = (name, bot["vm"], bot.get("phase") or "?", trial, pid, bot.get("soak") or "-")
    return tuple(str(cell) for cell in cells)
