"""Faults on request: which requests go wrong, and how."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

KINDS = ("delay", "status", "hang", "hang_after", "disconnect", "disconnect_after")


@dataclass
class Fault:
    """A rule; the first that matches a request decides about it.

    kind        delay: answer `seconds` late. status: answer with `status` (and `retry_after` as it stands, so that a
                malformed one can be sent too). hang: never answer. disconnect: close the connection without an answer.
                hang_after and disconnect_after: the same, but the request has been carried out: what a bot sees when
                the answer, not the request, is lost on the way.
    bot, method, host, path
                which requests; empty means any. `path` is a regular expression searched in the path.
    share       part of the matching requests, 0 to 1.
    times       how many requests at most; None is no limit.
    """

    kind: str
    bot: str = ""
    method: str = ""
    host: str = ""
    path: str = ""
    share: float = 1.0
    times: int | None = None
    seconds: float = 0.0
    status: int = 500
    retry_after: str = ""
    hits: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"unknown kind of fault {self.kind!r}; there are {', '.join(KINDS)}")
        re.compile(self.path)

    @property
    def carried_out(self) -> bool:
        """Whether the request is processed although its answer is withheld."""
        return self.kind.endswith("_after")

    def matches(self, bot: str | None, method: str, host: str, path: str) -> bool:
        """Whether the rule is about this request and not used up."""
        return (
            (self.times is None or self.hits < self.times)
            and self.bot in ("", bot)
            and self.method in ("", method)
            and self.host in ("", host)
            and re.search(self.path, path) is not None
        )


class Faults:
    """The rules in force."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self.rules: list[Fault] = []

    def pick(self, bot: str | None, method: str, host: str, path: str) -> Fault | None:
        """The fault that befalls this request, if any; counts it."""
        for rule in self.rules:
            if rule.matches(bot, method, host, path) and self._rng.random() < rule.share:
                rule.hits += 1
                return rule
        return None
