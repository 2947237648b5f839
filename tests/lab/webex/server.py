"""The stand-in as a whole: one TLS server for all host names, a gatekeeper before the handlers, the driver."""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from aiohttp import web

from . import cloud, mercury, person, rest
from .accounts import Account
from .books import Books
from .context import BOT, CONTEXT, Context
from .driver import Driver
from .faults import Fault, Faults
from .world import NotFound, World

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

HOST_OF_PATH = {
    "/v1/apps/": "mercury-connection-a.wbx2.com",
    "/v1/": "webexapis.com",
    "/u2c/": "u2c.wbx2.com",
    "/wdm/": "wdm-a.wbx2.com",
    "/conversation/": "conv-a.wbx2.com",
}
"""Which host serves a path; the first match counts."""

DEFAULT_LATENCY = {"webexapis.com": 0.12, "conv-a.wbx2.com": 0.005}
"""Seconds until an answer begins. The REST API took 0.06 to 0.68 s in the field, the services behind it much less."""

IDLE_FOR = 24 * 3600.0
"""Seconds for which an idle connection is kept open, so that nobody but the NAT forgets it."""


@dataclass(frozen=True)
class Settings:
    """How the stand-in behaves. `latency` is per host, in seconds, and varies by half up and down."""

    latency: Mapping[str, float] = field(default_factory=lambda: dict(DEFAULT_LATENCY))
    ping_interval: float = 2.0
    device_limit: int = 100
    replay: bool = False
    seed: int = 1


@dataclass
class HttpConnection:
    """One TCP connection as the server sees it. A connection that the NAT forgot stays open here, and idle."""

    host: str
    bot: str
    opened_at: float
    last_request_at: float
    requests: int = 0


class Connections:
    """Open connections that have carried at least one request."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._open: dict[asyncio.Transport, HttpConnection] = {}

    def used(self, transport: asyncio.Transport, bot: str, host: str) -> None:
        """A request has come in."""
        now = self._clock()
        if transport not in self._open:
            self._forget_closed()
            self._open[transport] = HttpConnection(host, bot, now, now)
        self._open[transport].last_request_at = now
        self._open[transport].requests += 1

    def _forget_closed(self) -> None:
        self._open = {transport: c for transport, c in self._open.items() if not transport.is_closing()}

    def to_json(self, bot: str) -> list[dict[str, Any]]:
        """The bot's open connections."""
        self._forget_closed()
        return [asdict(connection) for connection in self._open.values() if connection.bot == bot]


class StandIn:
    """A running stand-in. `clock` gives seconds since the epoch."""

    def __init__(self, accounts: Iterable[Account], settings: Settings, clock: Callable[[], float] = time.time) -> None:
        rng = random.Random(settings.seed)
        accounts = list(accounts)
        self.settings = settings
        self.world = World(accounts, settings.device_limit, rng)
        self.books = Books((account.bot for account in accounts), clock)
        self.faults = Faults(rng)
        self.mercury = mercury.Mercury(self.world, self.books, clock, settings.ping_interval, settings.replay)
        self.driver = Driver(self.world, self.books, self.mercury, clock, rng)
        self.connections = Connections(clock)
        self.strangers: Counter[str] = Counter()
        self._rng = rng
        self._clock = clock
        self._stopping = asyncio.Event()
        self._runner: web.AppRunner | None = None

    def application(self) -> web.Application:
        """The handlers behind the gatekeeper."""
        app = web.Application(middlewares=[self._gatekeeper], client_max_size=100 * 2**20)
        app[CONTEXT] = Context(self.world, self.books, self.mercury, self.faults, self._clock)
        for module in (mercury, rest, cloud):
            app.add_routes(module.routes)
        return app

    async def start(self, addresses: Sequence[str], port: int, tls: ssl.SSLContext) -> None:
        """Listen. Raises OSError if an address cannot be bound."""
        # No keep-alive probes from this side: they would refresh the NAT's entry for every idle connection.
        self._runner = web.AppRunner(
            self.application(),
            keepalive_timeout=IDLE_FOR,
            tcp_keepalive=False,
            shutdown_timeout=1.0,
            access_log=None,
        )
        await self._runner.setup()
        for address in addresses:
            await web.TCPSite(self._runner, address, port, ssl_context=tls, backlog=1024).start()

    async def stop(self) -> None:
        """Stop the driver, end all connections."""
        self._stopping.set()
        await self.driver.stop()
        self.mercury.end_all()
        if self._runner is not None:
            await self._runner.cleanup()

    @web.middleware
    async def _gatekeeper(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Who asks whom; the books; faults and latency; errors in the API's form."""
        host = (request.host or "").partition(":")[0]
        expected = next((h for prefix, h in HOST_OF_PATH.items() if request.path.startswith(prefix)), None)
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        bot, employee = self.world.bot_of_token(token), self.world.person_of_token(token)
        if employee is not None and host == "webexapis.com":
            return await person.answer(request, employee)
        if bot is None:
            self.strangers[f"{request.method} {host}{request.path}"] += 1
            return rest.unauthorized()
        request[BOT] = bot
        if request.transport is not None:
            self.connections.used(request.transport, bot, host)
        response = rest.not_found() if host != expected else await self._answer(request, handler, bot, host)
        resource = request.match_info.route.resource
        path = resource.canonical if resource is not None else "/unknown"
        self.books.requests[bot][f"{request.method} {host}{path} {response.status}"] += 1
        return response

    async def _answer(self, request: web.Request, handler: Handler, bot: str, host: str) -> web.StreamResponse:
        fault = self.faults.pick(bot, request.method, host, request.path)
        await asyncio.sleep(self.settings.latency.get(host, 0.0) * self._rng.uniform(0.5, 1.5))
        if fault is None:
            return await self._handle(request, handler)
        if fault.kind == "delay":
            await self._wait(fault.seconds)
            return await self._handle(request, handler)
        if fault.kind == "status":
            return rest.failed(fault.status, fault.retry_after)
        if fault.carried_out:
            await self._handle(request, handler)
        return await self._withhold(request, fault)

    async def _handle(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except (NotFound, web.HTTPNotFound):
            return rest.not_found()

    async def _withhold(self, request: web.Request, fault: Fault) -> web.StreamResponse:
        """Give no answer: at once closing the connection, or leaving the client waiting until it or we give up."""
        while fault.kind.startswith("hang") and fault in self.faults.rules and request.transport is not None:
            await self._wait(0.2)
            if self._stopping.is_set():
                break
        if request.transport is not None:
            request.transport.close()
        return web.Response(status=499)

    async def _wait(self, seconds: float) -> None:
        """Sleep, but not beyond the end of the stand-in."""
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except asyncio.TimeoutError:
            return
