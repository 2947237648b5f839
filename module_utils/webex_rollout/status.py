# SPDX-License-Identifier: GPL-3.0-or-later
"""Status: the machine as it is, against how it should be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from .drift import edited_files, stale_files
from .errors import RolloutError
from .lock import read_lock
from .namesakes import find_namesakes
from .notify import notes
from .paths import GUARD_TIMER
from .processes import bot_pids, doubt, doubtful_pids
from .procfs import HTTPS_PORTS, connections_of, open_files_of
from .soak import load as load_soak
from .state import Phase
from .steps.step import Result
from .store import Store, Vm
from .system import printable
from .systemd import show_unit
from .timer import guard_needed


def bot_status(vm: Vm, name: str) -> dict[str, Any]:
    """One bot as it is, against how it should be; a damaged state is shown, not raised."""
    try:
        store = vm.store(name)
        state = store.need()
        copies = sorted(bot_pids(state.bot))
        unit = show_unit(state.unit)
        release = store.release(state.candidate or state.current)
        looks = state.bot.files.entries_of(release.manifest)
        main = unit.main_pid if unit.main_pid in copies else (copies[0] if len(copies) == 1 else 0)
        return {
            **asdict(Result(name, "status", pids_after=copies).of(state)),
            "unit": {**asdict(unit), "enabled": unit.enabled},
            "main_pid": main,
            "stopped": release.stopped and not copies,
            "strays": [pid for pid in copies if pid != main],
            "doubtful": doubtful_pids(state.bot),
            "namesakes": [namesake._asdict() for namesake in find_namesakes(state.bot)],
            "differs_from_release": edited_files(store, state, release, looks),
            "newer_than_process": stale_files(state, main, looks) if main else [],
            "releases": store.release_names(),
            "note": state.note,
            "tries": state.tries,
            "open_files": open_files_of(main),
            "connections": connections_of(main, HTTPS_PORTS) if main else 0,
            "soak": _soak_described(store),
            "problem": "",
        }
    except (RolloutError, OSError) as error:
        return {"bot": name, "problem": str(error)}


def _soak_described(store: Store) -> str:
    """How the soak stood at its last look; empty where there is none."""
    try:
        soak = load_soak(store)
    except (OSError, RolloutError):
        return "damaged, the next run of rollout.yml shows what to do"
    return "" if soak is None else soak.described()


def status(vm: Vm, bots: Sequence[str] = ()) -> dict[str, Any]:
    """The machine's lock, guard, bots and latest audit lines."""
    try:
        lock = read_lock(vm)
        lock_shown: dict[str, Any] = {**asdict(lock), "held": lock.held, "described": lock.described(), "problem": ""}
    except RolloutError as error:
        lock_shown = {"held": None, "described": f"unknown: {error}", "problem": str(error)}
    timer = show_unit(GUARD_TIMER)
    return {
        "lock": lock_shown,
        "guard": {"active": timer.active == "active", "enabled": timer.enabled, "needed_by": guard_needed(vm)},
        "bots": [bot_status(vm, name) for name in (bots or vm.bot_names())],
        "audit": vm.audit_tail(10),
        "notify": notes(vm),
    }


def status_problems(shown: Mapping[str, Any]) -> list[str]:
    """What an operator should look at, a line each."""
    problems = []
    if shown["guard"]["needed_by"] and not shown["guard"]["active"]:
        needed = ", ".join(shown["guard"]["needed_by"])
        problems.append(
            f"the guard's timer is inactive although {needed} needs it: `systemctl enable --now {GUARD_TIMER}`"
        )
    if shown["lock"]["problem"]:
        problems.append(f"{shown['lock']['problem']}; `webex-rollout unlock --repair`")
    problems += shown.get("notify", ())
    for bot in shown["bots"]:
        name = bot["bot"]
        if bot["problem"]:
            problems.append(f"{name}: {bot['problem']}")
            continue
        if bot["strays"]:
            problems.append(
                f"{name}: runs more than once, pids {', '.join(map(str, bot['strays']))} are strays; end them"
            )
        if bot.get("doubtful"):
            problems.append(f"{name}: {doubt(name, bot['doubtful'])}")
        missing = not bot["main_pid"] and not bot["stopped"]
        if missing and bot["phase"] in (Phase.CONFIRMED, Phase.SWITCHED, Phase.CHECKED):
            problems.append(f"{name}: does not run; `journalctl -u {bot['unit']['name']}`")
        if bot["differs_from_release"] and bot["phase"] is not Phase.ARMED and not bot["phase"].interrupted:
            problems.append(f"{name}: edited since: {', '.join(bot['differs_from_release'])}")
        if bot["tries"]:
            problems.append(f"{name}: the rollback failed {bot['tries']} times: {bot['note']}")
    return problems


def _print(line: str) -> None:
    """Print a line; what is in it may be anybody's."""
    print(printable(line))


def print_status(shown: Mapping[str, Any]) -> None:
    """Print the status for people."""
    row = "{:<12} {:<12} {:<14} {:<14} {:<9} {:<11} {:<6} {:<26} {}"
    _print(row.format("bot", "phase", "release", "previous", "pid", "open files", "to 443", "deadline", "soak"))
    for bot in shown["bots"]:
        if bot["problem"]:
            _print(row.format(bot["bot"], *"???????", ""))
            continue
        release = f"{bot['release']} > {bot['candidate']}" if bot["candidate"] else bot["release"]
        left = (
            f"{bot['deadline']} ({bot['seconds_left']:.0f} s left)"
            if bot["deadline"] and bot["phase"] is not Phase.RECORDED
            else "-"
        )
        now = (
            bot["main_pid"] or ("stopped" if bot["stopped"] else "-"),
            bot["open_files"],
            bot["connections"],
            left,
            bot["soak"] or "-",
        )
        _print(row.format(bot["bot"], bot["phase"], release, bot["previous"] or "-", *now))
    guard_state = "active" if shown["guard"]["active"] else "inactive"
    _print(f"lock: {shown['lock']['described']}")
    _print(f"guard: {guard_state}")
    for problem in status_problems(shown):
        _print(f"PROBLEM {problem}")
    for bot in shown["bots"]:
        for namesake in bot.get("namesakes", ()):
            _print(
                f"NOTE process {namesake['pid']} of {namesake['user']} names the script of {bot['bot']}; not the bot"
            )
    for bot in shown["bots"]:
        if bot.get("phase") is Phase.ROLLED_BACK:
            _print(f"{bot['bot']} was rolled back to release {bot['release']}: {bot['note']}")
    for line in shown["audit"]:
        _print(f"  {line}")
