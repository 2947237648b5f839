"""What another local user does, without any rights, costs no bot anything: no refusal, no delay, no identity.

The tests go on where the one before stopped: jarvis is looked at, rolled out, rolled back, and left to the guard.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.chaos.scenario import failure
from tests.lab.lab import Lab
from tests.lab.playbooks import run_playbook
from tests.lab.run import wait_for
from tests.security.lab.conftest import (
    AT_ONCE,
    abandon,
    at_most,
    copies,
    end_all_of,
    let_loose,
    rolled_back,
    said,
    wait_for_the_guard,
)

HER = "otheruser"


@pytest.fixture(autouse=True)
def nothing_of_hers_is_left(shared_lab: Lab) -> Iterator[None]:
    yield
    end_all_of(shared_lab, HER)
    shared_lab.machine.execute(["crontab", "-r", "-u", HER], check=False)
    # A look that hangs would slow down the tests after it.
    shared_lab.machine.execute(["pkill", "-KILL", "-u", "root", "-x", "python3.11"], check=False)


def running(lab: Lab, name: str) -> bool:
    return lab.machine.execute(["pgrep", "-u", HER, "-f", name], check=False).returncode == 0


def test_a_process_with_a_long_path_blinds_nobody(shared_lab: Lab) -> None:
    let_loose(shared_lab, HER, "deep")
    wait_for(lambda: running(shared_lab, "^sleep 600"), "her process", timeout=10)
    run = run_playbook(shared_lab, "playbooks/preflight.yml")
    assert (run.rc, run.count("failures")) == (0, 0), failure(run)


HOSTILE_LINES = ("0 0 1 1 * python3 /" + "${a}" * 18 + "zz.py", "0 0 1 1 * " + "a=b " * 230 + "x.py")


@pytest.mark.parametrize(
    "lines",
    [("0 0 1 1 * python3 /home/vinay/pub/IR/webex_bots/jarvis.py",), HOSTILE_LINES],
    ids=["a line that names jarvis", "lines that are slow to judge"],
)
def test_her_crontab_neither_forbids_nor_delays(shared_lab: Lab, lines: tuple[str, ...]) -> None:
    shared_lab.machine.execute(["crontab", "-u", HER, "-"], stdin="\n".join(lines) + "\n")
    with at_most(shared_lab, 60) as late:
        run = run_playbook(shared_lab, "playbooks/preflight.yml", limit="jarvis")
    assert (late, run.rc) == ([], 0), failure(run)


def test_her_process_is_not_the_bot(shared_lab: Lab) -> None:
    """It is called like him, and was started with a PYTHONPATH of hers."""
    let_loose(shared_lab, HER, "namesake")
    wait_for(lambda: copies(shared_lab, HER) != [], "her process", timeout=10)
    hers = copies(shared_lab, HER)
    run = run_playbook(shared_lab, limit="jarvis", extra=AT_ONCE)
    ran = shared_lab.machine.execute(["ls", f"/home/{HER}/drop"]).stdout.split()
    kept = shared_lab.machine.execute(["cat", "/etc/webex-bots/jarvis.env"], check=False).stdout
    assert run.rc == 0, failure(run)
    assert ran == []
    assert f"/home/{HER}" not in kept
    assert copies(shared_lab, HER) == hers
    assert [copy.in_its_unit for copy in copies(shared_lab, "vinay")] == [True]
    assert str(hers[0].pid) in said(run), "the namesake is reported, with its pid"
    assert HER in said(run)


def test_a_rollback_waits_for_nobody_elses_process(shared_lab: Lab) -> None:
    """Whoever ends it finds a new one."""
    let_loose(shared_lab, HER, "respawn")
    wait_for(lambda: copies(shared_lab, HER) != [], "her process", timeout=10)
    with at_most(shared_lab, 90) as late:
        run = run_playbook(shared_lab, "playbooks/rollback.yml", limit="jarvis", extra={"rollout_to": "0"})
    assert (late, run.rc) == ([], 0), failure(run)
    assert rolled_back(shared_lab), copies(shared_lab, "vinay")


def test_nor_does_the_guard(shared_lab: Lab) -> None:
    """A rollout dies in the middle; a namesake and a process with a long path are there all the while."""
    if not copies(shared_lab, "vinay"):
        shared_lab.start_bots(("jarvis",))
    deadline = abandon(shared_lab)
    let_loose(shared_lab, HER, "deep")
    let_loose(shared_lab, HER, "respawn")
    wait_for_the_guard(shared_lab, deadline)
    assert copies(shared_lab, HER) != []
