"""What a run was, as the callback plugin sees it: the material a report is made of.

Plain data without Ansible's classes, so that a report can be made, and tested, without a run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from plugin_utils.report.model import Circumstances, Stage

# Results that a report reads. Of any other only what was changed and what went wrong is kept: a run may wait two days,
# and its results would all stay in memory.
READ_ACTIONS = frozenset({"bot_info", "bot_log_info", "client_patch", "webex_files", "webex_release", "webex_soak"})

_CHANGE = ("dest", "path", "diff", "changed", "failed")
_FAILURE = ("msg", "message", "rc", "stderr", "module_stderr", "stdout", "module_stdout")

Kind = Literal["ok", "failed", "unreachable", "skipped"]


@dataclass(frozen=True)
class Event:
    """One task's end on one bot. Times are seconds since the epoch, UTC; `action` is the module's bare name."""

    kind: Kind
    bot: str
    action: str
    task: str
    play: str
    began: float
    ended: float
    changed: bool = False
    ignored: bool = False
    # The task was run once for all bots of a batch, so its failure is the run's, not this bot's.
    run_once: bool = False
    result: Mapping[str, Any] = field(default_factory=dict)

    @property
    def lost(self) -> bool:
        """Whether the bot got no further because of this."""
        return self.kind in ("failed", "unreachable") and not self.ignored

    @property
    def seconds(self) -> float:
        """How long the task ran."""
        return self.ended - self.began

    @property
    def arguments(self) -> Mapping[str, Any]:
        """The module's arguments, as it returned them."""
        found: Mapping[str, Any] = (self.result.get("invocation") or {}).get("module_args") or {}
        return found


@dataclass
class Play:
    """One play, all its batches together."""

    name: str
    began: float
    ended: float
    batches: int = 1


@dataclass(frozen=True)
class Place:
    """Where a bot belongs: its machine, as the inventory names it, and its stage."""

    vm: str = ""
    stage: Stage = ""


@dataclass(kw_only=True)
class Run(Circumstances):
    """One run of a playbook: who, what, when, and everything that happened in it. Times as in `Event`.

    `state` is `running` until the run's own end is seen, then `ended`; `interrupted` if the process ends without one.
    """

    began: float
    state: Literal["running", "ended", "interrupted"] = "running"
    ended: float = 0.0
    plays: list[Play] = field(default_factory=list)
    places: dict[str, Place] = field(default_factory=dict)
    # All bots, as the inventory orders them.
    order: list[str] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    def begin_play(self, name: str, now: float) -> None:
        """Note that a play starts, or the next batch of the same one; `now` in seconds since the epoch."""
        if self.plays and self.plays[-1].name == name:
            self.plays[-1].batches += 1
            return
        self.plays.append(Play(name, now, now))

    def add(self, event: Event) -> None:
        """Add what happened; its play lasts at least until then."""
        self.events.append(event)
        self.ended = max(self.ended, event.ended)
        for play in self.plays:
            if play.name == event.play:
                play.ended = max(play.ended, event.ended)


def kept(action: str, result: Mapping[str, Any], arguments: Mapping[str, Any], failed: bool) -> dict[str, Any]:
    """The part of a task's result that a report may need. A censored result keeps nothing.

    `arguments` are the task's, templated: many a result does not name the file it is about.
    """
    if result.get("_ansible_no_log"):
        return {"msg": "the result is hidden by no_log"}
    if action in READ_ACTIONS:
        return {key: value for key, value in result.items() if not key.startswith("_ansible")}
    wanted = _CHANGE + _FAILURE if failed else _CHANGE
    path = arguments.get("dest") or arguments.get("path")
    small = {"path": str(path)} if path else {}
    small |= {key: result[key] for key in wanted if key in result}
    return small


def items(result: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    """The results of a loop's rounds, as the callback has collected them, or the one of a task without a loop."""
    rounds = result.get("results")
    return rounds if isinstance(rounds, list) else [result]
