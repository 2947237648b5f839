"""The pool module's own lines: proof that they are logged, and the requests that failures are measured against."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.webex_rollout.logs.cursor import look, take_cursor
from ansible.module_utils.webex_rollout.logs.tally import evidence

READY = "webex-pool ready pid={pid} session=api pool_connections=50 timeout=120 keepalive=60/10/3 user_timeout=30"
STATS = "webex-pool stats pid={pid} requests={requests} retried={retried} failed={failed} recycled=3 open=2 new=7"


class Bot:
    """Writes what a bot with the pool module logs."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.minute = 0

    def line(self, message: str, prefix: str = " - webex_pool_config.py:210 - INFO - ") -> None:
        with self.path.open("a") as stream:
            stream.write(f"2026-11-21 15:{self.minute:02}:01,123{prefix}{message}\n")
        self.minute += 1

    def ready(self, pid: int = 4711, more: str = "") -> None:
        self.line(READY.format(pid=pid) + more)

    def stats(self, requests: int, failed: int = 0, retried: int = 0, pid: int = 4711, more: str = "") -> None:
        self.line(STATS.format(pid=pid, requests=requests, failed=failed, retried=retried) + more)


@pytest.fixture
def bot(tmp_path: Path) -> Bot:
    return Bot(tmp_path / "bot.log")


def seen(bot: Bot, cursor: Any) -> dict[str, Any]:
    return evidence(look(cursor).tally)


def test_lines_over_the_borders_of_blocks(small_blocks: None, bot: Bot) -> None:
    cursor = take_cursor(str(bot.path))
    for pid in range(1, 9):
        bot.ready(pid=pid)
        bot.stats(10 * pid, pid=pid)
    result = seen(bot, cursor)
    assert (result["pool"]["ready_lines"], result["pool"]["requests"]) == (8, 360)


def test_without_a_ready_line_there_is_none(bot: Bot) -> None:
    cursor = take_cursor(str(bot.path))
    bot.stats(100)
    bot.stats(200)
    assert seen(bot, cursor)["ready_line"] is False
    bot.ready()
    assert seen(bot, cursor)["ready_line"] is True


def test_a_ready_line_before_the_cursor_is_none(bot: Bot) -> None:
    bot.ready()
    cursor = take_cursor(str(bot.path))
    bot.stats(100)
    assert seen(bot, cursor)["ready_line"] is False


def test_after_a_ready_line_all_requests_count(bot: Bot) -> None:
    cursor = take_cursor(str(bot.path))
    bot.ready()
    bot.stats(100, failed=2, retried=5)
    bot.ready()  # another session of the same process: its counters go on
    bot.stats(214, failed=3, retried=6)
    pool = seen(bot, cursor)["pool"]
    assert (pool["requests"], pool["failed"], pool["retried"], pool["recycled"]) == (214, 3, 6, 3)
    assert pool["stats"] == [
        {"pid": "4711", "requests": 214, "failed": 3, "retried": 6, "recycled": 3, "open": 2},
    ]
    assert pool["ready"][0]["keepalive"] == "60/10/3"
    assert pool["ready_lines"] == 2


def test_the_first_line_of_a_process_that_was_there_before_is_the_baseline(bot: Bot) -> None:
    bot.ready()
    bot.stats(1000, failed=50)
    cursor = take_cursor(str(bot.path))
    bot.stats(1100, failed=50)
    assert seen(bot, cursor)["pool"]["requests"] == 0
    bot.stats(1130, failed=51)
    pool = seen(bot, cursor)["pool"]
    assert (pool["requests"], pool["failed"]) == (30, 1)


def test_a_restarted_bot_adds_up_and_a_reused_number_is_a_new_process(bot: Bot) -> None:
    cursor = take_cursor(str(bot.path))
    bot.ready()
    bot.stats(100)
    bot.ready(pid=9)
    bot.stats(20, pid=9)
    bot.stats(150)
    bot.ready()  # 4711 once more, after a reboot
    bot.stats(7)
    assert seen(bot, cursor)["pool"]["requests"] == 100 + 20 + 50 + 7


def test_the_sum_is_the_same_look_by_look(bot: Bot) -> None:
    cursor = take_cursor(str(bot.path))
    for requests in (0, 10, 25, 300):
        bot.ready(pid=1) if requests == 0 else bot.stats(requests, pid=1)
        cursor = look(cursor).cursor
    assert seen(bot, cursor)["pool"]["requests"] == 300


def test_half_a_line_is_no_number(bot: Bot) -> None:
    cursor = take_cursor(str(bot.path))
    bot.ready()
    bot.stats(100)
    bot.stats(214)
    whole = bot.path.read_bytes()
    cut = whole.rindex(b"requests=214") + len("requests=21")
    bot.path.write_bytes(whole[:cut])
    first = look(cursor)
    assert evidence(first.tally)["pool"]["requests"] == 100
    bot.path.write_bytes(whole)
    assert seen(bot, first.cursor)["pool"]["requests"] == 214


@pytest.mark.parametrize(
    "message",
    [
        "answered: webex-pool stats pid=1 requests=9999 is what I saw",
        "webex-pool stats pid=1 requests=many",
        "webex-pool status pid=1 requests=9999",
        "webex-pool stats",
    ],
)
def test_a_sentence_about_the_pool_is_no_evidence(bot: Bot, message: str) -> None:
    cursor = take_cursor(str(bot.path))
    bot.ready(pid=1)
    bot.line(message, prefix=" - jarvis.py:12 - INFO - ")
    with bot.path.open("a") as stream:
        stream.write("webex-pool stats pid=1 requests=8888\n")  # no record of its own
    assert seen(bot, cursor)["pool"]["requests"] == 0


@pytest.mark.parametrize("number", ["²", "٣", "-1", "+1", "1_0", "1.5", "9" * 16, "9" * 400, "9" * 3000])
@pytest.mark.parametrize("field", ["pid", "requests", "retried", "open", "hears"])
def test_a_line_with_a_number_that_cannot_be_read_is_skipped(bot: Bot, field: str, number: str) -> None:
    cursor = take_cursor(str(bot.path))
    bot.ready()
    fields = {"pid": "4711", "requests": "7000", "retried": "0", "failed": "0", "open": "2", "hears": "30"}
    fields[field] = number
    for event in ("stats", "ready"):
        bot.line(f"webex-pool {event} " + " ".join(f"{key}={value}" for key, value in fields.items()))
    bot.stats(12)
    pool = seen(bot, cursor)["pool"]
    assert (pool["requests"], pool["stats_lines"], pool["ready_lines"], pool["log_level"]) == (12, 1, 1, None)


def test_numbers_of_fifteen_digits_are_read(bot: Bot) -> None:
    cursor = take_cursor(str(bot.path))
    bot.ready()
    bot.stats(10**15 - 1)
    assert seen(bot, cursor)["pool"]["requests"] == 10**15 - 1


def test_the_level_that_is_let_through_is_read_when_reported(bot: Bot) -> None:
    cursor = take_cursor(str(bot.path))
    bot.ready()
    assert seen(bot, cursor)["pool"]["log_level"] is None
    bot.stats(1, more=" hears=20")
    bot.stats(2, more=" hears=50")
    assert seen(bot, cursor)["pool"]["log_level"] == 50


@pytest.mark.parametrize("prefix", [" INFO webex_pool_config: ", " - INFO - ", " [webex_pool_config] "])
def test_other_formats_of_the_record_are_read_too(bot: Bot, prefix: str) -> None:
    cursor = take_cursor(str(bot.path))
    bot.line(READY.format(pid=1), prefix)
    bot.line(STATS.format(pid=1, requests=5, retried=0, failed=0), prefix)
    result = seen(bot, cursor)
    assert (result["ready_line"], result["pool"]["requests"]) == (True, 5)
