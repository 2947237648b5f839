# SPDX-License-Identifier: GPL-3.0-or-later
"""The outage that a machine is in, whichever bot's look shows it: told once as it begins, and once when it is over.

Bots are looked at one after the other, those that were promoted minutes apart, and each has a weather of its own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from .clock import same_boot, vm_clock
from .disk import flock, make_directory, unseal
from .errors import RolloutError
from .notify import Event, place, tell
from .store import Vm
from .weather import BAD, GOOD, Weather, load_weather

# Seconds: three times the timer's longest pause. What a bot saw longer ago says nothing of now, and one that comes to
# know of an outage later knows of another one: a way out may be bad for good, and must hide no later one.
RECENT = 900.0


def tell_outage(vm: Vm, weather: Weather) -> None:
    """Tell what a look at the weather means for the machine.

    Where that cannot be written down (a full disk), the begin is told by the bot's own weather.
    """
    if weather.state == BAD:
        begun = weather.since
        with contextlib.suppress(RolloutError, OSError), _kept(vm) as path:
            known = _begun(path)
            is_new = known is None or weather.since - known > RECENT
            begun = weather.since if known is None or is_new else known
            if is_new:
                vm.write(path, {"begun": begun})
        text = (
            f"Webex cannot be reached from this VM ({weather.reason}); no bot that cannot reach it is judged or rolled "
            "back meanwhile"
        )
        tell(vm, Event("outage_begun", "", text, {}, f"{begun:.0f}"))
    elif weather.state == GOOD and _path(vm).exists():
        with contextlib.suppress(RolloutError, OSError), _kept(vm) as path:
            known = _begun(path)
            if known is not None and not _lasts(vm, known):
                seconds = max(0.0, float(vm_clock()["epoch"]) - known)
                text = f"Webex can be reached again, after {seconds:.0f} s"
                tell(vm, Event("outage_ended", "", text, {}, f"{known:.0f}"))
                path.unlink(missing_ok=True)


def _path(vm: Vm) -> Path:
    """Where the outage is kept; not there while there is none."""
    return place(vm) / "outage.json"


@contextlib.contextmanager
def _kept(vm: Vm) -> Iterator[Path]:
    """The outage's file, for one look at a time."""
    path = _path(vm)
    make_directory(path.parent)
    with flock(path.parent / "outage", "another look", vm.timing.mutex):
        yield path


def _begun(path: Path) -> float | None:
    """When the present outage began, in seconds since the epoch; None where there is none."""
    with contextlib.suppress(FileNotFoundError, RolloutError, KeyError, TypeError, ValueError):
        return float(unseal(path)["begun"])
    return None


def _lasts(vm: Vm, begun: float) -> bool:
    """Whether a bot that was looked at lately cannot reach Webex since then; before, it was another outage's."""
    now = vm_clock()
    for weather in (load_weather(vm.store(name)) for name in vm.bot_names()):
        last = weather.looks[-1] if weather.looks else None
        recent = last is not None and same_boot(last.boot, str(now["boot"])) and now["since_boot"] - last.clock < RECENT
        if weather.state == BAD and recent and weather.since >= begun - RECENT:
            return True
    return False
