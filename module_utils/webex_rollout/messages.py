# SPDX-License-Identifier: GPL-3.0-or-later
"""Messages of Webex as the probe needs them: write one to a bot, and find the answer. For a child without rights.

Nothing here shows a word of what people or bots write, or of the token: only what became of it.
"""

from __future__ import annotations

import base64
import encodings.idna  # noqa: F401 - names need it, and the child may not be able to read it any more
import http.client
import json
import re
import ssl
import time
import urllib.parse
from collections.abc import Mapping, Sequence
from typing import Any

from .weather import proxy_for, put_in_force

HOST, PORT = "webexapis.com", 443
ANSWERED, SILENT, UNKNOWN = "answered", "silent", "unknown"
CALL_SECONDS = 5.0
PAUSE = 1.0
ANSWER_LIMIT = 1024 * 1024
LISTED = 30
# What Webex says to a message, for people; what else it says is shown as its number.
REFUSALS = {
    400: "the message was refused (400): see `to` and `text` of bot_probe",
    401: "the token is not accepted (401): it has expired, or was withdrawn; give a new rollout_probe_token",
    403: "the token's account may not write there (403): see `to` of bot_probe",
    404: "Webex knows no such bot or room (404): see `to` of bot_probe",
}


class Wrong(Exception):
    """Why Webex could not be asked, for people."""


def kind_of_id(text: str) -> str:
    """What an id of Webex' REST API names: ``PEOPLE``, ``ROOM`` and so on; empty for what is none."""
    try:
        name = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode("ascii")
    except ValueError:
        return ""
    found = re.fullmatch(r"ciscospark://[^/]+/([A-Z_]+)/[!-~]+", name)
    return found[1] if found else ""


def mentioned(text: str) -> tuple[str, str]:
    """Who a text mentions first: the field of a message that names him, and the value there; empty for nobody."""
    found = re.search(r"<@person(Email|Id):([^|>\s]+)", text)
    return (f"person{found[1]}", found[2]) if found else ("", "")


def ask_here(
    token: str, variables: Mapping[str, str], authorities: str, probes: Sequence[Mapping[str, Any]], seconds: float
) -> list[Any]:
    """Ask several bots at once: how it went, for people why, and the seconds until the first one answered.

    ``answered`` where one did, ``silent`` where those that could be asked did not, else ``unknown``.

    :param authorities: certificates to verify with; empty for the system's.
    """
    try:
        put_in_force(variables)
        context = ssl.create_default_context(cadata=authorities or None)
        return _asked(_Webex(token, context), probes, seconds)
    except Wrong as wrong:
        return [UNKNOWN, str(wrong), 0.0]
    except Exception as error:  # its text could hold the token, as that of a header that cannot be sent
        return [UNKNOWN, f"Webex could not be asked ({type(error).__name__})", 0.0]


def _asked(webex: _Webex, probes: Sequence[Mapping[str, Any]], seconds: float) -> list[Any]:
    begun = time.monotonic()
    open_probes, refused = [], ""
    for probe in probes:
        try:
            open_probes.append((probe, webex.write(probe)))
        except Wrong as wrong:
            refused = str(wrong)
    if not open_probes:
        raise Wrong(refused or "nobody is to be asked")
    other = unread = ""
    pause = PAUSE
    while True:
        left = begun + seconds - time.monotonic()
        time.sleep(max(0.0, min(pause, left)))
        pause = 2 * PAUSE
        for probe, sent in open_probes:
            try:
                texts = answers_among(webex.listed(sent), sent, probe)
            except Wrong as wrong:
                unread = str(wrong)
                continue
            unread = ""
            if any(re.search(probe["expects"], text) for text in texts):
                return [ANSWERED, "", round(time.monotonic() - begun, 1)]
            other = other or ("it answers, and nothing that `expects` of bot_probe matches" if texts else "")
        if time.monotonic() - begun >= seconds:
            break
    if unread:
        raise Wrong(unread)
    return [SILENT, other or f"no answer within {seconds:g} s", 0.0]


def answers_among(listed: Sequence[Mapping[str, Any]], sent: Mapping[str, Any], probe: Mapping[str, Any]) -> list[str]:
    """The texts of those messages that answer the one that was sent: later, by the bot, in its thread or in none."""
    field, who = mentioned(probe["text"]) if kind_of_id(probe["to"]) == "ROOM" else ("", "")

    def answers(message: Mapping[str, Any]) -> bool:
        if message.get("personId") == sent.get("personId") or message.get("id") == sent.get("id"):
            return False
        if field and str(message.get(field, "")).lower() != who.lower():  # people write into a room, too
            return False
        return message.get("parentId") in (None, sent.get("id")) and str(message.get("created", "")) >= str(
            sent.get("created", "")
        )

    found = [message for message in listed if isinstance(message, Mapping) and answers(message)]
    return ["\n".join(str(message.get(name) or "") for name in ("text", "markdown")) for message in found]


class _Webex:
    """Webex' REST API, as an account."""

    def __init__(self, token: str, context: ssl.SSLContext) -> None:
        self._token, self._context = token, context

    def write(self, probe: Mapping[str, Any]) -> dict[str, Any]:
        """Write to a bot; what Webex says of the message.

        :raises Wrong: when that cannot be done.
        """
        to = probe["to"]
        if "@" in to:
            body = {"toPersonEmail": to, "text": probe["text"]}
        elif kind_of_id(to) == "ROOM":
            body = {"roomId": to, "markdown": probe["text"]}
        else:
            body = {"toPersonId": to, "text": probe["text"]}
        sent = self._call("POST", "/v1/messages", body)
        if not isinstance(sent.get("id"), str) or not isinstance(sent.get("roomId"), str):
            raise Wrong("Webex took the message, and does not say where it is")
        return sent

    def listed(self, sent: Mapping[str, Any]) -> list[Any]:
        """The latest messages of the room that one was sent to.

        :raises Wrong: when they cannot be had.
        """
        query = urllib.parse.urlencode({"roomId": sent["roomId"], "max": LISTED})
        items = self._call("GET", f"/v1/messages?{query}").get("items")
        return items if isinstance(items, list) else []

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self._token}", "User-Agent": "webex-rollout", "Connection": "close"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        connection = self._connection()
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            data = response.read(ANSWER_LIMIT)
        except (OSError, http.client.HTTPException) as error:
            raise Wrong(f"{HOST} cannot be asked ({_why(error)})") from None
        finally:
            connection.close()
        if not 200 <= response.status < 300:
            raise Wrong(REFUSALS.get(response.status, f"Webex answered {response.status}"))
        try:
            answer = json.loads(data)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise Wrong("Webex' answer is none that can be read")
        return answer

    def _connection(self) -> http.client.HTTPSConnection:
        """To Webex, or to the proxy on the way, which sees no more than TLS."""
        proxy = proxy_for(f"{HOST}:{PORT}")
        if not proxy:
            return http.client.HTTPSConnection(HOST, PORT, timeout=CALL_SECONDS, context=self._context)
        parts = urllib.parse.urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        if parts.scheme != "http":
            raise Wrong(f"the bot's proxy is none that the probe can go through ({parts.scheme})")
        connection = http.client.HTTPSConnection(
            parts.hostname or "", parts.port or 80, timeout=CALL_SECONDS, context=self._context
        )
        headers = {}
        if parts.username is not None:
            pair = f"{urllib.parse.unquote(parts.username)}:{urllib.parse.unquote(parts.password or '')}"
            headers["Proxy-Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        connection.set_tunnel(HOST, PORT, headers)
        return connection


def _why(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return "its certificate is not accepted by the system's CAs, nor by a CA file of root's that the bot names"
    refused = re.match(r"Tunnel connection failed: ([0-9]{3})\b", str(error))
    return f"the proxy answers {refused[1]}" if refused else type(error).__name__
