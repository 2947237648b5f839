"""What a watcher outside reads of a bot, at any moment, whatever the bot's logging is."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import re
import stat
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests
from conftest import QUICK, Channel, Lines, load, plain_api
from server import Connection, Seen, Server, answer, close, never, wait_until


def _session(pool: Any, server: Server, **settings: Any) -> requests.Session:
    api = pool.configure_webex_api_session(plain_api(server.url + "/v1/"), **{**QUICK, **settings})
    return api._session._req_session


def _request(session: requests.Session, method: str, url: str, **kwargs: Any) -> None:
    with contextlib.suppress(requests.RequestException):
        session.request(method, url, **kwargs)


def _files(channel: Channel) -> list[Path]:
    return sorted(channel.directory.iterdir())


def test_nothing_is_written_without_the_variable(pool: Any, server: Server, tmp_path: Path, log: Lines) -> None:
    assert "WEBEX_POOL_CHANNEL" not in os.environ
    _session(pool, server).get(server.url)
    assert list(tmp_path.iterdir()) == []


def test_configured_session_is_there_before_the_first_request(channel: Channel, pool: Any, server: Server) -> None:
    pool.configure_webex_api_session(plain_api(server.url + "/v1/", single_request_timeout=61), pool_maxsize=7)
    heard = channel.mine()
    (session,) = heard.sessions
    assert session.label == "api"
    assert session.settings["pool_maxsize"] == "7"
    assert session.settings["timeout"] == "61"
    assert session.settings["keepalive"] == "15/5/3"
    assert heard.versions["version"] == pool.__version__
    assert heard.versions["versions"].startswith(f"requests/{requests.__version__},urllib3/")
    assert (heard.configured, heard.requests, heard.in_flight) == (1, 0, 0)


def test_file_is_small_private_and_named_after_the_process(channel: Channel, pool: Any, server: Server) -> None:
    session = _session(pool, server)
    for _ in range(20):
        session.get(server.url)
    (file,) = _files(channel)
    assert file.stat().st_size == 4096
    assert stat.S_IMODE(file.stat().st_mode) == 0o400  # nor may its owner cut it off
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    assert file.name.startswith(f"{os.getpid()}-{fields[19]}-")
    assert channel.mine().boot_id == Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def test_request_in_flight_is_seen_with_its_beginning(channel: Channel, pool: Any, server: Server) -> None:
    arrived, go_on = threading.Event(), threading.Event()

    def held(connection: Connection, seen: Seen) -> None:
        arrived.set()
        go_on.wait(10)
        answer()(connection, seen)

    server.on("GET", held)
    session = _session(pool, server)
    before = time.clock_gettime(time.CLOCK_BOOTTIME) * 1000
    thread = threading.Thread(target=session.get, args=(server.url,))
    thread.start()
    assert arrived.wait(10)
    heard = channel.mine()
    assert (heard.requests, heard.answered, heard.in_flight) == (1, 0, 1)
    assert before - 1 <= heard.oldest_at <= time.clock_gettime(time.CLOCK_BOOTTIME) * 1000
    session.get(server.url)
    assert channel.mine().oldest_at == heard.oldest_at
    go_on.set()
    thread.join()
    heard = channel.mine()
    assert (heard.requests, heard.answered, heard.in_flight, heard.oldest_at) == (2, 2, 0, 0)
    assert heard.last_answer_at == heard.at


def test_outcomes_by_kind(channel: Channel, pool: Any, server: Server) -> None:
    session = _session(pool, server, max_retries=0)
    server.on("GET", answer(200), answer(404), answer(503), answer(429), close, never)
    server.on("DELETE", answer(Content_Encoding="gzip"))
    for _ in range(6):
        _request(session, "GET", server.url, timeout=0.3)
    _request(session, "GET", "http://127.0.0.1:1/")  # nobody listens there
    _request(session, "DELETE", server.url)
    heard = channel.mine()
    assert (heard.requests, heard.answered, heard.failed, heard.in_flight) == (8, 4, 4, 0)
    assert (heard.server_errors, heard.rate_limited) == (1, 1)
    assert (heard.timeouts, heard.connection_errors, heard.tls_errors, heard.other_errors) == (1, 2, 0, 1)


def test_certificate_that_is_not_trusted_is_a_tls_error(
    channel: Channel, pool: Any, server: Server, webex: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    _request(_session(pool, server, max_retries=0), "GET", "https://webexapis.com/")
    assert channel.mine().tls_errors == 1


def test_body_that_stays_away_is_a_timeout(channel: Channel, pool: Any, server: Server) -> None:
    def stalled(connection: Connection, seen: Seen) -> None:
        connection.write(b"HTTP/1.1 200 X\r\nContent-Length: 5\r\n\r\n")
        never(connection, seen)

    server.on("GET", stalled)
    _request(_session(pool, server, max_retries=0), "GET", server.url, timeout=0.3)
    assert channel.mine().timeouts == 1


def test_repeats_and_recycled_connections(channel: Channel, pool: Any, server: Server) -> None:
    session = _session(pool, server, max_idle=0.2)
    server.on("GET", close, answer(503))
    session.get(server.url)
    time.sleep(0.3)
    session.get(server.url)
    heard = channel.mine()
    assert (heard.requests, heard.answered, heard.retried, heard.recycled) == (2, 2, 2, 1)


def test_open_connections(channel: Channel, pool: Any, server: Server) -> None:
    session = _session(pool, server)
    session.get(server.url)

    def one_open() -> bool:
        session.get(server.url)
        return channel.mine().open == 1

    wait_until(one_open, "one connection is open")  # they are counted once a second


def test_bot_without_any_logging_is_heard_in_bounded_memory(channel: Channel, tmp_path: Path) -> None:
    code = (
        "import logging, webex_pool_config as pool\n"
        "from webexteamssdk import WebexTeamsAPI\n"
        "for number in range(1000):\n"
        "    pool.configure_webex_api_session(WebexTeamsAPI(access_token='t'), pool_maxsize=1 + number % 500)\n"
        "assert not logging.getLogger().handlers\n"
        "print(len(pool._evidence._pending), len(pool._evidence._reported))"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(os.environ["POOL_SUITE_MODULE"]).parent)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert all(int(kept) <= 16 for kept in done.stdout.split())
    (heard,) = channel.heard()
    assert heard.configured == 1000
    assert len(heard.sessions) == 16


def test_many_clients_alike_are_one_line(pool: Any, server: Server, log: Lines) -> None:
    for _ in range(50):
        pool.configure_webex_api_session(plain_api(server.url + "/v1/"), **QUICK).people.me()
    assert len(log.starting("webex-pool ready ")) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_child_has_a_file_of_its_own(channel: Channel, pool: Any, server: Server) -> None:
    session = _session(pool, server)
    session.get(server.url)
    child = os.fork()
    if child == 0:
        try:
            session.adapters["http://"].close()
            session.get(server.url)
            session.get(server.url)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    session.get(server.url)
    requests_by_pid = {heard.pid: (heard.requests, len(heard.sessions)) for heard in channel.heard()}
    assert requests_by_pid == {os.getpid(): (2, 1), child: (2, 1)}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_child_that_asks_for_nothing_has_none(channel: Channel, pool: Any, server: Server) -> None:
    _session(pool, server).get(server.url)
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    assert len(_files(channel)) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_files_of_ended_processes_are_bounded(channel: Channel, pool: Any, server: Server) -> None:
    session = _session(pool, server)
    for _ in range(70):
        child = os.fork()
        if child == 0:
            try:
                pool._evidence.ended(pool._evidence.began(), "answered", 200, 60)
            finally:
                os._exit(0)
        os.waitpid(child, 0)
    session.get(server.url)
    assert len(_files(channel)) <= 64
    assert channel.mine().requests == 1


def test_two_copies_of_the_module_in_one_process_have_a_file_each(channel: Channel, pool: Any, server: Server) -> None:
    other = load("webex_pool_config_too", os.environ["POOL_SUITE_MODULE"])
    for module in (pool, other, pool):
        _session(module, server).get(server.url)
    assert sorted(heard.requests for heard in channel.heard()) == [1, 2]


def test_process_that_executes_itself_anew_begins_again(channel: Channel, server: Server) -> None:
    code = (
        "import os, sys, webex_pool_config as pool\n"
        "from webexteamssdk import WebexTeamsAPI\n"
        f"api = pool.configure_webex_api_session(WebexTeamsAPI(access_token='t', base_url='{server.url}/v1/'))\n"
        "api.people.me()\n"
        "if len(sys.argv) == 1:\n"
        "    api.people.me()\n"
        "    os.execv(sys.executable, [sys.executable, '-c', os.environ['CODE'], 'again'])\n"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(os.environ["POOL_SUITE_MODULE"]).parent), "CODE": code}
    subprocess.run([sys.executable, "-c", code], env=env, check=True)
    (heard,) = channel.heard()
    assert heard.requests == 1


def test_descriptor_that_is_another_file_s_is_not_written_to_nor_closed(
    channel: Channel, pool: Any, server: Server
) -> None:
    session = _session(pool, server)
    session.get(server.url)
    (file,) = _files(channel)
    numbers = [int(link.name) for link in Path("/proc/self/fd").iterdir() if link.resolve() == file]
    own = channel.directory / "own.txt"
    own.write_text("the bot's own")
    with own.open("r+") as opened:
        for number in numbers:  # as if closed by a bot that becomes a daemon, and given out again
            os.dup2(opened.fileno(), number)
        session.get(server.url)
        assert channel.mine().requests == 2
        file.unlink()

        def is_back() -> bool:
            session.get(server.url)
            return file.exists()

        wait_until(is_back, "the file is made anew")  # it is looked for once a second
        assert [Path(f"/proc/self/fd/{number}").resolve() for number in numbers] == [own] * len(numbers)
    assert own.read_text() == "the bot's own"
    for number in numbers:
        os.close(number)


def test_bot_that_closes_all_descriptors_is_heard(channel: Channel, server: Server) -> None:
    code = (
        "import os, webex_pool_config as pool\n"
        "from webexteamssdk import WebexTeamsAPI\n"
        f"api = pool.configure_webex_api_session(WebexTeamsAPI(access_token='t', base_url='{server.url}/v1/'))\n"
        "api.people.me()\n"
        "api._session._req_session.close()\n"
        "os.closerange(3, 256)\n"
        "api.people.me()\n"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(os.environ["POOL_SUITE_MODULE"]).parent)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    (heard,) = channel.heard()
    assert heard.answered == 2


def test_file_that_was_removed_is_made_anew(channel: Channel, pool: Any, server: Server) -> None:
    session = _session(pool, server)
    session.get(server.url)
    _files(channel)[0].unlink()

    def is_back() -> bool:
        session.get(server.url)
        return bool(_files(channel))

    wait_until(is_back, "the file is made anew")  # it is looked for once a second
    assert channel.mine().requests == server.count("GET")


def test_file_that_grew_is_made_anew(channel: Channel, pool: Any, server: Server) -> None:
    session = _session(pool, server)
    session.get(server.url)
    os.truncate(_files(channel)[0], 8192)
    session.get(server.url)

    def is_whole() -> bool:
        session.get(server.url)
        return _files(channel)[0].stat().st_size == 4096

    wait_until(is_whole, "the file is made anew")
    assert channel.mine().requests == server.count("GET")


def test_file_that_is_removed_again_and_again_is_given_up(
    channel: Channel, pool: Any, server: Server, log: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = 0
    monkeypatch.setattr(pool, "_now", lambda: later + 1)
    session = _session(pool, server, stats_interval=0.01)
    for _ in range(70):
        session.get(server.url)
        later += 2000
        for file in _files(channel):
            file.unlink()
    wait_until(lambda: session.get(server.url) and log.starting("webex-pool channel off"), "it is said")
    assert len(log.starting("webex-pool channel off for now: OSError: its file was removed 64 times")) == 1
    assert _files(channel) == []


def test_what_a_signal_breaks_off_is_whole_again_within_a_second(
    channel: Channel, pool: Any, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = _session(pool, server)
    session.get(server.url)
    publish, calls = pool._Evidence._publish, []

    def interrupted(*args: Any) -> None:
        calls.append(args)
        if len(calls) == 2:  # the end of the request
            raise KeyboardInterrupt
        publish(*args)

    with monkeypatch.context() as patched:
        patched.setattr(pool._Evidence, "_publish", interrupted)
        with pytest.raises(KeyboardInterrupt):
            session.get(server.url)
    wait_until(lambda: session.get(server.url) and not isinstance(channel.heard()[0], str), "it is whole again")
    assert channel.mine().answered == server.count("GET")


def test_errors_that_the_bot_logs_are_counted_whatever_takes_them(
    channel: Channel, pool: Any, server: Server, request: pytest.FixtureRequest
) -> None:
    request.addfinalizer(partial(logging.setLogRecordFactory, logging.LogRecord))
    _session(pool, server).get(server.url)
    own = logging.getLogger("a.bot.with.no.handler")
    own.propagate = False
    own.setLevel(logging.INFO)
    own.info("an ERROR, Traceback (most recent call last): words")
    own.warning("not nice")
    own.error("could not look that up")
    try:
        raise TypeError("a release's")
    except TypeError:
        own.exception("failed")
        own.warning("failed, again", exc_info=True)
        own.info("failed, never mind", exc_info=True)
    own.warning("nothing to trace", exc_info=True)
    assert channel.mine().errors == 3


def test_record_factory_of_the_bot_s_own_stays_in_force(channel: Channel, server: Server) -> None:
    code = (
        "import logging\n"
        "class Mine(logging.LogRecord):\n    pass\n"
        "logging.setLogRecordFactory(Mine)\n"
        "import webex_pool_config\n"
        "print(type(logging.getLogger().makeRecord('n', 40, 'f', 1, 'm', (), None)).__name__)"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(os.environ["POOL_SUITE_MODULE"]).parent)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("Mine\n", "")


def test_link_that_somebody_put_there_is_not_followed(channel: Channel, pool: Any, server: Server) -> None:
    victim = channel.directory / "victim"
    victim.write_text("untouched")
    start = Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
    for number in range(64):
        (channel.directory / f"{os.getpid()}-{start}-{number}.channel").symlink_to(victim)
    _session(pool, server).get(server.url)
    assert victim.read_text() == "untouched"


@pytest.mark.parametrize("what", ["missing", "relative", "file", "no space", "no write"])
def test_channel_that_cannot_be_written_is_off_and_said_once(
    channel: Channel, monkeypatch: pytest.MonkeyPatch, server: Server, log: Lines, what: str
) -> None:
    directory = {"missing": "/nonexistent/channel", "relative": "channel", "file": os.devnull}.get(what)
    if directory:
        monkeypatch.setenv("WEBEX_POOL_CHANNEL", directory)
    pool = load("webex_pool_config", os.environ["POOL_SUITE_MODULE"])

    def no_space(*_args: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    if what.startswith("no "):
        monkeypatch.setattr(pool.os, "pwrite", no_space if what == "no space" else lambda *_args: 7)
    session = _session(pool, server, stats_interval=0.01)
    for _ in range(3):
        time.sleep(0.02)
        assert session.get(server.url).status_code == 200
    warnings = [record.getMessage() for record in log.records if record.levelname == "WARNING"]
    assert [re.match(r"webex-pool channel off for now: \w+: .+", line) is not None for line in warnings] == [True]
    assert _files(channel) == []


def test_reader_never_meets_a_torn_file_it_cannot_get_past(channel: Channel, pool: Any, server: Server) -> None:
    _session(pool, server)
    over = threading.Event()

    def write() -> None:
        while not over.is_set():
            pool._evidence.ended(pool._evidence.began(), "answered", 200, 60)

    threads = [threading.Thread(target=write) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        heard = [channel.mine() for _ in range(200)]
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert all(each.answered + each.in_flight == each.requests for each in heard)
    assert [each.sequence for each in heard] == sorted(each.sequence for each in heard)
    assert heard[-1].requests > heard[0].requests


def test_neither_token_nor_address_is_in_it(channel: Channel, pool: Any, server: Server) -> None:
    _request(_session(pool, server), "GET", server.url + "/SECRET?q=SECRET")
    data = _files(channel)[0].read_bytes()
    assert not re.search(rb"SECRET|http:|127\.0\.0\.1", data)
