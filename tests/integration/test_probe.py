"""The probe on real bots: one that answers passes; one that is up, connected and dead-locked is found out."""

from __future__ import annotations

import json
import secrets
from functools import partial

import pytest

from tests.chaos.canaries import can_lock, lock
from tests.chaos.rows import phase, told
from tests.integration.conftest import processes
from tests.integration.test_rollout import QUICK
from tests.lab.lab import Lab
from tests.lab.playbooks import Run, run_playbook
from tests.lab.run import wait_for

pytestmark = pytest.mark.slow

TOKEN = secrets.token_urlsafe(48)
PROBE = {"to": "jarvis@webex.bot", "seconds": 5, "every": 30, "expects": "cards"}
EXTRA = {**QUICK, "rollout_min_requests": 1, "bot_probe": PROBE, "rollout_probe_token": TOKEN}


def rollout(lab: Lab, **extra: object) -> Run:
    run = run_playbook(lab, limit="jarvis", extra={**EXTRA, **extra})
    assert TOKEN not in run.output
    assert TOKEN not in json.dumps(run.report)
    return run


def test_a_bot_that_is_connected_and_does_not_answer_is_refused(lab: Lab) -> None:
    lab.webex.sign_in(TOKEN)
    can_lock(lab, "jarvis")
    lock(lab, "jarvis")
    run = rollout(lab)
    assert run.rc != 0
    assert "check probe: silent: no answer within 5 s" in run.output
    assert phase(lab, "jarvis") == "rolled_back"
    assert [process.unit for process in processes(lab)["jarvis"]] == [""]


def test_a_bot_that_answers_passes_and_is_found_out_when_it_falls_silent(lab: Lab) -> None:
    """Nobody writes to it: all the evidence is the probe's."""
    lab.webex.sign_in(TOKEN)
    can_lock(lab, "jarvis")
    run = rollout(lab, rollout_wait=120)
    assert run.rc == 0, run.output
    assert phase(lab, "jarvis") == "confirmed"
    verified = run_playbook(lab, "playbooks/verify.yml", limit="jarvis", extra=EXTRA)
    assert verified.rc == 0, verified.output
    token_of_root(lab)
    since = lab.webex.books().now
    lock(lab, "jarvis")
    wait_for(partial(event, lab, since, "check_failed"), "somebody to be told", timeout=900, pause=5)
    assert [process.unit for process in processes(lab)["jarvis"]] == ["webex-bot@jarvis.service"]


def event(lab: Lab, since: float, kind: str) -> bool:
    return any(text.startswith(kind) for bot, text in told(lab, since) if bot == "jarvis")


def token_of_root(lab: Lab) -> None:
    """Where the token is on the VM, and that his user finds it nowhere."""
    path = "/etc/webex-bots/probe-token"
    assert lab.machine.execute(["stat", "-c", "%U %a", path]).stdout.strip() == "root 600"
    journal = lab.machine.execute(["journalctl", "--no-pager", "-o", "cat"]).stdout
    assert TOKEN not in journal
    found = lab.machine.execute(
        ["grep", "-rlF", "--exclude-dir=proc", "--exclude-dir=sys", "--exclude-dir=dev", TOKEN, "/"], check=False
    )
    assert found.stdout.split() == [path]
