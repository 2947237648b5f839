"""What the bot's own Python says of the imports that a patch puts in."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

Question = Mapping[str, Any]


class Placed(Protocol):
    """A place of the pool module, of which its path in the checkout is asked."""

    @property
    def file(self) -> str:
        """Relative to the checkout."""


class Proofs:
    """Why an import would not resolve, by what was asked; empty if it does.

    The first answer that is missing is taken for good, and `open` until it is known: it nearly always is, and comes
    with the question that writes the patch. Where it was not, the patch is worked out anew.
    """

    def __init__(self, ask: Callable[[Question], str]) -> None:
        """`ask` puts a question at once, for whatever is missing besides."""
        self._ask, self._known = ask, dict[str, str]()
        self.open: Question = {}

    def __call__(self, place: Placed, asked: Sequence[tuple[str, Sequence[str]]]) -> str:
        """Ask, or take for good."""
        question = {"file": place.file, "imports": [[name, list(path)] for name, path in asked]}
        key = json.dumps(question)
        if key not in self._known:
            if not self.open:
                self.open = question
            if question == self.open:
                return ""
            self._known[key] = self._ask(question)
        return self._known[key]

    def settle(self, problem: str) -> bool:
        """Take the answer to what is open; whether it is good."""
        if self.open:
            self._known[json.dumps(self.open)] = problem
            self.open = {}
        return not problem
