# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a bot's rollout stands, in one look: what is left to do, the soak that is kept, and what was logged since."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from .clock import vm_clock
from .errors import LogError, RolloutError
from .logs.reader import LogReader
from .settled import differences
from .soak import load as load_soak
from .store import Vm

COUNTED_SINCE = ("incidents", "failures")


@dataclass(frozen=True)
class Looked:
    """Of which bot, and against what."""

    bot: str
    user: str
    inputs: str = ""
    settings_hash: str = ""
    signatures: Sequence[Mapping[str, str]] = ()
    timezone: str = ""


def found_of(vm: Vm, wanted: Looked, shared: Sequence[str] = ()) -> dict[str, Any]:
    """What is left to do (``differences``), the ``soak``, what was logged ``since``, or why they cannot be had.

    :param shared: what has to be done for all bots of the machine.
    """
    left = [*shared, *differences(vm, wanted.bot, wanted.inputs, wanted.settings_hash)]
    seen: dict[str, Any] = {"differences": left, "stopped": False, "soak": None, "since": None, "soak_problem": ""}
    try:
        store = vm.store(wanted.bot)
        state = store.load()
        seen["stopped"] = state is not None and store.release(state.current).stopped
        soak = load_soak(store)
        if soak is not None:
            # Without what only the VM needs, which is four fifths of it.
            seen["soak"] = asdict(replace(soak, controls={}, record=None, series=[], own=replace(soak.own, cursor={})))
            looked = LogReader(wanted.user, wanted.signatures, wanted.timezone).look(soak.own.cursor)
            seen["since"] = {**{name: looked[name] for name in COUNTED_SINCE}, "now": vm_clock()}
    except (LogError, RolloutError) as error:
        seen["soak_problem"] = str(error)
    return seen
