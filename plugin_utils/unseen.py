"""Keeps what a module returns from the terminal: with -vvv the ssh connection shows it as it comes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def unseen(play_context: Any) -> Iterator[None]:
    """For as long as a module runs whose answer holds sources; the task's own result is not hidden by it."""
    before, play_context.no_log = play_context.no_log, True
    try:
        yield
    finally:
        play_context.no_log = before
