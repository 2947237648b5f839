"""Bad input is refused before anything is changed: the bot, the cause and the next step in one message."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from tests.integration.conftest import processes, written
from tests.lab.lab import Lab
from tests.lab.paths import VM_CHECKOUT
from tests.lab.playbooks import run_playbook


@contextmanager
def moved_away(lab: Lab, path: str) -> Iterator[None]:
    """A file or directory of the VM that is not there for a while."""
    lab.machine.execute(["mv", path, f"{path}.away"])
    try:
        yield
    finally:
        lab.machine.execute(["rm", "-rf", path])
        lab.machine.execute(["mv", f"{path}.away", path])


@contextmanager
def file_with(lab: Lab, path: str, text: str) -> Iterator[None]:
    """A file of the VM that is there, with this text, for a while."""
    lab.machine.execute(["sh", "-c", f"mkdir -p $(dirname {path}) && cat > {path}"], stdin=text)
    try:
        yield
    finally:
        lab.machine.execute(["rm", "-f", path])


@contextmanager
def broken_python(lab: Lab) -> Iterator[None]:
    with (
        moved_away(lab, f"{VM_CHECKOUT}/.venv/bin/python"),
        file_with(lab, f"{VM_CHECKOUT}/.venv/bin/python", "#!/bin/sh\necho venv is broken >&2; exit 1\n"),
    ):
        lab.machine.execute(["chmod", "755", f"{VM_CHECKOUT}/.venv/bin/python"])
        yield


@contextmanager
def unparsable_script(lab: Lab) -> Iterator[None]:
    script = f"{VM_CHECKOUT}/webex_bots/jarvis.py"
    with moved_away(lab, script), file_with(lab, script, "import sys\ndef broken(:\n"):
        yield


@contextmanager
def other_unit(lab: Lab) -> Iterator[None]:
    text = f"[Service]\nWorkingDirectory={VM_CHECKOUT}\nExecStart={VM_CHECKOUT}/.venv/bin/python webex_bots/jarvis.py\n"
    with file_with(lab, "/etc/systemd/system/old-jarvis.service", text):
        yield


@contextmanager
def silent_sshd(lab: Lab) -> Iterator[None]:
    lab.machine.execute(["systemctl", "stop", "ssh.service", "ssh.socket"], check=False)
    try:
        yield
    finally:
        lab.machine.execute(["systemctl", "start", "ssh.service"])


CRON = f"@reboot vinay cd {VM_CHECKOUT} && .venv/bin/python webex_bots/jarvis.py\n"


@dataclass(frozen=True)
class Case:
    """What is broken, and the words that the refusal must have."""

    breaks: Callable[[Lab], object]
    words: tuple[str, ...]


CASES = {
    "unreachable VM": Case(silent_sshd, ("jarvis: cannot work on vinay@", "Try `ssh -p 2222 vinay@", "ansible_host")),
    "no sudo": Case(
        lambda lab: moved_away(lab, "/etc/sudoers.d/operator"), ("jarvis: vinay cannot become root", "sudo")
    ),
    "missing checkout": Case(
        lambda lab: moved_away(lab, VM_CHECKOUT), (f"the checkout {VM_CHECKOUT} is not", "bot_home")
    ),
    "missing venv": Case(lambda lab: moved_away(lab, f"{VM_CHECKOUT}/.venv"), ("no such file", "bot_python")),
    "broken venv": Case(broken_python, ("venv is broken", "bot_python")),
    "missing script": Case(
        lambda lab: moved_away(lab, f"{VM_CHECKOUT}/webex_bots/jarvis.py"),
        ("webex_bots/jarvis.py is not there", "bot_script"),
    ),
    "script that does not parse": Case(unparsable_script, ("jarvis.py does not parse", "line 2", "correct it first")),
    "another unit": Case(other_unit, ("old-jarvis.service", "starts jarvis too", "bot_take_over_starters")),
    "a cron line": Case(
        lambda lab: file_with(lab, "/etc/cron.d/bots", CRON),
        ("/etc/cron.d/bots line 1", "starts jarvis too", "remove it"),
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_refused_before_anything_is_changed(shared_lab: Lab, case: Case) -> None:
    with case.breaks(shared_lab):  # type: ignore[attr-defined]
        before, running = written(shared_lab), processes(shared_lab)
        run = run_playbook(shared_lab, limit="jarvis")
        after = written(shared_lab)
    assert run.rc != 0
    said = " ".join(run.output.split())
    assert [word for word in (*case.words, "jarvis", "Nothing was changed") if word not in said] == [], run.output
    assert run.count("changed") == 0
    assert after == before
    assert processes(shared_lab) == running


def test_one_bad_bot_stops_the_run_for_all(shared_lab: Lab) -> None:
    with moved_away(shared_lab, f"{VM_CHECKOUT}/webex_bots/msoar.py"):
        before = written(shared_lab)
        run = run_playbook(shared_lab)
        after = written(shared_lab)
    assert run.rc != 0
    assert "msoar: the script" in run.output
    assert after == before


def test_an_unknown_setting_is_refused(shared_lab: Lab) -> None:
    before = written(shared_lab)
    run = run_playbook(shared_lab, extra={"webex_pool_max_size": 40})
    assert run.rc != 0
    assert "webex_pool_max_size" in run.output
    assert "did you mean webex_pool_maxsize?" in run.output
    assert written(shared_lab) == before


def test_a_limit_that_names_nothing_is_refused(shared_lab: Lab) -> None:
    run = run_playbook(shared_lab, limit="jarvsi")
    assert run.rc != 0
    assert "jarvsi" in run.output
