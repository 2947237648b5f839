"""Every request has a time-out; nobody's is lowered."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any, Callable

import pytest
import requests
from conftest import QUICK, plain_api
from server import Server, never

Bare = Callable[..., requests.Session]


def _hold(sock: Any) -> None:
    """Accept, and never shake hands; the socket stays open as long as the test lives."""
    HELD.append(sock)


HELD: list[Any] = []


@pytest.fixture(autouse=True)
def _let_go() -> Any:
    yield
    while HELD:
        HELD.pop().close()


def test_bare_session_gets_a_timeout(bare: Bare, server: Server) -> None:
    server.always("GET", never)
    with pytest.raises(requests.ReadTimeout, match=r"read timeout=0\.2"):
        bare(request_timeout=0.2, max_retries=0).get(server.url)


def test_timeout_of_the_call_wins(bare: Bare, server: Server) -> None:
    server.always("GET", never)
    with pytest.raises(requests.ReadTimeout, match=r"read timeout=0\.3"):
        bare(request_timeout=0.1, max_retries=0).get(server.url, timeout=0.3)


def test_open_parts_of_a_pair_are_filled(bare: Bare, server: Server) -> None:
    server.always("GET", never)
    with pytest.raises(requests.ReadTimeout, match=r"read timeout=0\.2"):
        bare(request_timeout=0.2, max_retries=0).get(server.url, timeout=(1, None))


def test_urllib3_timeout_object_is_left_alone(bare: Bare, server: Server) -> None:
    from urllib3.util import Timeout

    server.always("GET", never)
    with pytest.raises(requests.ReadTimeout, match=r"read timeout=0\.3"):
        bare(request_timeout=0.1, max_retries=0).get(server.url, timeout=Timeout(connect=1, read=0.3))


@pytest.mark.parametrize("timeout", [30, (None, 30), None])
def test_connect_timeout_is_short_and_separate(bare: Bare, webex: Server, timeout: Any) -> None:
    webex.before_request.append(_hold)
    start = time.monotonic()
    with pytest.raises(requests.Timeout):
        bare(request_timeout=30, connect_timeout=0.2, max_retries=0).get("https://webexapis.com/", timeout=timeout)
    assert time.monotonic() - start < 15


def test_connect_timeout_of_the_call_wins(bare: Bare, webex: Server) -> None:
    webex.before_request.append(_hold)
    with pytest.raises(requests.Timeout, match=r"timeout=0\.3"):
        bare(connect_timeout=0.1, max_retries=0).get("https://webexapis.com/", timeout=(0.3, 30))


def test_connect_timeout_is_not_above_the_read_timeout(bare: Bare, webex: Server) -> None:
    webex.before_request.append(_hold)
    with pytest.raises(requests.Timeout, match=r"timeout=0\.3"):
        bare(connect_timeout=20, max_retries=0).get("https://webexapis.com/", timeout=0.3)


def test_single_request_timeout_of_a_client_stays(pool: Any, sdk: Any, server: Server) -> None:
    server.always("GET", never)
    api = sdk(access_token="t", base_url=server.url + "/v1/", single_request_timeout=1)
    pool.configure_webex_api_session(api, max_retries=0, request_timeout=30)
    assert api.single_request_timeout == 1
    with pytest.raises(requests.ReadTimeout, match=r"read timeout=1\b"):
        api.people.me()


@pytest.mark.parametrize(("before", "after"), [(60, 120), (300, 300), (None, None)])
def test_timeout_of_the_client_inside_a_bot_is_raised_never_lowered(
    pool: Any, sdk: Any, before: int | None, after: int | None
) -> None:
    bot = SimpleNamespace(session=requests.Session(), teams=sdk(access_token="t", single_request_timeout=before))
    pool.configure_webex_bot_session(bot)
    assert bot.teams.single_request_timeout == after


def test_client_without_a_timeout_gets_one(pool: Any, server: Server) -> None:
    server.always("GET", never)
    api = plain_api(server.url + "/v1/", single_request_timeout=None)
    pool.configure_webex_api_session(api, **{**QUICK, "max_retries": 0, "request_timeout": 0.2})
    with pytest.raises(requests.ReadTimeout, match=r"read timeout=0\.2"):
        api.people.me()


def test_fractional_timeout_is_rounded_up_for_the_sdk(pool: Any, sdk: Any) -> None:
    bot = SimpleNamespace(session=requests.Session(), teams=sdk(access_token="t"))
    pool.configure_webex_bot_session(bot, request_timeout=90.5)
    assert bot.teams.single_request_timeout == 91
