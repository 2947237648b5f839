# SPDX-License-Identifier: GPL-3.0-or-later
"""What a bot's log held before a release that was rolled back.

What such a release has logged is nothing that the bot usually does. Judged by a history with it, the same fault would
be nothing new at the next attempt; and failures that came all at once would have others taken for chance, also those
of the bots that it is compared with.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from .disk import unseal
from .errors import RolloutError
from .evidence import HISTORY_HOURS, HOUR
from .store import Store


def keep_history(store: Store, soak: Mapping[str, Any]) -> None:
    """Keep the history by which a soak was judged, whose release is being rolled back. A rollback never fails for it.

    :param soak: as it is kept.
    """
    with contextlib.suppress(RolloutError, OSError, KeyError, TypeError):
        store.vm.write(store.history_path, {"log": soak["own"]["log"], "history": soak["own"]["history"]})


def forget_history(store: Store) -> None:
    """A release was promoted meanwhile: what it logs is what the bot usually does."""
    store.history_path.unlink(missing_ok=True)


def undisturbed(store: Store, log: str, history: dict[str, Any]) -> dict[str, Any]:
    """What to judge a bot by: the history that was kept, if it is of this log and of the last week, else the given one.

    :param history: of the whole log, as it is now.
    """
    with contextlib.suppress(RolloutError, OSError, KeyError, TypeError):
        content = unseal(store.history_path)
        kept: dict[str, Any] = content["history"]
        age = history["last_time"] - kept["last_time"]
        if content["log"] == log and age < HISTORY_HOURS * HOUR:
            return kept
    return history
