"""An answer that never comes costs a short first attempt; one that is slow is waited for."""

from __future__ import annotations

import time
from typing import Any, Callable

import pytest
import requests
from conftest import Channel
from server import Server, after, answer, close, never

Bare = Callable[..., requests.Session]
# In the field 10 s of 120 s.
SHORT: dict[str, Any] = {"first_attempt": 0.5, "request_timeout": 6}


def asked(host: str) -> requests.PreparedRequest:
    return requests.Request("GET", f"https://{host}/v1/people").prepare()


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_lost_answer_does_not_take_the_whole_timeout(bare: Bare, server: Server, method: str) -> None:
    server.on(method, never)
    start = time.monotonic()
    assert bare(**SHORT).request(method, server.url, data=b"same").status_code == 200
    assert time.monotonic() - start < 5
    assert [seen.body for seen in server.seen] == [b"same", b"same"]


def test_defaults_share_the_report_s_timeout(pool: Any, server: Server) -> None:
    timeout = pool._Patience(asked("host"), (10, 120), pool.PoolSettings(), again=True).timeout
    assert (timeout.connect_timeout, timeout.read_timeout) == (10, 10)


def test_slow_answer_is_waited_for_by_the_repeat_and_at_once_from_then_on(bare: Bare, server: Server) -> None:
    session = bare(**SHORT)
    server.always("GET", after(1))
    assert session.get(server.url).status_code == 200
    assert server.count("GET") == 2
    for number in (3, 4):
        assert session.get(server.url).status_code == 200
        assert server.count("GET") == number


def test_answer_that_takes_nearly_all_of_the_first_attempt_is_not_cut(bare: Bare, server: Server) -> None:
    session = bare(first_attempt=2, request_timeout=24)
    server.always("GET", after(1.2))
    for _ in range(2):
        assert session.get(server.url).status_code == 200
    assert server.count("GET") == 2


def test_attempts_share_what_the_caller_gave(bare: Bare, server: Server) -> None:
    session = bare(first_attempt=0.3, request_timeout=1.5)
    server.always("GET", never)
    start = time.monotonic()
    with pytest.raises(requests.ReadTimeout):
        session.get(server.url)
    assert 1.4 < time.monotonic() - start < 4  # with four attempts of 1.5 s each it would be 6
    assert server.count("GET") == 2


def test_host_that_used_up_everything_gets_its_whole_time_next(bare: Bare, server: Server) -> None:
    session = bare(first_attempt=0.3, request_timeout=1.5)
    server.on("GET", never, never)
    with pytest.raises(requests.ReadTimeout):
        session.get(server.url)
    server.on("GET", after(1))
    assert session.get(server.url).status_code == 200
    assert server.count("GET") == 3


@pytest.mark.parametrize("what", ["POST", "stream", "generator", "no-repeats"])
def test_what_cannot_be_repeated_has_the_whole_timeout(bare: Bare, server: Server, what: str) -> None:
    method = {"POST": "POST", "generator": "PUT"}.get(what, "GET")
    server.on(method, after(1.2))
    session = bare(**SHORT, max_retries=0 if what == "no-repeats" else 3)
    data = iter([b"a"]) if what == "generator" else None
    assert session.request(method, server.url, data=data, stream=what == "stream").status_code == 200
    assert server.count(method) == 1


def test_timeout_that_is_too_short_to_share_is_each_attempt_s(bare: Bare, server: Server) -> None:
    server.on("GET", after(1.2))
    assert bare(first_attempt=1, request_timeout=1.9).get(server.url).status_code == 200
    assert server.count("GET") == 1


def test_timeout_of_the_call_is_what_is_shared(bare: Bare, server: Server) -> None:
    server.on("GET", never)
    session = bare(first_attempt=0.5, request_timeout=0.6)
    start = time.monotonic()
    assert session.get(server.url, timeout=6).status_code == 200
    assert time.monotonic() - start < 5


def test_hosts_and_methods_are_kept_apart(bare: Bare, server: Server) -> None:
    session, other = bare(**SHORT), Server()
    try:
        server.always("GET", after(1))
        session.get(server.url)
        for method, where in (("GET", other), ("PUT", server)):
            where.on(method, never)
            start = time.monotonic()
            assert session.request(method, where.url).status_code == 200
            assert time.monotonic() - start < 5
    finally:
        other.stop()


def test_lost_connection_leaves_the_time_for_the_next_attempt(bare: Bare, server: Server) -> None:
    server.on("GET", close, never, answer())
    start = time.monotonic()
    assert bare(**SHORT).get(server.url).status_code == 200
    assert time.monotonic() - start < 5
    assert server.count("GET") == 3


def test_last_attempt_has_all_that_is_left(bare: Bare, server: Server) -> None:
    server.on("GET", close, close, after(1.2))
    assert bare(**SHORT, max_retries=2).get(server.url).status_code == 200
    assert server.count("GET") == 3


def test_hosts_that_are_remembered_are_bounded_and_forgotten(pool: Any) -> None:
    pace = pool._Pace()
    for number in range(1000):
        pace.took(asked(f"host-{number}"), 20, now=0)
    assert len(pace.slow) <= 64
    assert pace.slowest(asked("host-999"), now=599) == 20
    assert pace.slowest(asked("host-999"), now=600) == 0


def test_it_counts_as_a_repeat_and_no_failure(channel: Channel, bare: Bare, server: Server) -> None:
    server.on("GET", never)
    bare(**SHORT).get(server.url)
    heard = channel.mine()
    assert (heard.requests, heard.answered, heard.retried, heard.failed) == (1, 1, 1, 0)
