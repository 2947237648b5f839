"""A bot in a few lines, which does what webex_bot does on the wire; tests decide how far it goes with a message."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from pathlib import Path
from types import TracebackType
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from tests.lab.webex.ids import to_rest_id


class _Loopback(AbstractResolver):
    """Every name is this machine."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [ResolveResult(hostname=host, host="127.0.0.1", port=port, family=socket.AF_INET, proto=0, flags=0)]

    async def close(self) -> None:
        """Nothing to close."""


class MiniBot:
    """One account's client. Use as `async with MiniBot(…) as bot`, which does not connect the websocket yet."""

    def __init__(self, port: int, ca: Path, token: str) -> None:
        self._port, self._token = port, token
        self._tls = ssl.create_default_context(cafile=str(ca))
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._device: dict[str, Any] | None = None

    async def __aenter__(self) -> MiniBot:
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(resolver=_Loopback(), ssl=self._tls),
            headers={"Authorization": f"Bearer {self._token}"},
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.close()

    async def ask(
        self, method: str, url: str, body: dict[str, Any] | None = None, timeout: float = 10.0
    ) -> tuple[int, dict[str, Any], dict[str, str]]:
        """Status, JSON and headers of a request to `https://<url>`."""
        host, _, path = url.partition("/")
        limit = aiohttp.ClientTimeout(total=timeout)
        address = f"https://{host}:{self._port}/{path}"
        async with self._http.request(method, address, json=body, timeout=limit) as response:
            text = await response.text()
            return response.status, json.loads(text) if text else {}, dict(response.headers)

    async def connect(self) -> None:
        """Open the websocket of this bot's device, which is registered the first time."""
        if self._device is None:
            url = "wdm-a.wbx2.com/wdm/api/v1/devices"
            _, self._device, _ = await self.ask("POST", url, {"name": "python-spark-client"})
        address = self._device["webSocketUrl"].replace("wss://", "https://").replace(".com/", f".com:{self._port}/")
        self._socket = await self._http.ws_connect(address)
        await self._socket.send_json({"type": "authorization", "data": {"token": f"Bearer {self._token}"}})
        greeting = await self._socket.receive_json()
        assert greeting["data"]["eventType"] == "mercury.buffer_state"

    async def disconnect(self) -> None:
        assert self._socket is not None
        await self._socket.close()

    async def closed_with(self) -> int | None:
        """Wait for the other side to end the websocket; its close code."""
        assert self._socket is not None
        async for _ in self._socket:
            pass
        return self._socket.close_code

    async def next_activity(self, timeout: float = 10.0) -> dict[str, Any]:
        """The next activity. Raises TimeoutError."""
        assert self._socket is not None
        event = await asyncio.wait_for(self._socket.receive_json(), timeout)
        activity: dict[str, Any] = event["data"]["activity"]
        return activity

    async def resolve(self, activity: dict[str, Any]) -> str:
        """The REST id, by the address that webex_bot makes of the conversation's."""
        verb = "attachment/actions" if activity["verb"] == "cardAction" else "messages"
        target = activity["target"]
        url = target["url"].replace(f"conversations/{target['id']}", f"{verb}/{activity['id']}")
        status, body, _ = await self.ask("GET", url.removeprefix("https://"))
        assert status == 200, body
        return str(body["id"])

    async def fetch(self, activity: dict[str, Any], rest_id: str) -> dict[str, Any]:
        """The message, or the click on a card."""
        kind = "attachment/actions" if activity["verb"] == "cardAction" else "messages"
        status, body, _ = await self.ask("GET", f"webexapis.com/v1/{kind}/{rest_id}")
        assert status == 200, body
        return body

    async def ack(self, rest_id: str) -> None:
        assert self._socket is not None
        await self._socket.send_json({"type": "ack", "messageId": rest_id})

    async def take(self, activity: dict[str, Any]) -> dict[str, Any]:
        """Resolve, fetch and acknowledge; returns what was fetched."""
        rest_id = await self.resolve(activity)
        fetched = await self.fetch(activity, rest_id)
        await self.ack(rest_id)
        return fetched

    async def reply(self, activity: dict[str, Any], text: str, thread: bool = True) -> tuple[int, dict[str, Any]]:
        """Post to the activity's room."""
        body = {"roomId": to_rest_id("ROOM", activity["target"]["id"]), "markdown": text}
        if thread:
            body["parentId"] = activity["id"]
        status, posted, _ = await self.ask("POST", "webexapis.com/v1/messages", body)
        return status, posted
