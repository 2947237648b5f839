"""The stand-in as a process, from outside: a bot on one side, the control API on the other."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.lab.webex.accounts import Account, load_accounts, new_accounts, save_accounts
from tests.lab.webex.client import BooksPage, BotBooks, WebexLab, WebexLabError
from tests.lab.webex.commands import ASKS
from tests.lab.webex.driver import Pattern
from tests.lab.webex.faults import Fault

from .mini_bot import MiniBot

FAST = ("--latency", "webexapis.com=0", "--latency", "conv-a.wbx2.com=0", "--ws-ping", "0.05")
ANSWER = ", ".join(ask.expect for ask in ASKS["jarvis"])
"""Answers whatever is asked of jarvis."""

PROJECT = Path(__file__).resolve().parents[3]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@dataclass(frozen=True)
class Running:
    """A stand-in process, its control and its accounts."""

    process: subprocess.Popen[str]
    lab: WebexLab
    port: int
    ca: Path
    control: Path
    tokens: dict[str, str]

    def bot(self, name: str = "jarvis") -> MiniBot:
        return MiniBot(self.port, self.ca, self.tokens[name])

    def books(self, name: str = "jarvis", **query: float) -> BotBooks:
        return self.lab.books(**query).bots[name]


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    directory, port = tmp_path_factory.mktemp("webex"), free_port()
    accounts, ca, control = directory / "accounts.json", directory / "ca", directory / "control"
    where = ["--accounts", accounts, "--ca-dir", ca, "--control", control, "--port", port]
    command = [sys.executable, "-m", "tests.lab.webex", *map(str, where), *FAST]
    running = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True)
    try:
        assert running.stdout is not None
        assert running.stdout.readline() == "ready\n"
        tokens = {account.bot: account.token for account in load_accounts(accounts)}
        yield Running(running, WebexLab(control), port, ca / "ca.pem", control, tokens)
    finally:
        running.send_signal(signal.SIGTERM)
        assert running.wait(10) == 0
        assert not control.exists()


@pytest.fixture
def stand_in(process: Running) -> Running:
    """The process with empty books, no faults, no pattern and its settings as at the start."""
    process.lab.stop()
    process.lab.clear_faults()
    process.lab.set_replay(False)
    process.lab.set_device_limit(100)
    process.lab.reset()
    return process


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait for a condition; fail if it does not come true."""
    for _ in range(int(seconds / 0.02)):
        if condition():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("the condition did not come true")


def test_a_message_goes_all_the_way_and_the_books_say_so(stand_in: Running) -> None:
    async def scenario() -> str:
        async with stand_in.bot() as bot:
            await bot.connect()
            (sent,) = stand_in.lab.burst(1, ["jarvis"])
            activity = await bot.next_activity()
            message = await bot.take(activity)
            status, _ = await bot.reply(activity, ANSWER)

            assert (activity["id"], activity["actor"]["type"], status) == (sent, "PERSON", 200)
            assert message["personEmail"] == activity["actor"]["emailAddress"]
            return str(message["text"])

    asked = asyncio.run(scenario())
    page = stand_in.lab.books(messages=True)
    (entry,) = page.messages
    assert asked.endswith(entry.text)
    summary = page.bots["jarvis"].total

    assert (summary.sent, summary.delivered, summary.answered, summary.lost) == (1, 1, 1, 0)
    assert entry.sent_at <= entry.pushes[0] <= entry.resolved_at <= entry.fetched_at <= entry.answers[0] <= page.now
    assert entry.acked_at is not None
    assert summary.latency_max == pytest.approx(entry.answers[0] - entry.sent_at)
    assert page.bots["jarvis"].requests["POST webexapis.com/v1/messages 200"] == 1
    assert page.bots["tars"].total.sent == 0


def test_a_bot_sees_its_own_answer_which_is_no_message_of_the_books(stand_in: Running) -> None:
    async def scenario() -> None:
        async with stand_in.bot() as bot:
            await bot.connect()
            stand_in.lab.burst(1, ["jarvis"])
            activity = await bot.next_activity()
            await bot.reply(activity, ANSWER)
            own = await bot.next_activity()

            assert own["actor"]["type"] == "MACHINE"
            assert own["parent"] == {"id": activity["id"], "type": "reply"}
            assert (await bot.take(own))["markdown"] == ANSWER

    asyncio.run(scenario())

    assert stand_in.books().total.sent == 1


def test_two_consumers_answer_twice_and_are_booked_as_two(stand_in: Running) -> None:
    async def scenario() -> None:
        async with stand_in.bot() as first, stand_in.bot() as second:
            await first.connect()
            await second.connect()
            stand_in.lab.burst(1, ["jarvis"])
            for bot in (first, second):
                activity = await bot.next_activity()
                await bot.take(activity)
                await bot.reply(activity, ANSWER)
            # Both must go on reading to answer pings.
            readers = [asyncio.ensure_future(bot.next_activity()) for bot in (first, second)]
            await until(lambda: bool(stand_in.books().two_consumers))
            for reader in readers:
                reader.cancel()

    asyncio.run(scenario())
    of_jarvis = stand_in.books()

    assert (of_jarvis.total.delivered, of_jarvis.total.answered, of_jarvis.total.answered_twice) == (1, 1, 1)


def test_a_restart_is_down_time_and_no_second_consumer(stand_in: Running) -> None:
    async def scenario() -> None:
        async with stand_in.bot() as bot:
            await bot.connect()
            await bot.disconnect()
            await until(lambda: not stand_in.books().connected)
            await asyncio.sleep(0.1)
            await bot.connect()
            await until(lambda: stand_in.books().connected)

    asyncio.run(scenario())
    of_jarvis = stand_in.books()
    first, second = of_jarvis.sessions[-2:]

    assert first.device == second.device
    assert of_jarvis.down_time(first.opened_at, second.opened_at) >= 0.1
    assert of_jarvis.two_consumers == []


def test_a_message_that_nobody_takes_stands_at_its_stage_and_is_lost_in_time(stand_in: Running) -> None:
    stand_in.lab.burst(2, ["jarvis"], spread=0)

    assert stand_in.books().total.stalled == {"push": 2}
    assert stand_in.books().total.pending == 2
    assert stand_in.books(lost_after=0).total.lost == 2
    assert stand_in.lab.wait_settled(timeout=5, lost_after=0)
    assert not stand_in.lab.wait_settled(timeout=0.1)


@pytest.mark.parametrize("replay", [True, False], ids=["on", "off"])
def test_after_a_reconnect_unacknowledged_messages_come_again_if_asked_for(stand_in: Running, replay: bool) -> None:
    stand_in.lab.set_replay(replay)

    async def scenario() -> list[str]:
        async with stand_in.bot() as bot:
            await bot.connect()
            stand_in.lab.burst(2, ["jarvis"], spread=0)
            await bot.take(await bot.next_activity())
            await until(lambda: stand_in.books().total.stalled.get("answer") == 1)
            await bot.disconnect()
            await bot.connect()
            stand_in.lab.burst(1, ["jarvis"])
            return [(await bot.next_activity())["id"] for _ in range(2 if replay else 1)]

    came = asyncio.run(scenario())
    first, second, third = (entry.id for entry in stand_in.lab.books(messages=True).messages)

    assert sorted(came) == sorted([second, third] if replay else [third])
    assert first not in came


def test_a_click_on_a_card_is_an_activity_like_any_other(stand_in: Running) -> None:
    async def scenario() -> str:
        async with stand_in.bot("toodles") as bot:

            async def asked(verb: str, text: str) -> tuple[dict[str, Any], dict[str, Any]]:
                """The next activity of this kind in a group room (there are few) whose message has this text."""
                while True:
                    stand_in.lab.burst(1, ["toodles"])
                    activity = await bot.next_activity()
                    if activity["verb"] == verb and "ONE_ON_ONE" not in activity["target"]["tags"]:
                        taken = await bot.take(activity)
                        if text in taken.get("text", ""):
                            return activity, taken

            await bot.connect()
            click, action = await asked("cardAction", "")
            status, _, _ = await bot.ask("DELETE", f"webexapis.com/v1/messages/{action['messageId']}")
            message: dict[str, Any] = {"target": None}
            while message["target"] != click["target"]:
                message, _ = await asked("post", "approve")
            await bot.reply(click, "Approval request of Ada recorded: lab run 0.", thread=False)
            await bot.reply(click, f"Approval request of Ada recorded: {action['inputs']['reason']}", thread=False)

            assert action["inputs"]["callback_keyword"] == "approve_submit"
            assert status == 204
            return str(click["id"])

    clicked = asyncio.run(scenario())

    answered = [entry for entry in stand_in.lab.books(messages=True).messages if entry.answers]
    assert [entry.id for entry in answered] == [clicked], "neither somebody else's click nor an open request for a card"
    assert len(answered[0].answers) == 1


def test_an_unknown_token_gets_401_and_the_token_is_not_in_the_books(stand_in: Running) -> None:
    async def scenario() -> int:
        async with MiniBot(stand_in.port, stand_in.ca, "wrong-token") as bot:
            status, _, _ = await bot.ask("GET", "webexapis.com/v1/people/me")
            return status

    assert asyncio.run(scenario()) == 401
    page = stand_in.lab.books(messages=True)
    assert page.strangers["GET webexapis.com/v1/people/me"] >= 1
    assert "wrong-token" not in repr(page)
    assert not any(token in repr(page) for token in stand_in.tokens.values())


def test_a_path_under_the_wrong_host_is_404(stand_in: Running) -> None:
    async def scenario() -> list[int]:
        async with stand_in.bot() as bot:
            urls = ("webexapis.com/v1/people/me", "conv-a.wbx2.com/v1/people/me", "webexapis.com/v1/nothing")
            return [(await bot.ask("GET", url))[0] for url in urls]

    assert asyncio.run(scenario()) == [200, 404, 404]


def test_registrations_are_limited_per_account(stand_in: Running) -> None:
    async def scenario() -> list[tuple[int, str]]:
        async with stand_in.bot("msoar") as bot:
            url = "wdm-a.wbx2.com/wdm/api/v1/devices"
            answers = [await bot.ask("GET", url)]
            stand_in.lab.set_device_limit(2)
            answers += [await bot.ask("POST", url, {"name": "python-spark-client"}) for _ in range(3)]
            return [(status, body.get("message", "")) for status, body, _ in answers]

    assert asyncio.run(scenario()) == [
        (404, "No devices found"),
        (200, ""),
        (200, ""),
        (403, "User has excessive device registrations"),
    ]
    assert stand_in.books("msoar").devices == 2


def test_a_foreign_device_gives_no_websocket(stand_in: Running) -> None:
    async def scenario() -> None:
        async with stand_in.bot("jarvis") as jarvis, stand_in.bot("tars") as tars:
            _, device, _ = await jarvis.ask("POST", "wdm-a.wbx2.com/wdm/api/v1/devices", {})
            path = device["webSocketUrl"].removeprefix("wss://")
            status, _, _ = await tars.ask("GET", path)
            assert status == 404

    asyncio.run(scenario())


def test_posts_need_a_known_room_a_known_parent_and_a_text(stand_in: Running) -> None:
    async def scenario() -> list[int]:
        async with stand_in.bot() as bot:
            await bot.connect()
            stand_in.lab.burst(1, ["jarvis"])
            activity = await bot.next_activity()
            unknown = activity | {"id": "7f3c1f57-0000-4000-8000-000000000000"}
            elsewhere = activity | {"target": {"id": "7f3c1f57-0000-4000-8000-000000000000"}}
            posts = [
                await bot.reply(activity, ANSWER),
                await bot.reply(activity, ""),
                await bot.reply(unknown, ANSWER),
                await bot.reply(elsewhere, ANSWER),
            ]
            return [status for status, _ in posts]

    assert asyncio.run(scenario()) == [200, 400, 404, 404]


def test_long_lists_come_in_pages(stand_in: Running) -> None:
    async def scenario() -> tuple[int, int, str]:
        async with stand_in.bot() as bot:
            _, page, headers = await bot.ask("GET", "webexapis.com/v1/rooms?type=group&max=3")
            _, last, last_headers = await bot.ask("GET", "webexapis.com/v1/rooms?type=group&max=100")
            assert "Link" not in last_headers
            return len(page["items"]), len(last["items"]), headers["Link"]

    first, every, link = asyncio.run(scenario())

    assert first == 3 < every
    assert link.startswith("<https://webexapis.com")
    assert "offset=3" in link
    assert link.endswith('rel="next"')


def test_a_fault_answers_with_status_and_retry_after_as_often_as_asked(stand_in: Running) -> None:
    rule = Fault("status", method="GET", path="/people/me", status=429, retry_after="soon", times=2)
    stand_in.lab.add_fault(rule)

    async def scenario() -> list[tuple[int, str | None]]:
        async with stand_in.bot() as bot:
            answers = [await bot.ask("GET", "webexapis.com/v1/people/me") for _ in range(3)]
            return [(status, headers.get("Retry-After")) for status, _, headers in answers]

    assert asyncio.run(scenario()) == [(429, "soon"), (429, "soon"), (200, None)]
    assert [rule.hits for rule in stand_in.lab.faults()] == [2]
    assert stand_in.books().requests["GET webexapis.com/v1/people/me 429"] == 2


@pytest.mark.parametrize(
    ("kind", "error", "answered"),
    [
        ("hang", asyncio.TimeoutError, 0),
        ("hang_after", asyncio.TimeoutError, 1),
        ("disconnect", aiohttp.ServerDisconnectedError, 0),
        ("disconnect_after", aiohttp.ServerDisconnectedError, 1),
    ],
)
def test_an_answer_that_does_not_come_hides_whether_the_post_was_carried_out(
    stand_in: Running, kind: str, error: type[Exception], answered: int
) -> None:
    async def scenario() -> None:
        async with stand_in.bot() as bot:
            await bot.connect()
            stand_in.lab.burst(1, ["jarvis"])
            activity = await bot.next_activity()
            stand_in.lab.add_fault(Fault(kind, bot="jarvis", method="POST", path="^/v1/messages$"))
            body = {"roomId": activity["target"]["id"], "markdown": ANSWER, "parentId": activity["id"]}
            with pytest.raises(error):
                await bot.ask("POST", "webexapis.com/v1/messages", body, timeout=0.3)

    asyncio.run(scenario())

    assert stand_in.books().total.answered == answered


def test_a_delayed_request_is_answered_late(stand_in: Running) -> None:
    stand_in.lab.add_fault(Fault("delay", path="/people/me", seconds=0.4))

    async def scenario() -> int:
        async with stand_in.bot() as bot:
            with pytest.raises(asyncio.TimeoutError):
                await bot.ask("GET", "webexapis.com/v1/people/me", timeout=0.2)
            status, _, _ = await bot.ask("GET", "webexapis.com/v1/people/me")
            return status

    assert asyncio.run(scenario()) == 200


@pytest.mark.parametrize(("abort", "code"), [(False, 1012), (True, 1006)], ids=["closed", "aborted"])
def test_a_dropped_websocket_ends_at_the_bot(stand_in: Running, abort: bool, code: int) -> None:
    async def scenario() -> int | None:
        async with stand_in.bot() as bot:
            await bot.connect()
            assert stand_in.lab.drop_websocket("jarvis", abort) == 1
            return await asyncio.wait_for(bot.closed_with(), 10)

    assert asyncio.run(scenario()) == code
    asyncio.run(until(lambda: not stand_in.books().connected))


def test_a_pattern_sends_bursts_and_stops_by_itself(stand_in: Running) -> None:
    stand_in.lab.phase("before")
    stand_in.lab.start(Pattern(burst=3, gap=0.3, spread=0.05, shift=0.0, bots=("jarvis", "tars"), bursts=2))

    async def scenario() -> BooksPage:
        await until(lambda: not stand_in.lab.books().driving)
        return stand_in.lab.books(messages=True)

    page = asyncio.run(scenario())
    times = [entry.sent_at for entry in page.messages if entry.bot == "jarvis"]

    assert {bot: books.total.sent for bot, books in page.bots.items() if books.total.sent} == {"jarvis": 6, "tars": 6}
    assert {entry.phase for entry in page.messages} == {"before"}
    assert page.bots["tars"].phases["before"].sent == 6
    # Two bursts of three: the third message to the fourth is the gap.
    assert times[3] - times[0] >= 0.25


def test_a_pattern_is_stopped(stand_in: Running) -> None:
    stand_in.lab.start(Pattern(burst=1, gap=0.02, shift=0.0))
    asyncio.run(until(lambda: stand_in.books().total.sent > 3))
    stand_in.lab.stop()
    sent = stand_in.books().total.sent

    assert not stand_in.lab.books().driving
    asyncio.run(asyncio.sleep(0.1))
    assert stand_in.books().total.sent == sent


@pytest.mark.parametrize(
    ("refused", "reason"),
    [
        (lambda lab: lab.burst(1, ["hal"]), "no such bot: hal; there are jarvis"),
        (lambda lab: lab.start(Pattern(bots=("hal",))), "no such bot: hal"),
        (lambda lab: lab._call("POST", "/pattern", {"burst": 0}), "a pattern needs burst >= 1"),
        (lambda lab: lab._call("POST", "/pattern", {"brust": 1}), "unexpected keyword argument 'brust'"),
        (lambda lab: lab._call("POST", "/faults", {"kind": "hung"}), "unknown kind of fault 'hung'"),
        (lambda lab: lab._call("POST", "/settings", {"reply": True}), "no such setting: reply"),
    ],
)
def test_the_control_api_refuses_nonsense_and_says_why(
    stand_in: Running, refused: Callable[[WebexLab], object], reason: str
) -> None:
    with pytest.raises(WebexLabError, match=reason):
        refused(stand_in.lab)


def test_secrets_are_for_the_owner_alone(stand_in: Running, tmp_path: Path) -> None:
    accounts = new_accounts(["jarvis"])
    save_accounts(tmp_path / "accounts.json", accounts)

    assert load_accounts(tmp_path / "accounts.json") == accounts
    assert (tmp_path / "accounts.json").stat().st_mode & 0o077 == 0
    assert stand_in.control.stat().st_mode & 0o077 == 0
    assert (stand_in.ca.parent / "ca.key").stat().st_mode & 0o077 == 0
    assert accounts[0].token not in repr(accounts)
    assert accounts[0] != Account("jarvis", "Jarvis", "jarvis@webex.bot", new_accounts(["jarvis"])[0].token)


def test_a_taken_port_is_one_clear_message(stand_in: Running, tmp_path: Path) -> None:
    where = ["--accounts", tmp_path / "a", "--ca-dir", tmp_path / "ca", "--control", tmp_path / "control"]
    command = [sys.executable, "-m", "tests.lab.webex", *map(str, where), "--port", str(stand_in.port)]

    ended = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=20, check=False)

    assert ended.returncode == 1
    assert ended.stderr.startswith("stand-in: cannot start: ")
    assert str(stand_in.port) in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
