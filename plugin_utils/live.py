"""A line at the bottom of a terminal that says what is going on now. A log, a pipe and a dumb terminal have none."""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from plugin_utils.words import measured, named, printable

TICK = 1.0
"""Seconds after which the line is written anew."""
ERASE = b"\r\x1b[K"


class Live:
    """The line, which gives way to whatever else is displayed.

    SSH may ask at a bot's first connection for a passphrase or about a host key, on the same terminal and past
    everybody. So the line rests while a bot is at work that has not answered yet in this run.
    """

    def __init__(self, display: Any) -> None:
        """:param display: Ansible's; all of its texts take the way through its `display`, from now on by this one."""
        self._lock = threading.RLock()
        self._process = os.getpid()
        self._play = self._step = ""
        self._began = 0.0
        self._working: dict[str, None] = {}
        self._total = 0
        self._answered: set[str] = set()
        self._shown = False
        self._wanted = False
        display.display = self._giving_way(display.display)
        threading.Thread(target=self._tick, daemon=True).start()

    def begin(self, play: str, name: str) -> None:
        """A step begins, at which no bot works yet."""
        with self._lock:
            self._play, self._step, self._began = play, name, time.monotonic()
            self._working.clear()
            self._total, self._wanted = 0, True

    def works(self, bot: str) -> None:
        """A bot is at work."""
        with self._lock:
            self._working[bot] = None
            self._total += 1

    def answered(self, bot: str) -> None:
        """A bot's work at the step is over."""
        with self._lock:
            self._working.pop(bot, None)
            self._answered.add(bot)

    def skipped(self, bot: str) -> None:
        """The step is none of a bot's, of which nobody knew before."""
        with self._lock:
            self._working.pop(bot, None)
            self._total -= 1

    def end(self) -> None:
        """Nothing is going on."""
        with self._lock:
            self._wanted = False
            self._erase()

    def line(self, now: float) -> str:
        """What is to be shown at a time of the monotonic clock; empty while the line rests."""
        if not self._wanted or not self._working or any(bot not in self._answered for bot in self._working):
            return ""
        over = self._total - len(self._working)
        done = f", {over} of {self._total} done" if over else ""
        words = (self._play, self._step, f"{named(list(self._working))}{done}", measured(now - self._began))
        return printable(" · ".join(words))

    def _tick(self) -> None:
        while True:
            time.sleep(TICK)
            with self._lock:
                text = self.line(time.monotonic())
                if text:
                    columns = shutil.get_terminal_size().columns
                    _write(ERASE + text[: columns - 1].encode())
                    self._shown = True
                else:
                    self._erase()

    def _erase(self) -> None:
        if self._shown:
            _write(ERASE)
            self._shown = False

    def _giving_way(self, display: Callable[..., None]) -> Callable[..., None]:
        def displayed(*args: Any, **kwargs: Any) -> None:
            if os.getpid() != self._process:  # a worker, whose texts come to this process
                display(*args, **kwargs)
                return
            with self._lock:
                self._erase()
                display(*args, **kwargs)

        return displayed


def can_be_shown() -> bool:
    """Whether standard output is a terminal that can erase a line."""
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def _write(text: bytes) -> None:
    """Past Python's buffer, whose lock a worker that is forked meanwhile would inherit."""
    try:
        os.write(1, text)
    except OSError:  # the terminal is gone; the run is not to end for this
        return
