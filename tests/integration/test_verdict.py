"""The gate on a real machine: no traffic, a human's decision, a run that ends and one that continues, no log.

The tests of the shared lab continue where the one before stopped.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from module_utils.webex_rollout.record import replay
from tests.integration.conftest import processes
from tests.integration.test_rollout import QUICK
from tests.lab.lab import Lab
from tests.lab.paths import BOTS, VM_CHECKOUT, VM_USER
from tests.lab.playbooks import Run, run_playbook
from tests.lab.run import wait_for
from tests.lab.webex.driver import Pattern

FLEET = [bot for bot in BOTS if bot != "jarvis"]
STATE = "/var/lib/webex-rollout/jarvis/soak.json"


def soak(lab: Lab) -> dict[str, Any]:
    """What the VM keeps of jarvis's soak."""
    return json.loads(lab.machine.execute(["cat", STATE]).stdout)["content"]


def of_jarvis(run: Run) -> dict[str, Any]:
    """Jarvis in the run's report."""
    return next(bot for bot in run.report["bots"] if bot["name"] == "jarvis")


def runs_as(lab: Lab) -> list[str]:
    """Under which unit each bot runs, empty for nohup; every bot once."""
    return [process.unit for copies in processes(lab).values() for process in copies]


def test_a_canary_nobody_writes_to_is_never_promoted_and_a_human_is_asked(shared_lab: Lab) -> None:
    run = run_playbook(shared_lab, extra={**QUICK, "rollout_soak_min": 5, "rollout_soak_max": 20, "rollout_wait": 60})
    assert run.rc != 0
    assert "jarvis: hold (reason: 20 s were not enough)" in " ".join(run.output.split())
    assert "more requests (5 needed)" in " ".join(run.output.split())
    assert "-e rollout_verdict=promote" in run.output
    assert runs_as(shared_lab) == ["webex-bot@jarvis.service", "", "", "", "", ""]
    assert of_jarvis(run)["result"] == "held"
    assert run.report["conclusion"]["state"] == "failed"
    assert "hold" in run.page


def test_a_hold_lets_no_other_bot_follow(shared_lab: Lab) -> None:
    run = run_playbook(shared_lab, limit="tars", extra=QUICK)
    assert run.rc != 0
    assert "the verdict on jarvis does not let the fleet follow" in " ".join(run.output.split())
    assert runs_as(shared_lab)[1:] == [""] * 5


@pytest.mark.slow
def test_a_human_pauses_and_is_named(shared_lab: Lab) -> None:
    run = run_playbook(shared_lab, extra={**QUICK, "rollout_verdict": "pause", "rollout_verdict_why": "holidays"})
    assert run.rc == 0, run.output
    assert "jarvis is paused by" in run.output
    assert "holidays" in run.output
    assert runs_as(shared_lab)[1:] == [""] * 5
    status = run_playbook(shared_lab, "playbooks/status.yml")
    assert "pause by" in status.output


def test_a_run_that_does_not_wait_ends_well_and_shows_when_to_come_back(shared_lab: Lab) -> None:
    more = {**QUICK, "rollout_verdict": "auto", "rollout_soak_min": 3600, "rollout_wait": 0}
    shared_lab.webex.start(Pattern(burst=2, gap=4.0))
    run = run_playbook(shared_lab, extra=more)
    assert run.rc == 0, run.output
    assert "jarvis still soaks" in run.output
    assert of_jarvis(run)["result"] == "soaking"
    assert runs_as(shared_lab)[1:] == [""] * 5


def test_the_vm_keeps_looking_while_nobody_is_connected(shared_lab: Lab) -> None:
    before = soak(shared_lab)
    timer = shared_lab.machine.execute(["systemctl", "is-active", "webex-rollout-watch.timer"]).stdout.strip()
    assert timer == "active"

    def requests() -> int:
        # It ends with 1 when it has something to tell, such as of a bot that a busy machine keeps waiting.
        shared_lab.machine.execute(["systemctl", "start", "webex-rollout-watch.service"], check=False)
        return soak(shared_lab)["work"]["counts"]["requests"]

    known = before["work"]["counts"]["requests"]
    wait_for(lambda: requests() > known + 5, "requests counted by the VM itself", timeout=60, pause=2)
    after = soak(shared_lab)
    assert after["elapsed"] > before["elapsed"]
    assert after["begun"] == before["begun"]
    assert len(after["series"]) > len(before["series"])


@pytest.mark.slow
def test_a_gate_that_observes_changes_nothing(shared_lab: Lab) -> None:
    run = run_playbook(shared_lab, extra={**QUICK, "rollout_gate": "observe"})
    assert run.rc == 0, run.output
    assert "The gate only observes" in run.output
    assert runs_as(shared_lab)[1:] == [""] * 5


def test_other_settings_have_not_soaked(shared_lab: Lab) -> None:
    run = run_playbook(shared_lab, limit="tars", extra={**QUICK, "webex_pool_maxsize": 60})
    assert run.rc != 0
    assert "with other settings" in " ".join(run.output.split())
    assert runs_as(shared_lab)[1:] == [""] * 5


@pytest.mark.parametrize("damage", ["", "{"])
def test_a_damaged_soak_is_a_clear_message_and_no_pass(shared_lab: Lab, damage: str) -> None:
    text = shared_lab.machine.execute(["cat", STATE]).stdout
    running = processes(shared_lab)
    shared_lab.machine.execute(["sh", "-c", f"cat > {STATE}"], stdin=damage)
    run = run_playbook(shared_lab, limit="tars", extra=QUICK)
    shared_lab.machine.execute(["sh", "-c", f"cat > {STATE}"], stdin=text)
    assert run.rc != 0
    assert "what is kept of its soak" in " ".join(run.output.split())
    assert processes(shared_lab) == running


def test_the_next_run_continues_and_the_fleet_follows(shared_lab: Lab) -> None:
    begun = soak(shared_lab)["begun"]
    run = run_playbook(shared_lab, extra=QUICK)
    assert run.rc == 0, run.output
    assert soak(shared_lab)["begun"] == begun
    assert sorted(runs_as(shared_lab)) == sorted(f"webex-bot@{bot}.service" for bot in BOTS)
    jarvis = of_jarvis(run)
    assert jarvis["result"] == "promoted"
    assert replay(jarvis["verdict"]["record"]).verdict == "promote"
    settings = {row["label"]: (row["before"], row["after"]) for row in jarvis["settings"]}
    assert settings["Pool connections"][1] == "50"
    for secret in (line.split("'")[1] for line in shared_lab.bot_environment() if "TOKEN" in line):
        assert secret not in json.dumps(run.report)
        assert secret not in run.page


@pytest.mark.slow
def test_a_restored_checkout_is_healed_without_a_new_soak(shared_lab: Lab) -> None:
    """`git restore .` and a restart by hand take the patch away from bots that were promoted."""
    script = shared_lab.machine.root / f"{VM_CHECKOUT}/webex_bots/jarvis.py".lstrip("/")
    patched = script.read_bytes()
    shared_lab.machine.execute(["runuser", "-u", VM_USER, "--", "git", "-C", VM_CHECKOUT, "restore", "."])
    assert script.read_bytes() != patched
    shared_lab.machine.execute(["systemctl", "restart", *(f"webex-bot@{bot}.service" for bot in BOTS)])
    run = run_playbook(shared_lab, extra=QUICK)
    assert run.rc == 0, run.output
    assert script.read_bytes() == patched
    assert sorted(runs_as(shared_lab)) == sorted(f"webex-bot@{bot}.service" for bot in BOTS)
    again = run_playbook(shared_lab, extra=QUICK)
    assert (again.rc, again.changed_tasks()) == (0, []), again.output


def test_a_bot_whose_log_shows_nothing_is_heard_all_the_same(lab: Lab) -> None:
    """The handler takes CRITICAL alone: neither the ready line nor a failure is in the log."""
    script = f"{VM_CHECKOUT}/webex_bots/jarvis.py"
    lab.machine.execute(["sed", "-i", "s/^_handler.setFormatter/_handler.setLevel(50)\\n&/", script])
    assert "setLevel(50)" in lab.machine.execute(["cat", script]).stdout
    lab.webex.start(Pattern(burst=2, gap=4.0))
    run = run_playbook(lab, limit="jarvis", extra=QUICK)
    assert run.rc == 0, run.output
    assert "webex-pool ready" not in lab.machine.execute(["tail", "-n", "3", f"{VM_CHECKOUT}/logs/jarvis.log"]).stdout
    assert "its channel has" in " ".join(finding["detail"] for finding in of_jarvis(run)["checks"])
    assert of_jarvis(run)["result"] == "promoted"
