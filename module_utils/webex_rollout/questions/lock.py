# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers for `webex_lock`: the VM's lock, acquired and released."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ..errors import RolloutError
from ..lock import Holder, acquire_lock, release_lock
from ..store import Vm
from ..words import printable


def answer(given: dict[str, Any], check: bool) -> dict[str, Any]:
    """Acquire or release it. That it is refused is no failure here: the controller may know its holder dead."""
    try:
        if given["state"] == "acquired":
            holder = Holder(**given["holder"])
            result = acquire_lock(Vm(who=holder.who), holder, dead=given["dead_token"], check=check)
        else:
            result = release_lock(Vm(), given["token"], check=check)
    except RolloutError as error:
        return {"failed": True, "msg": printable(str(error))}
    except OSError as error:
        problem = f"cannot acquire the lock: {error.filename or 'the machine'}: {error.strerror}"
        return {"failed": True, "msg": printable(problem)}
    lock = result.lock
    return {
        "changed": result.changed,
        "token": None if check else lock.token,
        "holder": asdict(lock.holder) if lock.holder else None,
        "held_by_us": result.got and not check,
        "refused": not result.got,
        "held_token": lock.token,
        "message": printable(lock.described()),
    }
