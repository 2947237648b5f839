"""The main job on real bots: look, canary, fleet, once more, back. The tests go on where the one before stopped."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.conftest import processes, written
from tests.lab.lab import PORT, Lab
from tests.lab.paths import BOTS, PROJECT, VM_USER
from tests.lab.playbooks import run_playbook
from tests.lab.run import wait_for
from tests.lab.webex.driver import Pattern

# Shorter looks than in the lab's inventory; what is looked at is the same.
QUICK: dict[str, Any] = {
    "rollout_settle": 3,
    "rollout_soak_min": 10,
    "rollout_beta": 1,
    "rollout_fleet_soak": 5,
    "rollout_min_requests": 5,
    "rollout_batches": [5],
}
FLEET = set(BOTS) - {"jarvis"}


@pytest.fixture(scope="module", autouse=True)
def traffic(shared_lab: Lab) -> Iterator[None]:
    """People write to the bots all the while; without requests a soak shows nothing."""
    shared_lab.webex.start(Pattern(burst=2, gap=4.0))
    yield
    shared_lab.webex.stop()


def secrets(lab: Lab) -> list[str]:
    """The bots' tokens, which nothing may print."""
    return [line.split("'")[1] for line in lab.bot_environment() if "TOKEN" in line]


def test_check_mode_shows_all_and_changes_nothing(shared_lab: Lab) -> None:
    before, running = written(shared_lab), processes(shared_lab)
    run = run_playbook(shared_lab, check=True, extra=QUICK)
    assert run.rc == 0, run.output
    assert written(shared_lab) == before
    assert processes(shared_lab) == running
    for shown in ("+from src.utils.webex_pool_config import", "+    WebexTeamsAPI(", "+ExecStart=", "+LimitNOFILE="):
        assert shown in run.output, shown
    assert [secret for secret in secrets(shared_lab) if secret in run.output] == []


def test_the_fleet_is_refused_before_its_canary(shared_lab: Lab) -> None:
    before, running = written(shared_lab), processes(shared_lab)
    run = run_playbook(shared_lab, limit="tars", extra=QUICK)
    assert run.rc != 0
    assert "tars: jarvis has not been rolled out" in run.output
    assert "rollout_skip_canary" in run.output
    assert written(shared_lab) == before
    assert processes(shared_lab) == running


def test_limit_jarvis_touches_only_jarvis(shared_lab: Lab) -> None:
    before = processes(shared_lab)
    run = run_playbook(shared_lab, limit="jarvis", extra=QUICK)
    after = processes(shared_lab)
    assert run.rc == 0, run.output
    assert run.touched() == {"jarvis"}
    assert {bot: after[bot] for bot in FLEET} == {bot: before[bot] for bot in FLEET}
    assert [process.unit for process in after["jarvis"]] == ["webex-bot@jarvis.service"]
    assert after["jarvis"] != before["jarvis"]
    assert [secret for secret in secrets(shared_lab) if secret in run.output] == []


def test_the_rest_goes_on_from_there(shared_lab: Lab) -> None:
    before = processes(shared_lab)
    run = run_playbook(shared_lab, extra=QUICK)
    after = processes(shared_lab)
    assert run.rc == 0, run.output
    assert run.count("failures") == 0
    assert after["jarvis"] == before["jarvis"]
    assert {bot: [p.unit for p in found] for bot, found in after.items()} == {
        bot: [f"webex-bot@{bot}.service"] for bot in BOTS
    }


def test_the_second_run_changes_nothing(shared_lab: Lab) -> None:
    before = processes(shared_lab)
    run = run_playbook(shared_lab, extra=QUICK)
    assert run.rc == 0, run.output
    assert run.changed_tasks() == []
    assert run.count("failures") == 0
    assert processes(shared_lab) == before


@pytest.mark.slow
def test_a_stage_alone_gathers_what_preflight_would(shared_lab: Lab) -> None:
    run = run_playbook(shared_lab, "playbooks/stage.yml", extra={**QUICK, "rollout_stage": "fleet"})
    assert run.rc == 0, run.output
    assert run.changed_tasks() == []
    assert run.touched() == FLEET


@pytest.mark.parametrize("backend", ["ansible", "paramiko"])
def test_the_verify_suite_passes(shared_lab: Lab, backend: str) -> None:
    hosts = "ansible://bots" if backend == "ansible" else f"paramiko://{VM_USER}@{shared_lab.address}:{PORT}"
    command = [sys.executable, "-m", "pytest", "tests/verify", "-q", "-p", "no:cacheprovider", f"--hosts={hosts}"]
    command += [f"--ansible-inventory={shared_lab.inventory}", f"--ssh-identity-file={shared_lab.key}"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "skipped" not in done.stdout.splitlines()[-1]


def test_every_message_was_answered_once_since_then(shared_lab: Lab) -> None:
    """Bursts and idle gaps longer than the gateway's memory, which is what the unpatched bots fail on."""
    shared_lab.webex.stop()
    shared_lab.webex.wait_settled(timeout=60, lost_after=20)
    shared_lab.webex.reset()
    shared_lab.webex.start(Pattern(burst=8, gap=8.0, bursts=3))
    wait_for(lambda: not shared_lab.webex.books().driving, "the end of the bursts", timeout=60, pause=0.5)
    shared_lab.webex.wait_settled(timeout=90, lost_after=40)
    books = shared_lab.webex.books(messages=True, lost_after=40)
    assert {bot: page.total.sent for bot, page in books.bots.items()} == dict.fromkeys(BOTS, 24)
    assert [(m.bot, m.text, m.next_stage, m.answers) for m in books.messages if len(m.answers) != 1] == []


def test_rollback_puts_back_what_was_found(shared_lab: Lab) -> None:
    run = run_playbook(shared_lab, "playbooks/rollback.yml", limit="tars", extra={"rollout_to": "0"})
    assert run.rc == 0, run.output
    (tars,) = processes(shared_lab)["tars"]
    assert tars.unit == ""
    script = "home/vinay/pub/IR/webex_bots/tars.py"
    assert (shared_lab.machine.root / script).read_bytes() == (
        PROJECT / "tests/lab/checkout/webex_bots/tars.py"
    ).read_bytes()
    assert not (shared_lab.machine.root / "etc/systemd/system/webex-bot@tars.service.d/10-bot.conf").exists()
    assert shared_lab.webex.wait_connected(("tars",), timeout=30)
