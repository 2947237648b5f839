"""Which connections a request may use: those of its host, made with the trust that it asks for."""

from __future__ import annotations

import pickle
from typing import Any, Callable

import pytest
import requests
from conftest import CERTIFICATES
from server import Proxy, Server

Bare = Callable[..., requests.Session]
WEBEX = "https://webexapis.com/v1/people/me"
# Before 2.32 a connection is used again with another trust (CVE-2024-35195); nothing here makes it better or worse.
minds_trust = pytest.mark.skipif(
    tuple(map(int, requests.__version__.split(".")[:2])) < (2, 32), reason="requests itself mixes them up"
)


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


@minds_trust
@pytest.mark.parametrize("careless", [False, str(CERTIFICATES / "ca.pem")], ids=["unverified", "another-authority"])
def test_trust_of_one_request_is_not_that_of_the_next(
    bare: Bare, webex: Server, monkeypatch: pytest.MonkeyPatch, careless: Any
) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    session = bare(max_retries=0)
    for _ in range(2):
        assert session.get(WEBEX, verify=careless).status_code == 200
        with pytest.raises(requests.exceptions.SSLError):  # no public authority knows this server
            session.get(WEBEX)
    assert len(webex.seen) == 2


def test_proxy_of_one_request_is_not_that_of_the_next(bare: Bare, webex: Server, proxy: Proxy) -> None:
    session = bare()
    for proxies in ({}, {"https": proxy.url}) * 2:
        session.get(WEBEX, proxies=proxies)
    assert [seen.connection for seen in webex.seen] == [1, 2, 1, 2]
    assert proxy.count("CONNECT") == 1


@minds_trust
def test_certificate_of_one_request_is_not_shown_by_the_next(bare: Bare, webex: Server) -> None:
    session = bare()
    for certificate in (None, str(CERTIFICATES / "server.pem"), None):
        session.get(WEBEX, cert=certificate)
    assert [seen.connection for seen in webex.seen] == [1, 2, 1]


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
