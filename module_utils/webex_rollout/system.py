# SPDX-License-Identifier: GPL-3.0-or-later
"""The system as the rooms above see it: running commands, text and bytes, waiting, times for people."""

from __future__ import annotations

import datetime
import os
import pwd
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .errors import RolloutError

POLL = 0.02


def run_command(
    argv: Sequence[str],
    timeout: float | None = 120,
    stdin: bytes | None = None,
    environment: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """Run a command without a shell; the caller checks its exit status. Never given secrets as arguments.

    :param timeout: seconds, None for a command that is bounded by something else.
    :param environment: all of its variables; those of this process if None.
    :raises RolloutError: when it cannot be run, or did not answer in time.
    """
    given: dict[str, Any] = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}
    try:
        return subprocess.run(list(argv), capture_output=True, timeout=timeout, check=False, env=environment, **given)
    except OSError as error:
        raise RolloutError(f"cannot run {argv[0]}: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise RolloutError(f"`{' '.join(argv)}` did not answer within {timeout:.0f} s") from None


def to_text(data: bytes) -> str:
    """Bytes of the system as text, whatever the locale; undecodable bytes survive as surrogates."""
    return data.decode("utf-8", "surrogateescape")


def to_bytes(string: str) -> bytes:
    """The bytes that `to_text` was given."""
    return string.encode("utf-8", "surrogateescape")


def printable(text: str) -> str:
    """A text fit for a terminal and for one line: what would move, colour or turn it is escaped."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii") for letter in text
    )


def utc(seconds: float) -> str:
    """A time as people and sort(1) read it, in UTC."""
    return datetime.datetime.fromtimestamp(int(seconds), datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def local_user() -> str:
    """Who acts here by hand: the login behind sudo, else the user."""
    name = os.environ.get("SUDO_USER")
    if not name:
        try:
            name = pwd.getpwuid(os.getuid()).pw_name
        except KeyError:
            name = str(os.getuid())
    return f"{name}@{socket.gethostname()}"


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Wait up to `seconds` for a condition; whether it came true."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= until:
            return False
        time.sleep(POLL)
    return True
