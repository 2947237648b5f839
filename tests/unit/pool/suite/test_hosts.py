"""Which connections a request may use: those of its host, made with the trust that it asks for."""

from __future__ import annotations

import contextlib
import pickle
from typing import Any, Callable

import pytest
import requests
from conftest import CERTIFICATES
from server import Proxy, Server

Bare = Callable[..., requests.Session]
WEBEX = "https://webexapis.com/v1/people/me"


@pytest.fixture
def other() -> Any:
    server = Server()
    yield server
    server.stop()


def test_hosts_have_connections_of_their_own_which_are_used_again(bare: Bare, server: Server, other: Server) -> None:
    session = bare()
    for path in ("/", "/a", "/a/b?c=https://elsewhere/d"):
        for each in (server, other):
            session.get(each.url + path)
    for each in (server, other):
        assert [seen.path for seen in each.seen] == ["/", "/a", "/a/b?c=https://elsewhere/d"]
        assert len(each.connections) == 1


def test_scheme_belongs_to_the_host(bare: Bare, server: Server) -> None:
    session = bare(max_retries=0)
    session.get(server.url)
    with pytest.raises(requests.exceptions.SSLError):
        session.get(server.url.replace("http:", "https:"))
    assert session.get(server.url).status_code == 200


def connections_used(session: requests.Session, webex: Server, key: str, values: list[Any]) -> list[Any]:
    """Which connection each of these requests came over, counted from the first; None for one that was refused.

    Before requests 2.32 a connection is used again with another trust (CVE-2024-35195): nothing here makes that better
    or worse, so what is right is what a session by default does.
    """
    numbers: list[Any] = []
    for value in values:
        before = len(webex.seen)
        with contextlib.suppress(requests.exceptions.SSLError):
            session.get(WEBEX, **{key: value})
        numbers.append(webex.seen[-1].connection if len(webex.seen) > before else None)
    order = [number for number in dict.fromkeys(numbers) if number]
    return [number and order.index(number) for number in numbers]


@pytest.mark.parametrize("careless", [False, str(CERTIFICATES / "ca.pem")], ids=["unverified", "another-authority"])
def test_trust_of_one_request_is_not_that_of_the_next(
    bare: Bare, webex: Server, monkeypatch: pytest.MonkeyPatch, careless: Any
) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")  # no public authority knows this server
    values = [careless, True, careless, True]
    by_default = connections_used(requests.Session(), webex, "verify", values)
    assert connections_used(bare(max_retries=0), webex, "verify", values) == by_default


def test_proxy_of_one_request_is_not_that_of_the_next(bare: Bare, webex: Server, proxy: Proxy) -> None:
    session = bare()
    for proxies in ({}, {"https": proxy.url}) * 2:
        session.get(WEBEX, proxies=proxies)
    assert [seen.connection for seen in webex.seen] == [1, 2, 1, 2]
    assert proxy.count("CONNECT") == 1


def test_certificate_of_one_request_is_not_shown_by_the_next(bare: Bare, webex: Server) -> None:
    certificates = [None, str(CERTIFICATES / "server.pem"), None]
    by_default = connections_used(requests.Session(), webex, "cert", certificates)
    assert connections_used(bare(), webex, "cert", certificates) == by_default


def test_more_hosts_than_pools_are_served(bare: Bare, server: Server, other: Server) -> None:
    session = bare(pool_connections=1, max_retries=0)
    for _ in range(3):
        for each in (server, other):
            assert session.post(each.url).status_code == 200
    assert (server.count("POST"), other.count("POST")) == (3, 3)


def test_closed_and_copied_sessions_go_on(bare: Bare, server: Server) -> None:
    session = bare(max_retries=0)
    session.get(server.url)
    session.close()
    assert server.connections[0].gone.wait(5)
    assert session.get(server.url).status_code == 200
    copied = pickle.loads(pickle.dumps(session))
    assert copied.get(server.url).status_code == 200
    assert len(server.connections) == 3
