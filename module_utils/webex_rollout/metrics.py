# SPDX-License-Identifier: GPL-3.0-or-later
"""Metrics in the text form of node_exporter's textfile collector: what is true of each bot and of the VM now.

Interface, as the watch uses it at the end of each look::

    text = render([BotMetrics(bot="jarvis", …), …], VmMetrics(…))     # pure
    write_metrics("/var/lib/webex-metrics", text)                     # webex_rollout.prom, whole or not at all, 0644

A value that is not known (None) has no sample. States are one sample each, 1 for the present one, so that
``webex_rollout_weather{state="bad"} == 1`` is an alert. Counters begin anew with what counts them.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .disk import write_whole
from .errors import RolloutError
from .state import Phase
from .tree import must_be_roots

FILE = "webex_rollout.prom"
VERDICTS = ("none", "promote", "extend", "hold", "roll back", "paused")
WEATHER = ("good", "bad", "unknown")
LABEL_LIMIT = 200


@dataclass(frozen=True)
class BotMetrics:
    """One bot at the last look at it."""

    bot: str
    release: str
    """The release that it runs, or is to run."""
    phase: str
    """As `Phase` has them."""
    up: bool
    """Whether its process runs."""
    verdict: str = "none"
    """Of the last look at its soak; one of `VERDICTS`."""
    previous: str = ""
    """The release that it would be rolled back to."""
    soak_elapsed_seconds: float | None = None
    """Since the switch."""
    soak_heard_seconds: float | None = None
    """Of these, the seconds that count."""
    requests: int | None = None
    """Begun by the present process."""
    failures: Mapping[str, int] = field(default_factory=dict)
    """Of these, failed, by kind."""
    restarts: int | None = None
    """By systemd, since the unit was loaded."""
    connections: int | None = None
    """Open to Webex or to the proxy."""
    drift: Mapping[str, int] = field(default_factory=dict)
    """How many files, copies … differ from what was confirmed, by kind."""
    weather: str = "unknown"
    """One of `WEATHER`."""
    bad_weather_seconds: float | None = None
    last_look: float | None = None
    """Epoch."""


@dataclass(frozen=True)
class VmMetrics:
    """The VM at the end of a look."""

    version: str
    """Of the program."""
    last_look: float
    """Epoch; older than some minutes, the watch does not run."""
    look_seconds: float | None = None
    """How long it took."""
    problems: int = 0
    """Lines that it wrote to standard error."""
    notify_failures: int = 0
    """Tries to reach a webhook that failed, so far."""
    notify_dropped: int = 0
    """Messages that no webhook ever gets, so far."""
    notify_waiting: int = 0
    """Messages that wait for a webhook."""
    locked: bool = False
    """Whether somebody holds the rollout's lock."""


def render(bots: Sequence[BotMetrics], vm: VmMetrics) -> str:
    """The file's text: each metric with its help and type, in one order whatever the bots' order is."""
    lines: list[str] = []

    def metric(name: str, kind: str, text: str, samples: Iterable[tuple[Mapping[str, str], float | None]]) -> None:
        known = [(labels, value) for labels, value in samples if value is not None]
        if known:
            lines.append(f"# HELP webex_rollout_{name} {text}")
            lines.append(f"# TYPE webex_rollout_{name} {kind}")
            lines.extend(f"webex_rollout_{name}{_labels(labels)} {_number(value)}" for labels, value in known)

    bots = sorted({each.bot: each for each in bots}.values(), key=lambda each: each.bot)
    metric("build_info", "gauge", "The program's version.", [({"version": vm.version}, 1)])
    for name, kind, text, value in (
        ("last_look_timestamp_seconds", "gauge", "When the watch last looked, by the VM's clock.", vm.last_look),
        ("look_duration_seconds", "gauge", "How long the last look took.", vm.look_seconds),
        ("problems", "gauge", "Problems that the last look showed.", vm.problems),
        ("notify_failures_total", "counter", "Tries to reach a webhook that failed.", vm.notify_failures),
        ("notify_dropped_total", "counter", "Messages that were given up.", vm.notify_dropped),
        ("notify_waiting", "gauge", "Messages that wait for a webhook.", vm.notify_waiting),
        ("locked", "gauge", "Whether somebody holds the lock of the rollout.", vm.locked),
    ):
        metric(name, kind, text, [({}, value)])
    metric(
        "release_info",
        "gauge",
        "The release that a bot runs, and the one before it.",
        [({"bot": each.bot, "release": each.release, "previous": each.previous}, 1) for each in bots],
    )
    for name, text, states, of in (
        ("phase", "Where the rollout of a bot stands.", [str(phase) for phase in Phase], "phase"),
        ("verdict", "The verdict on the release of a bot.", list(VERDICTS), "verdict"),
        ("weather", "Whether a bot can reach Webex.", list(WEATHER), "weather"),
    ):
        label = "state" if of == "weather" else of
        metric(name, "gauge", text, [s for each in bots for s in _states(each.bot, label, states, getattr(each, of))])
    for name, kind, text, values in (
        ("up", "gauge", "Whether the process of a bot runs.", [each.up for each in bots]),
        ("soak_elapsed_seconds", "gauge", "Time since the switch.", [each.soak_elapsed_seconds for each in bots]),
        ("soak_heard_seconds", "gauge", "Time of the soak that counts.", [each.soak_heard_seconds for each in bots]),
        ("requests_total", "counter", "Requests of a bot's present process.", [each.requests for each in bots]),
        ("restarts_total", "counter", "Restarts by systemd.", [each.restarts for each in bots]),
        ("open_connections", "gauge", "Connections to Webex or the proxy.", [each.connections for each in bots]),
        ("bad_weather_seconds_total", "counter", "Time without Webex.", [each.bad_weather_seconds for each in bots]),
        ("bot_last_look_timestamp_seconds", "gauge", "When a bot was last looked at.", [b.last_look for b in bots]),
    ):
        metric(name, kind, text, [({"bot": each.bot}, value) for each, value in zip(bots, values)])
    metric("request_failures_total", "counter", "Failed requests by kind.", _by_kind((b.bot, b.failures) for b in bots))
    metric("drift", "gauge", "Differences from what was confirmed, by kind.", _by_kind((b.bot, b.drift) for b in bots))
    return "\n".join(lines) + "\n"


def _states(bot: str, label: str, states: Sequence[str], present: str) -> list[tuple[dict[str, str], float]]:
    """A sample for each state a bot may be in; one that is not listed is shown all the same."""
    known = [*states, *([] if str(present) in states else [str(present)])]
    return [({"bot": bot, label: state.replace(" ", "_")}, state == str(present)) for state in known]


def _by_kind(bots: Iterable[tuple[str, Mapping[str, int]]]) -> list[tuple[dict[str, str], float]]:
    return [({"bot": bot, "kind": kind}, count) for bot, kinds in bots for kind, count in sorted(kinds.items())]


def _labels(labels: Mapping[str, str]) -> str:
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}" if labels else ""


def _escaped(value: str) -> str:
    """A label's value: any UTF-8, with ``\\ " newline`` escaped."""
    text = value[:LABEL_LIMIT].encode("utf-8", "replace").decode()
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    """A value as the text form has it."""
    if isinstance(value, int):
        return str(int(value))
    if math.isfinite(value):
        return repr(value)
    return "NaN" if math.isnan(value) else ("+Inf" if value > 0 else "-Inf")


def write_metrics(directory: str, text: str) -> Path:
    """Replace the file in the collector's directory in one step; where it is.

    :raises RolloutError: when the directory is not there, or somebody else than root could change it.
    """
    path = Path(directory, FILE)
    must_be_roots(str(path))
    if not os.path.isdir(directory):
        raise RolloutError(f"{directory} is not there, so there are no metrics; make it")
    try:
        write_whole(path, text.encode("utf-8"), 0o644)
    except OSError as error:
        raise RolloutError(f"{path} cannot be written ({error.strerror}); the metrics in it are old") from None
    return path
