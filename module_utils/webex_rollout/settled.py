# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether anything is left for a rollout to do with a bot: what is, against what was confirmed and is wanted again."""

from __future__ import annotations

from collections.abc import Iterator

from .drift import reasons_to_restart
from .errors import RolloutError
from .evidence import PROMOTE
from .inputs import same_inputs
from .paths import WATCH_TIMER
from .processes import bot_pids
from .soak import load as load_soak
from .state import Phase
from .steps.step import units_at_boot
from .store import Store, Vm
from .systemd import show_unit


def differences(vm: Vm, bot: str, inputs: str, settings_hash: str) -> list[str]:
    """What a rollout of a bot has to do, a reason each; empty where it is what is wanted, proven and confirmed.

    :param inputs: the controller's hash of settings and project; what was recorded of the release has to agree.
    :param settings_hash: what the promoted soak has to stand for.
    """
    try:
        return list(_differences(vm.store(bot), inputs, settings_hash))
    except (OSError, RolloutError) as error:
        return [f"what is kept of it cannot be read ({error})"]


def _differences(store: Store, inputs: str, settings_hash: str) -> Iterator[str]:
    state = store.load()
    if state is None:
        yield "it was never rolled out"
        return
    if state.phase is not Phase.CONFIRMED:
        yield f"it is {state.phase}"
        return
    if not same_inputs(store, state.current, inputs, state.bot):
        yield f"release {state.current} was made with other settings, or by another version of this project"
    release = store.release(state.current)
    manifest = release.manifest
    looks = state.bot.files.entries_of(manifest)
    edited = sorted(path for path, entry in looks.items() if entry.identity != manifest[path].identity)
    yield from (f"{path} is not what release {state.current} has" for path in edited)
    if release.stopped and not bot_pids(state.bot):
        return
    yield from reasons_to_restart(state, looks)
    yield from (f"{unit} is not enabled" for unit in units_at_boot(state) if not show_unit(unit).enabled)
    soak = load_soak(store)
    if soak is None or soak.gate_state(state.current, settings_hash) != PROMOTE:
        yield f"release {state.current} is not promoted"


def watch_problems() -> list[str]:
    """Why confirmed bots are not watched; empty while they are."""
    timer = show_unit(WATCH_TIMER)
    return [] if timer.active == "active" and timer.enabled else [f"{WATCH_TIMER} is {timer.active or 'unknown'}"]
