"""What the bots' user can do to root by way of his checkout and his processes: nothing, at no moment of a rollout."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.chaos.faults import MOMENTS
from tests.chaos.scenario import failure
from tests.lab.lab import Lab, temporary
from tests.lab.paths import CHECKOUT, VM_CHECKOUT, VM_UID
from tests.lab.playbooks import run_playbook
from tests.lab.recorder import recorded
from tests.lab.run import wait_for
from tests.security.lab.conftest import (
    AT_ONCE,
    GENERATORS,
    at_most,
    copies,
    end_all_of,
    let_loose,
    listing,
    put,
    said,
)

HIS, HERS = "vinay", "otheruser"
RAN_AS_ROOT = "/run/ran-as-root"

WRAPPER = f"""#!/bin/bash
id -u >> /home/vinay/ran-as 2>&1
exec -a "$0" {VM_CHECKOUT}/.venv/bin/python.real "$@"
"""

# In front of jarvis.py: what it does where root runs it.
RUN_BY_ROOT = f"""
import os
if os.getuid() == 0:
    open("{RAN_AS_ROOT}", "w").write("jarvis.py")
    os._exit(0)
"""


def arm_script(lab: Lab) -> None:
    """His script reports when root runs it; it is a program, as it is for a service that wants one."""
    put(lab, HIS, "lines", RUN_BY_ROOT)
    lab.shell(HIS, f"cd {VM_CHECKOUT}/webex_bots && sed -i '1r /home/vinay/lines' jarvis.py && chmod 755 jarvis.py")


def ran_as_root(lab: Lab) -> bool:
    return lab.machine.execute(["test", "-e", RAN_AS_ROOT], check=False).returncode == 0


def stopped(lab: Lab) -> None:
    """Jarvis is ended by his operator, as by hand."""
    lab.shell(HIS, "pkill -u vinay -f '[w]ebex_bots/jarvis.py'")
    wait_for(lambda: copies(lab, HIS) == [], "jarvis' end", timeout=20)


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


@pytest.mark.parametrize("how", ["look", "check", "rollout"])
def test_his_python_is_never_run_as_root(shared_lab: Lab, how: str) -> None:
    """A wrapper in its place notes who runs it; and everything works."""
    put(shared_lab, HIS, "wrapper", WRAPPER)
    bin = f"{VM_CHECKOUT}/.venv/bin"
    shared_lab.shell(HIS, f"cd {bin} && mv python python.real && install -m 755 ~/wrapper python; rm -f ~/ran-as")
    try:
        playbook = "playbooks/preflight.yml" if how == "look" else "rollout.yml"
        run = run_playbook(shared_lab, playbook, limit="jarvis", check=how == "check", extra=AT_ONCE)
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
def test_a_log_that_never_ends_costs_no_time(deployed: Lab, command: str) -> None:
    with in_place_of_the_log(deployed, command), at_most(deployed, 30) as late:
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


def test_a_module_directory_that_is_a_link_gets_no_module(lab: Lab) -> None:
    lab.shell(HIS, f"cd {VM_CHECKOUT}/src && cp -a utils ~/kept && rm -rf utils && ln -s {GENERATORS} utils")
    before, running = listing(lab, GENERATORS), copies(lab, HIS)
    run = run_playbook(lab, limit="jarvis", extra=AT_ONCE)
    assert listing(lab, GENERATORS) == before
    assert copies(lab, HIS) == running
    assert run.rc != 0
    assert "src/utils" in said(run)


def test_a_rollback_writes_through_no_link(lab: Lab) -> None:
    """After an ordinary rollout he swaps his directories for links to root's, and lets jarvis die: the VM acts alone."""
    arm_script(lab)
    run = run_playbook(lab, limit="jarvis", extra=AT_ONCE)
    assert run.rc == 0, failure(run)
    vault = "/etc/vault"
    lab.machine.execute(["mkdir", "-m", "700", vault])
    before = listing(lab, GENERATORS, vault)
    # Copied and removed, for the lab's overlay cannot rename a directory of its lower layer.
    lab.shell(
        HIS,
        f"cd {VM_CHECKOUT} && cp -a webex_bots ~/kept-bots && rm -rf webex_bots && ln -s {GENERATORS} webex_bots"
        f" && cp -a src/utils ~/kept-utils && rm -rf src/utils && ln -s {vault} src/utils",
    )
    let_loose(lab, HIS, "die")

    def tried() -> bool:
        shown = "journalctl -u webex-rollout-guard --no-pager -o cat; cat /var/lib/webex-rollout/audit.log"
        return "jarvis:" in (text := lab.machine.execute(["sh", "-c", shown]).stdout) or "action=rollback" in text

    wait_for(tried, "the guard's attempt", timeout=120, pause=1)
    assert not ran_as_root(lab)
    assert listing(lab, GENERATORS, vault) == before


def test_a_program_with_roots_rights_is_not_the_bot(lab: Lab) -> None:
    """A sudo that waits for a password has his bot's command line at the moment when the bot is recorded.

    Put back "as found", with root's uid, it would run his script without asking.
    """
    arm_script(lab)
    lab.shell(HIS, "mkfifo ~/never")
    pretend = (
        f"cd {VM_CHECKOUT} && ln -sf /usr/bin/sudo .venv/bin/python && {{ bash -c 'exec 9<>~/never;"
        " exec -a .venv/bin/python /usr/bin/sudo -S webex_bots/jarvis.py <&9' >/dev/null 2>&1 & }"
    )
    steps = {
        "Install the VM's program": lambda: (stopped(lab), lab.shell(HIS, pretend)),
        MOMENTS["recorded"]: lambda: lab.shell(HIS, f"ln -sf python3 {VM_CHECKOUT}/.venv/bin/python"),
    }
    done = []

    def strike(event: dict[str, Any]) -> bool:
        data = event.get("event_data", {})
        for task, step in steps.items():
            if event["event"] == "runner_on_ok" and data["task"].endswith(task) and task not in done:
                done.append(task)
                step()
        return True

    with at_most(lab, 120):
        run = run_playbook(lab, limit="jarvis", extra={**AT_ONCE, "rollout_guard_deadline": 30}, on_event=strike)
    lab.machine.execute(["webex-rollout", "rollback", "jarvis", "--to", "0"], check=False, timeout=120)
    assert done, failure(run)
    assert not ran_as_root(lab)


def test_nothing_that_root_installs_passes_through_a_home() -> None:
    """The account that Ansible connects as is the bots' user, and he changes every file in his ~/.ansible/tmp."""
    with temporary("stamper") as lab:
        lab.start_bots(("jarvis",))
        let_loose(lab, HIS, "tamper")
        run = run_playbook(lab, limit="jarvis", extra=AT_ONCE)
        places = [
            "/usr/local/sbin",
            "/etc/systemd/system",
            "/etc/webex-bots",
            "/etc/security",
            "/var/lib/webex-rollout",
        ]
        found = lab.machine.execute(["grep", "-rla", "tampered with", *places], check=False).stdout.split()
        assert found == []
        assert run.rc == 0, failure(run)
