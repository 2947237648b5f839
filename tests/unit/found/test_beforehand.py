"""What a rollout would come to know only after its switch is asked in preflight: the log, and the way to Webex."""

from __future__ import annotations

import os
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest
from ansible.module_utils.webex_rollout import reach, systemd
from ansible.module_utils.webex_rollout.facts import collect
from ansible.module_utils.webex_rollout.logs.cursor import look_at_all
from ansible.module_utils.webex_rollout.questions import bots
from ansible.module_utils.webex_rollout.refusals import notes, problems
from ansible.module_utils.webex_rollout.weather import Look

if TYPE_CHECKING:
    from tests.unit.found.conftest import Preflight
    from tests.unit.rollout.machine import Machine

ISO = "2026-11-27 10:00:00,123 - jarvis - INFO - hello there\n"


def rows(preflight: Preflight, what: str) -> list[dict[str, Any]]:
    return [each for each in preflight.plan["differences"] if each["what"] == what]


def held(machine: Machine, text: str = ISO) -> int:
    """A bot that runs and holds its log open, in which so much stands."""
    log = machine.home / "logs/jarvis.log"
    machine.script().write_text(
        f"import socket, time\nlog = open({str(log)!r}, 'a')\nlog.write({text * 30!r})\nlog.flush()\ntime.sleep(300)\n"
    )
    pid = machine.nohup()
    machine.wait_for(lambda: log.exists() and log.stat().st_size > 0)
    return pid


def test_log_that_is_read_in_full_has_no_row(machine: Machine, preflight: Preflight) -> None:
    held(machine)
    assert preflight.look() == []
    assert [*rows(preflight, "log"), *rows(preflight, "log's form"), *rows(preflight, "Webex")] == []


def test_log_in_a_form_that_nobody_reads_is_told_with_what_to_do(machine: Machine, preflight: Preflight) -> None:
    held(machine, "hello there\n")
    assert preflight.look() == []
    (row,) = rows(preflight, "log's form")
    assert row["fate"] == "noted"
    assert "neither time nor level was found" in row["why"]
    assert "%(levelname)s" in row["why"]
    assert row["why"] in notes(preflight.facts)


def test_log_that_is_not_there_is_refused_with_what_the_bot_writes(machine: Machine, preflight: Preflight) -> None:
    pid = held(machine)
    needs = preflight.needs("jarvis")
    changed = type(needs)(**{**needs.__dict__, "log": "logs/other.log"})
    facts = collect(machine.vm, [(machine.bot(), changed)])["jarvis"]
    (problem,) = [each for each in problems(facts, changed) if "log" in each]
    assert f"jarvis runs (pid {pid}), and its log {machine.home}/logs/other.log is not there" in problem
    assert f"set bot_log to what it writes ({machine.home}/logs/jarvis.log)" in problem


def test_log_that_the_bot_does_not_write_is_told(machine: Machine, preflight: Preflight) -> None:
    other = machine.home / "logs/jarvis.log"
    other.write_text(ISO * 30)
    os.utime(other, (time.time() - 3600,) * 2)
    machine.script().write_text(
        "import time\nlog = open('real.log', 'a')\nlog.write('x')\nlog.flush()\ntime.sleep(300)\n"
    )
    machine.nohup()
    machine.wait_for(lambda: (machine.home / "real.log").exists())
    needs = preflight.needs("jarvis")
    preflight.facts = collect(machine.vm, [(machine.bot(), needs)])["jarvis"]
    (row,) = rows(preflight, "log")
    assert row["fate"] == "noted"
    assert row["why"] == (
        f"nothing was written to {other} since jarvis was started; it writes {machine.home}/real.log: is bot_log right?"
    )


def test_bot_that_never_ran_needs_no_log(machine: Machine, preflight: Preflight) -> None:
    needs = preflight.needs("jarvis")
    preflight.facts = collect(machine.vm, [(machine.bot(), needs)])["jarvis"]
    assert rows(preflight, "log") == []
    assert look_at_all(str(machine.home / "logs/jarvis.log"), rotated=True).tally.lines == 0


BAD = Look("bad", "connect", "connect to webexapis.com:443: timed out")


@pytest.mark.parametrize(
    ("state", "fate", "words"),
    [
        ("not connected", "refused", "a start of jarvis would not be seen to connect, and would be rolled back"),
        ("connected", "noted", "though jarvis is connected: how it gets out is not among its variables"),
        ("not running", "refused", "a start of jarvis would not be seen to connect"),
        ("left stopped", "noted", "Webex cannot be reached from the VM as root (connect to webexapis.com:443"),
        ("its own unit", "noted", "Webex cannot be reached from the VM as root"),
        ("another certificate", "noted", "Webex cannot be reached from the VM as root"),
        ("called by Webex", "noted", "Webex cannot be reached from the VM as root"),
    ],
)
def test_webex_that_cannot_be_reached_is_refused_where_a_start_would_be_rolled_back(
    machine: Machine, preflight: Preflight, monkeypatch: pytest.MonkeyPatch, state: str, fate: str, words: str
) -> None:
    asked: list[dict[str, str]] = []
    bad = Look("bad", "certificate", BAD.reason) if state == "another certificate" else BAD
    monkeypatch.setattr(reach, "ask", lambda _, variables: asked.append(dict(variables)) or bad)
    if state == "called by Webex":
        machine.script().write_text(
            "import socket, time\nheld = socket.create_server(('127.0.0.1', 0))\n"
            "open('up', 'w').close()\ntime.sleep(300)\n"
        )
        machine.nohup()
        machine.wait_for((machine.home / "up").exists)
    if state in ("not connected", "its own unit", "another certificate"):
        pid = held(machine)
        if state == "its own unit":
            monkeypatch.setattr(
                "ansible.module_utils.webex_rollout.processes.unit_of",
                lambda each: ("webex-bot@jarvis.service", False) if each == pid else ("", False),
            )
    elif state == "connected":
        machine.nohup(env={"HTTPS_PROXY": "http://proxy:3128"})
        machine.wait_for(lambda: "started" in machine.log())
    refused = preflight.look(start=state != "left stopped")
    (row,) = rows(preflight, "Webex")
    assert (row["fate"], words in row["why"]) == (fate, True), row
    assert bool(refused) == (fate == "refused")
    assert asked == [{"HTTPS_PROXY": "http://proxy:3128"} if state == "connected" else {}]


@pytest.mark.parametrize(
    ("version", "said"), [(None, "systemd does not run on the VM"), (219, "systemd 219 runs on the VM, and"), (235, "")]
)
def test_systemd_that_will_not_do_is_refused_once_a_vm(
    monkeypatch: pytest.MonkeyPatch, version: int | None, said: str
) -> None:
    monkeypatch.setattr(bots, "systemd_version", lambda: version)
    monkeypatch.setattr(bots, "watch_problems", list)
    answer = bots.answer({"bots": [], "others": [], "installed": {}, "start_ahead": True}, False)
    assert answer.get("msg", "").startswith(said) and answer["bots"] == {}
    assert bool(answer.get("failed")) == bool(said)


@pytest.mark.parametrize(
    ("shown", "version"), [("systemd 252 (252.38-1~deb12u1)", 252), ("systemd 257~rc2 (257~rc2-1)", 257)]
)
def test_systemd_shows_its_version(monkeypatch: pytest.MonkeyPatch, shown: str, version: int) -> None:
    done = subprocess.CompletedProcess([], 0, f"{shown}\n+PAM +AUDIT\n".encode(), b"")
    monkeypatch.setattr(systemd, "run_command", lambda _: done)
    monkeypatch.setattr(systemd.os.path, "isdir", lambda _: True)
    assert systemd.systemd_version() == version


def test_source_that_changed_since_the_start_is_told(machine: Machine, preflight: Preflight) -> None:
    (machine.home / ".venv/lib/x.py").parent.mkdir(parents=True)
    machine.age(str(machine.script()))
    machine.nohup()
    preflight.look()
    assert rows(preflight, "source") == []
    for name in (".venv/lib/x.py", "data.json", "src/utils/helper.py"):
        (machine.home / name).write_text("")
    preflight.look()
    (row,) = rows(preflight, "source")
    assert (row["found"], row["fate"]) == ("older than 1 file", "noted")
    assert "src/utils/helper.py changed since" in row["why"]


@pytest.mark.parametrize(("given", "told"), [("", True), ("Pacific/Apia", False), ("Asia/Tokyo", True)])
def test_time_zone_of_its_own_is_told_unless_the_settings_have_it(
    machine: Machine, preflight: Preflight, given: str, told: bool
) -> None:
    machine.nohup(env={"TZ": ":Pacific/Apia"})
    preflight.look(timezone=given)
    found = rows(preflight, "time zone")
    assert [row["fate"] for row in found] == ["noted"] * told
    assert all("set bot_timezone to Pacific/Apia" in row["why"] for row in found)
