"""What the bots' user swaps in the middle of a rollout, or before a rollback, gets him nothing of root's."""

from __future__ import annotations

from typing import Any

import pytest

from tests.chaos.faults import MOMENTS
from tests.chaos.scenario import failure
from tests.lab.lab import Lab, temporary
from tests.lab.paths import VM_CHECKOUT
from tests.lab.playbooks import run_playbook
from tests.lab.run import wait_for
from tests.security.lab.conftest import (
    AT_ONCE,
    GENERATORS,
    abandon,
    at_most,
    copies,
    let_loose,
    listing,
    put,
    said,
    stopped,
)

HIS = "vinay"
RAN_AS_ROOT = "/run/ran-as-root"

# In front of jarvis.py: what it does where root runs it.
RUN_BY_ROOT = f"""
import os
if os.getuid() == 0:
    open("{RAN_AS_ROOT}", "w").write("jarvis.py")
    os._exit(0)
"""

pytestmark = pytest.mark.slow


def arm_script(lab: Lab) -> None:
    """His script reports when root runs it; it is a program, as it is for a service that wants one."""
    put(lab, HIS, "lines", RUN_BY_ROOT)
    lab.shell(HIS, f"cd {VM_CHECKOUT}/webex_bots && sed -i '1r /home/vinay/lines' jarvis.py && chmod 755 jarvis.py")


def ran_as_root(lab: Lab) -> bool:
    return lab.machine.execute(["test", "-e", RAN_AS_ROOT], check=False).returncode == 0


def test_a_module_directory_that_is_a_link_gets_no_module(lab: Lab) -> None:
    lab.shell(HIS, f"cd {VM_CHECKOUT}/src && cp -a utils ~/kept && rm -rf utils && ln -s {GENERATORS} utils")
    before, running = listing(lab, GENERATORS), copies(lab, HIS)
    run = run_playbook(lab, limit="jarvis", extra=AT_ONCE)
    assert listing(lab, GENERATORS) == before
    assert copies(lab, HIS) == running
    assert run.rc != 0
    assert "imports src.utils" in said(run)


def test_a_rollback_writes_through_no_link(lab: Lab) -> None:
    """Once he runs his new release he swaps directories for links to root's, and nobody confirms: the guard acts."""
    arm_script(lab)
    deadline = abandon(lab)
    vault = "/etc/vault"
    lab.machine.execute(["mkdir", "-m", "700", vault])
    before = listing(lab, GENERATORS, vault)
    # Copied and removed, for the lab's overlay cannot rename a directory of its lower layer.
    lab.shell(
        HIS,
        f"cd {VM_CHECKOUT} && cp -a webex_bots ~/kept-bots && rm -rf webex_bots && ln -s {GENERATORS} webex_bots"
        f" && cp -a src/utils ~/kept-utils && rm -rf src/utils && ln -s {vault} src/utils",
    )

    def tried() -> bool:
        return "action=rollback" in lab.machine.execute(["cat", "/var/lib/webex-rollout/audit.log"]).stdout

    wait_for(tried, "the guard's attempt", timeout=deadline + 90, pause=1)
    assert not ran_as_root(lab)
    assert listing(lab, GENERATORS, vault) == before


def test_a_program_with_roots_rights_is_not_the_bot(lab: Lab) -> None:
    """A sudo that waits for a password has his bot's command line at the moment when the bot is recorded.

    Started again "as found", with root's uid, it would run his script without asking.
    """
    arm_script(lab)
    lab.shell(HIS, "mkfifo ~/never")
    pretend = (
        f"cd {VM_CHECKOUT} && ln -sf /usr/bin/sudo .venv/bin/python && {{ bash -c 'exec 9<>~/never;"
        " exec -a .venv/bin/python /usr/bin/sudo -S webex_bots/jarvis.py <&9' >/dev/null 2>&1 & }"
    )
    steps = {
        "Install the VM's program": lambda: (stopped(lab), lab.shell(HIS, pretend)),
        MOMENTS["armed"]: lambda: lab.shell(HIS, f"ln -sf python3 {VM_CHECKOUT}/.venv/bin/python"),
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
        run = run_playbook(lab, limit="jarvis", extra={**AT_ONCE, "rollout_guard_deadline": 45}, on_event=strike)
    lab.machine.execute(["/usr/local/sbin/webex-rollout", "rollback", "jarvis", "--to", "0"], check=False, timeout=120)
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
