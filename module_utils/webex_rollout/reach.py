# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether what a bot does now says anything about its release: for each bot the weather, as its user has it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from .become import Account, account_of
from .clock import boot_clock
from .errors import RolloutError
from .procfs import environment_of
from .state import State
from .store import Store
from .weather import BAD, UNKNOWN, Look, Weather, ask, load_weather, looked, network_variables, save_weather

# For so many seconds one look holds for all bots that get out as the same user in the same way: in an outage each takes
# all its time, and a machine may have many bots.
SAME_LOOK = 10.0


@dataclass
class Ways:
    """What a pass over a machine's bots has found on each way out, and for how many seconds that holds."""

    lasts: float = SAME_LOOK
    found: dict[tuple[object, ...], tuple[float, Look]] = field(default_factory=dict)

    def look(self, account: Account, variables: Mapping[str, str]) -> Look:
        """One look, or what was just found on the same way."""
        way = (account, *sorted(variables.items()))
        if way not in self.found or boot_clock() - self.found[way][0] > self.lasts:
            seen = ask(account, variables)
            self.found[way] = boot_clock(), seen
        return self.found[way][1]


def weather_of(store: Store, state: State, main_pid: int, ways: Ways | None = None) -> Weather:
    """The weather after one more look, which is kept. A look that cannot be kept is taken all the same.

    :param main_pid: of the bot's unit; 0 where none runs.
    :param ways: of the pass over all bots that this look is one of.
    """
    weather = looked(load_weather(store), look_as(store, state, main_pid, ways))
    with contextlib.suppress(OSError):
        save_weather(store, weather)
    return weather


def look_as(store: Store, state: State, main_pid: int, ways: Ways | None = None) -> Look:
    """One look by a bot's own way out, of which nothing is kept; the arguments are those of `weather_of`."""
    environment = _environment(store, state, main_pid)
    look = (ways or Ways()).look(account_of(state.bot.user), network_variables(environment or []))
    if environment is None and look.kind == "certificate":
        return replace(look, state=UNKNOWN, reason=f"{look.reason}; which certificates the bot trusts is not known")
    return look


def is_fair(weather: Weather) -> bool:
    """Whether Webex could be reached at the last look, and lately; where that cannot be told, it counts as reached."""
    return weather.state != BAD and not (weather.looks and weather.looks[-1].state == BAD)


def was_fair(weather: Weather, seconds: float) -> bool:
    """Whether it was fair between the last two looks too, so far as is known: at most so many seconds lie between."""
    before, last = (*weather.looks[-2:-1], None)[0], weather.looks[-1] if weather.looks else None
    if before is None or last is None or before.boot != last.boot:
        return False
    return BAD not in (before.state, last.state) and last.clock - before.clock <= seconds


def _environment(store: Store, state: State, pid: int) -> list[str] | None:
    """The variables that the bot runs with, or would; None where no process of it was ever seen."""
    running = environment_of(pid)
    if running:
        return running
    found = None
    with contextlib.suppress(RolloutError):
        found = store.release(state.carried_from).runner.process if state.carried_from else None
    return found.environment if found else None
