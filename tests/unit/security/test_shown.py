"""What reaches a terminal, a log or a table: no control characters, no secrets; and names that are names."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from ansible.module_utils.webex_rollout import cli
from ansible.module_utils.webex_rollout.command_line import redact_argv
from ansible.module_utils.webex_rollout.errors import RolloutError
from ansible.module_utils.webex_rollout.paths import checked_name, checked_release
from ansible.module_utils.webex_rollout.state import Phase
from ansible.module_utils.webex_rollout.status import print_status
from ansible.module_utils.webex_rollout.store import Vm
from ansible.module_utils.webex_rollout.system import printable
from hypothesis import given
from hypothesis import strategies as st

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.people import People

EVIL = "\x1b[2J\x1b]0;title\x07\x1b[1;32mall well\x1b[0m\r\u202e\u2028\udcff\x9b\x85"
BOT: dict[str, Any] = {
    "bot": "jarvis",
    "problem": "",
    "release": "0",
    "candidate": "",
    "deadline": "",
    "phase": Phase.CHECKED,
    "main_pid": 0,
    "stopped": False,
    "open_files": "-",
    "connections": 0,
    "soak": EVIL,
    "previous": "",
    "strays": [],
    "differs_from_release": [f"a{EVIL}"],
    "tries": 1,
    "note": f"start-up check: {EVIL}",
    "unit": {"name": f"u{EVIL}"},
    "namesakes": [{"pid": 7, "user": f"hers{EVIL}"}],
}


def test_status_prints_no_control_characters(capsys: pytest.CaptureFixture) -> None:
    damaged = {"bot": "tars", "problem": f"damaged {EVIL}"}
    lock = {"described": f"held by {EVIL}", "problem": EVIL}
    guard = {"active": False, "needed_by": ["jarvis"]}
    print_status({"bots": [BOT, damaged], "guard": guard, "lock": lock, "audit": [f"line {EVIL}"]})
    shown = capsys.readouterr().out
    assert all(letter == "\n" or letter.isprintable() for letter in shown)
    assert shown.count("\\x1b]0;title\\x07") >= 7
    assert "NOTE process 7 of hers" in shown


@given(st.text())
def test_printable_text_is_printable_and_keeps_what_was(text: str) -> None:
    assert printable(text).isprintable()
    if text.isprintable():
        assert printable(text) == text


def test_people_read_their_own_language() -> None:
    assert printable("läuft, 3 次") == "läuft, 3 次"


def test_audit_has_one_line_for_each_action_whatever_is_in_it(tmp_path: Path) -> None:
    vm = Vm(str(tmp_path), "me")
    vm.audit("rollback", "jarvis", "ok", reason=f"a\nwho=root action=confirm {EVIL}")
    (line,) = (tmp_path / "audit.log").read_text().splitlines()
    assert line.isprintable()


def test_errors_are_printed_without_control_characters(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert cli.main(["--state", str(tmp_path), "rollback", f"jar{EVIL}vis"]) == 1
    assert capsys.readouterr().err.rstrip("\n").isprintable()


@pytest.mark.parametrize("name", ["jarvis\n", "", ".", "..", "a/b", "-x", "jarvis\n\n", "a b", "é", "a" * 65 + "/"])
def test_names_are_names_from_end_to_end(name: str) -> None:
    with pytest.raises(RolloutError, match="cannot be a bot's name"):
        checked_name(name)
    with pytest.raises(RolloutError, match="cannot be a release's name"):
        checked_release(name)


def test_release_cannot_lead_elsewhere(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert cli.main(["--state", str(tmp_path), "run-found", "jarvis", "../../x", "1"]) == 1
    assert "cannot be a release's name" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["the user's", "writable", "below the user's"])
def test_state_that_is_not_roots_alone_is_refused(people: People, kind: str, capsys: pytest.CaptureFixture) -> None:
    state = people.home / "state" if kind == "below the user's" else people.base / "state"
    state.mkdir()
    if kind == "the user's":
        people.give(state)
    elif kind == "writable":
        state.chmod(0o777)
    before = os.listdir(state)  # noqa: PTH208
    assert cli.main(["--state", str(state), "guard"]) == 1
    assert "is not root's alone" in capsys.readouterr().err
    assert os.listdir(state) == before  # noqa: PTH208


@pytest.mark.parametrize(
    ("argv", "shown"),
    [
        (["python", "-u", "a.py", "-t", "hush"], ["python", "-u", "a.py", "-t", "***"]),
        (["python", "a.py", "-thush"], ["python", "a.py", "-t***"]),
        (["python", "a.py", "-p=hush", "x"], ["python", "a.py", "-p=***", "x"]),
        (["python", "-m", "bot", "-k", "hush"], ["python", "-m", "bot", "-k", "***"]),
        (["a", "--token", "hush", "--api_key=hush"], ["a", "--token", "***", "--api_key=***"]),
        (["a", "--client-secret", "hush"], ["a", "--client-secret", "***"]),
        (["a", "http://me:hush@proxy:3128/x"], ["a", "http://me:***@proxy:3128/x"]),
        (["a", "--proxy=https://me:hush@proxy"], ["a", "--proxy=https://me:***@proxy"]),
        (["env", "WEBEX_TOKEN=hush", "LANG=C"], ["env", "WEBEX_TOKEN=***", "LANG=C"]),
        (["a", "db.password=hush"], ["a", "db.password=***"]),
        (["a", "-t", "-v", "x"], ["a", "-t", "-v", "x"]),
        (["python", "-X", "dev", "-W", "error", "a.py", "--port", "80"],
         ["python", "-X", "dev", "-W", "error", "a.py", "--port", "80"]),
    ],
)  # fmt: skip
def test_secrets_of_a_command_line_are_masked(argv: list[str], shown: list[str]) -> None:
    assert redact_argv(argv) == shown


@given(st.lists(st.text(max_size=30), max_size=8))
def test_masking_keeps_the_number_of_arguments(argv: list[str]) -> None:
    assert len(redact_argv(argv)) == len(argv)
