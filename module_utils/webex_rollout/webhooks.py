# SPDX-License-Identifier: GPL-3.0-or-later
"""Incoming webhooks: their configuration, what each service takes, and one request to one of them.

Forms: `webex` ``{"markdown": …}``, `slack` ``{"text": …}``, `teams` a message with an Adaptive Card (incoming webhooks
and workflows alike), `json` all fields as they are. A URL is a secret: nothing here shows more of it than its host.
"""

from __future__ import annotations

import base64
import encodings.idna  # noqa: F401 - names need it, and the child may not be able to read it any more
import http.client
import ipaddress
import json
import re
import socket
import ssl
import urllib.parse
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from .disk import read_secret, sha256
from .errors import RolloutError

FORMS = ("webex", "slack", "teams", "json")
WEBHOOKS_AT_MOST = 20
CONFIGURATION_LIMIT = 1024 * 1024
ANSWER_LIMIT = 4096
WAIT_AT_MOST = 3600.0


@dataclass(frozen=True)
class Webhook:
    """Where messages go. ``url`` and ``proxy`` are secrets: never show them."""

    number: int
    form: str
    url: str = field(repr=False)
    events: tuple[str, ...] = ()
    proxy: str = field(default="", repr=False)

    @property
    def id(self) -> str:
        """Names it in the outbox, whatever its place in the configuration."""
        return sha256(f"{self.form}\0{self.url}".encode())[:16]

    @property
    def shown(self) -> str:
        """How messages name it."""
        return f"webhook {self.number} ({urllib.parse.urlsplit(self.url).hostname})"


@dataclass(frozen=True)
class Answer:
    """What a webhook answered: status (0 for none), seconds that it asks to wait, and what is wrong, for people."""

    status: int
    wait: float = 0.0
    problem: str = ""

    @property
    def taken(self) -> bool:
        """Whether the message has arrived."""
        return 200 <= self.status < 300 and not self.problem

    @property
    def message_refused(self) -> bool:
        """Whether this message will never be taken, though others may."""
        return self.status in (400, 413, 415, 422)


# -- configuration ---------------------------------------------------------------------------------------------


def read_webhooks(path: str, kinds: Collection[str]) -> list[Webhook]:
    """The configured webhooks; none where there is no file.

    :param kinds: of events that there are.
    :raises RolloutError: when somebody else could read or change the file, or it is not what it should be. Its text
        never holds any of the file's.
    """
    try:
        data = read_secret(path, CONFIGURATION_LIMIT)
    except RolloutError as error:
        raise RolloutError(f"{error}, so nobody is notified") from None
    if data is None:
        return []
    try:
        entries = json.loads(data)
    except (ValueError, RecursionError):
        entries = None
    return webhooks_of(path, entries, kinds)


def webhooks_of(where: str, entries: object, kinds: Collection[str]) -> list[Webhook]:
    """The webhooks of a list, each a mapping with ``form``, ``url``, ``events`` and ``proxy``.

    :param where: what messages call the list.
    :raises RolloutError: when it is not what it should be; without any of its values.
    """
    if not isinstance(entries, list) or len(entries) > WEBHOOKS_AT_MOST:
        raise RolloutError(f"{where} is no list of at most {WEBHOOKS_AT_MOST} webhooks; nobody is notified")
    return [_webhook(where, number, entry, kinds) for number, entry in enumerate(entries, 1)]


def _webhook(path: str, number: int, entry: object, kinds: Collection[str]) -> Webhook:
    """One entry of the configuration."""

    def wrong(what: str) -> RolloutError:
        return RolloutError(f"{path}: webhook {number} {what}; nobody is notified")

    if not isinstance(entry, dict) or not set(entry) <= {"form", "url", "events", "proxy"}:
        raise wrong("has something else than form, url, events and proxy")
    form, url, events, proxy = (entry.get(name) for name in ("form", "url", "events", "proxy"))
    if form not in FORMS:
        raise wrong(f"has no form of {', '.join(FORMS)}")
    if not isinstance(url, str) or not _usable(url, ("https", "http")):
        raise wrong("has no URL that can be used")
    parts = urllib.parse.urlsplit(url)
    if parts.username is not None:
        raise wrong("has a user's name in its URL")
    if parts.scheme == "http" and not _is_loopback(parts.hostname or ""):
        raise wrong("has a URL of http, which anybody on the way can read; give one of https")
    if events is not None and not (isinstance(events, list) and all(each in kinds for each in events)):
        raise wrong(f"has events other than {', '.join(kinds)}")
    if proxy and not (isinstance(proxy, str) and _usable(proxy, ("http",))):
        raise wrong("has a proxy that is no URL of http")
    return Webhook(number, form, url, tuple(events or ()), proxy or "")


def _usable(url: str, schemes: Collection[str]) -> bool:
    """Whether a URL is one that can be asked for as it stands."""
    if not re.fullmatch(r"[!-~]{1,4000}", url):
        return False
    try:
        parts = urllib.parse.urlsplit(url)
        return parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


# -- what is sent ----------------------------------------------------------------------------------------------


def rendered(form: str, message: Mapping[str, Any]) -> bytes:
    """A message as a service takes it. Its texts are plain lines; what a service would read as markup is escaped."""
    if form == "json":
        return _json(message)
    head = f"{message['bot'] or message['vm']}: {message['title']}"
    # Of the longest texts, with every character escaped, Webex's limit of 7,439 bytes is not reached.
    details = list(message["details"].items())[:8]
    facts = [(name.replace("_", " "), _fact(value)[:60]) for name, value in details]
    facts += [("vm", message["vm"]), ("time", message["time"])]
    if form == "teams":
        return _json(_card(head, message["text"], facts))
    escape, bold = (_for_webex, "**") if form == "webex" else (_for_slack, "*")
    lines = [f"{bold}{escape(head)}{bold}", escape(message["text"])]
    lines.append(" · ".join(f"{escape(name)}: {escape(value)}" for name, value in facts))
    text = ("  \n" if form == "webex" else "\n").join(lines)
    return _json({"markdown": text} if form == "webex" else {"text": text})


def _json(content: Any) -> bytes:
    return json.dumps(content).encode("ascii")


def _fact(value: object) -> str:
    """A detail as people read it."""
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _for_webex(text: str) -> str:
    """Markdown as text: no link, no mention (``<@all>``), no emphasis."""
    return re.sub(r"([\\`*_~\[\]|#])", r"\\\1", _entities(text))


def _for_slack(text: str) -> str:
    """``& < >`` are escaped as Slack asks for, which leaves no link and no mention; the rest would only be emphasis."""
    return re.sub(r"[*_~`]", lambda found: "\u200b" + found[0], _entities(text))


def _entities(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _card(head: str, text: str, facts: list[tuple[str, str]]) -> dict[str, Any]:
    """An Adaptive Card. A TextRun, unlike a TextBlock, knows no markdown: its text needs no escape."""
    blocks: list[dict[str, Any]] = [
        {"type": "TextRun", "text": head, "weight": "Bolder", "size": "Medium"},
        {"type": "TextRun", "text": text},
        *({"type": "TextRun", "text": f"{name}: {value}", "isSubtle": True} for name, value in facts),
    ]
    content = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": [{"type": "RichTextBlock", "inlines": [block]} for block in blocks],
    }
    card = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": content}
    return {"type": "message", "attachments": [card]}


# -- one request -----------------------------------------------------------------------------------------------


def post(url: str, proxy: str, body: bytes, seconds: float) -> list[Any]:
    """Send one body; status, seconds to wait, and what is wrong. For a child: it raises nothing that names the URL,
    and is ended when its time is over, for a time-out of a socket is one of each read alone.

    Redirects are not followed, nor are the environment's proxies used: both would send a secret elsewhere.
    """
    parts = urllib.parse.urlsplit(url)
    try:
        connection, host, port = _connection(parts, proxy, seconds)
        path = urllib.parse.urlunsplit(("", "", parts.path or "/", parts.query, ""))
        headers = {"Content-Type": "application/json", "User-Agent": "webex-rollout", "Connection": "close"}
        if proxy:
            connection.set_tunnel(host, port, _proxy_headers(proxy))
        connection.request("POST", path, body, headers)
        response = connection.getresponse()
        text = response.read(ANSWER_LIMIT)
        return [response.status, _wait(response.getheader("Retry-After") or ""), _problem(response.status, text)]
    except Exception as error:
        return [0, 0.0, _failure(error, seconds)]


def _connection(
    parts: urllib.parse.SplitResult, proxy: str, seconds: float
) -> tuple[http.client.HTTPConnection, str, int]:
    """A connection to the webhook's host, or to the proxy on the way."""
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    via = urllib.parse.urlsplit(proxy) if proxy else None
    near, near_port = (via.hostname or "", via.port or 80) if via else (host, port)
    if parts.scheme == "http":
        return http.client.HTTPConnection(near, near_port, timeout=seconds), host, port
    context = ssl.create_default_context()
    return http.client.HTTPSConnection(near, near_port, timeout=seconds, context=context), host, port


def _proxy_headers(proxy: str) -> dict[str, str]:
    parts = urllib.parse.urlsplit(proxy)
    if parts.username is None:
        return {}
    pair = f"{urllib.parse.unquote(parts.username)}:{urllib.parse.unquote(parts.password or '')}"
    return {"Proxy-Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}


def _wait(text: str) -> float:
    """Seconds that ``Retry-After`` asks for; a date there is not read."""
    return min(float(text), WAIT_AT_MOST) if re.fullmatch(r"[0-9]{1,6}", text) else 0.0


def _problem(status: int, text: bytes) -> str:
    """What is wrong with an answer; empty for a message that was taken."""
    if 200 <= status < 300:
        # Teams' older webhooks answer 200 and write the failure into the body.
        return "did not take the message" if b"delivery failed" in text else ""
    return f"answered {status}" + (", which leads elsewhere and is not followed" if 300 <= status < 400 else "")


def _failure(error: Exception, seconds: float) -> str:
    """Why there is no answer, without a word of the error's own that could come from the URL or from outside."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return "its certificate is not accepted"
    if isinstance(error, socket.timeout):
        return f"no answer within {seconds:.0f} s"
    if isinstance(error, socket.gaierror):
        return "its address is not to be had"
    if isinstance(error, ConnectionRefusedError):
        return "it refuses the connection"
    found = re.match(r"Tunnel connection failed: ([0-9]{3})\b", str(error))
    if found:
        return f"the proxy refuses to connect to it (status {found[1]})"
    return f"the connection failed ({type(error).__name__})"
