"""The kinds of clients and bots besides the SDKs' own and today's webex_bot, as they are, without a network."""

from __future__ import annotations

import logging
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import requests
from conftest import QUICK, READY, Lines, plain_api
from server import Server, answer, never


def _labels(log: Lines) -> list[str]:
    return [line.split()[3] for line in log.starting(READY)]


def _warnings(log: Lines) -> list[str]:
    records = [record for record in log.records if record.name == "webex_pool_config"]
    return [record.getMessage() for record in records if record.levelname == "WARNING"]


def test_ciscosparkapi(pool: Any, server: Server, log: Lines) -> None:
    ciscosparkapi = pytest.importorskip("ciscosparkapi")
    api = ciscosparkapi.CiscoSparkAPI(access_token="t", base_url=server.url + "/v1/")
    server.on("GET", answer(502), answer(body={"id": "me", "displayName": "Jarvis"}))
    assert pool.configure_webex_api_session(api, strict=True, **QUICK) is api
    assert api.people.me().displayName == "Jarvis"
    assert _labels(log) == ["session=api"]
    assert " timeout=60 " in log.starting(READY)[0]


def test_wxc_sdk(pool: Any, webex: Server, log: Lines) -> None:
    wxc_sdk = pytest.importorskip("wxc_sdk")
    api = wxc_sdk.WebexSimpleApi(tokens="t")
    webex.on("GET", answer(502), answer(429, Retry_After="0"), answer(body={"id": "me", "displayName": "Jarvis"}))
    assert pool.configure_webex_api_session(api, strict=True, **QUICK) is api
    assert api.people.me().display_name == "Jarvis"
    assert webex.count("GET") == 3
    assert {seen.headers["authorization"] for seen in webex.seen} == {"Bearer t"}
    assert _labels(log) == ["session=api"]
    assert " timeout=5 " in log.starting(READY)[0]


def test_asynchronous_wxc_sdk_is_passed_through(pool: Any, log: Lines) -> None:
    pytest.importorskip("wxc_sdk")
    api = SimpleNamespace(session=object())  # aiohttp's
    assert pool.configure_webex_api_session(api) is api
    assert len(_warnings(log)) == 1


@pytest.fixture
def teams_bot(webex: Server) -> Any:
    webexteamsbot = pytest.importorskip("webexteamsbot")
    webex.always("GET", answer(body={"items": []}), path="/webhooks")
    webex.always("POST", answer(body={"id": "w", "name": "n"}), path="/webhooks")
    module = sys.modules["webexteamsbot.webexteamsbot"]
    before = module.WebexTeamsAPI
    yield webexteamsbot.TeamsBot("n", teams_bot_token="t", teams_bot_url="https://h", teams_bot_email="e@x")
    module.WebexTeamsAPI = before


def test_webexteamsbot_and_the_clients_it_makes(pool: Any, teams_bot: Any, webex: Server, log: Lines) -> None:
    for _ in range(2):
        assert pool.configure_webex_bot_session(teams_bot, strict=False, **QUICK) is teams_bot
    webex.always("GET", answer(body={"id": "me", "displayName": "Jarvis"}), path="/people")
    used = []

    def on_card(api: Any, _post_data: Any) -> str:
        used.append(api._session.single_request_timeout)
        return api.people.me().displayName

    teams_bot.add_command("attachmentActions", "*", on_card)
    before = len(webex.connections)
    for _ in range(3):
        client = teams_bot.test_client()
        post = {"resource": "attachmentActions", "data": {"roomId": "r", "id": "i"}}
        assert client.post("/", json=post).data == b"Jarvis"
    assert len(webex.connections) - before == 1
    assert used == [60, 60, 60]
    assert _labels(log) == ["session=bot.teams"]
    assert _warnings(log) == []


def test_webexteamsbot_s_inner_clients_have_the_longer_timeout(pool: Any, teams_bot: Any) -> None:
    pool.configure_webex_bot_session(teams_bot)
    assert teams_bot.teams._session.single_request_timeout == 120
    made = sys.modules["webexteamsbot.webexteamsbot"].WebexTeamsAPI(access_token="t")
    assert made._session.single_request_timeout == 120


@pytest.fixture
def old_bot(monkeypatch: pytest.MonkeyPatch) -> Any:
    """As webex_bot before 1.0 is made: no session, and a bare `requests.get` in the module of its base class."""
    module = ModuleType("webex_bot.websockets.webex_websocket_client")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    code = (
        "import requests\n"
        "class WebexWebsocketClient:\n"
        "    def __init__(self, teams):\n"
        "        self.teams = teams\n"
        "    def fetch(self, url):\n"
        "        try:\n"
        "            return requests.get(url, headers={'Authorization': 'Bearer t'}).json()\n"
        "        except requests.exceptions.ConnectionError:\n"
        "            return 'lost'\n"
    )
    exec(code, vars(module))
    return type("WebexBot", (module.WebexWebsocketClient,), {})(plain_api("https://webexapis.com/v1/"))


def test_webex_bot_before_1_0(pool: Any, old_bot: Any, server: Server, log: Lines) -> None:
    for _ in range(2):
        assert pool.configure_webex_bot_session(old_bot, **{**QUICK, "request_timeout": 0.3}) is old_bot
    assert _labels(log) == ["session=bot.teams", "session=bot.session"]
    assert _warnings(log) == []
    server.on("GET", answer(502), never, answer(body={"id": "x"}))
    assert old_bot.fetch(server.url) == {"id": "x"}
    assert server.seen[0].headers["authorization"] == "Bearer t"
    assert requests.get is not sys.modules[type(old_bot).__mro__[1].__module__].requests.get


def test_installed_webex_bot(pool: Any, webex: Server, log: Lines) -> None:
    webex_bot = pytest.importorskip("webex_bot.webex_bot")
    catalogue = {"serviceLinks": {"wdm": "https://wdm-a.wbx2.com/wdm/api/v1"}}
    me = {"id": "me", "displayName": "Jarvis", "emails": ["jarvis@example.com"], "avatar": "https://a/"}
    webex.always("GET", answer(body={**catalogue, **me}))
    bot = webex_bot.WebexBot("SECRET-TOKEN")
    logging.getLogger().handlers[:] = [log]  # webex_bot sets up its own
    for _ in range(2):
        pool.configure_webex_bot_session(bot, **QUICK)
    assert _labels(log) == ["session=bot.teams", "session=bot.session"]
    assert _warnings(log) == []


def test_subclass_of_today_s_webex_bot_that_makes_no_session(pool: Any, log: Lines) -> None:
    webex_bot = pytest.importorskip("webex_bot.webex_bot")
    if "session" not in webex_bot.WebexWebsocketClient.__init__.__code__.co_names:
        pytest.skip("webex_bot before 1.0 makes none")

    class TwoWayBot(webex_bot.WebexBot):
        def __init__(self) -> None:
            self.teams = plain_api("https://webexapis.com/v1/")

    pool.configure_webex_bot_session(TwoWayBot())
    assert _labels(log) == ["session=bot.teams"]
    (warning,) = _warnings(log)
    assert "has bot.session, which test_kinds." in warning
