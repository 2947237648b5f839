# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether what a bot does now says anything about its release: for each bot the weather, as its user has it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

from .become import Account, account_of
from .errors import RolloutError
from .procfs import UNREADABLE, read_nul_list
from .state import State
from .store import Store
from .weather import BAD, Look, Weather, ask, load_weather, looked, network_variables, save_weather


def look_once(account: Account, variables: Mapping[str, str]) -> Look:
    """One look of which nothing is kept."""
    return ask(account, variables)


def weather_of(store: Store, state: State, main_pid: int) -> Weather:
    """The weather after one more look, which is kept. A look that cannot be kept is taken all the same.

    :param main_pid: of the bot's unit; 0 where none runs.
    """
    variables = network_variables(_environment(store, state, main_pid))
    weather = looked(load_weather(store), ask(account_of(state.bot.user), variables))
    with contextlib.suppress(OSError):
        save_weather(store, weather)
    return weather


def is_fair(weather: Weather) -> bool:
    """Whether Webex could be reached at the last look, and lately; where that cannot be told, it counts as reached."""
    return weather.state != BAD and not (weather.looks and weather.looks[-1].state == BAD)


def was_fair(weather: Weather, seconds: float) -> bool:
    """Whether it was fair between the last two looks too, so far as is known: at most so many seconds lie between."""
    before, last = (*weather.looks[-2:-1], None)[0], weather.looks[-1] if weather.looks else None
    if before is None or last is None or before.boot != last.boot:
        return False
    return BAD not in (before.state, last.state) and last.clock - before.clock <= seconds


def _environment(store: Store, state: State, pid: int) -> list[str]:
    """The variables that the bot runs with, or would."""
    if pid:
        with contextlib.suppress(*UNREADABLE):
            return read_nul_list(f"/proc/{pid}/environ")
    found = None
    with contextlib.suppress(RolloutError):
        found = store.release(state.carried_from).runner.process if state.carried_from else None
    return found.environment if found else []
