"""What stands in the checkout in a file's place, or a program's, gets the bots' user nothing of root's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from module_utils.webex_rollout.logs.reader import SECONDS
from tests.chaos.scenario import failure
from tests.lab.lab import Lab
from tests.lab.paths import CHECKOUT, VM_CHECKOUT, VM_UID
from tests.lab.playbooks import run_playbook
from tests.lab.recorder import recorded
from tests.security.lab.conftest import (
    AT_ONCE,
    at_most,
    copies,
    end_all_of,
    put,
    said,
    stopped,
)

HIS, HERS = "vinay", "otheruser"

WRAPPER = f"""#!/bin/bash
id -u >> /home/vinay/ran-as 2>&1
exec -a "$0" {VM_CHECKOUT}/.venv/bin/python.real "$@"
"""

pytestmark = pytest.mark.slow


def test_a_script_that_is_another_users_is_refused(lab: Lab) -> None:
    """Root reads nothing through the link, nor is her process taken for the bot and ended."""
    first, rest = (CHECKOUT / "webex_bots/jarvis.py").read_text().split("\n", 1)
    put(lab, HERS, "jarvis.py", f"{first}\nimport time\ntime.sleep(600)\n{rest}")
    lab.shell(HERS, "cd / && HER_KEY=dear-diary setsid -f python3 ~/jarvis.py </dev/null >/dev/null 2>&1")
    hers = lab.machine.execute(["pgrep", "-u", HERS, "-f", "jarvis.py"]).stdout
    stopped(lab)
    scripts = f"cd {VM_CHECKOUT}/webex_bots"
    lab.shell(HIS, f"{scripts} && mv jarvis.py kept.py && ln -s /home/{HERS}/jarvis.py jarvis.py")
    try:
        with recorded(lab.machine.root / "home" / HERS, but=2001) as recording:
            run = run_playbook(lab, limit="jarvis", extra=AT_ONCE)
        after = lab.machine.execute(["pgrep", "-u", HERS, "-f", "jarvis.py"], check=False).stdout
        kept = lab.machine.execute(["grep", "-rl", "dear-diary", "/etc", "/var/lib"], check=False).stdout
    finally:
        lab.shell(HIS, f"{scripts} && mv kept.py jarvis.py")
        end_all_of(lab, HERS)
    assert [str(touch) for touch in recording.touches if touch.euid == 0] == []
    assert after == hers
    assert kept == ""
    assert run.rc != 0
    assert "jarvis.py" in said(run)


@pytest.mark.parametrize("how", ["look", "rollout"])
def test_his_python_is_never_run_as_root(shared_lab: Lab, how: str) -> None:
    """A wrapper in its place notes who runs it; and everything works."""
    put(shared_lab, HIS, "wrapper", WRAPPER)
    bin = f"{VM_CHECKOUT}/.venv/bin"
    shared_lab.shell(HIS, f"cd {bin} && mv python python.real && install -m 755 ~/wrapper python; rm -f ~/ran-as")
    try:
        playbook = "playbooks/preflight.yml" if how == "look" else "rollout.yml"
        run = run_playbook(shared_lab, playbook, limit="jarvis", extra=AT_ONCE)
    finally:
        shared_lab.shell(HIS, f"cd {bin} && mv python.real python")
    ran = set(shared_lab.machine.execute(["cat", "/home/vinay/ran-as"], check=False).stdout.split())
    assert run.rc == 0, failure(run)
    assert ran <= {str(VM_UID)}


@pytest.fixture(scope="module")
def deployed(shared_lab: Lab) -> Lab:
    """Jarvis, rolled out, by a test before or now."""
    if [copy.in_its_unit for copy in copies(shared_lab, HIS)] == [True]:
        return shared_lab
    run = run_playbook(shared_lab, limit="jarvis", extra=AT_ONCE)
    assert run.rc == 0, failure(run)
    return shared_lab


@contextmanager
def in_place_of_the_log(lab: Lab, command: str) -> Iterator[None]:
    """Something else under the log's name for a while; the bot goes on writing where it wrote."""
    lab.shell(HIS, f"cd {VM_CHECKOUT}/logs && mv jarvis.log kept.log && {command}")
    try:
        yield
    finally:
        lab.shell(HIS, f"cd {VM_CHECKOUT}/logs && rm -f jarvis.log && mv kept.log jarvis.log")
        # A reader that hangs would slow down the tests after it.
        lab.machine.execute(["pkill", "-KILL", "-u", "root", "-x", "python3.11"], check=False)


@pytest.mark.parametrize(
    "command",
    ["mkfifo jarvis.log", "ln -s /dev/zero jarvis.log", "truncate -s 64G jarvis.log"],
    ids=["a FIFO", "/dev/zero", "64 GiB"],
)
def test_a_log_that_never_ends_costs_a_bounded_time(deployed: Lab, command: str) -> None:
    """Each look is cut off; a playbook has two, preflight's and its own."""
    with in_place_of_the_log(deployed, command), at_most(deployed, 2 * SECONDS + 120) as late:
        run = run_playbook(deployed, "playbooks/verify.yml", limit="jarvis")
    assert late == []
    assert "jarvis" in said(run)


def test_a_log_that_is_roots_file_is_not_read(deployed: Lab) -> None:
    directory = deployed.machine.root / "root"
    (directory / "vault").mkdir(mode=0o700)
    (directory / "vault/secret").write_text("2026-01-01 00:00:00,000 - x.py:1 - ERROR - Read timed out. dear diary\n")
    command = "ln -s /root/vault/secret jarvis.log"
    with in_place_of_the_log(deployed, command), recorded(directory / "vault", but=VM_UID) as recording:
        run = run_playbook(deployed, "playbooks/verify.yml", limit="jarvis")
    assert [str(touch) for touch in recording.touches] == []
    assert "dear diary" not in run.output
