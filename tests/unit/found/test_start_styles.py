"""Ways to start a bot that people have: adopted with a unit that runs it so, or refused with what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.unit.found.conftest import Preflight
    from tests.unit.rollout.machine import Machine

APP = """\
import os
log = open("logs/jarvis.log", "a")
print("started", os.getpid(), file=log, flush=True)
"""
# Servers that load an application and fork workers, by how they are called.
SERVER = """\
#!{python}
import importlib, os, sys, time
sys.path.insert(0, os.getcwd())
{before}
importlib.import_module(sys.argv[-1].split(":")[0])
time.sleep(300)
"""
STYLES = {
    # The line, the last words of the unit's command, and the rows of the plan that have to be there.
    "nice": ("exec nice -n 3 {python} webex_bots/jarvis.py", ["webex_bots/jarvis.py"], {"nice"}),
    "ionice": ("exec ionice -c 3 {python} webex_bots/jarvis.py", ["webex_bots/jarvis.py"], set()),
    "taskset": ("exec taskset -c 0 {python} webex_bots/jarvis.py", ["webex_bots/jarvis.py"], {"processors"}),
    "chrt": ("exec chrt --batch 0 {python} webex_bots/jarvis.py", ["webex_bots/jarvis.py"], {"scheduling"}),
    "setsid": ("exec setsid -w {python} webex_bots/jarvis.py", ["webex_bots/jarvis.py"], set()),
    "stdbuf": ("exec stdbuf -oL {python} webex_bots/jarvis.py", ["webex_bots/jarvis.py"], set()),
    "options": (
        "exec {python} -u -X dev -X utf8 -W ignore::DeprecationWarning webex_bots/jarvis.py",
        ["-u", "-X", "dev", "-X", "utf8", "-W", "ignore::DeprecationWarning", "webex_bots/jarvis.py"],
        {"options"},
    ),
    "another name": ("exec -a jarvis-bot {python} webex_bots/jarvis.py", ["webex_bots/jarvis.py"], set()),
    "ulimit": ("ulimit -c 0; exec {python} webex_bots/jarvis.py", ["webex_bots/jarvis.py"], set()),
    "a tool that waits": ("exec {home}/poetry run {python} webex_bots/jarvis.py", ["webex_bots/jarvis.py"], set()),
    "redirections": (
        "exec {python} webex_bots/jarvis.py >> {home}/a.out 2>> {home}/b.err",
        ["webex_bots/jarvis.py"],
        {"output", "errors"},
    ),
    "a linked environment": ("exec {home}/.linked/bin/python webex_bots/jarvis.py", ["webex_bots/jarvis.py"], set()),
    "a server with workers": (
        "exec {home}/gunicorn app_jarvis:app",
        ["{home}/gunicorn", "app_jarvis:app"],
        {"command"},
    ),
    "a server": ("exec {home}/uvicorn app_jarvis:app", ["{home}/uvicorn", "app_jarvis:app"], {"command"}),
}


@pytest.mark.parametrize(("line", "words", "rows"), STYLES.values(), ids=STYLES)
def test_a_bot_is_adopted_as_it_is_started(
    machine: Machine, preflight: Preflight, line: str, words: list[str], rows: set[str]
) -> None:
    preflight.written()
    home = machine.home
    (home / ".linked/bin").mkdir(parents=True)
    (home / ".linked/bin/python").symlink_to(machine.python)
    (home / "app_jarvis.py").write_text(APP)
    (home / "uvicorn").write_text(SERVER.format(python=machine.python, before=""))
    (home / "poetry").write_text(f"#!{machine.python}\nimport subprocess, sys\nsubprocess.run(sys.argv[2:])\n")
    # The parent does not load the application: its children do.
    workers = "(os.fork() or os.fork()) and os.wait()"
    (home / "gunicorn").write_text(SERVER.format(python=machine.python, before=workers))
    for name in ("uvicorn", "gunicorn", "poetry"):
        (home / name).chmod(0o755)
    machine.start("bash", "-c", line.format(python=machine.python, home=home))
    preflight.started()
    untouched = preflight.nothing_happened()
    assert preflight.look() == []
    assert len(preflight.pids) == 1
    wanted = [word.format(home=home) for word in words]
    assert preflight.plan["unit"]["command"][-len(wanted) :] == wanted
    assert rows <= set(preflight.fates()), preflight.fates()
    assert untouched()


REFUSED = {
    "two of one script": (
        "{python} webex_bots/jarvis.py --a & {python} webex_bots/jarvis.py --b & wait",
        ["different arguments"],
    ),
    "a directory that is gone": (
        "mkdir {home}/gone; cd {home}/gone; rmdir {home}/gone; exec {python} {home}/webex_bots/jarvis.py",
        ["is not there any more"],
    ),
}


@pytest.mark.parametrize(("line", "words"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_taken_over_is_refused(
    machine: Machine, preflight: Preflight, line: str, words: list[str]
) -> None:
    home = machine.home
    text = APP.replace('"logs/', f'"{home}/logs/') + "import time\ntime.sleep(300)\n"
    machine.script().write_text(text)
    machine.start("bash", "-c", line.format(python=machine.python, home=home))
    machine.wait_for(lambda: machine.log().count("started") >= (2 if "--b" in line else 1))
    untouched = preflight.nothing_happened()
    said = " ".join(preflight.look())
    assert [word for word in words if word not in said] == [], (said, preflight.pids)
    assert untouched()
