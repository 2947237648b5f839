# SPDX-License-Identifier: GPL-3.0-or-later
"""The probe (`bot_probe`): a message to a bot from another account, which the bot has to answer.

One more check of the operator's own, and a required one: it proves what nothing else can, that the bot answers people,
and gives evidence without waiting for them. Without a token on the VM it is off.

The token is another account's, so the bots' user must not get it. It is in a file of root's alone, and handed in memory
to a child that has become `nobody`, not him: what runs as a user can be read by that user where the kernel is set to
allow it. The bot's own variables say which proxy is used, which sees no more than TLS. But whom to believe is not his
to say: a CA file that the bot names is used where it is root's, else the system's.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .become import account_of, as_account
from .disk import read_secret
from .errors import RolloutError
from .messages import SILENT, UNKNOWN, ask_here, kind_of_id, mentioned
from .notify import SENDER
from .paths import PROBE_TOKEN_FILE
from .procfs import environment_of
from .tree import is_roots
from .weather import network_variables
from .words import printable

OFF = "off"
TOKEN_LIMIT = 4096
AUTHORITIES_LIMIT = 4 * 1024 * 1024
# Seconds for the child beyond those that it waits for an answer: the calls before and after.
BEYOND = 10.0
# A bot that has just connected may miss a message.
TRIES = 3
DEFAULTS: Mapping[str, Any] = {"text": "help", "expects": "", "seconds": 15.0, "every": 600.0}


@dataclass(frozen=True)
class Asked:
    """How a probe went: ``answered``, ``silent``, ``unknown`` or ``off``; for people why; seconds to the answer."""

    state: str
    said: str = ""
    seconds: float = 0.0


def probe_of(where: str, given: object) -> dict[str, Any]:
    """The settings of a probe with all of them filled in; empty for none.

    :param where: what messages call them.
    :raises RolloutError: when they are not what they should be.
    """
    if given in ({}, None):
        return {}
    if not isinstance(given, Mapping) or not set(given) <= {"to", *DEFAULTS}:
        raise RolloutError(f"{where} has something else than to, {', '.join(DEFAULTS)}")
    probe = {**DEFAULTS, **{str(name): value for name, value in given.items()}}
    to, text = probe.get("to"), probe["text"]
    if not isinstance(to, str) or not (re.fullmatch(r"[^@\s]+@[^@\s]+", to) or kind_of_id(to) in ("PEOPLE", "ROOM")):
        raise RolloutError(f"{where}: `to` is neither an address of Webex nor the id of a person or room")
    if not isinstance(text, str) or not 0 < len(text.strip()) <= 1000:
        raise RolloutError(f"{where}: `text` has to have 1 to 1000 characters")
    if kind_of_id(to) == "ROOM" and not mentioned(text)[0]:
        raise RolloutError(
            f"{where}: in a room only who mentions a bot reaches it, and only its answer counts: begin `text` "
            "with <@personEmail:…>"
        )
    try:
        re.compile(probe["expects"])
    except (re.error, TypeError):
        raise RolloutError(f"{where}: `expects` is no regular expression") from None
    for name, lowest, highest in (("seconds", 1, 20), ("every", 30, 86400)):
        try:
            probe[name] = float(probe[name])
        except (TypeError, ValueError):
            probe[name] = 0.0
        if not lowest <= probe[name] <= highest:
            raise RolloutError(f"{where}: `{name}` is a number of seconds from {lowest} to {highest}")
    return probe


def addressed(probe: Mapping[str, Any]) -> tuple[str, str]:
    """Whom a probe asks, as a field and its value. In a room, whichever it is, that is who its text mentions first."""
    to = str(probe["to"])
    named = ("personEmail" if "@" in to else "personId", to)
    field, who = mentioned(probe["text"]) if kind_of_id(to) == "ROOM" else named
    return field, who.lower() if field == "personEmail" else who


def token_problem(token: object) -> str:
    """Why something cannot be a token (`rollout_probe_token`), without a character of it; empty if it can."""
    usable = isinstance(token, str) and (not token or re.fullmatch(rf"[!-~]{{1,{TOKEN_LIMIT - 1}}}", token))
    return "" if usable else "rollout_probe_token is no token: one word of ASCII characters"


def ask_bot(pid: int, probes: Sequence[Mapping[str, Any]], path: str = PROBE_TOKEN_FILE) -> Asked:
    """Ask one bot, or whether one of several answers; for as long as the first may take, and the calls.

    :param pid: the process whose variables say how the VM gets out.
    :param probes: as `probe_of` gives them.
    """
    try:
        data = read_secret(path, TOKEN_LIMIT)
    except RolloutError as error:
        return Asked(UNKNOWN, printable(str(error)))
    if data is None:
        return Asked(OFF, f"there is no {path} (rollout_probe_token)")
    token = data.decode("utf-8", "replace").strip()
    if not token or token_problem(token):
        return Asked(UNKNOWN, f"{path} holds no token: one word of ASCII characters")
    seconds = float(probes[0]["seconds"])
    variables = network_variables(environment_of(pid))
    proxies = {name: value for name, value in variables.items() if name.lower().endswith("_proxy")}
    arguments = (token, proxies, _authorities(variables), [dict(probe) for probe in probes], seconds)
    try:
        state, said, took = as_account(account_of(SENDER), ask_here, *arguments, seconds=seconds + BEYOND)
        return Asked(str(state), printable(str(said)), float(took))
    except (RolloutError, OSError, ValueError, TypeError):
        return Asked(UNKNOWN, f"Webex could not be asked within {seconds + BEYOND:.0f} s")


def ask_new(pid: int, probe: Mapping[str, Any]) -> Asked:
    """Ask a bot that has just been started, more than once where it does not answer."""
    asked = Asked(OFF)
    for _ in range(TRIES):
        asked = ask_bot(pid, [probe])
        if asked.state != SILENT:
            break
    return asked


def _authorities(variables: Mapping[str, str]) -> str:
    """The certificates of the CA file that a bot is told to verify with, where it is root's; else none."""
    names = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
    named = next((variables[name] for name in names if variables.get(name)), "")
    path = os.path.realpath(named) if named.startswith("/") else ""
    if not path or not is_roots(path):
        return ""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with contextlib.suppress(OSError), open(os.open(path, flags), "rb") as file:
        status = os.fstat(file.fileno())
        if stat.S_ISREG(status.st_mode) and status.st_uid == 0 and not status.st_mode & 0o022:
            return file.read(AUTHORITIES_LIMIT).decode("ascii", "ignore")
    return ""
