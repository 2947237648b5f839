"""429: the SDKs wait for it themselves, the bare session does not."""

from __future__ import annotations

import time
import warnings
from email.utils import formatdate
from typing import Any, Callable

import pytest
import requests
from conftest import QUICK
from server import Server, answer

Bare = Callable[..., requests.Session]


@pytest.fixture(autouse=True)
def _quiet() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _gaps(server: Server) -> list[float]:
    return [later.at - earlier.at for earlier, later in zip(server.seen, server.seen[1:])]


@pytest.mark.parametrize("method", ["get", "post"])
def test_sdk_waits_itself_at_one_request_per_wait(pool: Any, sdk: Any, server: Server, method: str) -> None:
    api = pool.configure_webex_api_session(sdk(access_token="t", base_url=server.url + "/v1/"), **QUICK)
    script = [answer(429, Retry_After="1"), answer(429, Retry_After="1")]
    server.on("GET", *script)
    server.on("POST", *script)
    api.people.me() if method == "get" else api.messages.create(roomId="r", text="t")
    assert len(server.seen) == 3
    assert all(gap >= 1 for gap in _gaps(server))


def _rate_limit_error(pool: Any, sdk: Any, server: Server, **settings: Any) -> Any:
    api = sdk(access_token="t", base_url=server.url + "/v1/", wait_on_rate_limit=False)
    pool.configure_webex_api_session(api, **QUICK, **settings)
    with pytest.raises(Exception, match=r"\[429\]") as raised:
        api.people.me()
    assert type(raised.value).__name__ == "RateLimitError"
    return raised.value


def test_sdk_that_does_not_wait_sees_the_429_at_once(pool: Any, sdk: Any, server: Server) -> None:
    server.always("GET", answer(429, Retry_After="2"))
    assert _rate_limit_error(pool, sdk, server).retry_after == 2
    assert server.count("GET") == 1


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7200", 300), ("299", 299), ("soon", 15), ("99999999999999999999", 300), ("0", 1), ("-5", 15), ("1.5", 15)],
)
def test_sdk_can_read_and_survive_any_retry_after(
    pool: Any, sdk: Any, server: Server, header: str, seconds: int
) -> None:
    server.always("GET", answer(429, Retry_After=header))
    assert _rate_limit_error(pool, sdk, server).retry_after == seconds


def test_sdk_can_read_a_date(pool: Any, sdk: Any, server: Server) -> None:
    server.always("GET", answer(429, Retry_After=formatdate(time.time() + 100, usegmt=True)))
    assert 80 <= _rate_limit_error(pool, sdk, server).retry_after <= 100


def test_sdk_has_its_own_default_without_the_header(pool: Any, sdk: Any, server: Server) -> None:
    server.always("GET", answer(429))
    assert _rate_limit_error(pool, sdk, server).retry_after == 15


def test_cap_is_a_setting(pool: Any, sdk: Any, server: Server) -> None:
    server.always("GET", answer(429, Retry_After="7200"))
    assert _rate_limit_error(pool, sdk, server, retry_after_cap=42).retry_after == 42


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_bare_session_waits_as_told(bare: Bare, server: Server, method: str) -> None:
    server.on(method, answer(429, Retry_After="1"))
    assert bare().request(method, server.url).status_code == 200
    assert len(server.seen) == 2
    assert _gaps(server)[0] >= 1


@pytest.mark.parametrize("status", [429, 503])
def test_wait_is_capped(bare: Bare, server: Server, status: int) -> None:
    server.on("GET", answer(status, Retry_After="7200"))
    assert bare(retry_after_cap=0.2).get(server.url).status_code == 200
    assert _gaps(server)[0] >= 0.2


def test_bare_session_gives_the_429_back_in_the_end(bare: Bare, server: Server) -> None:
    server.always("GET", answer(429, Retry_After="0"))
    assert bare(max_retries=2).get(server.url).status_code == 429
    assert server.count("GET") == 3


def test_retry_after_of_other_statuses_is_not_obeyed(bare: Bare, server: Server) -> None:
    server.on("GET", answer(500, Retry_After="7200"))
    start = time.monotonic()
    assert bare(retry_after_cap=30).get(server.url).status_code == 200
    assert time.monotonic() - start < 25
