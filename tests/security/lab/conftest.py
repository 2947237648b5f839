"""A lab with a deploy account, and people in it who mean harm: the bots' user without sudo, and another user."""

from __future__ import annotations

import os
import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.faults import MOMENTS, controller, kill_controller
from tests.chaos.scenario import failure
from tests.lab.lab import Lab, temporary
from tests.lab.playbooks import Run, run_playbook
from tests.lab.run import wait_for

HOSTILE = Path(__file__).with_name("hostile")

AT_ONCE: dict[str, Any] = {"rollout_settle": 3, "rollout_wait": 0}
"""A rollout of a canary up to the beginning of its soak."""

GENERATORS = "/usr/lib/systemd/system-generators"
"""A directory of root's whose programs systemd runs as root."""


@dataclass(frozen=True)
class Copy:
    """A process whose command line is jarvis'; `unit` is its service."""

    pid: int
    user: str
    unit: str

    @property
    def in_its_unit(self) -> bool:
        return self.unit == "webex-bot@jarvis.service"


def copies(lab: Lab, user: str) -> list[Copy]:
    """A user's processes that a `ps` shows as a Python with jarvis' script."""
    listed = lab.machine.execute(["ps", "-ww", "-eo", "pid=,user:32=,unit:64=,args="]).stdout
    found = re.findall(r"^ *(\d+) +(\S+) +(\S+) +\S*python\S* \S*webex_bots/jarvis\.py", listed, re.M)
    return [Copy(int(pid), owner, unit) for pid, owner, unit in found if owner == user]


def put(lab: Lab, user: str, name: str, text: str) -> None:
    """Write a file into a user's home, as that user."""
    lab.shell(user, f"cat > ~/{name} <<'__END__'\n{text}\n__END__\n")


def let_loose(lab: Lab, user: str, name: str) -> None:
    """Start one of the hostile programs as a user, in the background."""
    put(lab, user, f"{name}.py", (HOSTILE / f"{name}.py").read_text())
    lab.shell(user, f"setsid -f python3 ~/{name}.py </dev/null >/dev/null 2>&1")


def end_all_of(lab: Lab, user: str) -> None:
    """End whatever a user runs on the VM."""
    lab.machine.execute(["pkill", "-KILL", "-u", user], check=False)


def listing(lab: Lab, *directories: str) -> str:
    """What is in directories of the VM's: names, kinds, owners, modes, sizes and times of change."""
    return lab.machine.execute(["find", *directories, "-printf", "%p %y %u %m %s %T@\\n"]).stdout


def said(run: Run) -> str:
    """A run's output on one line."""
    return " ".join(run.output.split())


@contextmanager
def at_most(lab: Lab, seconds: float) -> Iterator[list[str]]:
    """End the lab's playbook after `seconds`; the list then says so."""
    late: list[str] = []

    def end() -> None:
        late.append(f"no answer within {seconds:.0f} s")
        for pid in controller(lab):
            os.kill(pid, signal.SIGKILL)

    timer = threading.Timer(seconds, end)
    timer.start()
    try:
        yield late
    finally:
        timer.cancel()


def abandon(lab: Lab) -> int:
    """Roll jarvis out with a controller that dies when he has just been switched; the guard's deadline, in seconds."""
    struck: list[str] = []

    def strike(event: dict[str, Any]) -> bool:
        data = event.get("event_data", {})
        if event["event"] == "runner_on_ok" and data["task"].endswith(MOMENTS["switched"]):
            struck.append(data["task"])
            kill_controller(lab)
        return True

    # On a busy machine the guard may be due before he is switched; then that run fails, and a longer time is tried.
    for deadline in (60, 150, 300):
        run = run_playbook(lab, limit="jarvis", extra={**AT_ONCE, "rollout_guard_deadline": deadline}, on_event=strike)
        if struck:
            break
        assert "not confirmed within" in run.output, failure(run)
    assert struck, failure(run)
    lab.machine.execute(["/usr/local/sbin/webex-rollout", "unlock"])
    return deadline


def wait_for_the_guard(lab: Lab, deadline: int) -> None:
    """Wait until the VM itself has rolled an abandoned jarvis back, as found: his user's, once, by hand."""
    wait_for(lambda: rolled_back(lab), "the guard's rollback", timeout=deadline + 60, pause=1)


def rolled_back(lab: Lab) -> bool:
    """Whether jarvis runs as he was found: vinay's, once, by hand."""
    return [copy.in_its_unit for copy in copies(lab, "vinay")] == [False]


def stopped(lab: Lab) -> None:
    """Jarvis is ended by his operator, as by hand."""
    lab.shell("vinay", "pkill -u vinay -f '[w]ebex_bots/jarvis.py'")
    wait_for(lambda: copies(lab, "vinay") == [], "jarvis' end", timeout=20)


@pytest.fixture
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """A pristine lab for one test, with a deploy account and jarvis running."""
    with temporary(f"s{abs(hash(request.node.nodeid)) % 10**8}", "deploy") as fresh:
        fresh.network.forget_idle_after(3600)
        fresh.start_bots(("jarvis",))
        yield fresh


@pytest.fixture(scope="module")
def shared_lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """A lab with a deploy account and the six bots, for the tests of one module."""
    with temporary(f"s{abs(hash(request.node.nodeid)) % 10**8}", "deploy") as fresh:
        fresh.network.forget_idle_after(3600)
        fresh.start_bots()
        yield fresh
