"""A service account has no login shell: the limits of its sessions are looked at all the same."""

from __future__ import annotations

import pwd
import subprocess

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
