"""What no run can be: refused in its first task, on the controller, before anything is reached."""

from __future__ import annotations

import contextlib
import keyword
import math
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from module_utils.webex_rollout.errors import RolloutError
from module_utils.webex_rollout.notify import KINDS
from module_utils.webex_rollout.own_checks import checks_of
from module_utils.webex_rollout.probe import TRIES, addressed, probe_of, token_problem
from module_utils.webex_rollout.refusals import OLDEST
from module_utils.webex_rollout.webhooks import webhooks_of
from plugin_utils.words import named

OLDEST_CORE, NEWEST_CORE = (2, 17), (2, 21)
"""Versions of ansible-core that are tested."""


def core_problem(version: str) -> str:
    """Why this ansible-core will not do; empty if it will.

    :param version: as `ansible.release` has it, such as ``2.17.3`` or ``2.22.0b1``.
    """
    found = re.match(r"(\d+)\.(\d+)", version)
    if found and OLDEST_CORE <= (int(found[1]), int(found[2])) <= NEWEST_CORE:
        return ""
    oldest, newest = (".".join(map(str, each)) for each in (OLDEST_CORE, NEWEST_CORE))
    return (
        f"this is ansible-core {version}, and a rollout needs {oldest} to {newest}: "
        f"pip install 'ansible-core>={oldest},<={newest}.99', or use the project's environment (make setup)"
    )


def parts_problem(tags: Sequence[str], skipped: Sequence[str], start_at_task: str | None) -> str:
    """Why these options leave out a part of the rollout; empty if they do not."""
    if start_at_task:
        return (
            "--start-at-task leaves out the lock and the record that a rollback needs. Run the same command without "
            "it: what is done already is not done again"
        )
    chosen = [f"--tags {','.join(tags)}"] if set(tags) - {"all"} else []
    chosen += [f"--skip-tags {','.join(skipped)}"] if skipped else []
    if not chosen:
        return ""
    return (
        f"no task of this project has a tag, so {' and '.join(chosen)} would leave out parts of the rollout, what "
        "rolls back among them. Choose bots by --limit (--limit jarvis), and a stage by playbooks/stage.yml "
        "-e rollout_stage=fleet"
    )


def module_problem(name: str) -> str:
    """Why the pool module cannot have this name (`webex_pool_module`); empty if it can."""
    parts = name.split(".")
    if not all(part.isidentifier() and not keyword.iskeyword(part) for part in parts):
        return (
            f"webex_pool_module is {name}, and takes `auto` or a module's dotted name, as in "
            "src.utils.webex_pool_config"
        )
    if parts[0] in sys.stdlib_module_names or parts[0] in {*OLDEST} - {"python"}:
        return f"webex_pool_module is {name}, and the bot would no longer find its own {parts[0]}; choose another name"
    return ""


def type_problems(by_bot: Mapping[str, Mapping[str, Any]], options: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Which settings are of another type than they have to be, or none of their choices, a sentence each.

    :param options: of an argument specification; what is not set has its default.
    """
    given = {
        name: {key: value for key, value in option.items() if key not in ("default", "required")}
        for name, option in options.items()
    }
    validator = ArgumentSpecValidator(given)
    found: dict[str, list[str]] = {}
    for bot, variables in by_bot.items():
        values = {name: variables[name] for name in options if name in variables}
        for message in validator.validate(values).error_messages:
            found.setdefault(message, []).append(bot)
    return [f"{message} (set for {', '.join(bots)})" for message, bots in found.items()]


_NUMBERS: dict[str, tuple[float, float]] = {
    # Name: the lowest and the highest value. What is no number is the argument specification's to refuse.
    "rollout_settle": (1, 3600),
    "rollout_guard_deadline": (30, 86400),
    "rollout_stop_timeout": (1, 3600),
    "rollout_min_free_mib": (0, math.inf),
    "rollout_keep_releases": (1, 1000),
    "rollout_soak_min": (0, math.inf),
    "rollout_soak_max": (0, math.inf),
    "rollout_fleet_soak": (0, math.inf),
    "rollout_min_requests": (1, math.inf),
    "rollout_timeouts_per_hour": (0, math.inf),
    "rollout_wait": (0, math.inf),
    "webex_open_files": (64, math.inf),
    "webex_pool_connections": (1, 10000),
    "webex_pool_maxsize": (1, 10000),
    "webex_max_retries": (0, 10),
    "webex_request_timeout": (1, 3600),
}


def pool_problems(bot: str, value_of: Callable[[str], Any]) -> Iterator[str]:
    """What the pool module would refuse when the bot runs, a sentence each; parameters as of `settings_problems`."""
    yield from _out_of_range(bot, value_of, (name for name in _NUMBERS if name.startswith("webex_")))
    problem = module_problem(str(value_of("webex_pool_module")))
    if problem:
        yield f"{problem} ({bot})"


def _out_of_range(bot: str, value_of: Callable[[str], Any], names: Iterable[str]) -> Iterator[str]:
    for name in names:
        lowest, highest = _NUMBERS[name]
        value = _number(value_of(name))
        if value is not None and not lowest <= value <= highest:
            bounds = f"at least {lowest:g}" if highest == math.inf else f"between {lowest:g} and {highest:g}"
            yield f"{name} is {value:g} for {bot}, and must be {bounds}"


def settings_problems(bot: str, value_of: Callable[[str], Any]) -> Iterator[str]:
    """What contradicts itself, or is out of range, in a bot's settings, a sentence each.

    :param value_of: a setting's value by its name.
    """
    yield from pool_problems(bot, value_of)
    yield from _out_of_range(bot, value_of, (name for name in _NUMBERS if not name.startswith("webex_")))
    for name, below_one in (("rollout_alpha", True), ("rollout_beta", False)):
        value = _number(value_of(name))
        if value is not None and not (0 < value <= 1 and (value < 1 or not below_one)):
            yield f"{name} is {value:g} for {bot}, and is a probability above 0{' and below 1' if below_one else ''}"
    probe: dict[str, Any] = {}
    try:
        probe = probe_of("bot_probe", value_of("bot_probe"))
    except RolloutError as error:
        yield f"{error} (set for {bot})"
    settle, deadline = (_number(value_of(name)) for name in ("rollout_settle", "rollout_guard_deadline"))
    # The check itself, the connection and the channel that it waits for, and the probe have to fit into the deadline.
    more = 30 + (TRIES * probe["seconds"] if probe else 0)
    if settle is not None and deadline is not None and settle + more > deadline:
        yield (
            f"{bot} has to settle for {settle:g} s (rollout_settle) and is rolled back after {deadline:g} s "
            f"(rollout_guard_deadline): leave {more:g} s more for the start-up check"
        )
    shortest, longest = (_number(value_of(name)) for name in ("rollout_soak_min", "rollout_soak_max"))
    if shortest is not None and longest is not None and shortest > longest:
        yield (
            f"the shortest soak of {bot} ({shortest:g} s, rollout_soak_min) is longer than its longest "
            f"({longest:g} s, rollout_soak_max)"
        )
    try:
        value_of("bot_user")
    except KeyError:
        yield f"nothing says who runs {bot}: set bot_user, or ansible_user where that is the same account"
    home = str(value_of("bot_home"))
    if not home.startswith(("/", "~")):
        yield f"bot_home is {home} for {bot}: give the checkout's path on the VM, absolute or from its user's home (~)"
    try:
        checks_of("bot_checks", value_of("bot_checks"))
    except RolloutError as error:
        yield f"{error} (set for {bot})"
    problem = token_problem(value_of("rollout_probe_token"))
    if problem:
        yield f"{problem} (set for {bot})"
    try:
        webhooks_of("rollout_notify", value_of("rollout_notify"), tuple(KINDS))
    except RolloutError as error:  # its text holds no URL, which is a secret
        yield f"{error} (set for {bot})"


def probes_problem(probes: Mapping[str, Any]) -> str:
    """Why bots cannot be told apart by their probes; empty if they can.

    :param probes: what `bot_probe` is for each bot.
    """
    asked: dict[tuple[str, str], list[str]] = {}
    for bot, given in probes.items():
        with contextlib.suppress(RolloutError):  # which is said of the bot's own settings
            probe = probe_of("bot_probe", given)
            if probe:
                asked.setdefault(addressed(probe), []).append(bot)
    same = next((bots for bots in asked.values() if len(bots) > 1), [])
    if not same:
        return ""
    return (
        f"bot_probe has the same address for {named(same)}, so one would answer for all: give each its own, "
        'as {to: "{{ inventory_hostname }}@example.webex.bot"}'
    )


def canary_problem(groups: Mapping[str, Sequence[str]], skip_canary: bool) -> str:
    """Why this inventory cannot be rolled out in stages; empty if it can."""
    if groups.get("canary") or skip_canary:
        return ""
    return (
        "this inventory has no canary, so nothing would stand between a bad release and all bots: put one bot into the "
        "group `canary` and the others into `fleet`, both below `bots`, or set rollout_skip_canary to do without"
    )


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
