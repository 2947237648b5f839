"""The websocket that pushes activities to the bots."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import WSCloseCode, WSMsgType, web

from .books import Books, Session
from .context import CONTEXT, bot_of
from .ids import to_key
from .world import CardAction, Message, Person, Room, World, webex_time

log = logging.getLogger(__name__)
routes = web.RouteTableDef()

SILENT_FOR = 20.0
"""Seconds without a sign of life after which a websocket is given up: the client is gone without a word."""

REPLAY_WINDOW = 600.0
"""Seconds for which an unacknowledged message is sent again after a reconnect."""


@dataclass(eq=False)
class Connection:
    """One open websocket."""

    bot: str
    request: web.Request
    socket: web.WebSocketResponse
    session: Session
    reader: asyncio.Task[None] | None = None
    end_code: int = WSCloseCode.GOING_AWAY

    def end(self, code: int) -> None:
        """Close with a handshake: the task that reads must do it, or the close frame races with the end of TCP."""
        self.end_code = code
        if self.reader is not None:
            self.reader.cancel()


class Mercury:
    """All open websockets. With `replay` on, a new one gets every message that was never acknowledged."""

    def __init__(
        self, world: World, books: Books, clock: Callable[[], float], ping_interval: float, replay: bool
    ) -> None:
        self._world, self._books, self._clock = world, books, clock
        self._ping_interval = ping_interval
        self.replay = replay
        self.connections: list[Connection] = []
        self._sends: set[asyncio.Task[None]] = set()

    def of(self, bot: str) -> list[Connection]:
        return [connection for connection in self.connections if connection.bot == bot]

    def push_message(self, bot: str, message: Message) -> None:
        """Push a message to every websocket of the bot; it is the sender's business whether one is there."""
        self._push(bot, message.key, _message_activity(message))

    def push_action(self, bot: str, action: CardAction) -> None:
        """Push a click on a card."""
        self._push(bot, action.key, _action_activity(action))

    def _push(self, bot: str, key: str, activity: dict[str, Any]) -> None:
        for connection in self.of(bot):
            self._spawn_send(connection, key, activity)

    def _spawn_send(self, connection: Connection, key: str, activity: dict[str, Any]) -> None:
        task = asyncio.get_running_loop().create_task(self._send(connection, key, activity))
        self._sends.add(task)
        task.add_done_callback(self._sends.discard)

    async def _send(self, connection: Connection, key: str, activity: dict[str, Any]) -> None:
        event = {
            "id": activity["id"],
            "type": "event",
            "timestamp": int(self._clock() * 1000),
            "data": {"eventType": "conversation.activity", "activity": activity},
        }
        # ConnectionError: the socket closed under our hands; the message stays undelivered in the books.
        with contextlib.suppress(ConnectionError):
            await connection.socket.send_json(event)
            self._books.pushed(key)

    def end_all(self) -> None:
        """Say goodbye to everybody."""
        for connection in self.connections:
            connection.end(WSCloseCode.GOING_AWAY)

    def drop(self, bot: str, abort: bool) -> int:
        """End the bot's websockets, with `abort` without a closing handshake; returns how many there were."""
        connections = self.of(bot)
        for connection in connections:
            if not abort:
                connection.end(WSCloseCode.SERVICE_RESTART)
            elif connection.request.transport is not None:
                connection.request.transport.abort()
        return len(connections)

    async def serve(self, request: web.Request, bot: str, device: str) -> web.WebSocketResponse:
        """One websocket from handshake to close."""
        socket = web.WebSocketResponse(autoping=False)
        await socket.prepare(request)
        if not await self._authorised(request, socket, bot):
            await socket.close(code=4401, message=b"unauthorized")
            return socket
        connection = Connection(bot, request, socket, self._books.opened(bot, device))
        self.connections.append(connection)
        loop = asyncio.get_running_loop()
        connection.reader = loop.create_task(self._read(connection))
        pinger = loop.create_task(self._ping(connection))
        try:
            await self._greet(connection)
            await asyncio.wait([connection.reader])
            if connection.reader.cancelled():
                await socket.close(code=connection.end_code)
            else:
                connection.reader.result()
        finally:
            pinger.cancel()
            connection.reader.cancel()
            self.connections.remove(connection)
            self._books.closed(connection.session, socket.close_code)
        return socket

    async def _authorised(self, request: web.Request, socket: web.WebSocketResponse, bot: str) -> bool:
        """The first message must carry the token once more."""
        try:
            message = await socket.receive_json(timeout=10)
        except (TypeError, ValueError, asyncio.TimeoutError):
            return False
        token = str(message.get("data", {}).get("token", "")).removeprefix("Bearer ")
        return message.get("type") == "authorization" and request.app[CONTEXT].world.bot_of_token(token) == bot

    async def _greet(self, connection: Connection) -> None:
        """What Mercury sends after authorisation, then what it has kept."""
        event = {"id": connection.session.device, "data": {"eventType": "mercury.buffer_state"}}
        await connection.socket.send_json(event)
        for other in self.of(connection.bot):
            # A second consumer shows in the books only if both answer; do not wait for the next round of pings.
            with contextlib.suppress(ConnectionError):
                await other.socket.ping()
        if self.replay:
            for entry in self._books.unacked(connection.bot, REPLAY_WINDOW):
                self._resend(connection, entry.id)

    def _resend(self, connection: Connection, key: str) -> None:
        if key in self._world.actions:
            self._spawn_send(connection, key, _action_activity(self._world.actions[key]))
        else:
            self._spawn_send(connection, key, _message_activity(self._world.messages[key]))

    async def _read(self, connection: Connection) -> None:
        async for message in connection.socket:
            self._books.heard(connection.bot, connection.session)
            await self._received(connection, message.type, message.data)

    async def _received(self, connection: Connection, kind: WSMsgType, data: Any) -> None:
        if kind is WSMsgType.PING:
            await connection.socket.pong(data)
        elif kind is WSMsgType.TEXT:
            message = json.loads(data)
            if message.get("type") == "ack":
                self._books.acked(to_key(message["messageId"]))

    async def _ping(self, connection: Connection) -> None:
        """Ping often enough for the NAT not to forget the websocket, and give a silent client up."""
        while True:
            await asyncio.sleep(self._ping_interval)
            if self._clock() - connection.session.heard_at > max(SILENT_FOR, 3 * self._ping_interval):
                log.info("websocket of %s: silent, given up", connection.bot)
                connection.end(WSCloseCode.POLICY_VIOLATION)
                return
            with contextlib.suppress(ConnectionError):
                await connection.socket.ping()


def _actor(person: Person) -> dict[str, Any]:
    return {
        "id": person.key,
        "objectType": "person",
        "displayName": person.display_name,
        "emailAddress": person.email,
        "entryUUID": person.key,
        "type": "MACHINE" if person.bot else "PERSON",
    }


def _target(room: Room) -> dict[str, Any]:
    return {
        "id": room.key,
        "objectType": "conversation",
        "url": f"https://conv-a.wbx2.com/conversation/api/v1/conversations/{room.key}",
        "tags": ["ONE_ON_ONE"] if room.type == "direct" else [],
    }


def _activity(key: str, verb: str, author: Person, room: Room, created: float) -> dict[str, Any]:
    return {
        "id": key,
        "objectType": "activity",
        "verb": verb,
        "published": webex_time(created),
        "actor": _actor(author),
        "target": _target(room),
    }


def _message_activity(message: Message) -> dict[str, Any]:
    """The activity of a message. Its text is end-to-end encrypted in Webex, so a client must fetch it."""
    activity = _activity(message.key, "post", message.author, message.room, message.created)
    activity["object"] = {"objectType": "comment"}
    if message.parent:
        activity["parent"] = {"id": message.parent, "type": "reply"}
    return activity


def _action_activity(action: CardAction) -> dict[str, Any]:
    activity = _activity(action.key, "cardAction", action.author, action.room, action.created)
    activity["object"] = {"objectType": "submit"}
    activity["parent"] = {"id": action.card_message, "type": "cardAction"}
    return activity


@routes.get("/v1/apps/wx2/registrations/{key}/messages")
async def websocket(request: web.Request) -> web.StreamResponse:
    """The websocket of one device; an unknown or foreign device is 404, which makes webex_bot register anew."""
    context, bot = request.app[CONTEXT], bot_of(request)
    device = context.world.find(context.world.devices, request.match_info["key"])
    if device.bot != bot:
        return web.Response(status=404)
    return await context.mercury.serve(request, bot, device.key)
