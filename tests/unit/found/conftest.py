"""A machine of its own for each test, and preflight's look at it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ansible.module_utils.webex_rollout.facts import collect
from ansible.module_utils.webex_rollout.procfs import all_pids, read_stat
from ansible.module_utils.webex_rollout.refusals import Needs, problems

from tests.unit.rollout.conftest import machine
from tests.unit.rollout.machine import Machine

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["machine"]

LOGS = """\
import os, socket, sys, time
with open("{log}", "a") as log:
    log.write(f"started {{os.getpid()}}\\n")
    log.flush()
    time.sleep(300)
"""


class Preflight:
    """Preflight's look at a machine's bots, as the module takes it."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.facts: dict[str, Any] = {}

    def needs(self, name: str, **changes: Any) -> Needs:
        return Needs(
            f"logs/{name}.log", open_files=1024, connections=1, min_free_mib=1, take_over_starters=False, **changes
        )

    def look(self, name: str = "jarvis", others: tuple[str, ...] = (), **changes: Any) -> list[str]:
        """What speaks against a bot, whose log is there; the facts are kept."""
        machine = self.machine
        (machine.home / f"logs/{name}.log").touch()
        given = [(machine.bot(name), self.needs(name, **changes))]
        self.facts = collect(machine.vm, given, [(machine.bot(other), self.needs(other)) for other in others])[name]
        self.facts["python"] = {
            "error": None,
            "version": "3.11.2",
            "packages": None,
            "syntax_error": None,
            "start_problem": "",
        }
        return problems(self.facts, given[0][1])

    @property
    def pids(self) -> list[int]:
        return [process["pid"] for process in self.facts["processes"]]

    @property
    def plan(self) -> dict[str, Any]:
        plan: dict[str, Any] = self.facts["plan"]
        return plan

    def fates(self) -> dict[str, tuple[str, str, str]]:
        """The plan's rows by what they are about."""
        return {d["what"]: (d["found"], d["wanted"], d["fate"]) for d in self.plan["differences"]}

    def written(self, name: str = "jarvis") -> None:
        """Have a bot that holds its log open, as bots do."""
        self.machine.script(name).write_text(LOGS.format(log=self.machine.home / f"logs/{name}.log"))

    def started(self, count: int = 1, name: str = "jarvis") -> None:
        self.machine.wait_for(lambda: self.machine.log(name).count("started") == count)

    def nothing_happened(self) -> Callable[[], bool]:
        """Take down files, units and processes; the answer says whether they are as they were."""

        def now() -> tuple[object, ...]:
            alive = {s.pid: s.start_time for s in map(read_stat, all_pids()) if s and self._is_here(s.pid)}
            return self.machine.tree(), alive, sorted(p.name for p in self.machine.root.iterdir())

        before = now()
        return lambda: now() == before

    def _is_here(self, pid: int) -> bool:
        try:
            return str(Path(f"/proc/{pid}/cwd").readlink()).startswith(str(self.machine.root))
        except OSError:
            return False


@pytest.fixture
def preflight(machine: Machine) -> Preflight:
    """Preflight's look at it."""
    return Preflight(machine)
