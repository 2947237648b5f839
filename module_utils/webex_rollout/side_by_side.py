# SPDX-License-Identifier: GPL-3.0-or-later
"""Work for many bots on all processors: a look at them is, for the most part, waiting for one child after another."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from typing import Any

from .become import Child, as_plain, root_account

# Each question that a share asks has a bound of its own.
SECONDS = 3600.0
MOST_SHARES = 4


def side_by_side(function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
    """What a function returns for each item, in their order, as JSON knows it (and bytes).

    The first share is worked out here, and may use what is kept in memory; the others by children.

    :raises RolloutError, OSError: as the function does, for one of the items.
    """
    count = max(1, min(len(os.sched_getaffinity(0)), len(items), MOST_SHARES))
    found: list[Any] = [None] * len(items)
    with contextlib.ExitStack() as stack:
        children = [
            stack.enter_context(Child(root_account(), _each, function, items[share::count], seconds=SECONDS))
            for share in range(1, count)
        ]
        found[::count] = [as_plain(each) for each in _each(function, items[::count])]
        for share, child in enumerate(children, 1):
            found[share::count] = child.answer()
    return found


def _each(function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
    return [function(item) for item in items]
