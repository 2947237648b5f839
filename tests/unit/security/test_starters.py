"""What others write into crontabs and files forbids nothing, hangs nothing, and is read by whom it belongs to."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from ansible.module_utils.webex_rollout.processes import Bot
from ansible.module_utils.webex_rollout.shell_lines import literals, may_become, shell_words
from ansible.module_utils.webex_rollout.starter_places import find_starters, search_for
from ansible.module_utils.webex_rollout.starters import starts_bot
from hypothesis import given
from hypothesis import strategies as st

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.people import People

HOME = "/home/vinay/pub/IR"
BOT = Bot("jarvis", HOME, "webex_bots/jarvis.py", f"{HOME}/.venv/bin/python", "root")
LIMIT = 256 << 10


def bot_of(people: People) -> Bot:
    script = people.home / "IR/webex_bots/jarvis.py"
    script.parent.mkdir(parents=True, exist_ok=True)
    script.write_text("")
    people.give(people.home)
    return Bot("jarvis", str(people.home / "IR"), "webex_bots/jarvis.py", "/usr/bin/python3", "botuser")


def crontab(root: Path, user: str, text: str) -> Path:
    path = root / "var/spool/cron/crontabs" / user
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    "text",
    [
        "python /" + "${a}" * 18 + "zz.py",
        "python /" + "${a}" * (LIMIT // 4) + "zz.py",
        "python " + ("/" + "$a" * 40 + "/x.py ") * (LIMIT // 90),
        "python " * (LIMIT // 7),
        "python -u " * (LIMIT // 10),
        "python jarvis.py;" * (LIMIT // 17),
        "a;" * (LIMIT // 2),
        "/a/jarvis.py " * (LIMIT // 13),
        "'" * LIMIT,
        '"' * (LIMIT - 1),
        '\\"' * (LIMIT // 2),
        "\"'" * (LIMIT // 2),
        "${" * (LIMIT // 2),
        "cd a; " * (LIMIT // 6),
        "x" * LIMIT,
        "x=" * (LIMIT // 2),
        "sh -c '" * (LIMIT // 7),
    ],
    ids=lambda text: f"{text[:12]}…",
)
def test_text_of_any_shape_is_judged_in_bounded_time(text: str) -> None:
    begun = time.process_time()
    starts_bot(text, "/", search_for(BOT))
    assert time.process_time() - begun < 20  # a few tenths of a second by themselves; minutes to centuries before


def test_crontab_of_another_user_is_a_note(people: People, tmp_path: Path) -> None:
    bot = bot_of(people)
    line = f"0 0 1 1 * python3 {bot.home}/{bot.script}\n"
    for user in ("otheruser", "botuser", "root"):
        crontab(tmp_path, user, line)
    found = {starter.user: starter.counts for starter in find_starters(bot, str(tmp_path))}
    assert found == {"otheruser": False, "botuser": True, "root": True}


def test_unit_and_cron_line_of_roots_count_by_whom_they_run_as(people: People, tmp_path: Path) -> None:
    bot = bot_of(people)
    units = tmp_path / "etc/systemd/system"
    units.mkdir(parents=True)
    for user in ("otheruser", "botuser"):
        start = f"[Service]\nUser={user}\nExecStart=python3 {bot.home}/{bot.script}\n"
        (units / f"{user}.service").write_text(start)
    found = {starter.what: (starter.user, starter.counts) for starter in find_starters(bot, str(tmp_path))}
    assert found == {"otheruser.service": ("otheruser", False), "botuser.service": ("botuser", True)}


def test_what_a_line_names_is_read_by_the_bots_user(people: People, tmp_path: Path) -> None:
    bot = bot_of(people)
    secret = people.base / "secret.sh"
    secret.write_text(f"#!/bin/sh\npython3 {bot.home}/{bot.script}\n")
    secret.chmod(0o600)
    (people.home / "linked.sh").symlink_to(secret)
    (people.home / "own.sh").write_text(secret.read_text())
    os.mkfifo(people.home / "fifo.sh")
    (people.home / "zero.sh").symlink_to("/dev/zero")
    people.give(people.home)
    people.home.chmod(0o700)
    names = ("linked", "fifo", "zero", "own")
    crontab(tmp_path, "botuser", "".join(f"@daily sh {people.home}/{name}.sh\n" for name in names))
    begun = time.monotonic()
    assert [starter.line for starter in find_starters(bot, str(tmp_path))] == [names.index("own") + 1]
    assert time.monotonic() - begun < 50  # a reader that waits is ended after 60 s


def test_text_of_another_user_does_not_answer_for_the_bots_own(people: People) -> None:
    script = people.home / "own.sh"
    script.write_text("python3 bot.py\n")
    people.give(people.home)
    search = search_for(bot_of(people))
    assert replace(search, alone=True).read(str(script)) == ""
    assert search.read(str(script)) == "python3 bot.py\n"


def test_script_named_through_a_link_of_a_directory_is_seen(people: People, tmp_path: Path) -> None:
    bot = bot_of(people)
    (people.home / "current").symlink_to("IR")
    people.home.chmod(0o700)
    crontab(tmp_path, "botuser", f"@reboot python3 {people.home}/current/webex_bots/jarvis.py\n")
    assert [starter.certain for starter in find_starters(bot, str(tmp_path))] == [True]


def test_file_of_roots_that_leads_to_a_users_is_read_by_the_bots_user(people: People, tmp_path: Path) -> None:
    bot = bot_of(people)
    hers = people.base / "otheruser/x.service"
    hers.write_text(f"[Service]\nExecStart=python3 {bot.home}/{bot.script}\n")
    hers.chmod(0o600)
    people.give(hers.parent, "otheruser")
    units = tmp_path / "etc/systemd/system"
    units.mkdir(parents=True)
    (units / "x.service").symlink_to(hers)
    assert find_starters(bot, str(tmp_path)) == []
    hers.chmod(0o644)
    assert [starter.what for starter in find_starters(bot, str(tmp_path))] == ["x.service"]


# -- reading shell text ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a 'b c' \"d e\" f\\ g", ["a", "b c", "d e", "f g"]),
        ('x="1 2";y', ["x=1 2", ";", "y"]),
        ("a#b # c\nd", ["a#b", "\n", "d"]),
        ("(a&&b)", ["(", "a", "&", "&", "b", ")"]),
        ("a '' b", ["a", "", "b"]),
        ("it's python x", ["it's", "python", "x"]),
        ('"a \\" b" c', ['a " b', "c"]),
        ("a \\\n b", ["a", "b"]),
    ],
)
def test_words_are_a_shells(text: str, words: list[str]) -> None:
    assert shell_words(text) == words


@given(st.text(alphabet="ab $'\"\\;#\n{}()", max_size=60))
def test_no_text_breaks_the_reading(text: str) -> None:
    shell_words(text)


@given(st.lists(st.text(alphabet="ab/.", max_size=4), max_size=5), st.text(alphabet="ab/.", max_size=4))
def test_path_with_variables_may_become_what_they_can_make_of_it(parts: list[str], value: str) -> None:
    assert may_become("${x}".join(parts), value.join(parts))
    assert literals("${x}".join(parts)) == (parts or [""])


def test_path_with_variables_cannot_become_anything_else() -> None:
    assert not may_become("/a/$x.py", "/b/jarvis.py")
    assert not may_become("/a/$x.py", "/a/jarvis.sh")
    assert not may_become("/a/$x/b/$y.py", "/a/jarvis.py")
    assert not may_become("/a/jar${x}jarvis.py", "/a/jarvis.py")
