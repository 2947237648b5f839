"""What a bot's author calls, and what is said when it is called wrongly."""

from __future__ import annotations

import copy
import math
import os
import pickle
import subprocess
import sys
import threading
import time
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest
import requests
from conftest import QUICK, READY, Lines, plain_api
from server import Server, answer


def test_report_signature(pool: Any, sdk: Any) -> None:
    api = sdk(access_token="t", single_request_timeout=120)
    assert pool.configure_webex_api_session(api, 20, 30, 2) is api
    adapter = api._session._req_session.get_adapter("https://webexapis.com/v1/people/me")
    assert (adapter._pool_connections, adapter._pool_maxsize, adapter._pool_block) == (20, 30, False)
    assert adapter.max_retries.total == 2
    assert set(adapter.max_retries.status_forcelist) == {429, 500, 502, 503, 504}
    retry = adapter.max_retries
    methods = retry.allowed_methods if hasattr(retry, "allowed_methods") else retry.method_whitelist  # urllib3 1.25
    assert set(methods) == {"GET", "POST", "PUT", "DELETE"}


def test_defaults_are_the_report_s(pool: Any) -> None:
    api = pool.configure_webex_api_session(plain_api("https://webexapis.com/v1/"))
    adapter = api._session._req_session.get_adapter("https://webexapis.com/")
    assert (adapter._pool_connections, adapter._pool_maxsize, adapter.max_retries.total) == (50, 50, 3)


def test_each_sdk_calls_webex(pool: Any, sdk: Any, webex: Server) -> None:
    webex.on("GET", answer(body={"id": "me", "displayName": "Jarvis"}))
    api = pool.configure_webex_api_session(sdk(access_token="t"), **QUICK)
    assert api.people.me().displayName == "Jarvis"
    assert webex.seen[0].headers["authorization"] == "Bearer t"


class Unfinished:
    """A client whose constructor has not run."""

    @property
    def _session(self) -> Any:
        return self._made_by_the_constructor


@pytest.mark.parametrize("wrong", [None, object(), "token", MagicMock(), Unfinished(), SimpleNamespace(_session=1)])
def test_what_is_no_client_is_passed_through_with_one_warning(pool: Any, log: Lines, wrong: Any) -> None:
    for _ in range(3):
        assert pool.configure_webex_api_session(wrong) is wrong
        assert pool.configure_webex_bot_session(wrong) is wrong
    warnings = [record.getMessage() for record in log.records if record.levelname == "WARNING"]
    name = f"not {type(wrong).__module__}.{type(wrong).__qualname__}"
    assert [line for line in warnings if line.endswith(name)] == warnings[:1]
    assert len(warnings) == 2
    assert log.starting(READY) == []


@pytest.mark.parametrize("wrong", [None, MagicMock(), SimpleNamespace(_session=SimpleNamespace())])
def test_what_is_no_client_is_an_error_if_strict(pool: Any, wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"expects a client with a requests.Session \(WebexTeamsAPI, .*\), not "):
        pool.configure_webex_api_session(wrong, strict=True)
    with pytest.raises(TypeError, match=r"expects has bot.teams and bot.session, which .* has not"):
        pool.configure_webex_bot_session(wrong, strict=True)


def _bot_without(missing: str) -> Any:
    bot = SimpleNamespace(session=requests.Session(), teams=plain_api("https://webexapis.com/v1/"))
    delattr(bot, missing)
    return bot


@pytest.mark.parametrize(("missing", "there"), [("session", "bot.teams"), ("teams", "bot.session")])
def test_what_a_bot_has_is_configured_and_what_it_has_not_is_named(
    pool: Any, log: Lines, missing: str, there: str
) -> None:
    bot = _bot_without(missing)
    assert pool.configure_webex_bot_session(bot) is bot
    assert [line.split()[3] for line in log.starting(READY)] == [f"session={there}"]
    (warning,) = [record.getMessage() for record in log.records if record.levelname == "WARNING"]
    assert f"has bot.{missing}, which types.SimpleNamespace has not: only {there} has" in warning


@pytest.mark.parametrize("missing", ["session", "teams"])
def test_bot_without_a_session_is_left_as_it_was_if_strict(pool: Any, missing: str) -> None:
    bot = _bot_without(missing)
    session = bot.session if missing == "teams" else bot.teams._session._req_session
    adapter = session.adapters["https://"]
    with pytest.raises(TypeError, match=rf"has bot\.{missing}, which types.SimpleNamespace has not"):
        pool.configure_webex_bot_session(bot, strict=True)
    assert session.adapters["https://"] is adapter


def test_clients_made_for_each_call_share_their_connections(pool: Any, sdk: Any, server: Server, log: Lines) -> None:
    for _ in range(20):
        api = sdk(access_token="t", base_url=server.url + "/v1/")
        pool.configure_webex_api_session(api, **QUICK).people.me()
    assert len(server.connections) == 1
    assert {seen.headers["authorization"] for seen in server.seen} == {"Bearer t"}
    assert len(log.starting(READY)) == 1


def test_clients_of_two_tokens_have_sessions_of_their_own(pool: Any, sdk: Any, server: Server) -> None:
    server.on("GET", answer(Set_Cookie="a=b"))
    for token in ("one", "two"):
        api = sdk(access_token=token, base_url=server.url + "/v1/")
        pool.configure_webex_api_session(api, **QUICK).people.me()
    assert [seen.headers["authorization"] for seen in server.seen] == ["Bearer one", "Bearer two"]
    assert "cookie" not in server.seen[1].headers


def test_adapters_that_are_kept_are_bounded(pool: Any) -> None:
    for size in range(1, 100):
        pool.configure_webex_api_session(plain_api("https://webexapis.com/v1/"), pool_maxsize=size)
    assert len(pool._shared.adapters) <= 16


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_client_made_in_a_child_does_not_use_the_parent_s_connection(pool: Any, server: Server) -> None:
    pool.configure_webex_api_session(plain_api(server.url + "/v1/"), **QUICK).people.me()
    child = os.fork()
    if child == 0:
        try:
            pool.configure_webex_api_session(plain_api(server.url + "/v1/"), **QUICK).people.me()
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert [seen.connection for seen in server.seen] == [1, 2]


@pytest.mark.parametrize(
    ("setting", "value", "error"),
    [
        ("pool_connections", 0, ValueError),
        ("pool_connections", "50", TypeError),
        ("pool_maxsize", 10_001, ValueError),
        ("pool_maxsize", 50.0, TypeError),
        ("max_retries", -1, ValueError),
        ("max_retries", True, TypeError),
        ("request_timeout", 0, ValueError),
        ("request_timeout", None, TypeError),
        ("connect_timeout", math.inf, ValueError),
        ("first_attempt", 0, ValueError),
        ("keepalive_idle", 0, ValueError),
        ("keepalive_idle", 40_000, ValueError),
        ("keepalive_interval", 1.5, TypeError),
        ("keepalive_count", 128, ValueError),
        ("user_timeout", -1, ValueError),
        ("max_idle", math.nan, ValueError),
        ("post_max_idle", -0.1, ValueError),
        ("backoff", "1", TypeError),
        ("retry_after_cap", -1, ValueError),
        ("stats_interval", 0, ValueError),
    ],
)
def test_setting_out_of_range(pool: Any, setting: str, value: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=rf"^{setting} must be .* from .* to .*, not "):
        pool.configure_webex_api_session(plain_api("https://webexapis.com/v1/"), **{setting: value})


def test_unknown_setting_names_the_known(pool: Any) -> None:
    with pytest.raises(TypeError, match=r"unknown setting keepalive; the settings are .*keepalive_idle"):
        pool.configure_webex_api_session(plain_api("https://webexapis.com/v1/"), keepalive=3)


def test_twice_is_harmless(pool: Any, server: Server, log: Lines) -> None:
    api = plain_api(server.url + "/v1/")
    for _ in range(3):
        pool.configure_webex_api_session(api, **QUICK)
        api.people.me()
    assert len(server.connections) == 1
    assert len(log.starting(READY)) == 1


def test_other_settings_replace_and_close_the_old_pool(pool: Any, server: Server, log: Lines) -> None:
    api = pool.configure_webex_api_session(plain_api(server.url + "/v1/"), **QUICK)
    api.people.me()
    pool.configure_webex_api_session(api, pool_maxsize=7, **QUICK)
    assert server.connections[0].gone.wait(5)
    api.people.me()
    assert len(log.starting(READY)) == 2


def test_default_pool_is_closed_when_replaced(pool: Any, server: Server) -> None:
    api = plain_api(server.url + "/v1/")
    api.people.me()
    pool.configure_webex_api_session(api, **QUICK)
    assert server.connections[0].gone.wait(5)


def test_client_of_a_bot_is_named_as_such_even_if_it_was_configured_before(pool: Any, log: Lines) -> None:
    bot = SimpleNamespace(session=requests.Session(), teams=plain_api("https://webexapis.com/v1/"))
    pool.configure_webex_api_session(bot.teams)
    pool.configure_webex_bot_session(bot)
    assert [line.split()[3] for line in log.starting(READY)] == [
        "session=api",
        "session=bot.teams",
        "session=bot.session",
    ]


def test_one_client_per_token_across_threads(pool: Any, sdk: Any) -> None:
    made = []

    class Counting(sdk):
        def __init__(self, **kwargs: Any) -> None:
            made.append(kwargs["access_token"])
            time.sleep(0.02)  # as slow as a client on a busy machine
            super().__init__(**kwargs)

    start = threading.Barrier(16)
    got = []

    def ask(token: str) -> None:
        start.wait()
        got.append((token, id(pool.get_webex_api(token, api_class=Counting))))

    threads = [threading.Thread(target=ask, args=(f"token-{number % 2}",)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == ["token-0", "token-1"]
    assert len(set(got)) == 2


def test_shared_client_is_configured(pool: Any) -> None:
    api = pool.get_webex_api("t", pool_maxsize=9, request_timeout=77)
    assert api._session._req_session.get_adapter("https://webexapis.com/")._pool_maxsize == 9
    assert api._session.single_request_timeout == 77
    assert pool.get_webex_api("t") is api


@pytest.mark.parametrize("token", [None, "", b"t"])
def test_shared_client_needs_a_token(pool: Any, token: Any) -> None:
    with pytest.raises(TypeError, match="access_token must be a non-empty str"):
        pool.get_webex_api(token)


def _python(code: str) -> str:
    # The mutated or real module, seen from a process that has imported nothing yet.
    env = {**os.environ, "PYTHONPATH": os.path.dirname(os.environ["POOL_SUITE_MODULE"])}  # noqa: PTH120 - 3.9's str
    return subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True).stdout


def test_bot_starts_without_either_sdk(pool: Any) -> None:
    blocked = "import sys; sys.modules['webexteamssdk'] = sys.modules['webexpythonsdk'] = None; "
    assert _python(blocked + "import webex_pool_config as p; print(callable(p.get_webex_api))") == "True\n"


def test_shared_client_uses_the_sdk_that_is_installed(pool: Any) -> None:
    pytest.importorskip("webexpythonsdk")
    ask = "import webex_pool_config as p; print(type(p.get_webex_api('t')).__module__.split('.')[0])"
    assert _python(ask) == "webexteamssdk\n"
    assert _python("import sys; sys.modules['webexteamssdk'] = None; " + ask) == "webexpythonsdk\n"


def test_configured_client_can_be_copied_and_pickled(pool: Any, server: Server) -> None:
    api = pool.configure_webex_api_session(plain_api(server.url + "/v1/"), **QUICK)
    for session in (
        copy.deepcopy(api._session._req_session),
        pickle.loads(pickle.dumps(api._session._req_session)),
    ):
        assert session.get(server.url).status_code == 200


def test_cookies_and_streaming_work_as_ever(pool: Any, server: Server) -> None:
    session = pool.configure_webex_api_session(plain_api(server.url + "/v1/"), **QUICK)._session._req_session
    server.on("GET", answer(body="x" * 100, Set_Cookie="a=b"))
    assert session.get(server.url).cookies["a"] == "b"
    assert session.cookies["a"] == "b"
    with session.get(server.url, stream=True) as response:
        assert not response._content_consumed
        assert response.json() == {}
    assert server.seen[1].headers["cookie"] == "a=b"


def test_no_thread_of_its_own(pool: Any, server: Server, log: Lines) -> None:
    def ours() -> set[threading.Thread]:
        return {thread for thread in threading.enumerate() if thread.name != "server"}

    before = ours()
    api = pool.configure_webex_api_session(plain_api(server.url + "/v1/"), **QUICK, stats_interval=0.01)
    api.people.me()
    assert log.starting("webex-pool stats ")
    assert ours() == before
