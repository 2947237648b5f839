"""A canary that was just confirmed on a machine, with a clock that can be moved on."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from ansible.module_utils.webex_rollout import heard, soak, watch
from ansible.module_utils.webex_rollout.clock import boot_clock, boot_key
from ansible.module_utils.webex_rollout.logs.cursor import look_at_all
from ansible.module_utils.webex_rollout.logs.tally import evidence
from ansible.module_utils.webex_rollout.procfs import read_stat
from ansible.module_utils.webex_rollout.state import State

from tests.unit.pool.test_channel_reader import NUMBERS, channel, head
from tests.unit.rollout.conftest import machine
from tests.unit.rollout.machine import NEW, Machine, forward

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["machine"]

SESSION = "session=bot.teams max_retries=3 timeout=60"
# Ten minutes of soak, and nothing of it left to chance.
GATE = {"soak_min": 600.0, "soak_max": 7200.0, "min_requests": 20, "timeouts_per_hour": 1.0, "beta": 1.0}
TICK = 60.0


class Canary:
    """A bot under watch, whose pool module is played by the test."""

    def __init__(self, machine: Machine, monkeypatch: pytest.MonkeyPatch, bot: str = "jarvis") -> None:
        self.machine, self.bot, self.unit = machine, bot, f"webex-bot@{bot}.service"
        self.later = 0.0
        self.began: float | None = None
        self.counts = dict.fromkeys(NUMBERS, 0)
        self.directory = machine.root / f"run/{bot}"
        self.directory.mkdir(parents=True, exist_ok=True)
        run = machine.root / "run"
        monkeypatch.setattr(watch, "runtime_directory", lambda name: str(run / name))
        monkeypatch.setattr(watch, "boot_clock", self.now)
        monkeypatch.setattr(
            watch,
            "vm_clock",
            lambda: {"epoch": time.time() + self.later, "since_boot": self.now(), "boot": boot_key()},
        )

    def now(self) -> float:
        """Seconds since boot; from the beginning of the soak on they pass only in `tick`."""
        return (boot_clock() if self.began is None else self.began) + self.later

    def rolled_out(self, version: str = NEW, acts: bool = True, **gate: float) -> Canary:
        """Switched, checked, confirmed, and its soak begun."""
        self.machine.nohup(self.bot)
        log = self.machine.home / f"logs/{self.bot}.log"
        self.machine.wait_for((self.machine.home / "logs/jarvis.log").exists)  # all of these bots log there
        log.touch()
        seen = look_at_all(str(log), rotated=True)
        clock = {"epoch": time.time(), "since_boot": boot_clock(), "boot": boot_key()}
        before = {**evidence(seen.tally), "cursor": seen.cursor.to_dict(), "now": clock}
        forward(self.machine, self.bot, version=version)
        self.began = boot_clock()
        begun = soak.begin(self.machine.bot(self.bot), self.state.current, str(log), before)
        begun.clock["since_boot"] = self.began
        begun.gate, begun.acts, begun.until = {**GATE, **gate}, acts, 1e9
        soak.save(self.machine.vm.store(self.bot), begun)
        return self

    @property
    def state(self) -> State:
        return self.machine.vm.store(self.bot).need()

    @property
    def soak(self) -> soak.Soak:
        kept = soak.load(self.machine.vm.store(self.bot))
        assert kept is not None
        return kept

    @property
    def pid(self) -> int:
        return self.machine.systemd.running(self.unit)

    @property
    def path(self) -> Path:
        stat = read_stat(self.pid)
        assert stat is not None
        return self.directory / f"{self.pid}-{stat.start_time}-0.channel"

    def does(self, **counts: int) -> None:
        """The bot's process counts calls in its channel, as its pool module would."""
        stat = read_stat(self.pid)
        assert stat is not None
        for name, more in counts.items():
            self.counts[name] += more
        now = int(self.now() * 1000)
        moments = {"sequence": self.counts["sequence"] + 1, "at": now, "configured": 1}
        self.counts.update(moments)
        process = f"process pid={self.pid} start={stat.start_time} boot={boot_key().partition(':')[0]} opened={now}"
        self.path.write_bytes(channel(process, SESSION, head=head(**self.counts)))

    def fresh(self) -> None:
        """The channel of a process that has just begun to count."""
        self.counts = dict.fromkeys(NUMBERS, 0)
        self.does()

    def tick(self, seconds: float = TICK) -> list[str]:
        """The timer, some time later."""
        self.later += seconds
        return watch.watch(self.machine.vm)

    def works(self, minutes: float, **counts: int) -> None:
        """So many minutes of ticks, with calls before each."""
        for _ in range(round(minutes * 60 / TICK)):
            self.does(**(counts or {"answered": 2}))
            self.tick()

    def idles(self, minutes: float, step: float = TICK) -> list[str]:
        """So many minutes of ticks; what the last one said."""
        said: list[str] = []
        for _ in range(round(minutes * 60 / step)):
            said = self.tick(step)
        return said

    def audit(self) -> list[str]:
        return [line for line in self.machine.vm.audit_tail(50) if "action=watch" in line]


@pytest.fixture
def canary(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Canary:
    """A bot that is to be rolled out."""
    monkeypatch.setattr(heard, "SILENCE", 180.0)
    return Canary(machine, monkeypatch)


def failures(number: int) -> str:
    """Lines as a failed call leaves them, a minute apart."""
    return "".join(
        f"2026-02-03 {minute // 60:02d}:{minute % 60:02d}:00,000 - bot.py:7 - ERROR - Error processing message: "
        "HTTPSConnectionPool(host='webexapis.com', port=443): Read timed out. (read timeout=60)\n"
        for minute in range(number)
    )


def verdict_of(kept: soak.Soak) -> dict[str, Any]:
    """The last verdict, as it was recorded."""
    assert kept.record is not None
    return dict(kept.record["verdict"])
