# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers for `webex_soak`: the soak of a bot as its VM keeps it."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

from ..drift import unstable
from ..errors import RolloutError
from ..evidence import PROMOTE
from ..history import forget_history, undisturbed
from ..own_checks import checks_of
from ..probe import probe_of
from ..soak import Soak, begin, load, locked, save
from ..store import Store, Vm
from ..system import utc
from ..watch import look

# The settings of the gate that a run gives, as `GateSettings` has them.
GATE = ("soak_min", "soak_max", "min_requests", "timeouts_per_hour", "alpha", "beta")


def act(vm: Vm, given: dict[str, Any], check: bool) -> dict[str, Any]:
    """Take the step that is asked for; returns the soak and what it means for other bots.

    :raises SoakError: when what is kept, or what was given, cannot be used.
    :raises RolloutError: when the soak cannot be written.
    """
    store, state = vm.store(given["bot"]), given["state"]
    soak, resumed, lost = load(store), True, ""
    rests = soak is not None and state == "looked" and _rests(soak, given)
    if state == "looked" and not rests:
        lost = unstable(vm, given["bot"], given["release"])
    as_stated = rests and soak is not None and given["settings_hash"] in ("", soak.settings_hash)
    if not (check or lost or as_stated or state == "read"):
        with locked(store):
            found = load(store)
            kept = _same(found, given)
            if found is not None and found.verdict == PROMOTE:
                forget_history(store)
            resumed = kept is not None and state == "looked"
            if not rests:
                soak = _with(store, kept, given)
                if state == "looked":
                    look(store, soak)
                save(store, soak)
            elif kept is not None:  # else it was forgotten meanwhile, and nobody's to begin
                soak = kept
                soak.settings_hash = given["settings_hash"]
                save(store, soak)
    bot = store.load()
    running = bot.current if bot is not None else ""
    return {
        "soak": None if soak is None else asdict(soak),
        "resumed": resumed and soak is not None,
        "gate_state": "none" if soak is None else soak.gate_state(running, given["settings_hash"]),
        "unstable": lost,
    }


def begin_for(vm: Vm, bot: str, release: str, given: dict[str, Any]) -> None:
    """Begin the soak of a bot's release.

    :param given: as `webex_soak_options.BEGUN` has it.
    :raises RolloutError: when it cannot be kept.
    """
    nobody = {"decision": "", "who": "", "why": ""}
    act(vm, {**given, **nobody, "bot": bot, "state": "begun", "release": release}, check=False)


def _rests(soak: Soak, given: dict[str, Any]) -> bool:
    """Whether a release was promoted, and nobody decides anew: what happens weeks later is the business of the watch
    and of a rollback, not of this gate, and nothing may fail here."""
    promoted = (soak.release, soak.verdict) == (given["release"], PROMOTE) and soak.record is not None
    return promoted and not given["decision"]


def _same(kept: Soak | None, given: dict[str, Any]) -> Soak | None:
    """The soak that is kept, where it is of this release.

    A release is named by its content: a run over the bot that changes nothing proves that the present settings give
    the release that soaks, and states them anew. Only where the bot was started again do other settings count as
    another release. Not knowing them is no difference: version 0.1.0 lost them when it healed a release.
    """
    if kept is None or kept.release != given["release"]:
        return None
    known = kept.settings_hash and given["settings_hash"]
    other = known and kept.settings_hash != given["settings_hash"]
    return None if other and given["state"] == "begun" else kept


def _with(store: Store, kept: Soak | None, given: dict[str, Any]) -> Soak:
    """The soak with what this run says of it; one that begins, or begins anew, where there is none."""
    soak = kept
    if soak is None or given["state"] == "begun":
        soak = begin(store.need().bot, given["release"], given["log"], given["before"] or {}, kept)
        if kept is None:
            soak.own.history = undisturbed(store, soak.own.log, soak.own.history)
    soak.settings_hash = given["settings_hash"] or soak.settings_hash
    soak.until = given["soak_max"] + given["watch"]
    soak.acts, soak.heals = given["act"], given["heal"]
    soak.checks = checks_of("checks", given["checks"])
    soak.probe = probe_of("probe", given["probe"])
    soak.gate = {name: given[name] for name in GATE if given[name] is not None} or soak.gate
    soak.own.signatures, soak.own.timezone = given["signatures"], given["timezone"]
    soak.decide(given["decision"], given["who"], given["why"], utc(time.time()))
    own = {"timezone": given["timezone"], "signatures": given["signatures"]}
    known = {*soak.controls}
    soak.watch(
        [{**own, **{key: value for key, value in each.items() if value is not None}} for each in given["controls"]]
    )
    for name, watch in soak.controls.items():
        if name not in known:
            watch.history = undisturbed(store.vm.store(name), watch.log, watch.history)
    return soak


def answer(given: dict[str, Any], check: bool) -> dict[str, Any]:
    """Begin or read a soak, or have it looked at."""
    vm = Vm()
    try:
        return {"changed": False, **act(vm, given, check)}
    except RolloutError as error:
        return {"failed": True, "msg": str(error)}
    except OSError as error:
        where = error.filename or vm.store(given["bot"]).soak_path
        return {
            "failed": True,
            "msg": f"{given['bot']}: cannot keep its soak: {where}: {error.strerror}. Nothing was judged",
        }
