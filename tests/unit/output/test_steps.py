"""What a run prints, in real runs of ansible-playbook: nothing that failed gets lost, nothing secret is shown."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pexpect
import pytest

PROJECT = Path(__file__).resolve().parents[3]
ANSIBLE = Path(sys.executable).with_name("ansible")
PLAYBOOK = Path(sys.executable).with_name("ansible-playbook")
SECRET = "hunter2"

HOSTS = {
    "jarvis": {"ansible_connection": "local"},
    "tars": {"ansible_connection": "local"},
    "msoar": {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1},
}

WORK = f"""
- name: Canary
  hosts: jarvis:tars
  gather_facts: false
  tasks:
    - name: Look
      ansible.builtin.debug: {{var: inventory_hostname}}
    - name: Change it
      ansible.builtin.set_fact: {{secret: {SECRET}}}
      changed_when: inventory_hostname == 'jarvis'
    - name: Say
      ansible.builtin.debug: {{msg: [one line, "another \\x1b[31mred\\x07"]}}
    - name: Say each
      ansible.builtin.debug: {{msg: "finding {{{{ item }}}}"}}
      loop: [A, B]
      loop_control: {{label: {SECRET}}}
    - name: Pass
      ansible.builtin.assert: {{that: true, success_msg: "{{{{ inventory_hostname }}}}'s evidence"}}
    - name: Pass quietly
      ansible.builtin.assert: {{that: true, success_msg: "{SECRET}", quiet: true}}
- name: Nobody
  hosts: jarvis:!jarvis
  gather_facts: false
  tasks: []
"""

TROUBLE = f"""
- name: Trouble
  hosts: all
  gather_facts: false
  tasks:
    - name: Reach it
      ansible.builtin.ping:
      ignore_unreachable: true
      when: inventory_hostname == 'msoar'
    - name: Ignore it
      ansible.builtin.fail: {{msg: not so bad}}
      ignore_errors: true
      when: inventory_hostname == 'tars'
    - name: Hide it
      ansible.builtin.fail: {{msg: {SECRET}}}
      no_log: true
      ignore_errors: true
      when: inventory_hostname == 'tars'
    - name: Loop
      ansible.builtin.fail: {{msg: "no {{{{ item }}}}"}}
      loop: [space, memory]
      loop_control: {{label: {SECRET}}}
      ignore_errors: true
      when: inventory_hostname == 'tars'
    - name: Break and mend
      when: inventory_hostname == 'jarvis'
      block:
        - name: Break
          ansible.builtin.fail: {{msg: "it broke\\nin two lines"}}
      rescue:
        - name: Mend
          ansible.builtin.set_fact: {{mended: true}}
          changed_when: true
    - name: Reach it again
      ansible.builtin.ping:
      when: inventory_hostname == 'msoar'
    - name: Give up
      ansible.builtin.fail: {{msg: "tars: no more. Nothing was changed."}}
      when: inventory_hostname == 'tars'
"""

MANY = """
- name: Verify
  hosts: all
  gather_facts: false
  tasks:
    - name: Change few
      ansible.builtin.set_fact: {found: true}
      changed_when: inventory_hostname in ['bot007', 'bot042']
    - name: Pass
      ansible.builtin.assert: {that: true, success_msg: "{{ inventory_hostname }}'s evidence"}
"""


class Desk:
    """A place to run playbooks from, as an operator does."""

    def __init__(self, place: Path) -> None:
        self.place = place
        python = {"ansible_python_interpreter": sys.executable}
        self.inventory = place / "hosts.json"
        self.inventory.write_text(json.dumps({"all": {"hosts": {bot: host | python for bot, host in HOSTS.items()}}}))

    def environment(self, **extra: str) -> dict[str, str]:
        mine = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
        config = {"ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"), "ANSIBLE_CALLBACKS_ENABLED": "status_json"}
        return {**mine, **config, "TERM": "xterm", **extra}

    def command(self, plays: str, *options: str) -> list[str]:
        path = self.place / "plays.yml"
        path.write_text(plays)
        return [str(PLAYBOOK), "-i", str(self.inventory), str(path), *options]

    def run(self, plays: str, *options: str, rc: int = 0, **extra: str) -> str:
        """A run's standard output and error, as they came."""
        done = subprocess.run(
            self.command(plays, *options),
            env=self.environment(**extra),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == rc, done.stdout
        return done.stdout


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    return Desk(tmp_path_factory.mktemp("desk"))


@pytest.fixture(scope="module")
def work(desk: Desk) -> str:
    return desk.run(WORK)


@pytest.fixture(scope="module")
def trouble(desk: Desk) -> str:
    return desk.run(TROUBLE, rc=4)


def told(output: str, bot: str) -> list[str]:
    """What the lines of a bot say, without how long it took, up to the recap."""
    found = re.findall(rf"^  {bot} +(.*?)  +[\d.]+ (?:s|min)  (.*)$", output.partition("PLAY RECAP")[0], re.M)
    return [f"{state} {text}" for state, text in found]


def recap(output: str, bot: str) -> dict[str, str]:
    (line,) = re.findall(rf"^{bot} +: (ok=.*)$", output, re.M)
    return dict(pair.split("=") for pair in line.split())


def ends(output: str) -> str:
    """The table, in single spaces."""
    return re.sub(" +", " ", output.partition("PLAY RECAP")[2])


# --- what went well --------------------------------------------------------------------------------------------------


def test_a_change_is_a_line_and_what_changed_nothing_is_none(work: str) -> None:
    assert told(work, "jarvis") == ["changed Change it", "ok Pass: jarvis's evidence"]
    assert told(work, "tars") == ["ok Pass: tars's evidence"]
    assert re.search(r"^  tars: nothing changed \([\d.]+ s\)$", work, re.M)
    assert "TASK" not in work


def test_messages_are_for_people_and_no_terminal_obeys_them(work: str) -> None:
    assert "\n  one line\n  another \\x1b[31mred\\x07\n" in work
    assert work.count("  one line\n") == 1, "though both bots have it"
    assert "\n  finding A\n  finding B\n" in work
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", work)


def test_a_variable_that_is_shown_for_debugging_is_shown(work: str) -> None:
    assert "inventory_hostname: jarvis" in work
    assert "inventory_hostname: tars" in work


def test_nothing_else_of_a_result_is_printed(work: str) -> None:
    assert SECRET not in work


def test_a_play_without_bots_is_said(work: str) -> None:
    assert "\nNobody\n  no bot takes part\n" in work


def test_scripts_find_the_recap_and_people_a_table(work: str) -> None:
    assert recap(work, "jarvis")["changed"] == "1"
    assert recap(work, "tars")["changed"] == "0"
    assert re.search(r"\njarvis changed 1 change [\d.]+ s\ntars: nothing changed\n", ends(work))


# --- what did not ----------------------------------------------------------------------------------------------------


def test_a_failure_is_its_message(trouble: str) -> None:
    assert told(trouble, "tars")[-1] == "failed Give up: no more. Nothing was changed."
    assert re.search(r"\ntars failed no change [\d.]+ s Give up: no more. Nothing was changed.\n", ends(trouble))


def test_an_ignored_failure_is_said(trouble: str) -> None:
    assert "ignored Ignore it: not so bad" in told(trouble, "tars")
    assert recap(trouble, "tars")["ignored"] == "3"


def test_a_hidden_result_stays_hidden_and_its_failure_does_not(trouble: str) -> None:
    assert any(line.startswith("ignored Hide it: the output has been hidden") for line in told(trouble, "tars"))
    assert SECRET not in trouble


def test_each_failed_round_of_a_loop_is_said(trouble: str) -> None:
    assert re.search(r"ignored +[\d.]+ s  Loop: no space\n +no memory\n", trouble)


def test_a_rescued_failure_is_said_and_in_the_table(trouble: str) -> None:
    assert told(trouble, "jarvis") == ["failed Break: it broke", "changed Mend"]
    assert re.search(r"failed +[\d.]+ s  Break: it broke\n +in two lines\n", trouble)
    assert re.search(r"\njarvis rescued 1 change [\d.]+ s Break: it broke\n", ends(trouble))


def test_an_unreachable_bot_is_said_also_where_that_is_ignored(trouble: str) -> None:
    first, second = told(trouble, "msoar")
    assert re.match(r"ignored Reach it: .*Connection refused", first)
    assert re.match(r"unreachable Reach it again: .*Connection refused", second)
    assert re.search(r"\nmsoar unreachable no change [\d.]+ s Reach it again: .*Connection refused", ends(trouble))


def test_a_play_that_ends_for_a_failure_says_so(desk: Desk) -> None:
    tasks = "[{name: Fail, ansible.builtin.fail: {msg: no space}}, {name: Go on, ansible.builtin.debug: {msg: x}}]"
    lost = f"- {{hosts: jarvis, gather_facts: false, max_fail_percentage: 0, tasks: {tasks}}}"
    assert desk.run(lost, rc=2).count("  this play ends here\n") == 1


def test_an_event_that_cannot_be_printed_so_is_printed_as_ansible_does(desk: Desk) -> None:
    (desk.place / "broken.py").write_text(
        f"import sys\nsys.path.append({str(PROJECT)!r})\n"
        "from callback_plugins.rollout_steps import DOCUMENTATION, CallbackModule as Steps\n"
        "DOCUMENTATION = DOCUMENTATION.replace('rollout_steps', 'broken')\n"
        "class CallbackModule(Steps):\n"
        "    CALLBACK_NAME = 'broken'\n"
        "    def _trouble(self, *arguments):\n        raise ValueError('fault in here')\n"
    )
    plays = "- {hosts: jarvis, gather_facts: false, tasks: [{name: Fail, ansible.builtin.fail: {msg: no space}}]}"
    output = desk.run(
        plays, rc=2, ANSIBLE_STDOUT_CALLBACK="broken", ANSIBLE_CALLBACK_PLUGINS=str(desk.place), ANSIBLE_NOCOLOR="1"
    )
    assert "ValueError in v2_runner_on_failed: fault in here" in output
    assert 'fatal: [jarvis]: FAILED! => {"changed": false, "msg": "no space"}' in output


def test_a_warning_is_shown_once(desk: Desk) -> None:
    (desk.place / "library").mkdir()
    (desk.place / "library" / "wary.py").write_text(
        "from ansible.module_utils.basic import AnsibleModule\n"
        "module = AnsibleModule(argument_spec={})\n"
        "module.warn('look out')\n"
        "module.exit_json(deprecations=[{'msg': 'too old', 'version': '9.9'}])\n"
    )
    output = desk.run("- {hosts: 'jarvis:tars', gather_facts: false, tasks: [{name: Warn, wary: }]}")
    assert output.count("look out") == 1
    assert output.count("too old") == 1


# --- check mode, many, others ----------------------------------------------------------------------------------------


def test_differences_are_below_their_line(desk: Desk) -> None:
    copy = (
        "ansible.builtin.copy: {content: \"new\\t\\e]0;t\\n\", dest: '{{ playbook_dir }}/of.{{ inventory_hostname }}'}"
    )
    plays = f"- {{hosts: 'jarvis:tars', gather_facts: false, tasks: [{{name: Write it, {copy}}}]}}"
    (desk.place / "of.tars").write_text("old\n")
    output = desk.run(plays, "--check", "--diff")
    assert output.startswith("Check mode: nothing is changed\n")
    for bot, before in (("jarvis", []), ("tars", ["-old"])):
        _, _, below = re.sub(" +", " ", output).partition(f" {bot} would change ")
        assert re.match(r"[\d.]+ s Write it\n --- before.*\n \+\+\+ after.*\n @@ ", below), output
        assert below.splitlines()[4 : 5 + len(before)] == [f" {line}" for line in [*before, r"+new\t\x1b]0;t"]]
    assert re.search(r"\njarvis would change 1 change ", ends(output))
    assert not (desk.place / "of.jarvis").exists()


def test_two_hundred_bots_of_which_two_are_changed(desk: Desk, tmp_path: Path) -> None:
    inventory = tmp_path / "many"
    inventory.write_text("bot[001:200] ansible_connection=local\n")
    output = desk.run(MANY, "-i", str(inventory), "--limit", "bot*")
    assert told(output, "bot042") == ["changed Change few", "ok Pass: bot042's evidence"]
    assert told(output, "bot043") == []
    assert re.search(r"^  198 bots: ok, .*: Pass$", output, re.M)
    before, _, after = output.partition("PLAY RECAP")
    assert len(before.splitlines()) < 12, before
    assert after.count("changed=0") == 198, "of Ansible's own lines none is missing"
    assert ends(output).rstrip().endswith("\n198 bots: nothing changed")


def test_with_v_it_is_ansibles_own_output(desk: Desk) -> None:
    plays = WORK.replace("hosts: jarvis:tars", "hosts: jarvis")
    assert desk.run(plays, "-v") == desk.run(plays, "-v", ANSIBLE_STDOUT_CALLBACK="default")


def test_ansible_without_a_playbook_prints_what_it_does_anyway(desk: Desk) -> None:
    command = [str(ANSIBLE), "-i", str(desk.inventory), "jarvis", "-a", "echo 'it works'"]
    done = subprocess.run(
        command, env=desk.environment(ANSIBLE_LOAD_CALLBACK_PLUGINS="1"), capture_output=True, text=True, check=True
    )
    assert done.stdout == "jarvis | CHANGED | rc=0 >>\nit works\n"


# --- a terminal ------------------------------------------------------------------------------------------------------


WAITS = """
- name: Fleet
  hosts: jarvis
  gather_facts: false
  tasks:
    - name: First
      ansible.builtin.command: sh -c 'until [ -e "$0" ]; do sleep 0.1; done' {{ playbook_dir }}/first
    - name: Second
      ansible.builtin.command: sh -c 'until [ -e "$0" ]; do sleep 0.1; done' {{ playbook_dir }}/second
"""


def test_a_terminal_shows_what_is_going_on_but_not_at_a_first_connection(desk: Desk) -> None:
    program, *arguments = desk.command(WAITS)
    terminal = pexpect.spawn(program, arguments, env=desk.environment(), dimensions=(24, 80), timeout=60)
    terminal.expect_exact("Fleet\x1b")
    assert terminal.expect_exact(["Fleet · First".encode(), pexpect.TIMEOUT], timeout=4) == 1, "SSH may ask here"
    (desk.place / "first").touch()
    terminal.expect_exact("\r\x1b[KFleet · Second · jarvis · ".encode())
    (desk.place / "second").touch()
    terminal.expect(rb"\r\x1b\[K(\x1b\[[\d;]+m)?  jarvis  changed [^\n]*Second")
    terminal.expect(pexpect.EOF)
    assert " · ".encode() not in terminal.before, "nothing of it stays"


def test_a_dumb_terminal_shows_no_such_line(desk: Desk) -> None:
    (desk.place / "first").touch()
    (desk.place / "second").unlink(missing_ok=True)
    program, *arguments = desk.command(WAITS)
    terminal = pexpect.spawn(program, arguments, env=desk.environment(TERM="dumb"), timeout=60)
    terminal.expect_exact("First")
    assert terminal.expect_exact(["Fleet ·".encode(), pexpect.TIMEOUT], timeout=4) == 1
    (desk.place / "second").touch()
    terminal.expect(pexpect.EOF)
