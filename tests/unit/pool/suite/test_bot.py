"""The real webex_bot, whose WebexBot makes its client and its first requests before anybody can configure it."""

from __future__ import annotations

import inspect
import logging
import os
import sys
import time
from typing import Any

import pytest
import requests
from conftest import QUICK, READY, STATS, Lines
from server import Server, answer, never

webex_bot = pytest.importorskip("webex_bot.webex_bot")
if "session" not in webex_bot.WebexWebsocketClient.__init__.__code__.co_names:
    pytest.skip("webex_bot before 1.0: see test_kinds.py", allow_module_level=True)
CATALOGUE = {"serviceLinks": {"wdm": "https://wdm-a.wbx2.com/wdm/api/v1"}}
ME = {"id": "me", "displayName": "Jarvis", "emails": ["jarvis@example.com"], "type": "bot", "avatar": "https://a/"}
MESSAGE = {
    "data": {
        "eventType": "conversation.activity",
        "activity": {
            "id": "uuid",
            "verb": "post",
            "actor": {"emailAddress": "user@example.com", "type": "PERSON"},
            "object": {"objectType": "comment"},
            "target": {
                "id": "room",
                "tags": [],
                "url": "https://conv-a.wbx2.com/conversation/api/v1/conversations/room",
            },
        },
    }
}


@pytest.fixture
def bot(webex: Server) -> Any:
    webex.always("GET", answer(body=CATALOGUE), path="/u2c/")
    webex.always("GET", answer(body=ME), path="/people/me")
    webex.always("GET", answer(body={"id": "base64-id"}), path="/conversation/")
    webex.always(
        "GET",
        answer(body={"id": "base64-id", "roomId": "room", "text": "hello", "personEmail": "user@example.com"}),
        path="/v1/messages/",
    )
    before = logging.getLogger().handlers[:], logging.getLogger().level
    bot = webex_bot.WebexBot("SECRET-TOKEN", log_level=os.environ.get("LOG_LEVEL", "INFO"))
    bot._ack_message = lambda _message_id: None  # goes over the websocket
    yield bot
    logging.getLogger().handlers[:], level = before
    logging.getLogger().setLevel(level)


def test_both_sessions(pool: Any, bot: Any, webex: Server, log: Lines) -> None:
    assert pool.configure_webex_bot_session(bot, 20, 30, 2, **QUICK) is bot
    for session in (bot.session, bot.teams._session._req_session):
        adapter = session.get_adapter("https://webexapis.com/")
        assert (adapter._pool_connections, adapter._pool_maxsize, adapter.max_retries.total) == (20, 30, 2)
    assert [line.split()[3] for line in log.starting(READY)] == ["session=bot.teams", "session=bot.session"]


def test_connections_made_while_it_started_are_closed(pool: Any, bot: Any, webex: Server) -> None:
    assert len(webex.connections) == 2
    pool.configure_webex_bot_session(bot, **QUICK)
    assert all(connection.gone.wait(5) for connection in webex.connections)


def test_message_is_answered_once_over_recycled_connections(pool: Any, bot: Any, webex: Server, log: Lines) -> None:
    pool.configure_webex_bot_session(bot, **QUICK, max_idle=0.2, stats_interval=0.01)
    for _ in range(2):
        bot._process_incoming_websocket_message(MESSAGE)
        time.sleep(0.3)
    assert webex.count("POST") == 2
    assert {seen.headers["authorization"] for seen in webex.seen} == {"Bearer SECRET-TOKEN"}
    assert log.last_stats()["recycled"] >= 2  # on a slow machine a connection idles more often
    assert log.last_stats()["failed"] == 0
    assert "SECRET" not in "".join(log.starting(READY) + log.starting(STATS))


def test_hanging_fetch_of_a_message_ends(pool: Any, bot: Any, webex: Server) -> None:
    pool.configure_webex_bot_session(bot, **{**QUICK, "request_timeout": 0.3, "max_retries": 0})
    webex.on("GET", never, path="/conversation/")
    with pytest.raises(requests.ReadTimeout):
        bot._process_incoming_websocket_message(MESSAGE)


def test_registration_whose_answer_is_lost_does_not_take_the_whole_timeout(pool: Any, bot: Any, webex: Server) -> None:
    webex.always("GET", answer(body={"devices": []}), path="/wdm/")
    webex.always("POST", answer(body={"webSocketUrl": "wss://x"}), path="/wdm/")
    webex.on("POST", never, path="/wdm/")
    pool.configure_webex_bot_session(bot, **QUICK, first_attempt=0.5)
    start = time.monotonic()
    assert bot._get_device_info() == {"webSocketUrl": "wss://x"}
    assert time.monotonic() - start < 4
    assert webex.count("POST") == 2


def test_connecting_the_websocket_ends_by_itself(bot: Any) -> None:
    connect = sys.modules[webex_bot.WebexWebsocketClient.__module__].websockets.connect
    assert inspect.signature(connect).parameters["open_timeout"].default <= 10


def test_timeout_of_the_inner_client(pool: Any, bot: Any) -> None:
    assert bot.teams._session.single_request_timeout == 60
    pool.configure_webex_bot_session(bot)
    assert bot.teams._session.single_request_timeout == 120


def test_lines_are_in_the_bot_s_log_after_coloredlogs(pool: Any, bot: Any, log: Lines) -> None:
    pool.configure_webex_bot_session(bot)
    assert len(log.starting(READY)) == 2
