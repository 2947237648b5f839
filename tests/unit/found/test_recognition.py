"""A bot is recognised however it was started, adopted only for certain, and nothing is started beside a doubt."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from ansible.module_utils.webex_rollout import traits
from ansible.module_utils.webex_rollout.facts import collect

if TYPE_CHECKING:
    from tests.unit.found.conftest import Preflight
    from tests.unit.rollout.machine import Machine

RUN = "import runpy, sys\nrunpy.run_path('webex_bots/' + sys.argv[1] + '.py', run_name='__main__')\n"


def test_two_bots_of_one_script_are_refused_with_both_command_lines(machine: Machine, preflight: Preflight) -> None:
    for space in ("emea", "apac"):
        machine.start(machine.python, "webex_bots/jarvis.py", "--space", space)
    machine.wait_for(lambda: machine.log().count("started") == 2)
    untouched = preflight.nothing_happened()
    (problem,) = preflight.look()
    assert "jarvis runs as several processes with different arguments" in problem
    assert "--space emea" in problem
    assert "--space apac" in problem
    assert "bot_arguments" in problem
    assert untouched()


def test_bots_of_one_script_are_told_apart_by_their_arguments(machine: Machine, preflight: Preflight) -> None:
    pids = {s: machine.start(machine.python, "webex_bots/jarvis.py", "--space", s) for s in ("emea", "apac")}
    machine.wait_for(lambda: machine.log().count("started") == 2)
    for space, pid in pids.items():
        assert preflight.look(arguments=("--space", space)) == []
        assert preflight.pids == [pid]
        assert preflight.plan["unit"]["command"][-2:] == ["--space", space]
        assert preflight.plan["commands"] == [[str(machine.script()), "--space", space]]


def test_two_copies_of_one_command_are_one_bot(machine: Machine, preflight: Preflight) -> None:
    for _ in range(2):
        machine.start(machine.python, "webex_bots/jarvis.py")
    machine.wait_for(lambda: machine.log().count("started") == 2)
    assert preflight.look() == []
    assert preflight.fates()["copies"] == ("2", "1", "changed")


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["{python}", "run.py", "jarvis"], ["{home}/run.py", "jarvis"]),
        (["{python}", "-u", "{home}/bin/jarvis-bot"], ["{home}/bin/jarvis-bot"]),
        (["{python}", "-m", "launch", "jarvis"], ["-m", "launch", "jarvis"]),
        (
            ["{python}", "-c", "import runpy; runpy.run_path('webex_bots/jarvis.py')"],
            ["-c", "import runpy; runpy.run_path('webex_bots/jarvis.py')"],
        ),
    ],
    ids=["run.py", "console script", "module", "code"],
)
def test_bot_of_a_launcher_is_adopted(
    machine: Machine, preflight: Preflight, argv: list[str], words: list[str]
) -> None:
    preflight.written()
    (machine.home / "run.py").write_text(RUN)
    (machine.home / "launch.py").write_text(RUN)
    (machine.home / "bin").mkdir()
    (machine.home / "bin/jarvis-bot").write_text(RUN.replace("sys.argv[1]", "'jarvis'"))
    names = {"python": machine.python, "home": str(machine.home)}
    pid = machine.start(*(word.format(**names) for word in argv))
    preflight.started()
    assert preflight.look() == []
    assert preflight.pids == [pid]
    assert preflight.plan["commands"] == [[word.format(**names) for word in words]]
    assert preflight.fates()["command"][2] == "carried over"
    assert preflight.plan["unit"]["command"][0] == machine.python


@pytest.mark.parametrize("python", ["", "env/python"], ids=["its own", "relative"])
def test_bot_whose_checkout_was_renamed_or_whose_link_moved_on_is_known(
    machine: Machine, preflight: Preflight, python: str
) -> None:
    """Called by a relative path its Python is another environment's by now: that its shell was here is all there is."""
    (machine.home / "env").mkdir()
    (machine.home / "env/python").symlink_to(machine.python)
    for release in ("1", "2"):
        shutil.copytree(machine.home, machine.root / f"releases/{release}", symlinks=True)
    shutil.rmtree(machine.home)
    machine.home.symlink_to(machine.root / "releases/1")
    pid = machine.start("sh", "-c", f"cd {machine.home} && exec {python or machine.python} webex_bots/jarvis.py")
    preflight.started()
    machine.home.unlink()
    machine.home.symlink_to(machine.root / "releases/2")
    assert preflight.look() == []
    assert preflight.pids == [pid]
    assert preflight.fates()["directory"] == (str(machine.root / "releases/1"), str(machine.home), "changed")


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["sh", "-c", "{python} -c 'import time; time.sleep(300)' | tee -a logs/jarvis.log"], ["tee", "holds its log"]),
        (
            ["{python}", "-c", "import runpy, os; os.fork() and __import__('time').sleep(300); "
             "runpy.run_path('webex_bots/jarvis.py')"],
            [],
        ),
        (["{python}", "-m", "workers"], ["child of process", "which runs it"]),
    ],
    ids=["pipe into the log", "fork", "workers"],
)  # fmt: skip
def test_what_may_be_the_bot_is_refused_with_what_speaks_for_it(
    machine: Machine, preflight: Preflight, argv: list[str], words: list[str]
) -> None:
    preflight.written()
    (machine.home / "workers.py").write_text(
        "import multiprocessing, runpy, time\n"
        "if __name__ == '__main__':\n"
        "    context = multiprocessing.get_context('spawn')\n"
        "    context.Process(target=runpy.run_path, args=('webex_bots/jarvis.py',)).start()\n"
        "    time.sleep(300)\n"
    )
    machine.start(*(word.format(python=machine.python) for word in argv))
    if "tee" not in words:
        preflight.started()
    machine.wait_for(lambda: bool(preflight.look()) or preflight.pids != [])
    untouched = preflight.nothing_happened()
    found = preflight.look()
    if words:
        (problem,) = found
        assert "no process shows the command line of jarvis, but it may run" in problem
        assert [word for word in [*words, "bot_command", "holds its log open"] if word not in problem] == []
        assert preflight.pids == []
    assert untouched()


TITLE = """\
import ctypes, runpy
with open("/proc/self/stat") as file:
    begin, end = map(int, file.read().rsplit(")", 1)[1].split()[45:47])
ctypes.memset(begin, 0, end - begin)
title = {title!r}
ctypes.memmove(begin, title, min(len(title), end - begin))
runpy.run_path("webex_bots/jarvis.py", run_name="__main__")
"""


@pytest.mark.parametrize("title", [b"chat: jarvis", b"jarvis", b"python: jarvis [ready]"])
def test_bot_that_shows_a_title_is_refused_with_what_to_do(
    machine: Machine, preflight: Preflight, title: bytes
) -> None:
    preflight.written()
    (machine.home / "run.py").write_text(TITLE.format(title=title))
    machine.start(machine.python, "run.py", "--of-some-length")
    preflight.started()
    untouched = preflight.nothing_happened()
    (problem,) = preflight.look()
    assert f"({title.decode()}) holds its log open, works in its checkout" in problem
    assert "could not be started again as it was" in problem
    assert "end it and run again" in problem and "bot_command" in problem
    assert preflight.pids == [] and untouched()


def test_two_bots_in_one_process_are_nobodys(machine: Machine, preflight: Preflight) -> None:
    machine.add_bot("tars")
    (machine.home / "all.py").write_text(
        "import time\nlogs = [open(f'logs/{name}.log', 'a') for name in ('jarvis', 'tars')]\n"
        "[print('started', file=log, flush=True) for log in logs]\ntime.sleep(300)\n"
    )
    machine.start(machine.python, "all.py", "jarvis", "tars")
    preflight.started()
    given = [(machine.bot(name), preflight.needs(name)) for name in ("jarvis", "tars")]
    facts = collect(machine.vm, given)
    for name in ("jarvis", "tars"):
        (problem,) = facts[name]["unclear"]
        assert "all.py jarvis tars" in problem


def test_other_programs_of_the_checkout_are_not_the_bot(machine: Machine, preflight: Preflight) -> None:
    machine.add_bot("tars")
    preflight.written("tars")
    machine.start(machine.python, "webex_bots/tars.py")
    machine.start(machine.python, "-c", "import time; time.sleep(300)")
    machine.start("tail", "-f", "logs/jarvis.log")
    preflight.started(name="tars")
    assert preflight.look() == []
    assert preflight.pids == []
    assert preflight.fates()["runs"] == ("not running", "webex-bot@jarvis.service", "noted")
    assert preflight.look(start=False) == []
    assert preflight.fates()["runs"] == ("not running", "left stopped", "noted")


def test_what_talks_to_webex_from_the_checkout_is_no_longer_not_running(
    machine: Machine, preflight: Preflight, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traits, "HTTPS_PORTS", (machine.port,))
    (machine.home / "serve.py").write_text(
        "import os, socket, time\nheld = socket.create_connection(('127.0.0.1', int(os.environ['BOT_PORT'])))\n"
        "open('up', 'w').close()\ntime.sleep(300)\n"
    )
    machine.start(machine.python, "serve.py")
    machine.wait_for((machine.home / "up").exists)
    (problem,) = preflight.look()
    assert "talks to Webex" in problem
    assert "serve.py" in problem


@pytest.mark.parametrize(
    ("wrapper", "end"),
    [
        ("flock -n {home}/lock {run}", ""),
        ("timeout 300 {run}", ""),
        ("sh -c '. /dev/null && {run}; true'", ""),
        ("sh -c 'while true; do {run}; sleep 60; done'", "kill "),
        ("sh -c 'while true; do flock -n {home}/lock {run}; sleep 60; done'", "kill "),
        ("{home}/supervisord {run}", "supervisorctl stop"),
        ("{home}/guardian {run}", "kill "),
    ],
)
def test_who_starts_it_again_is_told_from_who_waits(
    machine: Machine, preflight: Preflight, wrapper: str, end: str
) -> None:
    for name in ("supervisord", "guardian"):  # a script's name is that of its process
        program = machine.home / name
        program.write_text(f"#!{machine.python}\nimport subprocess, sys\nsubprocess.run(sys.argv[1:])\n")
        program.chmod(0o755)
    run = f"{machine.python} webex_bots/jarvis.py"
    machine.start("sh", "-c", "exec " + wrapper.format(home=machine.home, run=run))
    machine.wait_for(lambda: "started" in machine.log())
    found = preflight.look()
    assert len(preflight.pids) == 1
    assert bool(found) == bool(end), found
    if end:
        assert "may start it again" in found[0]
        assert f"`{end}" in found[0]


def test_secret_arguments_reach_neither_plan_nor_unit(machine: Machine, preflight: Preflight) -> None:
    machine.start(machine.python, "webex_bots/jarvis.py", "--token", "hush", "--room=x")
    machine.wait_for(lambda: "started" in machine.log())
    assert preflight.look() == []
    assert "hush" not in repr(preflight.facts)
    assert preflight.plan["unit"]["command"][-3:] == ["--token", "${WEBEX_BOT_ARGUMENT_3}", "--room=x"]
