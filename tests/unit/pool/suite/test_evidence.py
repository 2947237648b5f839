"""The lines the log check lives on."""

from __future__ import annotations

import contextlib
import logging
import logging.config
import os
import re
import threading
import time
from typing import Any, Callable

import pytest
import requests
from conftest import QUICK, READY, STATS, Lines, plain_api
from server import Server, answer, close

Bare = Callable[..., requests.Session]
READY_LINE = re.compile(
    r"webex-pool ready pid=\d+ session=(api|bot\.teams|bot\.session) pool_connections=50 pool_maxsize=50 "
    r"max_retries=3 timeout=120 keepalive=15/5/3 user_timeout=30 max_idle=180( [a-z_]+=\S+)*"
)
STATS_LINE = re.compile(
    r"webex-pool stats pid=\d+ requests=\d+ retried=\d+ failed=\d+ recycled=\d+ open=\d+( [a-z_]+=\S+)*"
)


def _api(pool: Any, server: Server, **settings: Any) -> Any:
    api = plain_api(server.url + "/v1/")
    return pool.configure_webex_api_session(api, **{**QUICK, "stats_interval": 0.01, **settings})


def test_ready_line(pool: Any, log: Lines) -> None:
    pool.configure_webex_api_session(plain_api("https://webexapis.com/v1/", single_request_timeout=120))
    (line,) = log.starting(READY)
    assert READY_LINE.fullmatch(line), line
    assert f" pid={os.getpid()} session=api " in line
    assert line.endswith(f" version={pool.__version__}")


def test_ready_line_shows_the_client_s_own_timeout(pool: Any, log: Lines) -> None:
    pool.configure_webex_api_session(plain_api("https://webexapis.com/v1/", single_request_timeout=61))
    assert " timeout=61 " in log.starting(READY)[0]


def test_stats_line(pool: Any, server: Server, log: Lines) -> None:
    _api(pool, server).people.me()
    assert STATS_LINE.fullmatch(log.starting(STATS)[0]), log.starting(STATS)


def test_record_is_an_info_of_this_module(pool: Any, server: Server, log: Lines) -> None:
    _api(pool, server).people.me()
    assert {(record.name, record.levelname, record.filename) for record in log.records} == {
        ("webex_pool_config", "INFO", "webex_pool_config.py")
    }


def test_stats_at_most_once_per_interval(pool: Any, server: Server, log: Lines) -> None:
    api = _api(pool, server, stats_interval=0.3)
    start = time.monotonic()
    while time.monotonic() - start < 0.7:
        api.people.me()
    lines = len(log.starting(STATS))
    assert 2 <= lines <= 1 + (time.monotonic() - start) / 0.3
    assert log.last_stats()["requests"] > 3


def test_default_interval_lets_one_line_through(pool: Any, server: Server, log: Lines) -> None:
    api = _api(pool, server, stats_interval=60)
    for _ in range(20):
        api.people.me()
    assert len(log.starting(STATS)) == 1


def test_counters(pool: Any, server: Server, log: Lines) -> None:
    session = _api(pool, server)._session._req_session

    def counts_after(method: str, *scripts: Any) -> list[int]:
        server.on(method, *scripts)
        with contextlib.suppress(requests.RequestException):
            session.request(method, server.url, json={}, timeout=2)
        time.sleep(0.02)  # the stats interval
        session.get(server.url)
        stats = log.last_stats()
        return [stats[name] for name in ("requests", "retried", "failed", "rate_limited")]

    assert counts_after("GET") == [2, 0, 0, 0]
    assert counts_after("GET", close, answer(503)) == [4, 2, 0, 0]
    assert counts_after("GET", *[close] * 4) == [6, 5, 1, 0]
    assert counts_after("POST", close) == [8, 5, 2, 0]
    assert counts_after("POST", answer(500)) == [10, 5, 2, 0]
    assert counts_after("GET", answer(429)) == [12, 5, 2, 1]


def test_counters_are_those_of_the_process(pool: Any, bare: Bare, server: Server, log: Lines) -> None:
    one, two = _api(pool, server), bare(stats_interval=0.01)
    one.people.me()
    time.sleep(0.02)
    two.get(server.url)
    assert log.last_stats()["requests"] == 2
    assert log.last_stats()["open"] == 2


def test_counters_across_threads(pool: Any, server: Server, log: Lines) -> None:
    api = _api(pool, server)

    def use() -> None:
        for _ in range(25):
            api.people.me()

    threads = [threading.Thread(target=use) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    time.sleep(0.02)
    api.people.me()
    assert log.last_stats()["requests"] == 401
    assert server.count("GET") == 401


def test_lines_survive_a_later_logging_configuration(pool: Any, server: Server, log: Lines) -> None:
    api = _api(pool, server)
    handlers = logging.getLogger().handlers[:]
    logging.config.dictConfig({"version": 1, "root": {"level": "WARNING"}})  # disables every logger it does not name
    logging.getLogger().handlers[:] = handlers
    api.people.me()
    assert log.starting(STATS)


def test_ready_line_waits_for_logging_to_be_set_up(pool: Any, server: Server, log: Lines) -> None:
    root = logging.getLogger()
    root.handlers.remove(log)
    api = _api(pool, server)
    root.addHandler(log)
    api.people.me()
    assert len(log.starting(READY)) == 1
    api.people.me()
    assert len(log.starting(READY)) == 1


def test_neither_token_nor_url_in_any_line(pool: Any, server: Server, log: Lines) -> None:
    api = _api(pool, server)
    pool.logger.setLevel(logging.DEBUG)
    server.on("GET", close, answer(503))
    server.always("GET", answer(body={"items": []}))
    list(api.messages.list("SECRET-ROOM"))
    text = "\n".join(record.getMessage() for record in log.records)
    assert "webex-pool repeat=2 method=GET reason=503" in text
    assert not re.search(r"SECRET|http://|127\.0\.0\.1|messages", text)


def test_handler_that_uses_the_client_itself(pool: Any, server: Server, log: Lines) -> None:
    api = _api(pool, server, stats_interval=0.05)

    class Poster(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            api.messages.create(roomId="ops", text=record.getMessage())

    logging.getLogger().addHandler(Poster())
    api.people.me()
    assert server.count("POST") >= 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_child_counts_for_itself(pool: Any, server: Server, log: Lines) -> None:
    api = _api(pool, server)
    api.people.me()
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            api._session._req_session.adapters["http://"].close()  # the parent's connections are not the child's
            api.people.me()
            os.write(write, log.starting(STATS)[-1].encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        line = pipe.read()
    os.waitpid(child, 0)
    assert f" pid={child} requests=1 " in line


def test_enable_pool_logging(pool: Any, server: Server, log: Lines) -> None:
    api = _api(pool, server)
    for name in ("webex_pool_config", "urllib3.connectionpool"):
        logging.getLogger(name).disabled = True
    pool.enable_pool_logging()
    server.on("GET", answer(503))
    api.people.me()
    assert log.starting("Starting new HTTP connection")
    assert log.starting("webex-pool repeat=1 ")
