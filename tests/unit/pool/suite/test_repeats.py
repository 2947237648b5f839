"""What is sent again, and what never is."""

from __future__ import annotations

import contextlib
import io
import socket
import time
from typing import Any, Callable

import pytest
import requests
from conftest import QUICK, Lines, plain_api
from requests_toolbelt import MultipartEncoder
from server import Proxy, Script, Server, abort, answer, close, never, reset, truncate

Bare = Callable[..., requests.Session]
# What leaves the caller in the dark about whether the request was processed.
UNKNOWN_OUTCOMES = {"close": close, "reset": reset, "truncate": truncate, "never": never}
unknown_outcomes = pytest.mark.parametrize("outcome", UNKNOWN_OUTCOMES.values(), ids=UNKNOWN_OUTCOMES)


def _failure(session: requests.Session, method: str, url: str, **kwargs: Any) -> requests.RequestException:
    with pytest.raises(requests.RequestException) as raised:
        session.request(method, url, **kwargs)
    return raised.value


@unknown_outcomes
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_idempotent_request_is_repeated(bare: Bare, server: Server, method: str, outcome: Script) -> None:
    server.on(method, outcome)
    assert bare(request_timeout=0.3).request(method, server.url, data=b"same").status_code == 200
    assert [seen.body for seen in server.seen] == [b"same", b"same"]


@unknown_outcomes
@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_request_that_could_act_twice_is_not_repeated_and_fails_as_by_default(
    bare: Bare, server: Server, method: str, outcome: Script
) -> None:
    server.always(method, outcome)
    ours = _failure(bare(request_timeout=0.3), method, server.url, json={"text": "hello"})
    assert server.count(method) == 1
    by_default = _failure(requests.Session(), method, server.url, json={"text": "hello"}, timeout=0.3)
    assert type(ours) is type(by_default)
    assert str(ours).split(":")[0] == str(by_default).split(":")[0]


@pytest.mark.parametrize("outcome", [*UNKNOWN_OUTCOMES.values(), answer(502)], ids=[*UNKNOWN_OUTCOMES, "502"])
@pytest.mark.parametrize(("path", "sent"), [("/wdm/api/v1/devices", 2), ("/wdm/api/v1/devices/1/x", 1)])
def test_registration_may_act_twice(bare: Bare, server: Server, outcome: Script, path: str, sent: int) -> None:
    server.on("POST", outcome)
    with contextlib.suppress(requests.RequestException):
        assert bare(request_timeout=0.3).post(server.url + path, json={}).status_code == (200 if sent == 2 else 502)
    assert server.count("POST") == sent


def test_post_without_a_body_is_not_repeated_once_sent(bare: Bare, server: Server) -> None:
    server.always("POST", close)
    _failure(bare(), "POST", server.url)
    assert server.count("POST") == 1


@pytest.mark.parametrize("status", [500, 502, 503, 504])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_idempotent_request_is_repeated_on_a_status(bare: Bare, server: Server, method: str, status: int) -> None:
    server.on(method, answer(status), answer(status))
    assert bare().request(method, server.url).status_code == 200
    assert server.count(method) == 3
    assert len(server.connections) == 1


@pytest.mark.parametrize(("status", "sent"), [(500, 1), (502, 1), (504, 1), (503, 4), (429, 4), (404, 1)])
def test_post_is_repeated_only_if_it_was_not_processed(bare: Bare, server: Server, status: int, sent: int) -> None:
    server.always("POST", answer(status, Retry_After="0"))
    assert bare().post(server.url, json={}).status_code == status
    assert server.count("POST") == sent


@pytest.mark.parametrize("status", [429, 503])
def test_patch_is_never_repeated(bare: Bare, server: Server, status: int) -> None:
    server.always("PATCH", answer(status))
    assert bare().patch(server.url).status_code == status
    assert server.count("PATCH") == 1


def _reset_before_handshake(sock: socket.socket) -> None:
    abort(sock)
    sock.close()


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
def test_connection_that_failed_before_the_request_is_made_anew(bare: Bare, webex: Server, method: str) -> None:
    webex.before_request += [_reset_before_handshake, lambda sock: sock.close()]
    assert bare().request(method, "https://webexapis.com/v1/messages", json={}).status_code == 200
    assert webex.count(method) == 1


def test_post_is_repeated_when_the_handshake_times_out(bare: Bare, webex: Server) -> None:
    held = []
    webex.before_request.append(held.append)
    assert bare(connect_timeout=0.2).post("https://webexapis.com/v1/messages", json={}).status_code == 200
    assert webex.count("POST") == 1
    held.pop().close()


def test_post_is_repeated_when_nobody_listens(bare: Bare) -> None:
    first = Server()
    first.stop()
    session = bare(max_retries=2, backoff=0.01)
    refused = _failure(session, "POST", first.url, json={})
    assert isinstance(refused, requests.ConnectionError)
    servers = []
    # The server comes up while the module waits before its second repeat.
    real_sleep = time.sleep
    naps = []

    def nap(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 2:
            servers.append(Server(port=first.port))
        real_sleep(seconds)

    time.sleep = nap
    try:
        assert session.post(first.url, json={}).status_code == 200
    finally:
        time.sleep = real_sleep
        for server in servers:
            server.stop()
    assert servers[0].count("POST") == 1


def test_post_is_repeated_when_the_proxy_cannot_connect(bare: Bare, webex: Server, proxy: Proxy) -> None:
    proxy.on("CONNECT", answer(503), close)
    session = bare()
    session.proxies = {"https": proxy.url}
    assert session.post("https://webexapis.com/v1/messages", json={}).status_code == 200
    assert webex.count("POST") == 1


@unknown_outcomes
def test_post_through_a_proxy_is_not_repeated_once_sent(
    bare: Bare, webex: Server, proxy: Proxy, outcome: Script
) -> None:
    webex.always("POST", outcome)
    session = bare(request_timeout=0.3)
    session.proxies = {"https": proxy.url}
    _failure(session, "POST", "https://webexapis.com/v1/messages", json={})
    assert webex.count("POST") == 1


@unknown_outcomes
def test_post_over_a_plain_proxy_is_not_repeated_once_sent(bare: Bare, server: Server, outcome: Script) -> None:
    server.always("POST", outcome)
    session = bare(request_timeout=0.3)
    session.proxies = {"http": server.url}
    _failure(session, "POST", "http://webexapis.com/v1/messages", json={})
    assert server.count("POST") == 1


@pytest.mark.parametrize(("max_retries", "sent"), [(0, 1), (1, 2), (3, 4)])
def test_number_of_repeats(bare: Bare, server: Server, max_retries: int, sent: int) -> None:
    server.always("GET", answer(503))
    assert bare(max_retries=max_retries).get(server.url).status_code == 503
    assert server.count("GET") == sent
    server.always("GET", close)
    _failure(bare(max_retries=max_retries), "GET", server.url)
    assert server.count("GET") == 2 * sent


@unknown_outcomes
def test_exhausted_repeats_raise_what_the_default_client_raises(bare: Bare, server: Server, outcome: Script) -> None:
    server.always("GET", outcome)
    ours = _failure(bare(request_timeout=0.2, max_retries=1), "GET", server.url)
    by_default = _failure(requests.Session(), "GET", server.url, timeout=0.2)
    assert type(ours) is type(by_default)


@pytest.mark.parametrize("method", ["get", "post"])
def test_no_retry_error_reaches_the_sdk(pool: Any, sdk: Any, server: Server, method: str) -> None:
    from requests.exceptions import RetryError

    api = pool.configure_webex_api_session(sdk(access_token="t", base_url=server.url + "/v1/"), **QUICK)
    server.always("GET", answer(502))
    server.always("POST", answer(502))
    with pytest.raises(Exception, match=r"\[502\]") as raised:
        api.people.me() if method == "get" else api.messages.create(roomId="r", text="t")
    assert type(raised.value).__name__ == "ApiError"
    assert not isinstance(raised.value, RetryError)


def test_waits_grow_and_the_first_after_a_lost_connection_is_none(bare: Bare, server: Server) -> None:
    session = bare(backoff=0.1)
    server.on("GET", close, close, close)
    session.get(server.url)
    gaps = [later.at - earlier.at for earlier, later in zip(server.seen, server.seen[1:])]
    assert gaps[1] >= 0.2
    assert gaps[2] >= 0.4
    server.seen.clear()
    server.on("GET", answer(503), answer(503))
    session.get(server.url)
    gaps = [later.at - earlier.at for earlier, later in zip(server.seen, server.seen[1:])]
    assert gaps[0] >= 0.1
    assert gaps[1] >= 0.2


def test_first_repeat_after_a_lost_connection_waits_for_nothing(bare: Bare, server: Server) -> None:
    server.on("GET", close)
    start = time.monotonic()
    bare(backoff=5).get(server.url)
    assert time.monotonic() - start < 5


def test_file_is_sent_from_its_start_again(bare: Bare, server: Server) -> None:
    server.on("PUT", answer(503), close)
    assert bare().put(server.url, data=io.BytesIO(b"x" * 100_000)).status_code == 200
    assert [len(seen.body) for seen in server.seen] == [100_000] * 3


def _upload() -> MultipartEncoder:
    # As the SDKs send local files: a body that can be read once.
    return MultipartEncoder({"roomId": "r", "files": ("a.txt", io.BytesIO(b"y" * 50_000), "text/plain")})


def test_upload_that_was_read_is_not_sent_again_empty(bare: Bare, server: Server) -> None:
    body = _upload()
    server.on("POST", answer(503))
    response = bare().post(server.url, data=body, headers={"Content-Type": body.content_type})
    assert response.status_code == 503
    assert [len(seen.body) > 50_000 for seen in server.seen] == [True]


def test_upload_is_repeated_when_the_connection_failed_before_it(bare: Bare, webex: Server) -> None:
    body = _upload()
    webex.before_request.append(_reset_before_handshake)
    bare().post("https://webexapis.com/v1/messages", data=body, headers={"Content-Type": body.content_type})
    assert [len(seen.body) > 50_000 for seen in webex.seen] == [True]


def test_generator_is_not_repeated(bare: Bare, server: Server) -> None:
    server.on("PUT", answer(503))
    assert bare().put(server.url, data=iter([b"a", b"b"])).status_code == 503
    assert [seen.body for seen in server.seen] == [b"ab"]


def test_wrong_certificate_fails_as_by_default(
    bare: Bare, webex: Server, monkeypatch: pytest.MonkeyPatch, log: Lines
) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    assert isinstance(_failure(bare(max_retries=1), "GET", "https://webexapis.com/"), requests.exceptions.SSLError)


def test_answer_that_makes_no_sense_is_not_asked_for_again(bare: Bare, server: Server) -> None:
    server.always("GET", answer(Content_Encoding="gzip"))
    assert isinstance(_failure(bare(), "GET", server.url), requests.exceptions.ContentDecodingError)
    assert server.count("GET") == 1


def test_streamed_answer_is_repeated_by_status(pool: Any, server: Server) -> None:
    session = pool.configure_webex_api_session(plain_api(server.url + "/v1/"), **QUICK)._session._req_session
    server.on("GET", answer(502, body="x" * 1000))
    with session.get(server.url, stream=True) as response:
        assert response.status_code == 200
