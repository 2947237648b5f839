"""A service account has no login shell: the limits of its sessions are looked at all the same."""

from __future__ import annotations

import pwd
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from plugin_utils.settings import PROJECT

TASKS = yaml.safe_load((PROJECT / "roles/open_files/tasks/main.yml").read_text())
WITHOUT_SHELL = [entry.pw_name for entry in pwd.getpwall() if entry.pw_shell.endswith("/nologin")]


@pytest.mark.skipif(not WITHOUT_SHELL, reason="every account of this machine has a shell")
def test_limits_of_an_account_without_a_login_shell_are_looked_at() -> None:
    (task,) = [task for task in TASKS if task["name"] == "Open a session with the new limit"]
    words = [word.replace("{{ bot_user }}", WITHOUT_SHELL[0]) for word in task["ansible.builtin.command"]["argv"]]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().isdigit() or done.stdout.strip() == "unlimited"


@pytest.mark.parametrize(
    ("login", "said"),
    [
        ({"rc": 0, "stdout": "20000", "stderr": ""}, ""),
        ({"rc": 0, "stdout": "160", "stderr": ""}, "a session of vinay gets 160 open files, and not the 20000 of"),
        ({"rc": 1, "stdout": "", "stderr": "su: permission denied"}, "vinay gets su: permission denied open files"),
    ],
)
def test_a_limit_that_no_session_gets_is_refused_with_what_to_do(
    tmp_path: Path, login: dict[str, object], said: str
) -> None:
    (task,) = [task for task in TASKS if task["name"] == "Refuse a limit that a session does not get"]
    known = {"bot_user": "vinay", "__open_files_login": login, "rollout_bot": {"open_files_allowed": 20000}}
    play = tmp_path / "play.yml"
    play.write_text(yaml.safe_dump([{"hosts": "localhost", "gather_facts": False, "vars": known, "tasks": [task]}]))
    done = subprocess.run(
        [sys.executable, "-m", "ansible", "playbook", "-i", "localhost,", "-c", "local", str(play)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    output = " ".join(done.stdout.split())
    assert (done.returncode == 0) is (said == ""), done.stdout + done.stderr
    assert said in output
    assert not said or "or lower webex_open_files" in output
