"""Each check of the verify suite fails on a machine where its fact, and only its fact, is broken."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from tests.integration.test_rollout import QUICK
from tests.lab.lab import Lab
from tests.lab.paths import PROJECT, VM_CHECKOUT
from tests.lab.playbooks import run_playbook
from tests.lab.webex.driver import Pattern

UNIT = "webex-bot@jarvis.service"
DROP_IN = f"/etc/systemd/system/{UNIT}.d/99-test.conf"
SCRIPT = f"{VM_CHECKOUT}/webex_bots/jarvis.py"
MODULE = f"{VM_CHECKOUT}/src/utils/webex_pool_config.py"
LOG = f"{VM_CHECKOUT}/logs/jarvis.log"
# What is in front of every command below: a copy to restore, of whatever file is changed.
SAVE = f"cp -a {SCRIPT} /root/script; cp -a {MODULE} /root/module; "
RESTORE = (
    f"cp -a /root/script {SCRIPT}; cp -a /root/module {MODULE}; rm -f {DROP_IN} /etc/cron.d/jarvis;"
    f" rm -f /etc/systemd/system/stray.service; systemctl stop stray-jarvis.service restarts.service 2>/dev/null;"
    f" systemctl daemon-reload; systemctl enable {UNIT}; systemctl reset-failed {UNIT}; systemctl restart {UNIT}"
)


@dataclass(frozen=True)
class Case:
    """A shell command that breaks one fact on the VM, and the test that must see it."""

    command: str
    test: str


def restarted_with(setting: str) -> str:
    return f"printf '[Service]\\n{setting}\\n' > {DROP_IN}; systemctl daemon-reload; systemctl restart {UNIT}"


CASES = {
    "disabled": Case(f"systemctl disable {UNIT}", "test_unit_is_active_and_enabled"),
    "stopped": Case(f"systemctl stop {UNIT}", "test_unit_is_active_and_enabled"),
    "a second copy": Case(
        f"systemd-run --unit=stray-jarvis --uid=vinay --working-directory={VM_CHECKOUT}"
        f" --property=EnvironmentFile=/etc/webex-bots/jarvis.env {VM_CHECKOUT}/.venv/bin/python webex_bots/jarvis.py",
        "test_exactly_one_copy_runs_and_it_is_the_units",
    ),
    "a cron line": Case(
        f"echo '@reboot vinay cd {VM_CHECKOUT} && .venv/bin/python webex_bots/jarvis.py' > /etc/cron.d/jarvis",
        "test_nothing_else_starts_the_script",
    ),
    "another unit": Case(
        f"printf '[Service]\\nExecStart=/usr/bin/python3 {SCRIPT}\\n' > /etc/systemd/system/stray.service",
        "test_nothing_else_starts_the_script",
    ),
    "a low limit": Case(restarted_with("LimitNOFILE=1024"), "test_open_file_limit_is_in_force"),
    "another module": Case(f"echo '# edited' >> {MODULE}", "test_pool_module_is_the_projects"),
    "an unwrapped client": Case(
        f"printf '\\nspare = WebexTeamsAPI(access_token=None)\\n' >> {SCRIPT}", "test_script_is_patched_and_compiles"
    ),
    "a script that does not parse": Case(f"echo 'def broken(:' >> {SCRIPT}", "test_script_is_patched_and_compiles"),
    "sessions not configured": Case(
        f"sed -i 's/configure_webex_bot_session(/(lambda bot, **_: bot)(/' {SCRIPT}; systemctl restart {UNIT}",
        "test_sessions_say_that_they_are_configured",
    ),
    "no keep-alive": Case(
        f"sed -i 's/SO_KEEPALIVE, 1)/SO_KEEPALIVE, 0)/' {MODULE}; systemctl restart {UNIT}",
        "test_connections_carry_a_keepalive_timer",
    ),
    "a time-out in the log": Case(
        f"""date -d '+5 seconds' '+%F %T,000 - x.py:1 - ERROR - Read timed out. (read timeout=60)' >> {LOG}""",
        "test_no_timeout_since_the_switch",
    ),
    # Again and again, closer together than the suite looks twice, however long it takes to begin.
    "restarted meanwhile": Case(
        f"systemd-run --unit=restarts sh -c 'for time in 1 2 3 4; do sleep 7; systemctl restart {UNIT}; done'",
        "test_stays_up",
    ),
}


@pytest.fixture(scope="module")
def deployed(shared_lab: Lab) -> Iterator[Lab]:
    """A lab with jarvis rolled out, and people writing to him."""
    shared_lab.webex.start(Pattern(burst=4, gap=1.5))
    run = run_playbook(shared_lab, limit="jarvis", extra=QUICK)
    assert run.rc == 0, run.output
    yield shared_lab
    shared_lab.webex.stop()


def verify(lab: Lab, test: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "tests/verify", "-q", "-p", "no:cacheprovider", "-k", test]
    command += ["--hosts=ansible://jarvis", f"--ansible-inventory={lab.inventory}"]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)


@pytest.fixture
def broken(deployed: Lab) -> Iterator[Callable[[str], None]]:
    """Breaks something on the VM, and mends it after the test."""
    deployed.machine.execute(["sh", "-c", SAVE])
    yield lambda command: deployed.machine.execute(["sh", "-c", command]) and None
    deployed.machine.execute(["sh", "-c", RESTORE], check=False)
    assert deployed.webex.wait_connected(("jarvis",), timeout=30)


def test_all_checks_pass_on_a_sound_machine(deployed: Lab) -> None:
    done = verify(deployed, "test_")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_broken_fact_is_seen(deployed: Lab, broken: Callable[[str], None], case: Case) -> None:
    broken(case.command)
    done = verify(deployed, case.test)
    failed = re.findall(r"^FAILED tests/verify/test_bots\.py::(\w+)", done.stdout, re.M)
    assert failed == [case.test], done.stdout
