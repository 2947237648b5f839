# SPDX-License-Identifier: GPL-3.0-or-later
"""What the watch makes known of each bot it has looked at: events, told once each, and samples for node_exporter."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence

from . import __version__
from .errors import RolloutError
from .evidence import PROMOTE
from .heard import FAILURES
from .lock import read_lock
from .metrics import BotMetrics, VmMetrics, render, write_metrics
from .notify import Event, counts, deliver, tell
from .outage import tell_outage
from .procfs import HTTPS_PORTS, connections_of
from .soak import Soak, load
from .store import Vm
from .systemd import show_unit
from .verdict import IDLE, Verdict
from .weather import BAD, Weather, load_weather

# Made by who wants metrics; docs/observability.md.
METRICS_DIR = "/var/lib/webex-metrics"


def make_known(vm: Vm, soak: Soak, verdict: Verdict, weather: Weather, now: float) -> None:
    """Tell what a look at a bot has shown.

    :param now: seconds since boot.
    """
    bot, work = soak.bot, soak.work
    occasion = f"{soak.release} {soak.begun['epoch']:.0f}"
    details: dict[str, str | int | float | bool] = {
        "release": soak.release,
        "requests": work.ended,
        "heard_seconds": round(soak.elapsed),
    }
    why = "; ".join(verdict.reasons) or "as yet nothing speaks for another one"
    tell(
        vm,
        Event(
            "verdict", bot, f"the verdict on {bot} is to {soak.verdict}: {why}", details, f"{occasion} {soak.verdict}"
        ),
    )
    if work.drift:
        tell(vm, Event("drift", bot, f"{bot}: {work.problem}", details, f"{occasion} {work.problem}"))
    elif weather.state == BAD:
        pass  # that is told below
    elif work.problem and work.pid == 0:
        tell(vm, Event("bot_down", bot, f"{bot}: {work.problem}", details, f"{occasion} {work.since}"))
    elif work.problem and work.is_lost(now):
        tell(vm, Event("stalled", bot, f"{bot}: {work.problem}", details, f"{occasion} {work.since}"))
    elif _is_idle(soak, now):
        text = (
            f"{bot} is connected, and has answered nothing for an hour; without that it is not promoted. Nobody writes "
            "to it, or its threads hang: a probe (bot_probe) tells which"
        )
        tell(vm, Event("idle", bot, text, details, f"{occasion} {work.worked_at}"))
    for name, problem in work.failing.items():
        if work.failed_looks[name] > 1:  # once may be chance
            since = f"{occasion} {name} {work.failed_since[name]:.0f}"
            tell(vm, Event("check_failed", bot, f"{bot}: its check {name} fails: {problem}", details, since))
    if work.unprobed_looks > 1:
        text = f"{bot}: its probe says nothing: {work.unprobed}"
        tell(vm, Event("check_failed", bot, text, details, f"{occasion} {work.unprobed}"))
    tell_outage(vm, weather)


def _is_idle(soak: Soak, now: float) -> bool:
    """Whether a bot that is heard lacks for its promotion what it was asked to do."""
    work = soak.work
    if work.problem or soak.verdict == PROMOTE or soak.elapsed < IDLE:
        return False
    return work.worked_at is None or now - work.worked_at > IDLE


def second_copy(vm: Vm, bot: str, text: str, copies: Mapping[int, int]) -> None:
    """Tell of copies (pids with start times) beside a bot's unit."""
    occasion = " ".join(f"{pid}-{start}" for pid, start in sorted(copies.items()))
    tell(vm, Event("drift", bot, text, {"copies": len(copies)}, occasion))


def rolled_back(vm: Vm, bot: str, release: str, attempt: int, reason: str) -> None:
    """Tell that a bot was rolled back without anybody's asking."""
    text = f"{bot} was rolled back from release {release}: {reason}"
    tell(vm, Event("roll_back", bot, text, {"release": release}, f"attempt {attempt} {release}"))


def publish(vm: Vm, problems: Sequence[str], seconds: float, directory: str = METRICS_DIR) -> list[str]:
    """Send what waits to the webhooks, and write the metrics where somebody wants them; returns what went wrong.

    :param seconds: how long the look at all bots took.
    """
    wrong = list(deliver(vm).problems)
    if not os.path.isdir(directory):
        return wrong
    told = counts(vm)
    machine = VmMetrics(
        version=__version__,
        last_look=time.time(),
        look_seconds=seconds,
        problems=len(problems),
        notify_failures=told["failed"],
        notify_dropped=told["dropped"],
        notify_waiting=told["waiting"],
        locked=read_lock(vm).held,
    )
    bots = [sample for sample in (_sample(vm, name) for name in vm.bot_names()) if sample]
    try:
        write_metrics(directory, render(bots, machine))
    except RolloutError as error:
        wrong.append(str(error))
    return wrong


def _sample(vm: Vm, name: str) -> BotMetrics | None:
    """A bot's metrics, what was compared as of its last look; None where its state, or its soak, cannot be read: the
    watch says so."""
    try:
        store = vm.store(name)
        state, soak, weather = store.need(), load(store), load_weather(store)
        unit = show_unit(state.unit)
        if store.release(state.current).stopped and not unit.main_pid:
            return None  # nobody has to be told that it is down
    except (RolloutError, OSError):
        return None
    work = soak.work if soak else None
    return BotMetrics(
        bot=name,
        release=state.current,
        phase=str(state.phase),
        up=unit.main_pid > 0,
        verdict=(soak.verdict or "extend") if soak else "none",
        previous=state.previous,
        soak_elapsed_seconds=soak.clock["epoch"] - soak.begun["epoch"] if soak else None,
        soak_heard_seconds=soak.elapsed if soak else None,
        requests=work.count("requests") if work else None,
        failures={kind: work.count(kind) for kind in FAILURES} if work else {},
        restarts=unit.restarts,
        connections=connections_of(unit.main_pid, HTTPS_PORTS) if unit.main_pid else 0,
        drift={"edited": work.edited, "copies": work.copies} if work else {},
        weather=weather.state,
        bad_weather_seconds=weather.bad_seconds,
        last_look=soak.clock["epoch"] if soak else None,
    )
