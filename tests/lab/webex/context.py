"""What the handlers share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from .books import Books
    from .faults import Faults
    from .mercury import Mercury
    from .world import World

BOT = "webex.bot"
"""Key of the asking bot's name in a request."""


@dataclass(frozen=True)
class Context:
    """The parts of a running stand-in. `clock` gives seconds since the epoch."""

    world: World
    books: Books
    mercury: Mercury
    faults: Faults
    clock: Callable[[], float]


CONTEXT: web.AppKey[Context] = web.AppKey("context", Context)


def bot_of(request: web.Request) -> str:
    """The bot whose token the request carries; the gatekeeper has turned away all others."""
    return str(request[BOT])
