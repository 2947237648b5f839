"""The VM's reader of the channel: whatever the bytes are, it says what they hold or why they hold nothing."""

from __future__ import annotations

import os
import re
import struct
from binascii import crc32
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from module_utils.webex_rollout.channel import (
    MOST_FILES,
    SIZE,
    TORN,
    Heard,
    channel_files,
    parse_channel,
    read_channel,
)

NUMBERS = {
    "sequence": 9,
    "at": 5000,
    "configured": 1,
    "unfit": 0,
    "requests": 7,
    "answered": 3,
    "timeouts": 1,
    "connection_errors": 1,
    "tls_errors": 1,
    "other_errors": 0,
    "server_errors": 2,
    "rate_limited": 1,
    "retried": 4,
    "recycled": 5,
    "open": 6,
    "in_flight": 1,
    "oldest_at": 2000,
    "last_answer_at": 4000,
    "errors": 9,
}
PROCESS = (
    "process pid=7 start=1234 boot=bfb68ee3-f471-4104-b89b-aeba1b9eb5a2 opened=1000 python=3.11.7 "
    "versions=requests/2.34.2,urllib3/2.8.0 version=0.2.0"
)
SESSION = "session=bot.teams pool_maxsize=50 timeout=120 keepalive=15/5/3"
NAME = "7-1234-0.channel"


def head(magic: bytes = b"webex-pool-channel 2", **changed: int) -> bytes:
    """As the pool module writes it: the numbers in 64 bits each, and their sum."""
    numbers = list({**NUMBERS, **changed}.values())
    if magic.endswith(b"1"):
        numbers.pop()
    packed = struct.pack(f"={len(numbers) + 1}Q", *numbers, sum(numbers) % 2**64)
    return (magic.ljust(31) + b"\n" + packed).ljust(512, b"\0")


def channel(process: str = PROCESS, *sessions: str, head: bytes = head()) -> bytes:
    body = "\n".join([process, *sessions]).encode("utf-8")[: SIZE - 522].ljust(SIZE - 522)
    return head + body + b" %08x\n" % crc32(body)


def test_everything_that_is_written_is_read() -> None:
    heard = read_channel(NAME, channel(PROCESS, SESSION))
    assert isinstance(heard, Heard)
    assert (heard.pid, heard.start_time, heard.opened_at) == (7, 1234, 1000)
    assert heard.sessions[0].label == "bot.teams"
    assert heard.sessions[0].settings == {"pool_maxsize": "50", "timeout": "120", "keepalive": "15/5/3"}
    assert heard.versions["version"] == "0.2.0"
    assert (heard.requests, heard.answered, heard.failed) == (7, 3, 3)
    assert (heard.server_errors, heard.rate_limited, heard.retried, heard.recycled, heard.open) == (2, 1, 4, 5, 6)
    assert heard.errors == 9
    assert heard.oldest_age(now=9500) == 7.5
    assert heard.silent_for(now=9500) == 4.5


def test_what_a_bot_of_an_earlier_release_writes_is_read() -> None:
    heard = read_channel(NAME, channel(PROCESS, SESSION, head=head(b"webex-pool-channel 1")))
    assert isinstance(heard, Heard)
    assert (heard.requests, heard.last_answer_at, heard.errors) == (7, 4000, 0)


def test_a_clock_that_is_behind_makes_no_negative_age() -> None:
    heard = parse_channel(channel())
    assert isinstance(heard, Heard)
    assert (heard.oldest_age(now=0), heard.silent_for(now=0)) == (0, 0)


def test_nothing_in_flight_has_no_age() -> None:
    heard = parse_channel(channel(head=head(in_flight=0)))
    assert isinstance(heard, Heard)
    assert heard.oldest_age(now=9500) == 0


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "it has 0 bytes instead of 4096"),
        (channel() + b"x", "it has 4097 bytes instead of 4096"),
        (channel(head=head(b"webex-pool-channel 3")), "it is of another format"),
        (bytes(SIZE), "it is of another format"),
        (channel()[:100] + b"#" + channel()[101:], TORN),
        (channel()[:700] + b"#" + channel()[701:], TORN),
        (channel(head=head(requests=10**15)), "it is not of the pool module's making"),
        (channel(head=head(oldest_at=2**64 - 1)), "it is not of the pool module's making"),
        (channel(PROCESS.replace("pid=7", "pid=x")), "it is not of the pool module's making"),
        (channel(PROCESS.replace("pid=7", "pid=\u0667")), "it is not of the pool module's making"),
        (channel(PROCESS.replace("start=1234", "start=" + "7" * 16)), "it is not of the pool module's making"),
        (channel(PROCESS.replace("boot=", "boat=")), "it is not of the pool module's making"),
        (channel(PROCESS, *[SESSION] * 17), "it is not of the pool module's making"),
        (channel(PROCESS, "session=\x1b[31m a=b"), "a session or a version in it is not of the pool module's making"),
        (channel(PROCESS, SESSION + " a=\x1b["), "a session or a version in it is not of the pool module's making"),
        (channel(PROCESS + " loud"), "a session or a version in it is not of the pool module's making"),
    ],
)
def test_what_is_not_the_pool_module_s_has_a_reason(data: bytes, reason: str) -> None:
    assert parse_channel(data) == reason


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("8-1234-0.channel", "it is of another process than its name says"),
        ("7-1235-0.channel", "it is of another process than its name says"),
        ("7-1234.channel", "its name is not that of a channel"),
        ("\u0667-1234-0.channel", "its name is not that of a channel"),
        ("../7-1234-0.channel", "its name is not that of a channel"),
    ],
)
def test_a_file_says_by_its_name_whose_it_is(name: str, reason: str) -> None:
    assert read_channel(name, channel()) == reason


@given(st.binary(max_size=5000))
def test_garbage_is_a_reason(data: bytes) -> None:
    assert isinstance(parse_channel(data), str)


@given(st.binary(min_size=32, max_size=480), st.binary(max_size=3574))
def test_sealed_garbage_is_a_reason(numbers: bytes, body: bytes) -> None:
    body = body.ljust(SIZE - 522)
    data = (channel()[:32] + numbers).ljust(512, b"\0") + body + b" %08x\n" % crc32(body)
    assert isinstance(parse_channel(data), str)


@given(st.data())
def test_whatever_is_changed_is_read_within_bounds_or_is_a_reason(data: st.DataObject) -> None:
    name, number = data.draw(st.sampled_from(sorted(NUMBERS))), data.draw(st.integers(0, 2**64 - 1))
    process = "\n".join([PROCESS, SESSION])
    for _ in range(data.draw(st.integers(1, 3))):
        where, what = data.draw(st.integers(0, len(process) - 1)), data.draw(st.characters(max_codepoint=255))
        process = process[:where] + what + process[where + 1 :]
    heard = parse_channel(channel(process, head=head(**{name: number})))
    if isinstance(heard, Heard):
        numbers = [value for value in vars(heard).values() if isinstance(value, int)]
        assert all(0 <= each < 10**15 for each in numbers)
        words = [heard.boot_id, *heard.versions, *heard.versions.values()]
        words += [word for each in heard.sessions for pair in each.settings.items() for word in (each.label, *pair)]
        assert all(re.fullmatch(r"[!-~]*", word) for word in words)


def test_files_of_a_directory(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(channel())
    (tmp_path / "8-1-0.channel").write_bytes(b"x" * 10_000)
    (tmp_path / "9-1-0.channel").symlink_to(tmp_path / NAME)
    (tmp_path / "10-1-0.channel").mkdir()
    os.mkfifo(tmp_path / "11-1-0.channel")
    (tmp_path / "bot.sock").write_bytes(channel())
    found = channel_files(str(tmp_path))
    assert sorted(found) == [NAME, "8-1-0.channel"]
    assert len(found["8-1-0.channel"]) == SIZE + 1
    assert read_channel("8-1-0.channel", found["8-1-0.channel"]) == "it has 4097 bytes instead of 4096"


def test_a_torn_file_is_given_as_it_is_in_the_end(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(channel()[:700] + b"#" + channel()[701:])
    assert read_channel(NAME, channel_files(str(tmp_path))[NAME]) == TORN


def test_more_files_than_a_bot_makes_are_not_read(tmp_path: Path) -> None:
    for pid in range(MOST_FILES + 5):
        (tmp_path / f"{pid + 1}-1-0.channel").write_bytes(b"")
    assert len(channel_files(str(tmp_path))) == MOST_FILES


@pytest.mark.parametrize("directory", ["/nonexistent", "/dev/null"])
def test_no_directory_has_no_channels(directory: str) -> None:
    assert channel_files(directory) == {}
