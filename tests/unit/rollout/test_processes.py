"""Which processes are a bot, and which only look like one. All of them really run."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import asdict
from pathlib import Path

import pytest
from ansible.module_utils.webex_rollout.become import account_of
from ansible.module_utils.webex_rollout.command_line import python_paths, python_target, redact_argv
from ansible.module_utils.webex_rollout.found import FoundProcess
from ansible.module_utils.webex_rollout.parents import supervisor_of
from ansible.module_utils.webex_rollout.processes import find_processes
from ansible.module_utils.webex_rollout.procfs import open_for_writing, read_nul_list
from ansible.module_utils.webex_rollout.state import Runner

from tests.unit.rollout.machine import Machine, everywhere


@pytest.mark.parametrize(
    ("argv", "target"),
    [
        (["python", "a.py"], ("script", "a.py")),
        (["python", "-u", "-B", "a.py", "-m", "x"], ("script", "a.py")),
        (["python", "-uB", "-X", "dev", "-W", "error", "a.py"], ("script", "a.py")),
        (["python", "-Xdev", "-Werror", "a.py"], ("script", "a.py")),
        (["python", "--check-hash-based-pycs", "always", "a.py"], ("script", "a.py")),
        (["python", "-m", "webex_bots.jarvis"], ("module", "webex_bots.jarvis")),
        (["python", "-um", "webex_bots.jarvis"], ("module", "webex_bots.jarvis")),
        (["python", "-mwebex_bots.jarvis"], ("module", "webex_bots.jarvis")),
        (["python", "-m", "py_compile", "a.py"], ("module", "py_compile")),
        (["python", "-c", "import a", "a.py"], ("", "")),
        (["python", "-"], ("", "")),
        (["python"], ("", "")),
        (["python", "-m"], ("module", "")),
    ],
)
def test_command_line_of_python_is_read_as_python_reads_it(argv: list[str], target: tuple[str, str]) -> None:
    assert python_target(argv) == target


def test_command_line_counts_from_its_own_directory() -> None:
    assert python_paths(["python", "webex_bots/jarvis.py"], "/srv/IR") == ["/srv/IR/webex_bots/jarvis.py"]
    assert python_paths(["python", "/x/jarvis.py"], "/srv/IR") == ["/x/jarvis.py"]
    module = ["/srv/IR/webex_bots/jarvis.py", "/srv/IR/webex_bots/jarvis/__main__.py"]
    assert python_paths(["python", "-m", "webex_bots.jarvis"], "/srv/IR") == module
    assert module[0] in python_paths(["python", "-m", "jarvis"], "/", ["/srv/IR/webex_bots"])
    assert python_paths(["python", "-c", "import jarvis"], "/srv/IR") == []


def test_finds_a_bot_however_it_was_called(machine: Machine) -> None:
    python, home = machine.python, machine.home
    linked = machine.root / "link"
    linked.symlink_to(home)
    (home / "webex_bots/logs").mkdir()
    pids = {
        machine.nohup(),
        machine.start(python, str(machine.script())),
        machine.start(python, "-u", "jarvis.py", cwd=home / "webex_bots"),
        machine.start(python, "-m", "webex_bots.jarvis"),
        machine.start(python, "webex_bots/jarvis.py", cwd=linked),
    }
    machine.wait_for(lambda: {p.pid for p in find_processes(machine.bot())} == pids)


def test_leaves_look_alikes_alone(machine: Machine) -> None:
    other = machine.root / "other"
    (other / "webex_bots").mkdir(parents=True)
    (other / "logs").mkdir()
    (other / "webex_bots/jarvis.py").write_text(machine.script().read_text())
    (machine.home / "webex_bots/jarvis_helper.py").write_text(machine.script().read_text())
    waits = "import time; time.sleep(300)"
    for argv, cwd in (
        (["tail", "-f", "webex_bots/jarvis.py"], None),
        (["sh", "-c", "sleep 300; : python webex_bots/jarvis.py"], None),
        ([machine.python, "-c", waits, "webex_bots/jarvis.py"], None),
        ([machine.python, "webex_bots/jarvis.py"], other),
        ([machine.python, "webex_bots/jarvis_helper.py"], None),
    ):
        machine.start(*argv, cwd=cwd)
    real = machine.nohup()
    machine.wait_for(lambda: machine.log().count("started") == 2)
    assert [p.pid for p in find_processes(machine.bot())] == [real]


def test_forked_children_are_told_from_copies(machine: Machine) -> None:
    machine.script().write_text(
        "import multiprocessing, time\n"
        "for _ in range(2): multiprocessing.get_context('fork').Process(target=time.sleep, args=(300,)).start()\n"
        "open('logs/jarvis.log', 'a').write('started')\ntime.sleep(300)\n"
    )
    first, second = machine.nohup(), machine.nohup()
    machine.wait_for(lambda: machine.log().count("started") == 2)
    found = find_processes(machine.bot())
    assert {p.pid for p in found} == {first, second}
    assert [len(p.children) for p in found] == [2, 2]


def test_orphaned_fork_of_a_dead_bot_is_a_copy(machine: Machine) -> None:
    machine.script().write_text(
        "import multiprocessing, os, time\n"
        "child = multiprocessing.get_context('fork').Process(target=time.sleep, args=(300,)); child.start()\n"
        "open('logs/jarvis.log', 'a').write(f'{child.pid} ')\ntime.sleep(300)\n"
    )
    pid = machine.nohup()
    machine.wait_for(lambda: machine.log() != "")
    os.kill(pid, signal.SIGKILL)
    machine.wait_for(lambda: [p.pid for p in find_processes(machine.bot())] == [int(machine.log())])


def test_shows_names_and_masks_secrets(machine: Machine) -> None:
    machine.start(machine.python, "webex_bots/jarvis.py", "--token", "hush1", "--api-key=hush2", "-v")
    machine.wait_for(lambda: "started" in machine.log())
    (process,) = find_processes(machine.bot())
    assert "WEBEX_TOKEN" in process.environment_names
    assert process.argv[1:] == ["webex_bots/jarvis.py", "--token", "***", "--api-key=***", "-v"]
    assert process.log_files == []
    shown = repr(process)
    assert not any(secret in shown for secret in ("hush1", "hush2", "s3cret"))


def test_redaction_leaves_the_next_option_alone() -> None:
    assert redact_argv(["a.py", "--token", "--verbose", "x"]) == ["a.py", "--token", "--verbose", "x"]


def test_what_somebody_else_opened_for_it_is_told_from_what_it_opened(machine: Machine) -> None:
    machine.script().write_text(
        "import time\nheld = open('logs/jarvis.log', 'a')\nprint(1, flush=True)\ntime.sleep(300)\n"
    )
    pid = machine.start("sh", "-c", f"exec {machine.python} webex_bots/jarvis.py > nohup.out")
    out, log = machine.home / "nohup.out", machine.home / "logs/jarvis.log"
    machine.wait_for(lambda: out.exists() and out.read_text() != "")
    assert open_for_writing(pid) == [str(log), str(out)]
    assert open_for_writing(pid, streams=False) == [str(log)]


def test_the_channel_it_keeps_open_is_no_log_of_a_bot(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    everywhere(monkeypatch, "UNITS_RUN_DIR", str(tmp_path / "units"))
    channel = tmp_path / "units/jarvis/1-2-0.channel"
    channel.parent.mkdir(parents=True)
    machine.script().write_text(
        f"import os, time\nchannel = os.open({str(channel)!r}, os.O_RDWR | os.O_CREAT, 0o400)\n"
        "log = open('logs/jarvis.log', 'a')\nprint('opened', file=log, flush=True)\ntime.sleep(300)\n"
    )
    pid = machine.start(machine.python, "webex_bots/jarvis.py")
    machine.wait_for(lambda: "opened" in machine.log())
    assert open_for_writing(pid, streams=False) == [str(machine.home / "logs/jarvis.log")]


def test_names_the_log_and_the_hangup_proof(machine: Machine) -> None:
    machine.script().write_text(
        "import time\nheld = open('logs/jarvis.log', 'a')\nheld.write('x')\nheld.flush()\ntime.sleep(300)\n"
    )
    machine.nohup()
    machine.wait_for(lambda: machine.log() != "")
    (process,) = find_processes(machine.bot())
    assert process.log_files == [str(machine.home / "logs/jarvis.log")]
    assert process.supervisor == "nohup"
    assert process.restarting_parent is None


def test_bot_that_a_terminal_would_end_is_not_called_nohup(machine: Machine) -> None:
    machine.start(machine.python, "webex_bots/jarvis.py")
    machine.wait_for(lambda: "started" in machine.log())
    (process,) = find_processes(machine.bot())
    assert process.supervisor == "other"


@pytest.mark.parametrize(
    ("unit", "supervisor"),
    [
        ("jarvis.service", "jarvis.service"),
        ("ssh-bots.service", "ssh-bots.service"),
        ("user-bots.service", "user-bots.service"),
        ("ssh.service", "other"),
        ("sshd@3-10.0.0.1:22.service", "other"),
        ("cron.service", "other"),
        ("serial-getty@ttyS0.service", "other"),
        ("user@1000.service", "other"),
        ("session-4.scope", "other"),
    ],
)
def test_service_that_starts_sessions_is_no_supervisor(unit: str, supervisor: str) -> None:
    assert supervisor_of(1, False, unit) == supervisor


@pytest.mark.parametrize(
    ("wrapper", "kept"),
    [
        ("cd . && {python} webex_bots/jarvis.py; true", False),
        ("while true; do {python} webex_bots/jarvis.py; sleep 60; done", True),
        ("until {python} webex_bots/jarvis.py; do sleep 60; done", True),
    ],
)
def test_shell_is_a_restarting_parent_only_if_it_loops(machine: Machine, wrapper: str, kept: bool) -> None:
    shell = machine.start("sh", "-c", wrapper.format(python=machine.python))
    machine.wait_for(lambda: "started" in machine.log())
    (process,) = find_processes(machine.bot())
    assert process.ppid == shell
    assert bool(process.restarting_parent) == kept


def test_takes_a_process_down_byte_for_byte(machine: Machine) -> None:
    pid = machine.start(
        machine.python, "webex_bots/jarvis.py", "", "a b", "ü", env={"EMPTY": "", "LATIN": "\udcff", "NEWLINE": "a\nb"}
    )
    machine.wait_for(lambda: "started" in machine.log())
    (process,) = find_processes(machine.bot())
    found = FoundProcess.read(process, account_of("root"))
    assert found.argv == [machine.python, "webex_bots/jarvis.py", "", "a b", "ü"]
    assert {"EMPTY=", "LATIN=\udcff", "NEWLINE=a\nb"} <= set(found.environment)
    assert found.environment == read_nul_list(f"/proc/{pid}/environ")
    assert FoundProcess(**json.loads(json.dumps(asdict(found)))) == found
    assert "s3cret" not in repr(Runner("process", process=found))
