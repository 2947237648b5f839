"""What became of the bots: which release each runs, how often, how long each was down, what became of the messages."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from tests.integration.conftest import in_image, processes, written
from tests.lab.lab import Lab
from tests.lab.paths import BOTS, CHECKOUT, VM_CHECKOUT

OLD, NEW = "old", "new"


def release_of(lab: Lab, bot: str) -> str:
    """`old` or `new` where process, script, drop-in and unit agree and one copy runs; otherwise what does not."""
    copies = processes(lab)[bot]
    if len(copies) != 1:
        return "down" if not copies else f"runs {len(copies)} times"
    script = (lab.machine.root / f"{VM_CHECKOUT}/webex_bots/{bot}.py".lstrip("/")).read_bytes()
    original = (CHECKOUT / f"webex_bots/{bot}.py").read_bytes()
    drop_in = lab.machine.root / f"etc/systemd/system/webex-bot@{bot}.service.d/10-bot.conf"
    facts = {
        "process": NEW if copies[0].unit == f"webex-bot@{bot}.service" else OLD,
        "script": OLD if script == original else NEW,
        "drop-in": NEW if drop_in.exists() else OLD,
    }
    if len(set(facts.values())) == 1:
        return facts["process"]
    return "mixed: " + ", ".join(f"{name} {value}" for name, value in facts.items())


def releases(lab: Lab, bots: tuple[str, ...] = BOTS) -> dict[str, str]:
    return {bot: release_of(lab, bot) for bot in bots}


SETTLED = ("recorded", "confirmed", "rolled_back")


def under_trial(lab: Lab) -> list[str]:
    """What the VM itself still has to roll back or to confirm: bot, phase and what was noted last.

    The guard being asleep is not asked for: for some minutes it watches processes that were only recorded. The state
    is read from the VM's disk, for a program started there every few seconds would slow everything else down.
    """
    paths = sorted(lab.machine.root.glob("var/lib/webex-rollout/*/state.json"))
    states = [json.loads(path.read_bytes())["content"] for path in paths]
    return [f"{s['bot']['name']} is {s['phase']}: {s['note']}" for s in states if s["phase"] not in SETTLED]


OWN = (
    "etc/systemd/system/webex-rollout-",
    "etc/systemd/system/timers.target.wants/webex-rollout-",
    "usr/local/sbin/webex-rollout",
    "var/lib/webex-rollout/",
)
"""The program itself stays on the VM and is part of no release."""


def leftovers(lab: Lab, before: dict[str, str], states: dict[str, str], besides: tuple[str, ...] = ()) -> list[str]:
    """Files that differ from what they were although every bot is what it was. With one new bot they may."""
    if NEW in states.values():
        return []
    after = written(lab)
    changed = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
    return sorted(
        path for path in changed if not path.startswith((*OWN, *besides)) and after.get(path) != in_image(path)
    )


@dataclass(frozen=True)
class Outcome:
    """One fault at one moment. Seconds, by the stand-in's clock."""

    fault: str
    moment: str
    struck: bool
    """Whether the run came to that moment at all."""
    left_alone: dict[str, str]
    """Each bot when nobody did anything until the guard had nothing left to do."""
    again: str
    """How the same command ended afterwards."""
    after: dict[str, str]
    """Each bot then."""
    down: float
    """The longest that any bot had no websocket, from the beginning to the end of being left alone."""
    limit: float
    """The longest it may have been."""
    lost: int
    twice: int
    consumers: int
    """Times at which two copies of a bot were connected."""
    problems: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return not self.problems

    def row(self) -> str:
        ends = "; ".join(f"{state}: {len(bots)}" for state, bots in sorted(grouped(self.left_alone).items()))
        end = ends if self.struck else f"not struck; {ends}"
        figures = f"{self.down:7.1f} {self.lost:5d} {self.twice:6d} {self.consumers:5d}"
        mark = "" if self.good else "!!"
        return f"{self.fault:<34} {self.moment:<32.32} {end:<16} {figures}   {self.again:<16} {mark}"


HEADER = (
    f"{'fault':<34} {'moment':<32} {'left alone':<16} {'down s':>7} {'lost':>5} {'twice':>6} {'both':>5}   "
    "the same command again"
)


def grouped(states: dict[str, str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for bot, state in states.items():
        found.setdefault(state, []).append(bot)
    return found
