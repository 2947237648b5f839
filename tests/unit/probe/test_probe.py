"""The probe against the lab's Webex: who is asked, what is an answer, what a bot's fault, who sees the token."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.webex_rollout import messages, probe
from ansible.module_utils.webex_rollout.become import account_of, as_account
from ansible.module_utils.webex_rollout.errors import RolloutError
from ansible.module_utils.webex_rollout.probe import Asked, ask_bot, ask_new, probe_of

from tests.lab.webex.faults import Fault
from tests.lab.webex.ids import to_rest_id
from tests.unit.lab.mini_bot import MiniBot
from tests.unit.lab.test_stand_in import Running, process, stand_in
from tests.unit.tell.receivers import Service
from tests.unit.weather.hosts import Authority, Proxy

__all__ = ["process", "stand_in"]

TO = "jarvis@webex.bot"
TOKEN = secrets.token_urlsafe(48)


class Asking:
    """A VM with the token, and a process whose variables say how it gets out."""

    def __init__(self, stand_in: Running, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.stand_in, self.path = stand_in, directory / "probe-token"
        self.give(TOKEN + "\n")
        stand_in.lab.sign_in(TOKEN)
        connect = socket.create_connection

        def here(address: tuple[str, int], *more: Any, **named: Any) -> socket.socket:
            return connect(("127.0.0.1", address[1]), *more, **named)

        monkeypatch.setattr(socket, "create_connection", here)
        monkeypatch.setattr(messages, "PORT", stand_in.port)
        monkeypatch.setattr(messages, "PAUSE", 0.1)
        self.variables = {"REQUESTS_CA_BUNDLE": str(stand_in.ca)}

    def give(self, token: str, mode: int = 0o600) -> None:
        self.path.write_text(token)
        self.path.chmod(mode)

    def ask(self, ask: Callable[..., Asked] = ask_bot, **given: Any) -> Asked:
        settings = probe_of("bot_probe", {"to": TO, "seconds": 3, **given})
        with self.process() as pid:
            if ask is ask_new:
                return ask(pid, settings)
            return ask(pid, [settings], str(self.path))

    @contextmanager
    def process(self) -> Iterator[int]:
        running = subprocess.Popen(["sleep", "60"], env={"PATH": os.environ["PATH"], **self.variables})
        try:
            environment = Path(f"/proc/{running.pid}/environ")
            while not environment.read_bytes():  # it is written last of all when a program begins
                time.sleep(0.01)
            yield running.pid
        finally:
            running.kill()
            running.wait()


@pytest.fixture
def vm(stand_in: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Asking:
    return Asking(stand_in, tmp_path, monkeypatch)


@contextmanager
def bot(stand_in: Running, does: Callable[[MiniBot, dict[str, Any]], Coroutine[Any, Any, Any]]) -> Iterator[list[Any]]:
    """A bot that does something with each message of a person's, in a thread of its own; what it was written."""
    heard: list[Any] = []
    connected, over = threading.Event(), threading.Event()

    async def life() -> None:
        async with stand_in.bot() as mini:
            await mini.connect()
            connected.set()
            while not over.is_set():
                try:
                    activity = await mini.next_activity(0.2)
                except asyncio.TimeoutError:
                    continue
                if activity["actor"]["type"] == "PERSON":
                    heard.append((await mini.take(activity))["text"])
                    await does(mini, activity)

    thread = threading.Thread(target=lambda: asyncio.run(life()))
    thread.start()
    try:
        assert connected.wait(10)
        yield heard
    finally:
        over.set()
        thread.join()


async def in_thread(mini: MiniBot, activity: dict[str, Any]) -> None:
    await mini.reply(activity, "**Help** is near")


async def in_room(mini: MiniBot, activity: dict[str, Any]) -> None:
    await mini.reply(activity, "Help is near", thread=False)


async def nothing(mini: MiniBot, activity: dict[str, Any]) -> None:
    """Take it, and say nothing."""


@pytest.mark.parametrize("does", [in_thread, in_room])
def test_a_bot_that_answers_in_whichever_way(vm: Asking, does: Any) -> None:
    with bot(vm.stand_in, does) as heard:
        asked = vm.ask()
        assert (asked.state, asked.said) == ("answered", "")
        assert 0 < asked.seconds < 3
        assert vm.ask(expects="^.*Help.* is near").state == "answered"
        other = vm.ask(expects="all systems go", text="status?")
    assert (other.state, other.said) == ("silent", "it answers, and nothing that `expects` of bot_probe matches")
    assert heard == ["help", "help", "status?"]


def test_a_bot_by_its_id(vm: Asking) -> None:
    with bot(vm.stand_in, in_thread):
        assert vm.ask(to=asyncio.run(_me(vm.stand_in))).state == "answered"


async def _me(stand_in: Running) -> str:
    async with stand_in.bot() as mini:
        _, body, _ = await mini.ask("GET", "webexapis.com/v1/people/me")
        return str(body["id"])


def test_one_that_takes_it_and_says_nothing_is_asked_again_at_its_start(
    vm: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "PROBE_TOKEN_FILE", str(vm.path))
    monkeypatch.setattr(probe.ask_bot, "__defaults__", (str(vm.path),))
    with bot(vm.stand_in, nothing) as heard:
        asked = vm.ask(ask_new, seconds=1)
        assert (asked.state, asked.said) == ("silent", "no answer within 1 s")
        assert len(heard) == probe.TRIES


def test_whether_one_of_several_answers(vm: Asking) -> None:
    settings = [probe_of("bot_probe", {"to": f"{name}@webex.bot", "seconds": 2}) for name in ("tars", "jarvis")]
    with vm.process() as pid:
        with bot(vm.stand_in, in_thread):
            assert ask_bot(pid, settings, str(vm.path)).state == "answered"
        assert ask_bot(pid, settings, str(vm.path)).state == "silent"


def test_what_is_nobodys_fault(vm: Asking) -> None:
    found = {}
    found["nobody"] = vm.ask(to="nobody@webex.bot")
    vm.give("another")
    found["token"] = vm.ask()
    vm.give(TOKEN)
    vm.variables = {"https_proxy": "http://127.0.0.1:9"}
    found["proxy"] = vm.ask()
    vm.variables = {"all_proxy": "socks5://127.0.0.1:9"}
    found["socks"] = vm.ask()
    assert {name: asked.state for name, asked in found.items()} == dict.fromkeys(found, "unknown")
    assert found["nobody"].said == messages.REFUSALS[404]
    assert found["token"].said == messages.REFUSALS[401]
    assert found["proxy"].said == "webexapis.com cannot be asked (ConnectionRefusedError)"
    assert found["socks"].said == "the bot's proxy is none that the probe can go through (socks5)"


def test_answers_that_cannot_be_read_are_no_silence(vm: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(webex: Any, sent: Any) -> list[Any]:
        raise messages.Wrong("Webex answered 502")

    monkeypatch.setattr(messages._Webex, "listed", refused)
    with bot(vm.stand_in, nothing):
        assert vm.ask(seconds=1) == Asked("unknown", "Webex answered 502")


def test_through_the_bots_proxy(vm: Asking) -> None:
    proxy = Proxy()
    try:
        vm.variables["https_proxy"] = f"http://u:pw@127.0.0.1:{proxy.port}"
        with bot(vm.stand_in, in_thread):
            assert vm.ask().state == "answered"
    finally:
        proxy.close()
    assert proxy.requests[0][0].startswith(f"CONNECT webexapis.com:{vm.stand_in.port} HTTP/1.")
    assert any(line.startswith("Proxy-Authorization: Basic ") for line in proxy.requests[0])
    assert TOKEN not in str(proxy.requests)


def test_without_a_token_it_is_off_and_one_that_others_can_read_is_refused(vm: Asking) -> None:
    for text in ("", "two words", "t\xf6ken", "x" * 5000):
        vm.give(text)
        asked = vm.ask()
        assert asked.state == "unknown"
        assert "two words" not in asked.said
    vm.give(TOKEN, 0o644)
    asked = vm.ask()
    assert asked.state == "unknown"
    assert f"chmod 0600 {vm.path}" in asked.said
    assert TOKEN not in asked.said
    vm.path.unlink()
    assert vm.ask() == Asked("off", f"there is no {vm.path} (rollout_probe_token)")


# -- who sees the token ------------------------------------------------------------------------------------------------


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """Where everybody may read, unlike in pytest's own."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "CURL_CA_BUNDLE"])
def test_a_bot_that_names_a_ca_of_his_own_gets_no_token(
    vm: Asking, name: str, open_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy of his, with a certificate for Webex that his CA has signed, is all that it would take."""
    own = Authority(open_directory / "own")
    monkeypatch.setattr(messages, "HOST", "localhost")
    thief = Service(own)
    monkeypatch.setattr(messages, "PORT", thief.port)
    try:
        vm.variables = {name: str(own.certificate)}
        assert "its certificate is not accepted" not in vm.ask(seconds=1).said, "what is root's is believed"
        assert len(thief.received) == 1
        thief.received.clear()
        os.chown(own.certificate, account_of("nobody").uid, -1)
        asked = vm.ask(seconds=1)
        assert "its certificate is not accepted" in asked.said
        os.chown(own.certificate, 0, -1)
        os.chown(own.certificate.parent, account_of("nobody").uid, -1)
        assert "its certificate is not accepted" in vm.ask(seconds=1).said
        assert thief.received == []
    finally:
        thief.close()


def test_the_token_is_in_no_argument_and_no_variable_and_no_memory_that_others_can_read(vm: Asking) -> None:
    """While it is asked: of every process that the bot's user, or `nobody`, may look into."""
    seen: list[str] = []
    over = threading.Event()

    def look() -> None:
        own = set(Path("/proc").glob("[0-9]*"))
        while not over.is_set():
            for each in {*Path("/proc").glob("[0-9]*")} - own:
                try:
                    uid, status = (each / "environ").stat().st_uid, (each / "status").read_text()
                    shown = (each / "cmdline").read_bytes() + (each / "environ").read_bytes()
                except OSError:
                    continue
                if TOKEN.encode() in shown:
                    seen.append(f"{each} shows it")
                if f"PPid:\t{os.getpid()}\n" in status and f"Uid:\t{account_of('nobody').uid}\t" in status:
                    # What of a process its own user may read is his in /proc; what only root may is root's.
                    seen.append(f"of nobody's process the files are {uid}'s")
            time.sleep(0.01)

    looking = threading.Thread(target=look)
    looking.start()
    try:
        with bot(vm.stand_in, nothing):
            assert vm.ask(seconds=1).state == "silent"
    finally:
        over.set()
        looking.join()
    assert set(seen) == {"of nobody's process the files are 0's"}


def test_an_error_of_the_child_is_shown_without_the_token(vm: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(webex: Any, *_: Any) -> Any:
        raise ValueError(f"Invalid header value Bearer {webex._token}")

    monkeypatch.setattr(messages._Webex, "write", broken)
    assert vm.ask() == Asked("unknown", "Webex could not be asked (ValueError)")


def test_a_child_that_hangs_is_ended(vm: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages._Webex, "write", lambda *_: signal.pause())
    monkeypatch.setattr(probe, "BEYOND", 1.0)
    assert vm.ask(seconds=1) == Asked("unknown", "Webex could not be asked within 2 s")


# -- what counts as an answer ------------------------------------------------------------------------------------------

ROOM, BOT = to_rest_id("ROOM", "r"), to_rest_id("PEOPLE", "b")
SENT = {"id": "m1", "personId": "me", "created": "2026-01-01T00:00:01.000Z"}


@pytest.mark.parametrize(
    ("to", "message", "counts"),
    [
        (TO, {"personId": "b"}, True),
        (TO, {"personId": "b", "parentId": "m1"}, True),
        (TO, {"personId": "b", "parentId": "m0"}, False),
        (TO, {"personId": "b", "created": "2026-01-01T00:00:00.999Z"}, False),
        (TO, {"personId": "me"}, False),
        (ROOM, {"personId": "b", "personEmail": "Jarvis@webex.bot"}, True),
        (ROOM, {"personId": "p", "personEmail": "ada@example.com"}, False),
    ],
)
def test_what_is_an_answer(to: str, message: dict[str, str], counts: bool) -> None:
    """Somebody who writes to a bot, or into its room, has no say."""
    settings = probe_of("bot_probe", {"to": to, "text": "<@personEmail:jarvis@webex.bot> help"})
    listed = [{"id": "m2", "created": "2026-01-01T00:00:02.000Z", "text": "yes", **message}]
    assert (messages.answers_among(listed, SENT, settings) == ["yes\n"]) == counts


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"text": "help"}, "`to` is neither"),
        ({"to": "jarvis"}, "`to` is neither"),
        ({"to": to_rest_id("MESSAGE", "m")}, "`to` is neither"),
        ({"to": ROOM}, "begin `text` with <@personEmail"),
        ({"to": TO, "text": " "}, "`text` has to have 1 to 1000"),
        ({"to": TO, "expects": "("}, "`expects` is no regular expression"),
        ({"to": TO, "seconds": 21}, "`seconds` is a number of seconds from 1 to 20"),
        ({"to": TO, "every": 5}, "`every` is a number of seconds from 30"),
        ({"to": TO, "token": "x"}, "has something else than to, text, expects, seconds, every"),
        ([], "has something else than"),
    ],
)
def test_what_is_no_probe_is_refused(given: Any, problem: str) -> None:
    with pytest.raises(RolloutError, match=problem):
        probe_of("bot_probe", given)


def test_what_a_probe_is_without_more() -> None:
    assert probe_of("bot_probe", {}) == {}
    assert probe_of("bot_probe", {"to": TO}) == {
        "to": TO,
        "text": "help",
        "expects": "",
        "seconds": 15.0,
        "every": 600.0,
    }
    assert probe_of("bot_probe", {"to": ROOM, "text": f"<@personId:{BOT}> help"})["to"] == ROOM


def test_faults_of_the_bot_do_not_befall_the_one_who_asks(vm: Asking) -> None:
    """That the lab's faults are of the bot's calls; what it is asked for here is what the next tests rest on."""
    vm.stand_in.lab.add_fault(Fault("status", bot="jarvis", status=502))
    assert vm.ask(seconds=1).state == "silent"


def test_nobody_reads_roots_child() -> None:
    """What holds the token while it is sent: whoever runs as `nobody` can open no memory of it."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        as_account(account_of("nobody"), _wait, seconds=5)
        os._exit(0)
    os.close(writing)
    try:
        child = _child_of(pid)
        with pytest.raises(PermissionError):
            as_account(account_of("nobody"), _open, f"/proc/{child}/mem")
        with pytest.raises(PermissionError):
            as_account(account_of("nobody"), _open, f"/proc/{child}/environ")
    finally:
        os.close(reading)
        os.waitpid(pid, 0)


def _wait() -> None:
    time.sleep(2)


def _open(path: str) -> None:
    with Path(path).open("rb"):
        pass


def _child_of(pid: int) -> int:
    path = Path(f"/proc/{pid}/task/{pid}/children")
    for _ in range(200):
        if path.read_text().split():
            child = int(path.read_text().split()[0])
            if "Uid:\t65534" in Path(f"/proc/{child}/status").read_text():
                return child
        time.sleep(0.01)
    raise AssertionError("there is no child that has become nobody")
