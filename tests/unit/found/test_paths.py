"""Paths as people write them mean what they say, on the VM and for the bot's user."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from ansible.module_utils.webex_rollout.become import account_of, expanded
from ansible.module_utils.webex_rollout.errors import LogError
from ansible.module_utils.webex_rollout.facts import collect
from ansible.module_utils.webex_rollout.logs.reader import LogReader
from ansible.module_utils.webex_rollout.refusals import problems

from filter_plugins.webex_rollout import webex_path

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.found.conftest import Preflight
    from tests.unit.rollout.machine import Machine


@pytest.fixture
def home_of_root(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The machine's directory as the home of the bots' user, who is root here."""
    from ansible.module_utils.webex_rollout import facts

    monkeypatch.setattr(facts, "account_of", lambda user: replace(account_of(user), home=str(machine.root)))
    return machine.root


WRITTEN = [
    ("home", "~/IR"),
    ("home", "{root}/IR/"),
    ("home", "{root}//IR/./"),
    ("home", "~/IR/"),
    ("script", "{root}/IR/webex_bots/jarvis.py"),
    ("script", "~/IR/webex_bots/jarvis.py"),
    ("script", "./webex_bots//jarvis.py"),
    ("log", "~/IR/logs/jarvis.log"),
    ("log", "{root}/IR/logs/jarvis.log"),
    ("log", "./logs/../logs/jarvis.log"),
]


@pytest.mark.parametrize(("setting", "written"), WRITTEN)
def test_each_way_to_write_a_path_means_the_same(
    machine: Machine, preflight: Preflight, home_of_root: Path, setting: str, written: str
) -> None:
    pid = machine.nohup()
    text = written.format(root=home_of_root)
    bot, needs = machine.bot(), preflight.needs("jarvis")
    if setting == "log":
        needs = replace(needs, log=text)
    else:
        bot = replace(bot, **{setting: text})
    facts = collect(machine.vm, [(bot, needs)])["jarvis"]
    assert (facts["bot"]["home"], facts["bot"]["script"]) == (str(machine.home), "webex_bots/jarvis.py")
    assert facts["log"]["path"] == str(machine.home / "logs/jarvis.log")
    assert facts["log"]["exists"]
    assert facts["script_exists"]
    assert [each["pid"] for each in facts["processes"]] == [pid]


def test_a_python_and_directories_are_the_checkouts_if_not_absolute(
    machine: Machine, preflight: Preflight, home_of_root: Path
) -> None:
    bot = replace(machine.bot(), python=".venv/bin/python")
    needs = replace(preflight.needs("jarvis"), data=("data", "~/IR/cache/", "/srv/rooms"))
    facts = collect(machine.vm, [(bot, needs)])["jarvis"]
    assert facts["bot"]["python"] == f"{machine.home}/.venv/bin/python"
    assert facts["data"] == [f"{machine.home}/data", f"{machine.home}/cache", "/srv/rooms"]


def test_home_of_nobody_is_refused_by_that_name(machine: Machine, preflight: Preflight) -> None:
    bot, needs = replace(machine.bot(), home="~nobody-here/IR"), preflight.needs("jarvis")
    found = problems(collect(machine.vm, [(bot, needs)])["jarvis"], needs)
    assert found == ["~nobody-here/IR begins with the home of nobody-here, and there is no such user on the VM"]


def test_log_is_read_from_its_users_home(tmp_path: Path) -> None:
    me = account_of("root")
    assert expanded("~/logs/x.log", me) == f"{me.home}/logs/x.log"
    assert expanded("~root", me) == me.home
    assert expanded("/srv/~x", me) == "/srv/~x"
    reader = LogReader("root")
    name = os.path.relpath(tmp_path / "x.log", me.home)
    (tmp_path / "x.log").write_text("one\n")
    assert reader.take(f"~/{name}")["cursor"]["path"] == f"{me.home}/{name}"
    with pytest.raises(LogError, match="no such user"):
        reader.take("~nobody-here/x.log")


def test_a_log_is_not_put_below_the_checkout_when_it_begins_with_a_home() -> None:
    assert webex_path("~/IR/", "logs/x.log") == "~/IR/logs/x.log"
    assert webex_path("/srv/IR", "~/logs/x.log") == "~/logs/x.log"
    assert webex_path("/srv/IR", "/var/log/x.log") == "/var/log/x.log"
