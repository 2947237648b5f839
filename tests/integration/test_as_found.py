"""What preflight refuses leaves files, processes and units of the VM as they were; a bot that is to stay stopped does.

The tests go on where the one before stopped.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.integration.conftest import units, written
from tests.integration.test_refusals import file_with
from tests.integration.test_rollout import QUICK
from tests.lab.lab import Lab
from tests.lab.paths import VM_CHECKOUT, VM_USER
from tests.lab.playbooks import run_playbook
from tests.lab.run import wait_for

pytestmark = pytest.mark.slow

OLD_PYTHON = """\
#!/bin/sh
case "$1" in
-c) echo VERSION 3.6.8 ;;
*) echo "SyntaxError: future feature annotations is not defined" >&2; exit 1 ;;
esac
"""
TITLED = """\
import ctypes
import runpy

with open("/proc/self/stat") as file:
    begin, end = map(int, file.read().rsplit(")", 1)[1].split()[45:47])
ctypes.memset(begin, 0, end - begin)
ctypes.memmove(begin, b"chat: jarvis", 12)
runpy.run_path("webex_bots/jarvis.py", run_name="__main__")
"""
LOOP = 'cd "$(dirname "$0")"\nwhile true; do\n  .venv/bin/python webex_bots/jarvis.py\n  sleep 5\ndone\n'


def running(lab: Lab) -> list[str]:
    """Every process of the bots' user, but for the ones by which he and Ansible got in, with its start."""
    shown = lab.machine.execute(["ps", "-U", VM_USER, "-o", "pid=,lstart=,args=", "-ww"], check=False).stdout
    return [line for line in shown.splitlines() if not re.search("sshd|systemd|sd-pam", line)]


def stop(lab: Lab, bot: str = "jarvis") -> None:
    """End a bot and whatever would start it again, as its operator would."""
    lab.shell(VM_USER, f"pkill -f '[l]oop.sh'; pkill -f '[{bot[0]}]{bot[1:]}'", check=False)
    wait_for(lambda: not [line for line in running(lab) if bot in line], f"the end of {bot}", timeout=20, pause=0.2)


def start(lab: Lab, line: str, bot: str = "jarvis") -> None:
    """Start a bot by another command line, in the checkout."""
    lines = [f"cd {VM_CHECKOUT}", *lab.bot_environment(), f"export PYTHONPATH={VM_CHECKOUT}/shared_libs", line]
    lab.shell(VM_USER, "\n".join(lines) + "\n")
    assert lab.webex.wait_connected((bot,), timeout=90), running(lab)


def started(*lines: str) -> Callable[[Lab], AbstractContextManager[None]]:
    """Jarvis started so, and back under nohup in the end."""

    @contextmanager
    def begin(lab: Lab) -> Iterator[None]:
        stop(lab)
        for line in lines:
            start(lab, line)
        try:
            yield
        finally:
            stop(lab)
            start(lab, lab.start_line("jarvis"))

    return begin


def with_file(name: str, text: str, line: str) -> Callable[[Lab], AbstractContextManager[None]]:
    """The same with a file of the checkout."""

    @contextmanager
    def begin(lab: Lab) -> Iterator[None]:
        with file_with(lab, f"{VM_CHECKOUT}/{name}", text), started(line)(lab):
            yield

    return begin


@contextmanager
def old_python(lab: Lab) -> Iterator[None]:
    with file_with(lab, "/opt/python3.6", OLD_PYTHON):
        lab.machine.execute(["chmod", "755", "/opt/python3.6"])
        yield


@contextmanager
def no_way_out(lab: Lab) -> Iterator[None]:
    stop(lab)
    lab.network.cut()
    try:
        yield
    finally:
        lab.network.mend()
        start(lab, lab.start_line("jarvis"))


@contextmanager
def as_it_is(_: Lab) -> Iterator[None]:
    yield


@dataclass(frozen=True)
class Case:
    """A situation, and the words that its refusal must have."""

    words: tuple[str, ...]
    begins: Callable[[Lab], AbstractContextManager[None]] = as_it_is
    extra: dict[str, Any] = field(default_factory=dict)
    limit: str = "jarvis"


BOT = ".venv/bin/python webex_bots/jarvis.py"
CASES = {
    "VM's Python too old": Case(
        ("jarvis: /opt/python3.6, by which Ansible works on", "is Python 3.6.8", "set ansible_python_interpreter to"),
        old_python,
        {"ansible_python_interpreter": "/opt/python3.6"},
    ),
    "log not there": Case(
        ("its log", "logs/other.log is not there", f"set bot_log to what it writes ({VM_CHECKOUT}/logs/jarvis.log)"),
        extra={"bot_log": "logs/other.log"},
    ),
    "Webex not reachable": Case(
        ("Webex cannot be reached from the VM as vinay", "would be rolled back; run again when it can"), no_way_out
    ),
    "settings against each other": Case(
        ("jarvis has to settle for 300 s (rollout_settle) and is rolled back after 300 s",),
        extra={"rollout_settle": 300},
    ),
    "a fleet before its canary": Case(
        ("tars: jarvis has not been rolled out", "so there is no evidence", "--limit jarvis"), limit="tars"
    ),
    "two bots of one script": Case(
        ("runs as several processes with different arguments", "--space emea", "--space apac", "bot_arguments"),
        started(f"nohup {BOT} --space emea > /dev/null 2>&1 &", f"nohup {BOT} --space apac > /dev/null 2>&1 &"),
    ),
    "a loop": Case(
        ("is a child of process", "which may start it again", "kill "),
        with_file("loop.sh", LOOP, "nohup bash loop.sh > /dev/null 2>&1 &"),
    ),
    "another process title": Case(
        ("no process shows the command line of jarvis, but it may run", "chat: jarvis", "bot_command"),
        with_file("run.py", TITLED, "nohup .venv/bin/python run.py jarvis > /dev/null 2>&1 &"),
    ),
    "an output that somebody reads": Case(
        ("the output of jarvis is a pipe that process", "bot_output"),
        started(f"( {BOT} 2> /dev/null | grep --line-buffered -v xyz > logs/out.txt ) < /dev/null > /dev/null 2>&1 &"),
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_refused_means_refused(shared_lab: Lab, case: Case) -> None:
    lab = shared_lab
    with case.begins(lab):
        before = running(lab), units(lab), written(lab)
        run = run_playbook(lab, limit=case.limit, extra=case.extra)
        after = running(lab), units(lab), written(lab)
    assert run.rc != 0
    said = " ".join(run.output.split())
    assert [word for word in (*case.words, "Nothing was changed") if word not in said] == [], run.output
    assert run.count("changed") == 0
    assert after == before


def test_a_bot_that_is_to_stay_stopped_does(shared_lab: Lab) -> None:
    lab = shared_lab
    stop(lab)
    # Of what its operator's shell had nothing is known.
    lines = [line.partition(" ")[2] for line in lab.bot_environment()]
    lines.append(f"PYTHONPATH='{VM_CHECKOUT}/shared_libs'")
    target = "/etc/webex-bots/jarvis.env"
    lab.machine.execute(
        ["sh", "-c", f"umask 077; mkdir -p /etc/webex-bots; cat > {target}"], stdin="\n".join(lines) + "\n"
    )
    before = running(lab)
    stopped = {**QUICK, "rollout_wait": 60, "bot_start": False}
    run = run_playbook(lab, limit="jarvis", extra=stopped)
    assert run.rc == 0, run.output
    assert "left stopped" in run.output
    assert running(lab) == before
    assert "webex_pool_config" in (lab.machine.root / f"{VM_CHECKOUT}/webex_bots/jarvis.py".lstrip("/")).read_text()
    shown = lab.machine.execute(["systemctl", "is-enabled", "webex-bot@jarvis"], check=False).stdout
    assert shown.strip() == "disabled"
    again = run_playbook(lab, limit="jarvis", extra=stopped)
    assert (again.rc, again.count("changed")) == (0, 0), again.changed_tasks()
    verified = run_playbook(lab, "playbooks/verify.yml", limit="jarvis", extra=stopped)
    assert verified.rc == 0, verified.output
    lab.reboot_hard()
    assert [line for line in running(lab) if "jarvis" in line] == []


def test_it_is_started_once_it_is_asked_for(shared_lab: Lab) -> None:
    lab = shared_lab
    run = run_playbook(lab, limit="jarvis", extra={**QUICK, "rollout_wait": 0})
    assert run.rc == 0, run.output
    assert len([line for line in running(lab) if "jarvis" in line]) == 1
    back = run_playbook(lab, "playbooks/rollback.yml", limit="jarvis", extra={"rollout_to": "0"})
    assert back.rc == 0, back.output
    assert [line for line in running(lab) if "jarvis" in line] == []
