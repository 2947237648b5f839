"""The control API: JSON over HTTP on a Unix socket, for tests and `make demo`, out of reach of the VM.

    GET    /books?lost_after=&messages=1   the books
    POST   /reset                          forget them
    POST   /phase      {name}              messages sent from now on belong to this phase
    POST   /pattern    {burst, gap, …}     start a pattern (fields of driver.Pattern)
    DELETE /pattern                        stop it
    POST   /burst      {bots, count, spread}
    GET    /wait/connected?bots=a,b&timeout=   until each bot has a websocket; {"done": false} when time is up
    GET    /wait/settled?lost_after=&timeout=  until every message is answered or lost
    GET, POST, DELETE /faults              list, add (fields of faults.Fault), clear
    POST   /drop       {bot, abort}        end the bot's websockets
    POST   /settings   {replay, device_limit}
    POST   /say        {bot, text}         one message of an employee's, in no book
    POST   /person     {token, email}      the account of an employee, for the REST API

A request that makes no sense is answered 400 with {"error": …}.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path

from aiohttp import web

from .books import LOST_AFTER
from .driver import Pattern
from .faults import Fault
from .server import StandIn

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

POLL = 0.1
"""Seconds between looks at the books while somebody waits."""


class Control:
    """The control API of one stand-in."""

    def __init__(self, stand_in: StandIn) -> None:
        self._stand_in = stand_in
        self._runner: web.AppRunner | None = None

    async def start(self, path: Path) -> None:
        """Listen on the Unix socket `path`, for the owner alone. Raises OSError."""
        app = web.Application(middlewares=[_errors])
        app.add_routes(
            [
                web.get("/books", self._books),
                web.post("/reset", self._reset),
                web.post("/phase", self._phase),
                web.post("/pattern", self._start_pattern),
                web.delete("/pattern", self._stop_pattern),
                web.post("/burst", self._burst),
                web.get("/wait/connected", self._wait_connected),
                web.get("/wait/settled", self._wait_settled),
                web.get("/faults", self._faults),
                web.post("/faults", self._add_fault),
                web.delete("/faults", self._clear_faults),
                web.post("/drop", self._drop),
                web.post("/settings", self._settings),
                web.post("/say", self._say),
                web.post("/person", self._person),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.UnixSite(self._runner, str(path)).start()
        path.chmod(0o600)

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _books(self, request: web.Request) -> web.Response:
        stand_in = self._stand_in
        page = stand_in.books.to_json(_lost_after(request), request.query.get("messages") == "1")
        for bot, page_of_bot in page["bots"].items():
            page_of_bot["devices"] = len(stand_in.world.devices_of(bot))
            page_of_bot["connections"] = stand_in.connections.to_json(bot)
        page["driving"] = stand_in.driver.running
        page["strangers"] = dict(stand_in.strangers)
        return web.json_response(page)

    async def _reset(self, request: web.Request) -> web.Response:
        self._stand_in.books.reset()
        return web.json_response({})

    async def _phase(self, request: web.Request) -> web.Response:
        self._stand_in.books.phase = str((await request.json())["name"])
        return web.json_response({})

    async def _start_pattern(self, request: web.Request) -> web.Response:
        await self._stand_in.driver.start(Pattern(**await request.json()))
        return web.json_response({})

    async def _stop_pattern(self, request: web.Request) -> web.Response:
        await self._stand_in.driver.stop()
        return web.json_response({})

    async def _burst(self, request: web.Request) -> web.Response:
        asked = await request.json()
        keys = await self._stand_in.driver.burst(asked["bots"], asked["count"], asked["spread"])
        return web.json_response({"ids": keys})

    async def _wait_connected(self, request: web.Request) -> web.Response:
        books = self._stand_in.books
        bots = [bot for bot in request.query.get("bots", "").split(",") if bot] or list(books.bots)
        return await _wait(request, lambda: all(books.connected(bot) for bot in bots))

    async def _wait_settled(self, request: web.Request) -> web.Response:
        lost_after = _lost_after(request)
        return await _wait(request, lambda: self._stand_in.books.settled(lost_after))

    async def _faults(self, request: web.Request) -> web.Response:
        return web.json_response([asdict(rule) for rule in self._stand_in.faults.rules])

    async def _add_fault(self, request: web.Request) -> web.Response:
        self._stand_in.faults.rules.append(Fault(**await request.json()))
        return web.json_response({})

    async def _clear_faults(self, request: web.Request) -> web.Response:
        self._stand_in.faults.rules.clear()
        return web.json_response({})

    async def _drop(self, request: web.Request) -> web.Response:
        asked = await request.json()
        dropped = self._stand_in.mercury.drop(asked["bot"], bool(asked["abort"]))
        return web.json_response({"dropped": dropped})

    async def _settings(self, request: web.Request) -> web.Response:
        asked = await request.json()
        unknown = set(asked) - {"replay", "device_limit"}
        if unknown:
            raise ValueError(f"no such setting: {', '.join(sorted(unknown))}; there are replay, device_limit")
        if "replay" in asked:
            self._stand_in.mercury.replay = bool(asked["replay"])
        if "device_limit" in asked:
            self._stand_in.world.device_limit = int(asked["device_limit"])
        return web.json_response({})

    async def _say(self, request: web.Request) -> web.Response:
        asked = await request.json()
        self._stand_in.driver.say(asked["bot"], asked["text"])
        return web.json_response({})

    async def _person(self, request: web.Request) -> web.Response:
        asked = await request.json()
        self._stand_in.world.sign_in(asked["token"], asked["email"])
        return web.json_response({})


def _lost_after(request: web.Request) -> float:
    return float(request.query.get("lost_after", LOST_AFTER))


async def _wait(request: web.Request, done: Callable[[], bool]) -> web.Response:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + float(request.query["timeout"])
    while not done() and loop.time() < deadline:
        await asyncio.sleep(POLL)
    return web.json_response({"done": done()})


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except (KeyError, TypeError, ValueError) as error:
        return web.json_response({"error": f"{type(error).__name__}: {error}"}, status=400)
