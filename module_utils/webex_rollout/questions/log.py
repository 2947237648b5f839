# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers for `bot_log_info`: what a bot has logged."""

from __future__ import annotations

import time
from typing import Any

from ..clock import vm_clock
from ..errors import LogError
from ..logs.reader import LogReader


def _look(given: dict[str, Any]) -> dict[str, Any]:
    """What the module returns, apart from the clock.

    :raises LogError: when log or cursor cannot be used.
    """
    reader = LogReader(given["user"], given["signatures"], given["timezone"] or "")
    if given["take"]:
        return reader.take(given["path"])
    if given["cursor"] is None:
        result = reader.look_at_all(given["path"], rotated=given["history"])
    else:
        other = given["cursor"].get("path")
        if other != reader.path(given["path"]):
            raise LogError(f"the cursor belongs to log {other}, not to {given['path']}: take one for this log")
        result = reader.look(given["cursor"])
    if not given["buckets"]:
        for hours in ("hours", "error_hours", "error_other_hours"):
            del result[hours]
    return result


def answer(given: dict[str, Any], check: bool) -> dict[str, Any]:
    """Look at the log."""
    begun = time.perf_counter()
    try:
        result = _look(given)
    except LogError as error:
        return {"failed": True, "msg": str(error), "now": vm_clock()}
    return {"changed": False, "now": vm_clock(), "seconds": time.perf_counter() - begun, **result}
