# SPDX-License-Identifier: GPL-3.0-or-later
"""Files shared by the bots of a machine: the first changes them, the last to leave restores them."""

from __future__ import annotations

import contextlib

from .entries import Entry
from .errors import RolloutError
from .state import FileRule, Phase
from .store import Store


def is_shared(store: Store, path: str, rule: FileRule) -> bool:
    """Whether a file is shared: by its rule, or because another bot has it too, as the script of bots that are told
    apart by their arguments. A bot whose state cannot be read has none of its own."""
    if rule.shared:
        return True
    for name in store.vm.bot_names():
        with contextlib.suppress(RolloutError):
            state = store.vm.store(name).load() if name != store.bot else None
            if state is not None and path in state.files:
                return True
    return False


def put_there(store: Store, path: str, entry: Entry) -> bool:
    """Whether a shared file's content is one that some bot's rollout put there, or found there."""
    return any(entry.content in store.vm.store(name).known_contents(path) for name in store.vm.bot_names())


def being_written(store: Store, path: str) -> bool:
    """Whether another bot's rollout may be writing a shared file right now, or was left doing so."""
    for name in store.vm.bot_names():
        with contextlib.suppress(RolloutError):
            state = store.vm.store(name).load()
            if name != store.bot and state is not None and state.pending and path in state.files:
                return True
    return False


def shared_found(store: Store, path: str, entry: Entry, data: bytes) -> tuple[Entry, bytes]:
    """How the first bot to be recorded found a shared file. Without it the second one would take the changes made
    for the first for what was found. Given entry and bytes if nobody recorded it before."""
    for name in store.vm.bot_names():
        other = store.vm.store(name)
        with contextlib.suppress(RolloutError):
            found = other.release("0").manifest.get(path)
            if found is not None and name != store.bot:
                return found, other.bytes_of(found)
    return entry, data


def needed_by_others(store: Store, path: str, entry: Entry) -> list[str]:
    """Other bots that need this shared file as it is now. A bot whose state cannot be read counts as one."""
    needing = []
    for name in store.vm.bot_names():
        if name != store.bot:
            try:
                if _needs(store.vm.store(name), path, entry):
                    needing.append(name)
            except RolloutError:
                needing.append(name)
    return needing


def _needs(store: Store, path: str, entry: Entry) -> bool:
    """Whether this bot's release, present or coming, has a shared file with this content."""
    state = store.load()
    if state is None or path not in state.files:
        return False
    if state.phase is Phase.ARMED:  # its files are being written at this moment
        return True
    staying = (Phase.SWITCHING, Phase.SWITCHED, Phase.CHECKED)
    release = store.release((state.candidate if state.phase in staying else "") or state.roll_back_to or state.current)
    return path in release.manifest and release.manifest[path].content == entry.content
