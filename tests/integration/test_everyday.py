"""What an operator does on any other day: look, restart, and at last leave the VM as it was found."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from tests.integration.conftest import in_image, processes, written
from tests.integration.test_rollout import QUICK
from tests.lab.lab import Lab
from tests.lab.paths import BOTS, PROJECT
from tests.lab.playbooks import run_playbook
from tests.lab.webex.driver import Pattern

pytestmark = pytest.mark.slow
STATUS = "playbooks/status.yml"
UNITS = {bot: [f"webex-bot@{bot}.service"] for bot in BOTS}


@pytest.fixture(scope="module")
def found(shared_lab: Lab) -> dict[str, str]:
    """The VM's disk as it was found, before anything else happens there."""
    return written(shared_lab)


@pytest.fixture(scope="module", autouse=True)
def rolled_out(shared_lab: Lab, found: dict[str, str]) -> Iterator[None]:
    """Six bots that were rolled out, and people who write to them."""
    shared_lab.webex.start(Pattern(burst=2, gap=4.0))
    run = run_playbook(shared_lab, extra={**QUICK, "rollout_wait": 120})
    assert run.rc == 0, run.output
    yield
    shared_lab.webex.stop()


def undisturbed(lab: Lab) -> dict[str, str]:
    """The disk without the state, in which the watch writes all the while."""
    return {name: value for name, value in written(lab).items() if not name.startswith("var/lib/webex-rollout/")}


def units(lab: Lab) -> dict[str, list[str]]:
    return {bot: [process.unit for process in running] for bot, running in processes(lab).items()}


def test_status_is_a_table_for_people(shared_lab: Lab) -> None:
    run = run_playbook(shared_lab, STATUS)
    assert run.rc == 0, run.output
    rows = [line.strip(" -'\"").split() for line in run.output.splitlines()]
    assert {row[0] for row in rows if len(row) > 2 and row[2] == "confirmed"} == set(BOTS)


def test_status_is_one_line_for_programs_and_the_exit_code_is_its_health(shared_lab: Lab) -> None:
    def status() -> tuple[int, dict]:
        command = [shutil.which("ansible-playbook", path=str(PROJECT / ".venv/bin")) or "ansible-playbook", STATUS]
        command += ["-i", shared_lab.inventory, "-e", "status_format=json"]
        done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
        return done.returncode, json.loads(done.stdout.splitlines()[-1])

    code, document = status()
    assert (code, document["healthy"], document["problems"]) == (0, True, [])
    assert {bot: about["phase"] for bot, about in document["bots"].items()} == dict.fromkeys(BOTS, "confirmed")
    shared_lab.machine.execute(["systemctl", "stop", "webex-bot@tars"])
    code, document = status()
    assert (code != 0, document["healthy"]) == (True, False)
    assert "tars: does not run" in document["problems"][0]
    shared_lab.machine.execute(["systemctl", "start", "webex-bot@tars"])


def test_restart_in_check_mode_restarts_nothing(shared_lab: Lab) -> None:
    before = processes(shared_lab)
    run = run_playbook(shared_lab, "playbooks/restart.yml", check=True, extra=QUICK)
    assert run.rc == 0, run.output
    assert "would be restarted" in run.output
    assert processes(shared_lab) == before


def test_one_is_restarted_and_then_all(shared_lab: Lab) -> None:
    before = processes(shared_lab)
    run = run_playbook(shared_lab, "playbooks/restart.yml", limit="tars", extra=QUICK)
    after = processes(shared_lab)
    assert run.rc == 0, run.output
    assert {bot for bot in BOTS if before[bot] != after[bot]} == {"tars"}
    run = run_playbook(shared_lab, "playbooks/restart.yml", extra=QUICK)
    assert run.rc == 0, run.output
    assert {bot for bot in BOTS if processes(shared_lab)[bot] == after[bot]} == set()
    assert units(shared_lab) == UNITS


def test_uninstalling_in_check_mode_names_all_and_changes_nothing(shared_lab: Lab) -> None:
    before, running = undisturbed(shared_lab), processes(shared_lab)
    run = run_playbook(shared_lab, "playbooks/uninstall.yml", check=True, extra=QUICK)
    assert run.rc == 0, run.output
    for path in ("/sbin/webex-rollout", "/lib/webex-rollout", "/webex_pool_config.py", "/60-webex-bots.conf"):
        assert path in run.output, path
    assert undisturbed(shared_lab) == before
    assert processes(shared_lab) == running


def test_uninstalling_leaves_the_disk_as_it_was_found_and_the_bots_running(
    shared_lab: Lab, found: dict[str, str]
) -> None:
    run = run_playbook(shared_lab, "playbooks/uninstall.yml", extra=QUICK)
    assert run.rc == 0, run.output
    after = written(shared_lab)
    differences = {name for name in {*found, *after} if found.get(name) != after.get(name)}
    # An overlay keeps a file that was changed and changed back: what it has then is the image's.
    assert {name for name in differences if after.get(name) != found.get(name, in_image(name))} == set()
    assert units(shared_lab) == {bot: [""] for bot in BOTS}
    ours = ["find", "/", "-xdev", "-regextype", "egrep", "-regex", ".*/(webex-rollout|webex-bot|webex_pool)[^/]*"]
    assert shared_lab.machine.execute(ours).stdout == ""
    # A process that was started as found lives in a scope, which ends with it.
    listed = shared_lab.machine.execute(["systemctl", "list-unit-files", "--no-legend"]).stdout.splitlines()
    assert [line for line in listed if "webex-" in line and not line.split()[0].endswith(".scope")] == []
    assert shared_lab.webex.wait_connected(BOTS, timeout=30)


def test_a_second_time_there_is_nothing_to_do(shared_lab: Lab) -> None:
    before, running = written(shared_lab), processes(shared_lab)
    run = run_playbook(shared_lab, "playbooks/uninstall.yml", extra=QUICK)
    assert run.rc == 0, run.output
    assert run.changed_tasks() == []
    assert written(shared_lab) == before
    assert processes(shared_lab) == running
