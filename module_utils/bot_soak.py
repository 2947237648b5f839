"""The soak as the VM keeps it: when it began, how long it lasts, where its logs were read up to, what was decided.

Standard library only, Python 3.8 or newer, beside ``webex_rollout``: the module ``bot_soak`` imports it, and installed
on the VM as a plain file it is the program that `webex-rollout-soak.timer` starts between two runs of a playbook, so
that the evidence is complete although nobody is connected and the log is rotated away meanwhile.

One file a bot, ``/var/lib/webex-rollout/<bot>/soak.json`` (root, 0600). Every look counts everything since the cursor
was taken, so one that is lost loses nothing. Lengths of time are measured by the machine's time since boot, which
nobody can set; when the machine was restarted, only the time since then is certain, and only that counts.

The verdict is not made here: the controller makes it (plugin_utils/verdict.py) and has it kept here.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
import sys
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

try:
    from ansible.module_utils.webex_rollout.clock import vm_clock
    from ansible.module_utils.webex_rollout.errors import LogError
    from ansible.module_utils.webex_rollout.logs.cursor import Cursor, look, look_at_all
    from ansible.module_utils.webex_rollout.logs.signatures import signatures_with
    from ansible.module_utils.webex_rollout.logs.tally import evidence
except ImportError:  # installed on the VM by itself, beside the package
    from webex_rollout.clock import vm_clock
    from webex_rollout.errors import LogError
    from webex_rollout.logs.cursor import Cursor, look, look_at_all
    from webex_rollout.logs.signatures import signatures_with
    from webex_rollout.logs.tally import evidence

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

STATE_DIR = Path("/var/lib/webex-rollout")
VERSION = 1
# More than this between the two clocks is no slewing: somebody, or a late synchronisation, has set the time.
CLOCK_SET_SECONDS = 30
# Points kept of the series; when there are more, every other one is left out, so that any length fits.
MAX_POINTS = 1000


class SoakError(ValueError):
    """What is kept of a soak cannot be used; the message says what to do."""


@dataclass
class Watched:
    """A log that is read during the soak."""

    log: str
    cursor: dict[str, Any]
    history: dict[str, Any]
    """What the log held before, as ``evidence`` returns it."""
    begun: float = 0.0
    """Seconds of soak at which it was begun to be watched."""
    since: dict[str, Any] = field(default_factory=dict)
    """The same for what was written since."""
    problem: str = ""
    """Why it could not be read at the last look."""


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
    """Seconds of soak."""
    own: Watched
    controls: dict[str, Watched] = field(default_factory=dict)
    """Bots on this machine that do not have the release."""
    clock_set: float = 0.0
    """By how many seconds the machine's time was set meanwhile."""
    boots: int = 0
    """How often the machine was started anew."""
    recipe: str = ""
    """Names the settings that the release was made with."""
    until: float = 0.0
    """Seconds of soak after which nobody samples any more."""
    signatures: list[dict[str, str]] = field(default_factory=list)
    timezone: str = ""
    series: list[list[float]] = field(default_factory=list)
    """Points in time: since the epoch, of soak, requests, incidents, recovered, incidents of the controls."""
    decision: dict[str, str] | None = None
    """A human's verdict: outcome, who, why, when."""
    outcome: str = ""
    """The last verdict."""
    record: dict[str, Any] | None = None
    """The last verdict with its evidence."""
    version: int = VERSION

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def look(self, now: Mapping[str, Any]) -> None:
        """Read what was written to the logs since the last look. What cannot be read becomes the log's problem."""
        self._pass(now)
        for watch in (self.own, *self.controls.values()):
            _read(watch, self.signatures)
        self._add_point()

    def watch(self, controls: Mapping[str, str]) -> None:
        """Compare with these bots (by name, their logs) from now on, and with no others."""
        for bot in set(self.controls) - set(controls):  # has the release by now
            del self.controls[bot]
        for bot, log in controls.items():
            if bot not in self.controls:
                try:
                    self.controls[bot] = watched(log, self.signatures, self.elapsed)
                except LogError:
                    continue  # one that cannot be read says nothing; the next look tries again

    def _pass(self, now: Mapping[str, Any]) -> None:
        """Add the time since the last look."""
        if now["boot"] == self.clock["boot"]:
            seconds = max(0.0, now["since_boot"] - self.clock["since_boot"])
            jump = now["epoch"] - self.clock["epoch"] - seconds
            self.clock_set += jump if abs(jump) > CLOCK_SET_SECONDS else 0.0
        else:
            seconds = max(0.0, now["since_boot"])
            self.boots += 1
        self.elapsed += seconds
        self.clock = dict(now)

    def _add_point(self) -> None:
        since = self.own.since
        if self.own.problem or not since:
            return
        others = sum(watch.since.get("incidents", 0) for watch in self.controls.values())
        counts = [since["pool"]["requests"], since["incidents"], since["recovered"], others]
        self.series.append([round(self.clock["epoch"]), round(self.elapsed), *counts])
        if len(self.series) > MAX_POINTS:
            self.series = self.series[::2]


def watched(log: str, signatures: Sequence[Mapping[str, str]], begun: float = 0.0) -> Watched:
    """A log to watch from now on.

    :raises LogError: when it is missing or cannot be read.
    """
    seen = look_at_all(log, signatures_with(signatures), rotated=True)
    return Watched(log, seen.cursor.to_dict(), _short(evidence(seen.tally)), begun)


def _short(found: Mapping[str, Any]) -> dict[str, Any]:
    """What is needed later of a log's history."""
    wanted = ("incidents", "lines", "recovered", "hours", "first_time", "last_time", "gaps")
    return {**{key: found[key] for key in wanted}, "pool": {"ready": found["pool"]["ready"]}}


def _read(watch: Watched, signatures: Sequence[Mapping[str, str]]) -> None:
    try:
        known = signatures_with(signatures)
        seen = look(Cursor.from_dict(watch.cursor), known)
    except LogError as error:
        watch.problem = str(error)
        return
    watch.problem = ""
    watch.cursor = seen.cursor.to_dict()
    watch.since = evidence(seen.tally, known)


def begin(bot: str, release: str, log: str, before: Mapping[str, Any]) -> Soak:
    """A soak that begins with what the module `bot_log_info` returned, with its option history, before the switch.

    :raises SoakError: when that is something else.
    """
    try:
        now = dict(before["now"])
        return Soak(bot, release, now, dict(now), 0.0, Watched(log, dict(before["cursor"]), _short(before)))
    except (KeyError, TypeError) as error:
        raise SoakError(
            f"{bot}: the soak has no beginning: `before` must be what bot_log_info returned with history ({error})"
        ) from error


# --- on disk ---------------------------------------------------------------------------------------------------------


def state_path(bot: str, state_dir: Path = STATE_DIR) -> Path:
    """Where a bot's soak is kept."""
    return state_dir / bot / "soak.json"


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold off the timer, or a run, while the other one looks.

    :raises SoakError: when no rollout has recorded the bot.
    """
    try:
        descriptor = os.open(path.parent / "soak.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except FileNotFoundError as error:
        raise SoakError(f"{path.parent.name}: no rollout has recorded this bot, {path.parent} is not there") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def load(path: Path) -> Soak | None:
    """The soak that is kept there, if one is.

    :raises SoakError: when it is damaged.
    """
    try:
        raw = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise _damaged(path, error) from error
    try:
        return _from_dict(raw)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> SoakError:
    return SoakError(
        f"{path.parent.name}: what is kept of its soak in {path} is damaged ({type(error).__name__}: {error}). Nothing "
        "is promoted on it. Remove that file and restart the bot's unit; the soak then begins anew with the next run"
    )


def _from_dict(raw: Any) -> Soak:
    known = {each.name for each in fields(Soak)}
    if set(raw) != known or raw["version"] != VERSION:
        raise ValueError(f"version {raw.get('version')!r}; missing or unknown: {sorted(known ^ set(raw))}")
    soak = Soak(
        **{
            **raw,
            "own": Watched(**raw["own"]),
            "controls": {name: Watched(**each) for name, each in raw["controls"].items()},
        }
    )
    numbers = (soak.elapsed, soak.clock["since_boot"], soak.clock["epoch"], soak.begun["epoch"])
    if not all(math.isfinite(number) for number in numbers) or soak.elapsed < 0 or "boot" not in soak.clock:
        raise ValueError("its times make no sense")
    return soak


def save(path: Path, soak: Soak) -> None:
    """Keep a soak; a reader sees the old one or the new one whole."""
    temporary = path.with_name(".soak.json.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(soak.to_dict(), file, sort_keys=True)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


# --- between two runs ------------------------------------------------------------------------------------------------


def sample(state_dir: Path = STATE_DIR) -> list[str]:
    """Look once at each bot that soaks; returns what went wrong."""
    problems = []
    for path in sorted(state_dir.glob("*/soak.json")):
        try:
            with locked(path):
                soak = load(path)
                if soak is None or soak.elapsed > soak.until:
                    continue
                if soak.timezone:
                    os.environ["TZ"] = soak.timezone
                else:
                    os.environ.pop("TZ", None)
                time.tzset()
                soak.look(vm_clock())
                save(path, soak)
                if soak.own.problem:
                    problems.append(f"{soak.bot}: {soak.own.problem}")
        except (OSError, SoakError) as error:
            problems.append(str(error))
    return problems


if __name__ == "__main__":
    found = sample()
    print("\n".join(found), file=sys.stderr, end="\n" if found else "")
    sys.exit(1 if found else 0)
