"""Looks at hosts on loopback that are reached, dropped, refused, unknown, of another CA, and behind proxies."""

from __future__ import annotations

import base64
import os
import socket
import time
from typing import TYPE_CHECKING

import pytest
from ansible.module_utils.webex_rollout import weather
from ansible.module_utils.webex_rollout.become import account_of
from ansible.module_utils.webex_rollout.weather import Look, ask, network_variables

from tests.unit.weather.hosts import Authority, Proxy, TlsHost

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.unit.people import People

GOOD = Look("good")


@pytest.fixture
def authority(people: People) -> Authority:
    return Authority(people.base / "ca")


@pytest.fixture
def webex(authority: Authority) -> Iterator[TlsHost]:
    host = TlsHost(authority)
    yield host
    host.close()


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    made = Proxy()
    yield made
    made.close()


def look(authority: Authority, host: str, seconds: float = 5.0, **variables: str) -> Look:
    variables = {"SSL_CERT_FILE": str(authority.certificate), **variables}
    return ask(account_of("botuser"), variables, [host], seconds)


def test_a_host_that_is_reached(authority: Authority, webex: TlsHost) -> None:
    assert look(authority, webex.name) == GOOD
    assert webex.wait_for_handshake()


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_the_users_own_ca_counts(authority: Authority, webex: TlsHost, name: str, people: People) -> None:
    other = Authority(people.base / "other")
    variables = {"SSL_CERT_FILE": str(other.certificate), name: str(authority.certificate)}
    assert ask(account_of("botuser"), variables, [webex.name]) == GOOD


def test_a_certificate_that_does_not_verify_is_its_own_finding(webex: TlsHost, people: People) -> None:
    found = look(Authority(people.base / "other"), webex.name)
    assert (found.state, found.kind) == ("bad", "certificate")
    assert found.reason.startswith(f"{webex.name}: its certificate is not accepted: ")


def test_a_certificate_of_another_host(authority: Authority, webex: TlsHost) -> None:
    found = look(authority, f"127.0.0.1:{webex.port}")
    assert (found.state, found.kind) == ("bad", "certificate")


def test_a_ca_file_that_is_not_there(authority: Authority, webex: TlsHost) -> None:
    found = look(authority, webex.name, REQUESTS_CA_BUNDLE="/nowhere/ca.pem")
    assert (found.state, found.kind) == ("bad", "certificate")
    assert "/nowhere/ca.pem cannot be used" in found.reason


def test_a_host_that_refuses(authority: Authority) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    found = look(authority, f"localhost:{port}")
    assert found == Look("bad", "connect", f"localhost:{port}: Connection refused")


def test_a_host_that_drops_takes_no_longer_than_given(authority: Authority) -> None:
    """A listener whose queue is full answers no further SYN, as a firewall that drops."""
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for filler in (first, second):
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        began = time.monotonic()
        found = look(authority, f"127.0.0.1:{full.getsockname()[1]}", seconds=1)
        assert time.monotonic() - began < 3
    assert (found.state, found.kind) == ("bad", "connect")
    assert found.reason.endswith(": no answer within 1 s")


def test_a_host_that_connects_and_says_nothing(authority: Authority) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        found = look(authority, f"localhost:{silent.getsockname()[1]}", seconds=1)
    assert (found.state, found.kind) == ("bad", "tls")
    assert found.reason.endswith("no answer to the TLS handshake within 1 s")


def test_a_host_that_speaks_no_tls(authority: Authority, proxy: Proxy) -> None:
    found = look(authority, f"localhost:{proxy.port}")
    assert (found.state, found.kind) == ("bad", "tls")


def test_a_name_that_does_not_resolve(authority: Authority) -> None:
    found = look(authority, "webex.invalid")
    assert (found.state, found.kind) == ("bad", "dns")
    assert found.reason.startswith("webex.invalid: its address is not to be had: ")


def test_a_resolver_that_does_not_answer(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weather.socket, "getaddrinfo", lambda *_, **__: time.sleep(30))
    began = time.monotonic()
    found = look(authority, "webex.invalid", seconds=1)
    assert time.monotonic() - began < 3
    assert found == Look("bad", "dns", "webex.invalid: its address is not to be had: the resolver does not answer")


def test_one_host_of_several_that_is_bad_is_enough(authority: Authority, webex: TlsHost) -> None:
    variables = {"SSL_CERT_FILE": str(authority.certificate)}
    assert ask(account_of("botuser"), variables, [webex.name, "webex.invalid"]).kind == "dns"


def test_it_is_the_bots_user_who_asks(authority: Authority, webex: TlsHost, people: People) -> None:
    """Firewalls decide by user; and a CA file that only he can read is one that counts."""
    mine = people.home / "ca.pem"
    mine.write_bytes(authority.certificate.read_bytes())
    people.give(mine)
    mine.chmod(0o400)
    variables = {"REQUESTS_CA_BUNDLE": str(mine)}
    assert ask(account_of("botuser"), variables, [webex.name]) == GOOD
    assert ask(account_of("otheruser"), variables, [webex.name]).kind == "certificate"


# -- proxies ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"])
def test_a_proxy_that_works(authority: Authority, webex: TlsHost, proxy: Proxy, name: str) -> None:
    assert look(authority, webex.name, **{name: f"http://user:p%40ss@127.0.0.1:{proxy.port}"}) == GOOD
    assert webex.wait_for_handshake()
    [request] = proxy.requests
    assert request[0] == f"CONNECT {webex.name} HTTP/1.1"
    assert f"Proxy-Authorization: Basic {base64.b64encode(b'user:p@ss').decode()}" in request


def test_a_proxy_that_refuses_shows_no_credentials(authority: Authority, webex: TlsHost, proxy: Proxy) -> None:
    proxy.answer = b"HTTP/1.1 407 user:s3cret is wrong\r\n\r\n"
    found = look(authority, webex.name, https_proxy=f"http://user:s3cret@127.0.0.1:{proxy.port}")
    shown = f"the proxy 127.0.0.1:{proxy.port} refuses to connect to {webex.name} (status 407)"
    assert found == Look("bad", "proxy", shown)


def test_a_proxy_that_is_not_there(authority: Authority, webex: TlsHost) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    found = look(authority, webex.name, https_proxy=f"user:s3cret@127.0.0.1:{port}")
    assert found == Look("bad", "proxy", f"the proxy 127.0.0.1:{port}: Connection refused")


@pytest.mark.parametrize("answer", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 2\xb20 ok\r\n\r\n", b"x" * 20000])
def test_what_is_no_answer_of_a_proxy(authority: Authority, webex: TlsHost, proxy: Proxy, answer: bytes) -> None:
    proxy.answer = answer
    found = look(authority, webex.name, https_proxy=f"http://127.0.0.1:{proxy.port}")
    assert (found.state, found.kind) == ("bad", "proxy")


def test_a_proxy_that_drips_is_not_waited_for(authority: Authority, webex: TlsHost, proxy: Proxy) -> None:
    proxy.answer = b"HTTP/1.1 200 " + b"x" * 10000
    proxy.pause = 0.002
    began = time.monotonic()
    found = look(authority, webex.name, 1, https_proxy=f"http://127.0.0.1:{proxy.port}")
    assert time.monotonic() - began < 3
    assert (found.state, found.kind) == ("bad", "proxy")


@pytest.mark.parametrize(("answer", "state"), [(None, "good"), (b"HTTP/1.1 403 no\r\n\r\n", "bad")])
def test_a_proxy_over_tls(authority: Authority, webex: TlsHost, answer: bytes | None, state: str) -> None:
    proxy = Proxy(authority)
    proxy.answer = answer
    found = look(authority, webex.name, https_proxy=f"https://user:s3cret@localhost:{proxy.port}")
    assert (found.state, len(proxy.requests)) == (state, 1)
    proxy.close()


def test_a_proxy_over_tls_whose_certificate_is_not_accepted(
    authority: Authority, webex: TlsHost, people: People
) -> None:
    proxy = Proxy(Authority(people.base / "other"))
    found = look(authority, webex.name, https_proxy=f"https://user:s3cret@localhost:{proxy.port}")
    assert (found.state, found.kind, proxy.requests) == ("bad", "certificate", [])
    assert found.reason.startswith(f"the proxy localhost:{proxy.port}: its certificate is not accepted")
    proxy.close()


def test_a_host_that_is_excepted_from_the_proxy(authority: Authority, webex: TlsHost, proxy: Proxy) -> None:
    variables = {"https_proxy": f"http://127.0.0.1:{proxy.port}", "no_proxy": "localhost"}
    assert look(authority, webex.name, **variables) == GOOD
    assert proxy.requests == []


def test_roots_own_proxy_is_not_the_bots(
    authority: Authority, webex: TlsHost, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
    assert look(authority, webex.name) == GOOD
    assert proxy.requests == []
    assert os.environ["HTTPS_PROXY"]


def test_a_proxy_of_another_kind_is_unknown_weather(authority: Authority, webex: TlsHost) -> None:
    found = look(authority, webex.name, all_proxy="socks5h://user:s3cret@127.0.0.1:1080")
    assert (found.state, found.kind) == ("unknown", "unsupported")
    assert "s3cret" not in found.reason


def test_without_any_ca_certificate_the_weather_is_unknown(
    webex: TlsHost, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = people.base / "none"
    nothing.mkdir()
    variables = {"SSL_CERT_FILE": str(nothing / "ca.pem"), "SSL_CERT_DIR": str(nothing)}
    found = ask(account_of("botuser"), variables, [webex.name])
    assert found == Look("unknown", "store", "there are no CA certificates to verify with; install ca-certificates")


def test_a_look_that_fails_is_unknown_weather(monkeypatch: pytest.MonkeyPatch, people: People) -> None:
    monkeypatch.setattr(weather, "_context", lambda: 1 / 0)
    found = ask(account_of("botuser"), {})
    assert (found.state, found.kind) == ("unknown", "look")


def test_only_variables_of_the_network_are_taken_and_the_first_of_two() -> None:
    given = ["WEBEX_TOKEN=secret", "https_proxy=a=b", "https_proxy=later", "NO_PROXY=", "no equals"]
    assert network_variables(given) == {"https_proxy": "a=b", "NO_PROXY": ""}
