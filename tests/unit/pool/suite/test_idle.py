"""Connections that nobody used for a while."""

from __future__ import annotations

import gc
import socket
import sys
import threading
import time
from typing import Any, Callable

import pytest
import requests
from conftest import QUICK, STATS, Lines, plain_api
from server import Connection, Proxy, Seen, Server, answer, wait_until

Bare = Callable[..., requests.Session]


def test_connection_idle_for_longer_than_max_idle_is_not_used_again(bare: Bare, server: Server) -> None:
    session = bare(max_idle=0.2)
    session.get(server.url)
    time.sleep(0.3)  # the idle time is the point
    session.get(server.url)
    assert [seen.connection for seen in server.seen] == [1, 2]
    assert server.connections[0].gone.wait(5)


def test_connection_idle_for_less_is_used_again(bare: Bare, server: Server) -> None:
    session = bare(max_idle=60)
    for _ in range(3):
        session.get(server.url)
        time.sleep(0.1)
    assert len(server.connections) == 1


def test_the_same_under_tls(bare: Bare, webex: Server) -> None:
    session = bare(max_idle=1)
    session.get("https://webexapis.com/v1/people/me")
    session.get("https://webexapis.com/v1/people/me")
    time.sleep(1.1)
    session.get("https://webexapis.com/v1/people/me")
    assert [seen.connection for seen in webex.seen] == [1, 1, 2]


def test_post_goes_only_over_a_connection_that_has_just_worked(bare: Bare, server: Server) -> None:
    session = bare(max_idle=60, post_max_idle=1)
    session.get(server.url)
    session.post(server.url, json={})
    time.sleep(1.1)
    session.get(server.url)
    time.sleep(1.1)
    session.post(server.url, json={})
    assert [(seen.method, seen.connection) for seen in server.seen] == [
        ("GET", 1),
        ("POST", 1),
        ("GET", 1),
        ("POST", 2),
    ]


def _burst(session: requests.Session, server: Server, size: int) -> None:
    """`size` requests at once, each of which the server holds until all are there."""
    together = threading.Barrier(size)

    def hold(connection: Connection, seen: Seen) -> None:
        together.wait(5)
        answer()(connection, seen)

    server.on("GET", *[hold] * size)
    threads = [threading.Thread(target=session.get, args=(server.url,)) for _ in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_connections_of_a_burst_are_closed_when_idle_though_only_the_top_is_in_use(bare: Bare, server: Server) -> None:
    session = bare(max_idle=1.2)
    _burst(session, server, 6)
    assert len(server.connections) == 6

    def only_one_left() -> bool:
        session.get(server.url)
        return sum(not connection.gone.is_set() for connection in server.connections) == 1

    wait_until(only_one_left, "the unused five closed")
    assert len(server.connections) == 6


def test_pool_keeps_as_many_as_it_is_told(bare: Bare, server: Server) -> None:
    session = bare(pool_maxsize=12)
    for _ in range(3):
        _burst(session, server, 12)
    assert len(server.connections) == 12


def test_recycled_and_open_are_counted(pool: Any, server: Server, log: Lines) -> None:
    api = plain_api(server.url + "/v1/")
    session = pool.configure_webex_api_session(api, **QUICK, max_idle=1, stats_interval=0.01)._session._req_session
    _burst(session, server, 4)
    time.sleep(1.1)  # the least time between two sweeps
    api.people.me()
    wait_until(lambda: sum(not connection.gone.is_set() for connection in server.connections) == 1, "one open")
    time.sleep(0.02)
    api.people.me()
    assert log.starting(STATS)
    stats = log.last_stats()
    assert (stats["recycled"], stats["open"], stats["requests"]) == (4, 1, 6)


def _sockets_to(port: int) -> list[socket.socket]:
    found = []
    for thing in gc.get_objects():
        if isinstance(thing, socket.socket) and thing.fileno() >= 0:
            try:
                if thing.getpeername()[1] == port:
                    found.append(thing)
            except OSError:
                continue
    return found


def _option(sock: socket.socket, name: str) -> int:
    return sock.getsockopt(socket.IPPROTO_TCP, getattr(socket, name))


SETTINGS = {"keepalive_idle": 7, "keepalive_interval": 2, "keepalive_count": 4, "user_timeout": 11.5}


def _assert_options(sock: socket.socket) -> None:
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    assert _option(sock, "TCP_NODELAY")
    assert _option(sock, "TCP_KEEPINTVL") == 2
    assert _option(sock, "TCP_KEEPCNT") == 4
    if sys.platform.startswith("linux"):
        assert _option(sock, "TCP_KEEPIDLE") == 7
        assert _option(sock, "TCP_USER_TIMEOUT") == 11_500


def test_socket_options_of_a_direct_connection(bare: Bare, webex: Server) -> None:
    session = bare(**SETTINGS)
    session.get("https://webexapis.com/v1/people/me")
    (sock,) = _sockets_to(webex.port)
    _assert_options(sock)


def test_socket_options_through_a_proxy(bare: Bare, webex: Server, proxy: Proxy) -> None:
    session = bare(**SETTINGS)
    session.proxies = {"https": proxy.url}
    assert session.get("https://webexapis.com/v1/people/me").status_code == 200
    (sock,) = _sockets_to(proxy.port)
    _assert_options(sock)


def test_idle_connection_through_a_proxy_is_not_used_again(bare: Bare, webex: Server, proxy: Proxy) -> None:
    session = bare(max_idle=1)
    session.proxies = {"https": proxy.url}
    for pause in (0, 1.1, 0):
        session.get("https://webexapis.com/v1/people/me")
        time.sleep(pause)
    session.get("https://webexapis.com/v1/people/me")
    assert [seen.connection for seen in webex.seen] == [1, 1, 2, 2]


def test_plain_request_through_a_proxy(bare: Bare, server: Server) -> None:
    session = bare(max_idle=0.2)
    session.proxies = {"http": server.url}
    session.get("http://webexapis.com/v1/people/me")
    time.sleep(0.3)
    session.get("http://webexapis.com/v1/people/me")
    assert [(seen.path, seen.connection) for seen in server.seen] == [
        ("http://webexapis.com/v1/people/me", 1),
        ("http://webexapis.com/v1/people/me", 2),
    ]


def test_option_which_the_system_refuses_is_left_out(
    bare: Bare, server: Server, log: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = socket.socket.setsockopt

    def refuse(self: socket.socket, level: int, option: int, value: Any) -> None:
        if (level, option) == (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT):
            raise OSError(92, "Protocol not available")
        real(self, level, option, value)

    monkeypatch.setattr(socket.socket, "setsockopt", refuse)
    assert bare().get(server.url).status_code == 200
    assert all(" user_timeout=0 " in line for line in log.starting("webex-pool ready "))
