"""Journal entries, as a socket in journald's place receives them."""

from __future__ import annotations

import socket
import struct
import subprocess
from pathlib import Path

import pytest
from ansible.module_utils.webex_rollout import journal

from tests.unit.tell.receivers import Journal


def test_an_entry_has_its_fields(journald: Journal) -> None:
    fields = {"WEBEX_BOT": "money_ball", "WEBEX_RELEASE": "3f2a", "WEBEX_NONE": "", "WEBEX_REQUESTS": 12}
    assert journal.write("money_ball was rolled back", fields, priority=3, kind="roll_back", path=journald.path)
    assert journald.entry() == {
        "MESSAGE": b"money_ball was rolled back",
        "PRIORITY": b"3",
        "SYSLOG_IDENTIFIER": b"webex-rollout",
        "WEBEX_EVENT": b"roll_back",
        "MESSAGE_ID": journal.message_id("roll_back").encode(),
        "WEBEX_BOT": b"money_ball",
        "WEBEX_RELEASE": b"3f2a",
        "WEBEX_REQUESTS": b"12",
    }


def test_a_field_takes_no_other_ones_place(journald: Journal) -> None:
    fields = {"MESSAGE": "forged", "PRIORITY": "0", "WEBEX_EVENT": "forged", "WEBEX_BOT": "jarvis"}
    journal.write("honest", fields, kind="drift", path=journald.path)
    entry = journald.entry()
    assert (entry["MESSAGE"], entry["PRIORITY"], entry["WEBEX_EVENT"]) == (b"honest", b"6", b"drift")


@pytest.mark.parametrize("value", ["a\nMESSAGE=forged\n", "\n", "\n\n=", "a\x00b", "p\udcffq", "x" * 7000 + "\n"])
def test_a_value_of_any_bytes_stays_one_value(journald: Journal, value: str) -> None:
    assert journal.write("honest", {"WEBEX_DETAIL": value}, path=journald.path)
    got = journald.entry()
    assert got["WEBEX_DETAIL"] == value.encode("utf-8", "surrogateescape")
    assert got["MESSAGE"] == b"honest"


def test_a_value_is_bounded(journald: Journal) -> None:
    assert journal.write("m" * 10**6, {f"F{n}": "x" * 10**5 for n in range(15)}, path=journald.path)
    assert max(len(value) for value in journald.entry().values()) == journal.VALUE_LIMIT


@pytest.mark.parametrize("name", ["_PID", "lower", "A=B", "A\nB", "", "A" * 65, "Ä"])
def test_a_name_that_is_no_fields_is_refused(journald: Journal, name: str) -> None:
    with pytest.raises(ValueError, match="journal's field"):
        journal.write("message", {name: "value"}, path=journald.path)


def test_without_a_journal_the_message_goes_to_standard_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not journal.write("jarvis is\x1b[31m\nback", {"WEBEX_BOT": "jarvis"}, path=str(tmp_path / "none"))
    assert capsys.readouterr().err == "webex-rollout: jarvis is\\x1b[31m back\n"


def test_a_journal_that_reads_nothing_any_more_is_not_waited_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stuck:
        stuck.bind(str(tmp_path / "socket"))
        while journal.write("x" * 8000, path=str(tmp_path / "socket")):
            pass
    assert "webex-rollout: xxx" in capsys.readouterr().err


def test_message_ids_never_change() -> None:
    assert journal.message_id("verdict") == "61e251853d7e58f5adcd62a6ca75fda6"
    assert journal.message_id("roll_back") == "e29dab0688125dd2a6ccf7966a15cb38"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("two\nlines\tand  more ", "two lines and more"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("right\u202eleft", "right\\u202eleft"),
        ("half \udc41", "half \\udc41"),
        ("see https://user:pw@hooks.example.org:8443/services/T0/SECRET?x=1 now", "see hooks.example.org:8443 now"),
        ("proxy http://u:p@ss@10.0.0.1:3128", "proxy 10.0.0.1:3128"),
        ("HTTPS://hooks.example.org?token=SECRET", "hooks.example.org"),
        ("naïve 日本 fine", "naïve 日本 fine"),
        ("a" * 600, "a" * 499 + "…"),
    ],
)
def test_text_for_people_is_one_bounded_line(text: str, shown: str) -> None:
    assert journal.plain(text) == shown


def test_the_length_of_a_value_is_little_endian() -> None:
    assert journal.encoded({"A": "x\ny"}) == b"A\n" + struct.pack("<Q", 3) + b"x\ny\n"


@pytest.mark.skipif(not Path(journal.SOCKET).exists(), reason="no journald runs on this machine")
def test_the_real_journal_takes_it() -> None:
    assert journal.write("a test's entry", {"WEBEX_DETAIL": "two\nlines"}, kind="test")
    shown = ["journalctl", "--no-pager", "-o", "json", f"MESSAGE_ID={journal.message_id('test')}"]
    assert "two\\nlines" in subprocess.run(shown, capture_output=True, text=True, check=True).stdout
