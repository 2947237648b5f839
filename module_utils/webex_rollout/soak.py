# SPDX-License-Identifier: GPL-3.0-or-later
"""The soak as the VM keeps it: when it began, how long it lasts, where its logs were read up to, what was decided.

One sealed file a bot, ``soak.json`` in its directory of the state. The watch looks, and a run through the module
`webex_soak` by the same function, so that it does not matter who is connected. Every look counts everything since the
cursor was taken, so one that is lost loses nothing.

Lengths of time are measured by the machine's time since boot, which nobody can set; when the machine was restarted,
only the time since then is certain, and only that counts.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from .clock import same_boot, up_seconds
from .disk import unseal
from .errors import DamagedError, LogError, RolloutError, SoakError
from .evidence import EXTEND, HOLD, HOUR, PROMOTE, ROLL_BACK, Control, Decision, Evidence, GateSettings, history_of
from .heard import Signs, Work
from .logs.reader import LogReader
from .messages import UNKNOWN
from .own_checks import PROBE
from .processes import Bot
from .store import Store
from .words import duration

# More than this between the two clocks is no slewing: somebody, or a late synchronisation, has set the time.
CLOCK_SET_SECONDS = 30
# Points kept of the series; when there are more, every other one is left out, so that any length fits.
MAX_POINTS = 1000
# Counts that an outage of Webex makes.
EXCUSABLE = ("incidents", "failures", "recovered", "error_others")
# Kinds of errors that are named because they were not there before.
NEW_KINDS = 3
PAUSE = "pause"
# What a human may decide, and the verdict that it is.
DECISIONS = {"promote": PROMOTE, "rollback": ROLL_BACK, PAUSE: HOLD}


@dataclass
class Watched:
    """A log that is read during the soak."""

    log: str
    cursor: dict[str, Any]
    history: dict[str, Any]
    """What the log held before, as the log reader's `evidence` returns it."""
    begun: float = 0.0
    """Seconds of soak at which it was begun to be watched."""
    since: dict[str, Any] = field(default_factory=dict)
    """The same for what was written since; empty before the first look."""
    problem: str = ""
    """Why it could not be read at the last look."""
    timezone: str = ""
    """In which the log's times are; the machine's where it is empty."""
    signatures: list[dict[str, str]] = field(default_factory=list)
    """What counts as a failure in this log beside what always does."""
    user: str = ""
    """Who writes it, and so reads it. Empty in a soak of an earlier program, until it is loaded."""
    probe: dict[str, Any] = field(default_factory=dict)
    """Of a control: how it is asked for an answer, where it can be."""
    excused: dict[str, int] = field(default_factory=dict)
    """Counts of the time in which the soak stood still, as when Webex could not be reached: nobody's fault."""

    def count(self, name: str) -> int:
        """A count of the log's (incidents, failures, recovered, error_others, lines), without what is excused."""
        return max(0, int(self.since.get(name, 0)) - self.excused.get(name, 0))

    @property
    def gaps(self) -> tuple[str, ...]:
        """Parts of the log that could not be read, one sentence each."""
        return tuple(self.since.get("gaps") or ())

    def new_kinds(self) -> dict[str, int]:
        """Errors of kinds that the log did not hold before, the most frequent ones."""
        known = self.history.get("error_kinds") or {}
        new = {kind: count for kind, count in (self.since.get("error_kinds") or {}).items() if kind not in known}
        return dict(sorted(new.items(), key=lambda each: (-each[1], each[0]))[:NEW_KINDS])

    def read(self, excuse: bool = False) -> None:
        """Read what was written since the last look; excuse it where the soak stood still meanwhile.

        That it cannot be read becomes the log's problem.
        """
        before = {name: int(self.since.get(name, 0)) for name in EXCUSABLE}
        try:
            self.since = LogReader(self.user, self.signatures, self.timezone).look(self.cursor)
        except LogError as error:
            self.problem = str(error)
            return
        self.problem, self.cursor = "", self.since.pop("cursor")
        if excuse:
            for name in EXCUSABLE:
                more = int(self.since.get(name, 0)) - before[name]
                self.excused[name] = self.excused.get(name, 0) + max(0, more)


@dataclass
class Soak:
    """One release of one bot under watch."""

    bot: str
    release: str
    begun: dict[str, Any]
    """The machine's clock when the cursor was taken, right before the switch."""
    clock: dict[str, Any]
    """The machine's clock at the last look."""
    elapsed: float
    """Seconds of soak: in which the release's own process was heard at work."""
    own: Watched
    work: Work = field(default_factory=Work)
    """What that process was heard to do."""
    controls: dict[str, Watched] = field(default_factory=dict)
    """Bots on this machine that do not have the release."""
    clock_set: float = 0.0
    """By how many seconds the machine's time was set meanwhile."""
    boots: int = 0
    """How often the machine was started anew."""
    settings_hash: str = ""
    """Names the settings that the release was made with."""
    until: float = 0.0
    """Seconds of soak after which the timer no longer looks."""
    series: list[list[float]] = field(default_factory=list)
    """Points in time: since the epoch, of soak, requests, incidents, recovered, incidents of the controls."""
    decision: dict[str, str] | None = None
    """A human's verdict: verdict (promote, rollback or pause), who, why, when."""
    verdict: str = ""
    """The last verdict; empty before the first."""
    record: dict[str, Any] | None = None
    """The last verdict with its evidence."""
    gate: dict[str, Any] = field(default_factory=dict)
    """The operator's settings of the gate, as `GateSettings` has them; empty until a run has stated them."""
    acts: bool = True
    """Whether the VM acts on the verdict, or only observes (`rollout_gate`)."""
    heals: bool = True
    """Whether the VM stops a second copy beside the unit, or only tells of it (`rollout_drift`)."""
    checks: list[dict[str, Any]] = field(default_factory=list)
    """The operator's own checks, as `own_checks.checks_of` gives them (`bot_checks`)."""
    probe: dict[str, Any] = field(default_factory=dict)
    """How the bot is asked for an answer, as `probe.probe_of` gives it (`bot_probe`); empty where it is not."""

    @classmethod
    def load(cls, raw: Any) -> Soak:
        """What `asdict` made of a soak.

        :raises AttributeError, KeyError, TypeError, ValueError: when it is something else.
        """
        known = {each.name for each in fields(cls)}
        # An earlier program did not know of these; whoever wrote the rest knew all of it.
        if set(raw) | {"heals", "checks", "probe"} != known:
            raise ValueError(f"missing or unknown: {sorted(known ^ set(raw))}")
        watched = {name: Watched(**each) for name, each in raw["controls"].items()}
        soak = cls(**{**raw, "own": Watched(**raw["own"]), "controls": watched, "work": Work.load(raw["work"])})
        numbers = (soak.elapsed, soak.clock["since_boot"], soak.clock["epoch"], soak.begun["epoch"])
        if not all(math.isfinite(number) for number in numbers) or soak.elapsed < 0 or "boot" not in soak.clock:
            raise ValueError("its times make no sense")
        return soak

    def look(self, now: Mapping[str, Any], signs: Signs, fair: bool = True) -> None:
        """Take in what the bot's process shows, and read what was written to the logs since the last look.

        :param now: the machine's clock.
        :param fair: whether Webex could be reached since the last look. In bad weather the soak stands still.
        """
        counted = self._pass(now, signs, fair)
        self.own.read(excuse=not fair or bool(signs.drift or signs.exchanged))
        for watch in self.controls.values():
            # They are compared over the time that counts.
            watch.read(excuse=not fair or (counted == 0 and bool(self.work.problem)))
        self._add_point()

    def watch(self, controls: Sequence[Mapping[str, Any]]) -> None:
        """Compare with these bots (bot, user, log, timezone, signatures, probe) from now on, and with no others."""
        for bot in set(self.controls) - {control["bot"] for control in controls}:  # has the release by now
            del self.controls[bot]
        for control in controls:
            if control["bot"] not in self.controls:
                # One that cannot be read is no evidence; the next look tries again.
                with contextlib.suppress(LogError):
                    reader = LogReader(control["user"], control["signatures"], control["timezone"])
                    self.controls[control["bot"]] = watched(reader, control["log"], self.elapsed)
            if control["bot"] in self.controls:
                self.controls[control["bot"]].probe = dict(control.get("probe") or {})

    def decide(self, decision: str, who: str, why: str, when: str) -> None:
        """Keep what a human decided; "auto" withdraws it, and nothing leaves it as it is.

        :raises SoakError: when nobody's name stands for it.
        """
        if decision and decision != "auto" and not who:
            raise SoakError(f"{self.bot}: a human's verdict needs a name: who decides?")
        if decision:
            kept = {"verdict": decision, "who": who, "why": why, "when": when}
            self.decision = None if decision == "auto" else kept

    @property
    def settings(self) -> GateSettings:
        """The operator's settings of the gate."""
        return GateSettings(**self.gate)

    def evidence(self) -> Evidence:
        """What the soak shows by now."""
        own, work, decision = self.own, self.work, self.decision
        controls = tuple(
            Control(
                bot,
                watch.count("incidents"),
                (self.elapsed - watch.begun) / HOUR,
                history_of(watch.history),
                watch.count("error_others"),
                history_of(watch.history, "error_other_hours"),
            )
            for bot, watch in sorted(self.controls.items())
            if not watch.problem and watch.since and not watch.gaps and self.elapsed > watch.begun
        )
        return Evidence(
            bot=self.bot,
            elapsed=self.elapsed,
            incidents=own.count("incidents"),
            failures=own.count("failures"),
            recovered=work.count("retried"),
            requests=work.ended,
            failed_calls=work.failed,
            server_errors=work.count("server_errors"),
            errors=own.count("error_others"),
            logged_errors=work.count("errors"),
            new_errors=own.new_kinds(),
            failing=self._failing(),
            idle=None if work.worked_at is None else max(0.0, self.clock["since_boot"] - work.worked_at),
            heard=work.ever,
            silence=work.problem,
            crashes=work.crashes,
            promoted=self.verdict == PROMOTE,
            history=history_of(own.history),
            error_history=history_of(own.history, "error_other_hours"),
            controls=controls,
            decision=Decision(DECISIONS[decision["verdict"]], decision["who"], decision["why"]) if decision else None,
            settings=self.settings,
        )

    def required(self) -> list[str]:
        """The operator's own checks without which nothing is promoted, the probe among them."""
        return [*(str(check["name"]) for check in self.checks if check["required"]), *([PROBE] if self.probe else [])]

    def _failing(self) -> tuple[str, ...]:
        """Required checks that do not pass, with what they say. A probe that says nothing does not pass, either."""
        work = self.work
        failing = [f"{check}: {work.failing[check]}" for check in self.required() if check in work.failing]
        if self.probe and PROBE not in work.failing and work.probed in ("", UNKNOWN):
            failing.append(f"{PROBE}: {work.unprobed or 'not asked yet'}")
        return tuple(failing)

    def gate_state(self, running: str, settings_hash: str) -> str:
        """What the soak means for other bots, given the release that the VM holds for proven: "none" where that one
        has not soaked, "other" where it was made with other settings, "paused", else the last verdict."""
        if self.release != running:
            return "none"
        if settings_hash and self.settings_hash != settings_hash:
            return "other"
        if self.decision and self.decision["verdict"] == PAUSE:
            return "paused"
        return self.verdict or EXTEND

    def described(self) -> str:
        """How the soak stood at its last look, in one line."""
        counts = "not looked at yet"
        if self.own.since:
            incidents = self.own.count("incidents")
            counts = f"{incidents} incident{'' if incidents == 1 else 's'} in {self.work.ended} requests"
        hand = f", {self.decision['verdict']} by {self.decision['who']}" if self.decision else ""
        return f"{self.verdict or EXTEND} after {duration(self.elapsed)}, {counts}{hand}"

    def _pass(self, now: Mapping[str, Any], signs: Signs, fair: bool) -> float:
        """Add the time since the last look, as far as the bot was heard in it; returns the seconds that count."""
        if same_boot(self.clock["boot"], now["boot"]):
            seconds = max(0.0, now["since_boot"] - self.clock["since_boot"])
            jump = now["epoch"] - self.clock["epoch"] - seconds
            self.clock_set += jump if abs(jump) > CLOCK_SET_SECONDS else 0.0
        else:
            seconds = up_seconds(now)
            self.boots += 1
            self.work.rebooted()
        begun = float(self.begun["since_boot"]) if same_boot(self.begun["boot"], now["boot"]) else 0.0
        counted = self.work.take(signs, float(now["since_boot"]), seconds, begun, fair)
        if not fair:
            self.work.still += seconds
            counted = 0.0
        self.elapsed += counted
        self.clock = dict(now)
        return counted

    def _add_point(self) -> None:
        own = self.own
        if own.problem or not own.since:
            return
        others = sum(watch.count("incidents") for watch in self.controls.values())
        counts = [self.work.ended, own.count("incidents"), self.work.count("retried"), others]
        self.series.append([round(self.clock["epoch"]), round(self.elapsed), *counts])
        if len(self.series) > MAX_POINTS:
            self.series = self.series[::2]


def watched(reader: LogReader, log: str, begun: float) -> Watched:
    """A log to watch from now on.

    :param begun: seconds of soak at this moment.
    :raises LogError: when it is missing or cannot be read.
    """
    seen = reader.look_at_all(log, rotated=True)
    kept = [dict(each) for each in reader.signatures]
    history, zone = _short(seen), reader.timezone
    return Watched(log, seen["cursor"], history, begun, timezone=zone, signatures=kept, user=reader.user)


def _short(found: Mapping[str, Any]) -> dict[str, Any]:
    """What is needed later of a log's history."""
    wanted = (
        *("incidents", "lines", "recovered", "hours", "first_time", "last_time", "gaps"),
        *("error_others", "error_other_hours", "error_kinds"),
    )
    return {**{key: found[key] for key in wanted}, "pool": {"ready": found["pool"]["ready"]}}


def begin(bot: Bot, release: str, log: str, before: Mapping[str, Any], earlier: Soak | None = None) -> Soak:
    """A soak that begins with what the module `bot_log_info` returned, with its option history, before the switch.

    :param earlier: the soak of the same release under the same settings, which was interrupted. Its time and counts
        are gone, since nobody knows what ran meanwhile; what it was compared with and what was decided stay.
    :raises SoakError: when `before` is something else.
    """
    try:
        now = dict(before["now"])
        own = Watched(log, dict(before["cursor"]), _short(before), user=bot.user)
        soak = Soak(bot.name, release, now, dict(now), 0.0, own)
    except (KeyError, TypeError) as error:
        raise SoakError(
            f"{bot.name}: the soak has no beginning: `before` must be what bot_log_info returned with history ({error})"
        ) from error
    if earlier is not None:
        soak.own.history = earlier.own.history
        soak.settings_hash, soak.until = earlier.settings_hash, earlier.until
        soak.decision, soak.verdict, soak.record = earlier.decision, earlier.verdict, earlier.record
    return soak


# --- on disk ---------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def locked(store: Store) -> Iterator[None]:
    """Hold off the timer, or a run, while the other one looks.

    :raises SoakError: when no rollout has recorded the bot.
    """
    if not store.path.is_dir():
        raise SoakError(f"{store.bot}: no rollout has recorded this bot, {store.path} is not there")
    with store.soak_mutex():
        yield


def load(store: Store) -> Soak | None:
    """The soak that is kept of a bot, if one is.

    :raises SoakError: when it is damaged, or was written by a newer program.
    """
    try:
        soak = Soak.load(unseal(store.soak_path))
        _name_users(store, soak)
        return soak
    except FileNotFoundError:
        return None
    except (DamagedError, AttributeError, KeyError, TypeError, ValueError) as error:
        found = "its checksum is another" if isinstance(error, DamagedError) else f"{type(error).__name__}: {error}"
        raise SoakError(
            f"{store.bot}: what is kept of its soak in {store.soak_path} is damaged ({found}). "
            "Nothing is promoted on it. Remove that file and restart the bot's unit; the next run begins the soak anew"
        ) from error
    except RolloutError as error:
        raise SoakError(f"{store.bot}: {error}") from error


def _name_users(store: Store, soak: Soak) -> None:
    """Name who writes the logs where the soak was begun by a program that read them as root."""
    for name, watch in [(soak.bot, soak.own), *soak.controls.items()]:
        if not watch.user:
            state = store.vm.store(name).load() or store.load()
            watch.user = state.bot.user if state else ""


def save(store: Store, soak: Soak) -> None:
    """Keep a soak; a reader sees the old one or the new one whole.

    :raises RolloutError: when the disk is full.
    """
    store.vm.write(store.soak_path, asdict(soak))
