"""Texts of others cost time in proportion to their length, or a bound: never minutes, whatever they say."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from ansible.module_utils.webex_rollout import facts
from ansible.module_utils.webex_rollout.become import account_of
from ansible.module_utils.webex_rollout.command_line import redact_argv
from ansible.module_utils.webex_rollout.environment import plan_environment
from ansible.module_utils.webex_rollout.errors import RolloutError
from ansible.module_utils.webex_rollout.imports import answer_of
from ansible.module_utils.webex_rollout.interpreter import interpreter
from ansible.module_utils.webex_rollout.processes import doubt
from ansible.module_utils.webex_rollout.refusals import OLDEST, Needs, problems
from ansible.module_utils.webex_rollout.starter_places import find_starters
from ansible.module_utils.webex_rollout.store import Vm
from ansible.module_utils.webex_rollout.traits import Suspect, several, suspicion

from plugin_utils.report.mask import mask
from tests.unit.security.test_starters import bot_of, crontab

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.people import People

# A loaded machine's; each takes a second or two by itself.
SECONDS = 60
WORD = 128 * 1024
FOR = f"for x in {' '.join(f'python{number}' for number in range(50))}; do "
BOMBS = {
    "one loop": FOR + "$x " * 255,
    "loops": (FOR + "$x " * 255 + ";") * 200,
    "variables of variables": f"{FOR}for y in {'$x ' * 50}; do " + "$x$y$x$y " * 255 + ";",
    "white space": "a=x" + " " * 200_000 + "x",
    "many variables": "\n".join(f"v{number}=1" for number in range(15_000)) + "\n* * * * * b" * 10_000,
}


@pytest.mark.parametrize("word", ["a" * WORD, "-" + "token" * (WORD // 5) + "!", "=a" * (WORD // 2), "x://a:" * 20_000])
def test_a_command_line_is_masked_at_once(word: str) -> None:
    begun = time.monotonic()
    redact_argv(["python", "jarvis.py", word])
    assert time.monotonic() - begun < SECONDS  # the first took hours


def test_a_crowd_of_processes_is_named_in_part() -> None:
    crowd = [Suspect(pid, ["python", "x" * 1000], ["names it"], launcher=True) for pid in range(10_000)]
    assert len(suspicion("jarvis", crowd)) < 5000
    assert len(doubt("jarvis", range(10_000))) < 5000
    assert len(several("jarvis", [(each.pid, each.argv, str(each.pid)) for each in crowd])) < 5000


def test_half_a_million_variables_are_sorted_at_once() -> None:
    begun = time.monotonic()
    plan = plan_environment([f"V{number}=" for number in range(500_000)])
    assert time.monotonic() - begun < SECONDS
    assert len(plan.carried) == 500_000


@pytest.mark.parametrize(
    "piece",
    ["a", "token", "token:" + " " * 300, "token" + " " * 300, "\n", " \n", "+a", "eyJ-", "_aa_00000000-", 'api="', "é"],
    ids=repr,
)
def test_a_diff_is_masked_at_once(piece: str) -> None:
    begun = time.monotonic()
    mask(piece * (400_000 // len(piece)))
    assert time.monotonic() - begun < SECONDS


@pytest.mark.parametrize("text", BOMBS.values(), ids=list(BOMBS))
@pytest.mark.parametrize("user", ["otheruser", "botuser"])
def test_no_crontab_of_a_users_delays_the_search(people: People, tmp_path: Path, user: str, text: str) -> None:
    bot = bot_of(people)
    crontab(tmp_path, user, text if text[0] in "av" else f"* * * * * {text}\n")
    crontab(tmp_path, "root", f"@reboot root python3 {bot.home}/{bot.script}\n")
    begun = time.monotonic()
    found = find_starters(bot, str(tmp_path))
    assert time.monotonic() - begun < SECONDS
    assert [each.file for each in found if each.certain] == [str(tmp_path / "var/spool/cron/crontabs/root")]


def test_scripts_that_call_each_other_delay_nothing(people: People, tmp_path: Path) -> None:
    bot = bot_of(people)
    calls = "\n".join(["./again.sh"] * 20_000)
    crontab(tmp_path, "root", f"@reboot sh {people.home}/again.sh\n@daily python3 {bot.home}/{bot.script}\n")
    (people.home / "again.sh").write_text(f"#!/bin/sh\ncd {people.home}\n{calls}\n")
    people.give(people.home)
    begun = time.monotonic()
    found = find_starters(bot, str(tmp_path))
    assert time.monotonic() - begun < SECONDS
    assert [each.line for each in found if each.certain] == [2]


DEEP = "[" * 100_000


@pytest.mark.parametrize("answer", [DEEP, f'{{"version": {DEEP}', json.dumps("x" * 2**21), "", "nonsense"])
def test_no_answer_of_his_python_is_more_than_no_answer(answer: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        answer_of(f"hello\n{answer}".encode())


@pytest.mark.parametrize(
    "answer",
    [
        DEEP,
        '{"version": "3.11.2", "packages": {"requests": 7}}',
        '{"version": "3.11.2", "packages": {"requests": "' + "9" * 10_000 + '"}}',
        '{"version": {"3": "11"}, "packages": {}}',
        '{"version": "3.11.2", "packages": 5}',
        '{"version": "3.11.2\\n\\u001b[2J", "packages": null}',
        "7",
    ],
    ids=range(7),
)
def test_a_python_that_lies_is_one_that_does_not_work(people: People, answer: str) -> None:
    assert interpreter(python_that_says(people, answer), account_of("botuser"), OLDEST) == {
        "error": "it does not answer as a Python does"
    }


def test_a_package_that_nobody_asked_for_is_none(people: People) -> None:
    python = python_that_says(people, '{"version": "3.11.2", "packages": {"requests": "2.31.0", "evil": "1"}}')
    assert interpreter(python, account_of("botuser"), OLDEST)["packages"] == {"requests": "2.31.0"}


def python_that_says(people: People, answer: str) -> str:
    said, python = people.home / "said", people.home / "python"
    said.write_text(answer)
    python.write_text(f"#!/bin/sh\ncat {said}\n")
    python.chmod(0o755)
    people.give(people.home)
    return str(python)


def test_a_bot_that_cannot_be_looked_at_keeps_no_other_from_it(
    people: People, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bots = [bot_of(people), replace(bot_of(people), name="tars")]
    look = facts._look_as_user

    def refused(home: str, script: str, python: str, log: str) -> object:
        if log.endswith("jarvis.log"):
            raise RolloutError("an earlier look still hangs")
        return look(home, script, python, log)

    refused.__qualname__ = "look"
    monkeypatch.setattr(facts, "_look_as_user", refused)
    monkeypatch.setattr(facts, "find_starters", lambda *_, **__: [])
    monkeypatch.setattr(facts, "_unit", lambda name: {})
    monkeypatch.setattr(facts, "_unit_limits", dict)
    needs = [Needs(f"{name}.log", 100, 10, 1, False) for name in ("jarvis", "tars")]
    found = facts.collect(Vm(str(tmp_path)), list(zip(bots, needs)))
    assert found["jarvis"]["unseen"] == "an earlier look still hangs"
    assert problems(found["jarvis"], needs[0])[0] == "jarvis could not be looked at: an earlier look still hangs"
    assert (found["tars"]["unseen"], found["tars"]["script_exists"]) == ("", True)
