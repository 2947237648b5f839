"""The employees: they write to the bots, in bursts with idle gaps between them."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .books import Books
from .commands import ASKS, FALLBACK, Ask
from .mercury import Mercury
from .world import World

DIRECT_SHARE = 1 / 3
"""Part of the messages that are written in a one-to-one room rather than in a group room."""


@dataclass(frozen=True)
class Pattern:
    """Bursts of `burst` messages to each bot, a burst every `gap` seconds (counted from start to start).

    A burst is spread over `spread` seconds; `gap` of different bots are shifted against each other by up to `shift`
    seconds. `bots` empty means all; `bursts` limits the number of bursts, None is no limit. A steady rate of r
    messages per second is Pattern(burst=1, gap=1 / r).
    """

    burst: int = 8
    gap: float = 15.0
    spread: float = 0.4
    shift: float = 1.0
    bots: Sequence[str] = ()
    bursts: int | None = None

    def __post_init__(self) -> None:
        if self.burst < 1 or self.gap <= 0 or self.spread < 0 or self.shift < 0:
            raise ValueError(f"a pattern needs burst >= 1, gap > 0, spread and shift >= 0: {self}")


class Driver:
    """Sends messages, at once or by a pattern. One pattern runs at a time."""

    def __init__(
        self, world: World, books: Books, mercury: Mercury, clock: Callable[[], float], rng: random.Random
    ) -> None:
        self._world, self._books, self._mercury, self._clock, self._rng = world, books, mercury, clock, rng
        self._numbers = itertools.count(1)
        self._turns = {bot: itertools.cycle(ASKS.get(bot, FALLBACK)) for bot in world.bots}
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def running(self) -> bool:
        return any(not task.done() for task in self._tasks)

    async def start(self, pattern: Pattern) -> None:
        """Start a pattern in place of the one that runs. Raises ValueError for a bot that does not exist."""
        bots = self._known(pattern.bots)
        await self.stop()
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._run(bot, pattern)) for bot in bots]

    async def stop(self) -> None:
        """Stop the pattern; what has been sent is still answered."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _run(self, bot: str, pattern: Pattern) -> None:
        await asyncio.sleep(self._rng.uniform(0, pattern.shift))
        rounds = itertools.count() if pattern.bursts is None else range(pattern.bursts)
        started = asyncio.get_running_loop().time()
        for number in rounds:
            # Counted from the start, so that bursts do not drift with the time that sending takes.
            await asyncio.sleep(started + number * pattern.gap - asyncio.get_running_loop().time())
            await self._burst(bot, pattern.burst, pattern.spread)

    async def burst(self, bots: Sequence[str], count: int, spread: float) -> list[str]:
        """Send `count` messages to each bot over `spread` seconds; returns their ids."""
        sent = await asyncio.gather(*(self._burst(bot, count, spread) for bot in self._known(bots)))
        return [key for keys in sent for key in keys]

    async def _burst(self, bot: str, count: int, spread: float) -> list[str]:
        keys = []
        for number in range(count):
            if number:
                await asyncio.sleep(spread / (count - 1))
            keys.append(self.send(bot, next(self._turns[bot])))
        return keys

    def _known(self, bots: Sequence[str]) -> list[str]:
        unknown = sorted(set(bots) - set(self._world.bots))
        if unknown:
            raise ValueError(f"no such bot: {', '.join(unknown)}; there are {', '.join(self._world.bots)}")
        return list(bots or self._world.bots)

    def say(self, bot: str, text: str) -> None:
        """Write something to a bot, as the next employee, to which no answer is awaited."""
        employee = self._world.next_employee()
        message = self._world.post(self._world.direct_room(bot, employee), employee, self._clock(), text=text)
        self._mercury.push_message(bot, message)

    def send(self, bot: str, ask: Ask) -> str:
        """Ask one thing of a bot, as the next employee; returns the id that the books know it by."""
        number = next(self._numbers)
        employee = self._world.next_employee()
        direct = ask.direct_only or self._rng.random() < DIRECT_SHARE
        room = self._world.direct_room(bot, employee) if direct else self._world.group_room(bot)
        text, expect = ask.text.format(n=number), ask.expect.format(n=number)
        if ask.inputs:
            card = self._world.post(room, self._world.bots[bot], self._clock(), text="a card")
            inputs = {name: value.format(n=number) for name, value in ask.inputs.items()}
            action = self._world.click(card, employee, self._clock(), inputs)
            self._books.sent(action.key, bot, room.key, str(inputs), expect)
            self._mercury.push_action(bot, action)
            return action.key
        # In a group room a bot only sees messages that mention it.
        written = text if direct else f"{self._world.bots[bot].display_name} {text}"
        message = self._world.post(room, employee, self._clock(), text=written)
        self._books.sent(message.key, bot, room.key, text, expect)
        self._mercury.push_message(bot, message)
        return message.key
