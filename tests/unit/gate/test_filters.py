"""The filters and the settings in a real play: what Ansible hands over is what the functions expect."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from plugin_utils.gate.settings_hash import settings_hash
from plugin_utils.settings import PROJECT

COMMON = {
    "ansible_connection": "local",
    "ansible_python_interpreter": sys.executable,
    "ansible_host": "vm1",
    "ansible_user": "vinay",
    "size": 60,
    "webex_pool_maxsize": "{{ size }}",
    "webex_patch_search_paths": ["", "{{ bot_home }}"],
    "bot_home": "/srv/100% IR",
}
BOTS = {
    "children": {
        "canary": {"hosts": {"jarvis": {}}},
        "fleet": {
            "hosts": {
                "tars": {"bot_log": "{{ inventory_hostname }}.txt"},
                "toodles": {
                    "bot_user": "service",
                    "bot_timezone": "Asia/Tokyo",
                    "bot_probe": {"to": "{{ inventory_hostname }}@webex.bot"},
                },
            }
        },
    },
    "vars": COMMON,
}
PLAY = """
- hosts: canary
  gather_facts: false
  tasks:
    - name: Load the settings
      ansible.builtin.import_role: {name: settings, rolespec_validate: false}
    - name: Once more, in a play that knows what roles hand over
      ansible.builtin.set_fact: {rollout_bot: {facts: {}}}
    - name: Load the settings
      ansible.builtin.import_role: {name: settings, rolespec_validate: false}
    - name: Show
      ansible.builtin.copy:
        dest: "{{ out }}"
        mode: "0600"
        content: "{{ shown | to_json }}"
      vars:
        shown:
          hash: "{{ hostvars | webex_settings_hash('jarvis') }}"
          controls: "{{ hostvars | webex_controls('jarvis', ansible_play_hosts_all, ansible_play_batch) }}"
          users: "{{ hostvars | webex_vm_settings('jarvis', 'bot_user') }}"
          answer: "{{ [{'item': 'jarvis', 'gate_state': 'extend', 'soak': none}] | webex_may_follow(['tars'], 'act') }}"
          directory: "WorkingDirectory={{ bot_home | systemd_path }}"
          program: "{{ [bot_python, bot_script, '${WEBEX_BOT_ARGUMENT_3}'] | systemd_command }}"
"""

FILES = """
- hosts: canary
  gather_facts: false
  vars:
    rollout_bot:
      open_files_allowed: 4096
      facts:
        group: bots
        data: "{{ written | default([]) }}"
        plan:
          unit:
            directory: /srv/100% IR
            command: [/srv/100% IR/.venv/bin/python, webex_bots/jarvis.py, $x]
            directives: [[UMask, "0077"], [Nice, "5"]]
  tasks:
    - name: Load the settings
      ansible.builtin.import_role: {name: settings, rolespec_validate: false}
    - name: Raise the limit of open files
      ansible.builtin.import_role: {name: open_files}
    - name: Show the drop-in
      ansible.builtin.import_role: {name: bot_service}
"""


NOTIFY = """
- hosts: canary
  gather_facts: false
  vars:
    is_vm_leader: true
  tasks:
    - name: Load the settings
      ansible.builtin.import_role: {name: settings, rolespec_validate: false}
    - name: Write whom the VM notifies
      ansible.builtin.import_role: {name: rollout, tasks_from: notify.yml}
"""


def play(tmp_path: Path, text: str = PLAY, *options: str, **extra: Any) -> subprocess.CompletedProcess[str]:
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump({"bots": BOTS}))
    (tmp_path / "play.yml").write_text(text)
    extra["out"] = str(tmp_path / "out.json")
    return subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "-i", tmp_path / "hosts.yml", "-e", json.dumps(extra)]
        + [*options, tmp_path / "play.yml"],
        cwd=PROJECT,
        env={**os.environ, "ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"), "ANSIBLE_CALLBACKS_ENABLED": "default"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_filters_see_resolved_settings_of_all_bots(tmp_path: Path) -> None:
    done = play(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    resolved = {**COMMON, "webex_pool_maxsize": 60, "webex_patch_search_paths": ["", "/srv/100% IR"]}
    assert json.loads((tmp_path / "out.json").read_text()) == {
        "hash": settings_hash("jarvis", resolved),
        "controls": [
            {
                "bot": "tars",
                "user": "vinay",
                "log": "/srv/100% IR/tars.txt",
                "timezone": "",
                "signatures": [],
                "probe": {},
            },
            {
                "bot": "toodles",
                "user": "service",
                "log": "/srv/100% IR/logs/toodles.log",
                "timezone": "Asia/Tokyo",
                "signatures": [],
                "probe": {"to": "toodles@webex.bot", "text": "help", "expects": "", "seconds": 15.0, "every": 600.0},
            },
        ],
        "users": ["vinay", "service"],
        "answer": {
            "refusal": "",
            "waiting": "jarvis still soaks; the verdict above shows what is missing. Run the same command again later; "
            "rollout_wait lets a run wait for it. The fleet waits.",
        },
        "directory": "WorkingDirectory=/srv/100%% IR",
        "program": '"/srv/100%% IR/.venv/bin/python" webex_bots/jarvis.py ${WEBEX_BOT_ARGUMENT_3}',
    }


@pytest.mark.parametrize(
    ("extra", "sentence"),
    [
        ({"rollout_hold": 5}, "rollout_hold (set for jarvis) is now called rollout_settle. Nothing was changed."),
        (
            {"rollout_verdict": "hold"},
            "rollout_verdict: hold (set for jarvis) is now called pause. Nothing was changed.",
        ),
        ({"rollout_gate": "acts"}, "value of rollout_gate must be one of: act, observe, got: acts"),
        ({"webex_pool_maxsize": "many"}, "webex_pool_maxsize"),
    ],
)
def test_what_is_no_setting_or_no_value_is_refused(tmp_path: Path, extra: dict[str, Any], sentence: str) -> None:
    done = play(tmp_path, **extra)
    assert done.returncode != 0
    assert sentence in " ".join(done.stdout.split()), done.stdout
    assert not (tmp_path / "out.json").exists()


def test_what_roles_write_for_users_and_paths(tmp_path: Path) -> None:
    """Every user of the VM's bots has a line, whoever is in the run; paths are quoted for systemd."""
    done = play(tmp_path, FILES, "--check", "--diff", bot_hardening="strict", written=["/srv/100% IR/my data"])
    assert done.returncode == 0, done.stdout + done.stderr
    for line in (
        "+# Written by webex-bot-rollout. Applies at the next login of vinay, service, not to systemd units.",
        "+vinay soft nofile 4096",
        "+vinay hard nofile 4096",
        "+service soft nofile 4096",
        "+service hard nofile 4096",
        "+WorkingDirectory=/srv/100%% IR",
        '+ExecStart="/srv/100%% IR/.venv/bin/python" webex_bots/jarvis.py $$x',
        "+UMask=0077",
        "+Nice=5",
        '+ReadWritePaths="/srv/100%% IR/logs"',
        '+ReadWritePaths="/srv/100%% IR/my data"',
        "+ReadOnlyPaths=-/home/vinay",
        "+InaccessiblePaths=-/run/user -/home/vinay/.ssh",
    ):
        assert line in [shown.strip() for shown in done.stdout.splitlines()], done.stdout


def shown(output: str, name: str) -> list[str]:
    """Right-hand sides of a directive in the drop-in that a diff shows."""
    return [line.strip().partition("=")[2] for line in output.splitlines() if line.strip().startswith(f"+{name}=")]


def test_a_deployment_confines_no_bot_that_it_was_not_asked_to(tmp_path: Path) -> None:
    found = {}
    for profile in (None, "off", "standard", "strict"):
        done = play(tmp_path, FILES, "--check", "--diff", **({"bot_hardening": profile} if profile else {}))
        assert done.returncode == 0, done.stdout + done.stderr
        found[profile] = done.stdout
    assert shown(found[None], "NoNewPrivileges") == shown(found["off"], "NoNewPrivileges") == []
    assert shown(found[None], "ReadOnlyPaths") == shown(found["off"], "ProtectHome") == []
    assert shown(found["standard"], "ReadWritePaths") == ['"/srv/100%% IR"']
    assert shown(found["standard"], "ProtectSystem") == []
    assert shown(found["strict"], "ReadWritePaths") == ['"/srv/100%% IR/logs"']
    for profile in ("standard", "strict"):
        assert shown(found[profile], "NoNewPrivileges") == ["true"]
        assert shown(found[profile], "InaccessiblePaths")[0].startswith("-/run/user ")
        assert shown(found[profile], "RemoveIPC") == []


def test_a_checkout_that_holds_the_home_is_not_written_as_a_whole(tmp_path: Path) -> None:
    done = play(tmp_path, FILES, "--check", "--diff", bot_hardening="standard", bot_home="/home/vinay")
    assert shown(done.stdout, "ReadWritePaths") == ["/home/vinay/logs"]


NOTES = """
- hosts: canary
  gather_facts: false
  tasks:
    - name: Load the settings
      ansible.builtin.import_role: {name: settings, rolespec_validate: false}
    - name: Note
      ansible.builtin.import_role: {name: preflight, tasks_from: notes.yml}
      vars: {rollout_bot: {patch: {programs: [{path: a.py, line: 3, name: sudo}]}}}
"""


@pytest.mark.parametrize("pipelining", ["True", "False"])
def test_preflight_says_what_one_account_and_confinement_mean(
    tmp_path: Path, pipelining: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANSIBLE_PIPELINING", pipelining)
    done = play(tmp_path, NOTES, bot_hardening="strict")
    assert done.returncode == 0, done.stdout + done.stderr
    said = " ".join(done.stdout.split())
    assert "vinay is both ansible_user and bot_user on vm1" in said
    assert ("pipelining is switched off" in said) == (pipelining == "False")
    assert "strict takes from jarvis" in said and "but /srv/100% IR/logs" in said and "sudo (a.py:3)" in said
    assert "is both" not in play(tmp_path, NOTES, bot_user="service").stdout


def test_no_word_of_a_webhook_is_shown(tmp_path: Path) -> None:
    webhooks = [{"form": "json", "url": "https://example.org/hushhush"}]
    done = play(tmp_path, NOTIFY, "--check", "--diff", "-vvv", rollout_notify=webhooks)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "changed=1" in done.stdout, "or nothing was written that could have been shown"
    shown = done.stdout + done.stderr
    assert "hushhush" not in shown.replace(json.dumps({"rollout_notify": webhooks})[1:-1], "")


def test_no_word_of_the_probes_token_is_shown(tmp_path: Path) -> None:
    done = play(tmp_path, NOTIFY, "--check", "--diff", "-vvv", rollout_probe_token="hushhush")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "changed=1" in done.stdout, "or nothing was written that could have been shown"
    shown = done.stdout + done.stderr
    assert "hushhush" not in shown.replace(json.dumps({"rollout_probe_token": "hushhush"})[1:-1], "")


def test_without_webhooks_what_the_vm_has_is_left(tmp_path: Path) -> None:
    done = play(tmp_path, NOTIFY, "--check", "--diff")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "changed=0" in done.stdout
