"""The callback plugin in real runs of ansible-playbook: when it writes, what it notes, that it is in nobody's way."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.unit.report.test_mask import TOKEN
from tests.unit.report.test_report import SCHEMA

PROJECT = Path(__file__).resolve().parents[3]
PLAYBOOK = Path(sys.executable).with_name("ansible-playbook")

INVENTORY = f"""
bots:
  vars: {{ansible_connection: local, ansible_python_interpreter: {sys.executable}, ansible_host: metcirt-lab}}
  children:
    canary: {{hosts: {{jarvis: {{}}}}}}
    fleet: {{hosts: {{tars: {{}}}}}}
    lost: {{hosts: {{msoar: {{ansible_connection: ssh, ansible_host: 127.0.0.1, ansible_port: 1}}}}}}
"""

WORK = f"""
- name: Stage {{{{ stage | default('canary') }}}}
  hosts: canary:fleet
  gather_facts: false
  tasks:
    - name: Write two files
      ansible.builtin.copy: {{content: "bot: {{{{ inventory_hostname }}}}\\n", dest: "{{{{ place }}}}/{{{{ item }}}}"}}
      loop: ["{{{{ inventory_hostname }}}}.one", "{{{{ inventory_hostname }}}}.two"]
    - name: Handle a secret
      ansible.builtin.command: echo {TOKEN}
      no_log: true
    - name: Fail quietly
      ansible.builtin.command: "false"
      ignore_errors: true
"""
# Tasks without a module, which are quick.
LOOK = """
- name: Look
  hosts: canary
  gather_facts: false
  tasks:
    - name: Say
      ansible.builtin.debug: {msg: hello}
"""
FAIL = """
    - name: Need space
      ansible.builtin.fail: {msg: no space left}
"""
LOST = """
- name: Reach
  hosts: lost
  gather_facts: false
  tasks:
    - name: Ping
      ansible.builtin.ping:
"""
CHANGE = """
- name: Change
  hosts: canary
  gather_facts: false
  tasks:
    - name: Write a file
      ansible.builtin.copy: {content: x, dest: "{{ place }}/written"}
"""
WAIT = """
- name: Soak
  hosts: canary
  gather_facts: false
  tasks:
    - name: Begin
      ansible.builtin.command: "true"
    # A task of its own: between two tasks Ansible's own handling of a signal may fail.
    - name: Wait for hours
      ansible.builtin.shell: touch "{{ place }}/begun" && sleep 3600
"""
ELSEWHERE = "- {hosts: localhost, gather_facts: false, tasks: [{name: Say, ansible.builtin.debug: {msg: hello}}]}"


@dataclass
class Ran:
    """What came of a run."""

    rc: int
    output: str
    directory: Path

    @property
    def reports(self) -> list[Path]:
        return sorted(self.directory.glob("*/report.json"))

    def report(self) -> dict[str, Any]:
        """The only report, valid, with its page beside it."""
        (path,) = self.reports
        content = json.loads(path.read_text())
        jsonschema.validate(content, SCHEMA)
        assert content["conclusion"]["headline"] in (path.parent / "index.html").read_text()
        return content


class Desk:
    """A place to run playbooks from."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.reports = place / "the reports"
        (place / "hosts.yml").write_text(INVENTORY)

    def command(self, playbook: str, name: str, *arguments: str) -> list[str]:
        path = self.place / name
        path.write_text(playbook)
        return [str(PLAYBOOK), "-i", str(self.place / "hosts.yml"), str(path), "-e", f"place={self.place}", *arguments]

    def environment(self, extra: Mapping[str, str]) -> dict[str, str]:
        return {
            **os.environ,
            "ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"),
            "ANSIBLE_CALLBACKS_ENABLED": "rollout_report",
            "ANSIBLE_NOCOLOR": "1",
            "ROLLOUT_REPORT_DIRECTORY": str(self.reports),
            **extra,
        }

    def run(self, playbook: str, *arguments: str, name: str = "rollout.yml", **extra: str) -> Ran:
        done = subprocess.run(
            self.command(playbook, name, *arguments),
            cwd=self.place,
            env=self.environment(extra),
            capture_output=True,
            text=True,
            check=False,
        )
        return Ran(done.returncode, done.stdout + done.stderr, self.reports)

    def cut_off(self, how: signal.Signals) -> Ran:
        """Run a playbook that waits for hours, and end it by a signal once it does."""
        running = subprocess.Popen(
            self.command(WAIT, "rollout.yml"),
            cwd=self.place,
            env=self.environment({}),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            while not (self.place / "begun").exists() or not list(self.reports.glob("*/index.html")):
                assert running.poll() is None
                time.sleep(0.05)
            running.send_signal(how)
            rc = running.wait(timeout=60)
        finally:
            # The waiting task outlives a killed run, in that run's own session or one of its own.
            _end_tree(running.pid, self.place)
        return Ran(rc, running.stdout.read() if running.stdout else "", self.reports)


def _end_tree(leader: int, place: Path) -> None:
    """End what is left of a run: every process whose working directory is its own."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if (entry / "cwd").readlink() == place and int(entry.name) != os.getpid():
                os.kill(int(entry.name), signal.SIGKILL)
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    return Desk(tmp_path)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """A run in which all went well, with everything that can be given on the command line."""
    desk = Desk(tmp_path_factory.mktemp("good"))
    given = ["--diff", "--limit", "jarvis,tars", "--skip-tags", "never,slow"]
    variables = {"webex_pool_maxsize": 60, "ticket": "SEC-RET"}
    return desk.run(WORK, *given, "-e", json.dumps(variables), SUDO_USER="vinay")


def test_the_last_line_says_where_the_report_is(good: Ran) -> None:
    assert good.rc == 0, good.output
    printed = good.output.strip().splitlines()[-1]
    assert printed == f"Report: the reports/{good.reports[0].parent.name}/index.html"


def test_who_and_what(good: Ran) -> None:
    run = good.report()["run"]
    commit = subprocess.run(
        ["git", "-C", str(PROJECT), "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    )
    assert run["who"] == "vinay"
    assert (run["limit"], run["skip_tags"], run["tags"]) == ("jarvis,tars", ["never", "slow"], [])
    assert (run["settings"], run["other_variables"]) == ({"webex_pool_maxsize": 60}, ["place", "ticket"])
    assert run["project"]["commit"] == (commit.stdout.strip() or None)
    assert run["inventory"] == ["hosts.yml"]
    assert [play["name"] for play in run["plays"]] == ["Stage canary"]
    assert run["recap"]["jarvis"]["ignored"] == 1


def test_the_bots_that_took_part(good: Ran) -> None:
    content = good.report()
    bots = [(bot["name"], bot["stage"], bot["vm"], bot["result"]) for bot in content["bots"]]
    assert bots == [("jarvis", "canary", "metcirt-lab", "deployed"), ("tars", "fleet", "metcirt-lab", "deployed")]
    assert content["failures"] == [], "ignored failures are none"


def test_a_loops_files_each_with_its_path_and_diff(good: Ran) -> None:
    changes = [change for change in good.report()["changes"] if change["action"] == "copy"]
    assert sorted(Path(change["path"]).name for change in changes) == [
        "jarvis.one",
        "jarvis.two",
        "tars.one",
        "tars.two",
    ]
    assert {change["diff"]["text"].splitlines()[-1] for change in changes} == {"+bot: jarvis", "+bot: tars"}


def test_nothing_hidden_gets_out(good: Ran) -> None:
    for path in good.reports[0].parent.iterdir():
        assert TOKEN not in path.read_text()
        assert "SEC-RET" not in path.read_text()


def test_nobody_else_can_read_a_report(good: Ran) -> None:
    """It names machines, users and settings, and shows what sources hold."""
    paths = [good.directory, *good.directory.rglob("*")]
    assert len(paths) == 4
    assert {oct(path.stat().st_mode & 0o777) for path in paths if path.is_dir()} == {"0o700"}
    assert {oct(path.stat().st_mode & 0o777) for path in paths if path.is_file()} == {"0o600"}


def test_a_failed_run_fails_as_ever_and_has_its_report(desk: Desk) -> None:
    ran = desk.run(LOOK + FAIL)
    assert ran.rc == 2, ran.output
    content = ran.report()
    assert content["conclusion"] == {"state": "failed", "headline": "jarvis failed"}
    assert [(failure["bot"], failure["message"]) for failure in content["failures"]] == [("jarvis", "no space left")]


def test_a_lost_host(desk: Desk) -> None:
    ran = desk.run(LOST)
    assert ran.rc == 4, ran.output
    content = ran.report()
    assert content["conclusion"]["headline"] == "msoar could not be reached"
    assert content["failures"][0]["kind"] == "unreachable"
    assert "127.0.0.1" in content["failures"][0]["message"]


def test_check_mode(desk: Desk) -> None:
    ran = desk.run(CHANGE, "--check")
    content = ran.report()
    assert (content["run"]["check_mode"], content["conclusion"]["state"]) == (True, "check")
    assert {bot["result"] for bot in content["bots"]} == {"would change"}
    assert not (desk.place / "written").exists()


@pytest.mark.parametrize("arguments", [["--syntax-check"], ["--list-tasks"]])
def test_nothing_is_written_when_nothing_runs(desk: Desk, arguments: list[str]) -> None:
    ran = desk.run(LOOK, *arguments)
    assert ran.rc == 0, ran.output
    assert not desk.reports.exists()


def test_nothing_is_written_without_a_bot(desk: Desk) -> None:
    ran = desk.run(ELSEWHERE)
    assert ran.rc == 0, ran.output
    assert not desk.reports.exists()
    assert "Report:" not in ran.output


def test_nothing_is_written_by_playbooks_that_only_look(desk: Desk) -> None:
    ran = desk.run(LOOK, name="status.yml")
    assert ran.rc == 0, ran.output
    assert not desk.reports.exists()


def test_under_ansible_runner_the_report_is_among_the_artifacts_that_come_home(desk: Desk) -> None:
    artifacts = desk.place / "artifacts"
    desk.reports = artifacts / "reports"
    ran = desk.run(LOOK, ROLLOUT_REPORT_DIRECTORY="", AWX_ISOLATED_DATA_DIR=str(artifacts))
    assert ran.rc == 0, ran.output
    assert ran.report()["run"]["playbook"].endswith("rollout.yml")


def test_a_status_for_programs_is_the_last_line_of_the_output(desk: Desk) -> None:
    tasks = "[{ansible.builtin.set_stats: {data: {webex_status: {bots: {a: 1}}}}}]"
    play = f"- hosts: localhost\n  gather_facts: false\n  tasks: {tasks}\n"
    ran = desk.run(play, name="status.yml", ANSIBLE_CALLBACKS_ENABLED="rollout_report,status_json")
    assert json.loads(ran.output.splitlines()[-1]) == {"bots": {"a": 1}}


def test_ctrl_c_leaves_a_report_that_says_so(desk: Desk) -> None:
    ran = desk.cut_off(signal.SIGINT)
    assert ran.rc == 99, ran.output
    assert ran.report()["conclusion"] == {"state": "interrupted", "headline": "Interrupted in the play “Soak”"}
    assert "Report: the reports/" in ran.output


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_run_leaves_a_report_that_claims_no_end(desk: Desk, how: signal.Signals) -> None:
    ran = desk.cut_off(how)
    assert ran.rc == -how
    assert ran.report()["conclusion"] == {"state": "running", "headline": "Not finished yet, in the play “Soak”"}


def test_a_report_that_cannot_be_written_is_one_warning(desk: Desk) -> None:
    desk.reports.write_text("a file is in the way")
    ran = desk.run(LOOK + FAIL)
    assert ran.rc == 2, "the failure is the run's own"
    printed = " ".join(ran.output.split())
    assert printed.count("No report of this run (") == 1
    assert "The run itself is not affected." in printed
    assert "Traceback" not in printed
    assert "failed=1" in printed


def test_where_it_goes_without_being_told(desk: Desk) -> None:
    """In a copy of the project, which is no git checkout; set in ansible.cfg, a directory is the project's too."""
    copy = desk.place / "project"
    for part in ("callback_plugins", "module_utils", "plugin_utils"):
        shutil.copytree(PROJECT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
    configuration = "[defaults]\ncallback_plugins = callback_plugins\ncallbacks_enabled = rollout_report\n"
    (copy / "ansible.cfg").write_text(configuration)
    environment = {"ANSIBLE_CONFIG": str(copy / "ansible.cfg"), "GIT_CEILING_DIRECTORIES": str(desk.place)}
    for more, place in (("", "reports"), ("[callback_rollout_report]\ndirectory = kept\n", "kept")):
        (copy / "ansible.cfg").write_text(configuration + more)
        command = desk.command(LOOK, "rollout.yml")
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(("ANSIBLE_", "ROLLOUT_"))}
        done = subprocess.run(command, cwd=desk.place, env=inherited | environment, capture_output=True, check=False)
        assert done.returncode == 0, done.stdout
        (written,) = (copy / place).iterdir()
        assert json.loads((written / "report.json").read_text())["run"]["project"] == {"commit": None, "modified": None}
