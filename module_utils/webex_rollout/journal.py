# SPDX-License-Identifier: GPL-3.0-or-later
"""Entries in the journal, with fields: ``journalctl WEBEX_BOT=jarvis``, ``journalctl -t webex-rollout -o json``.

Interface: `write` for an entry, `message_id` for the constant id of a kind of event, `plain` for text that came from
the VM's side and is going to be read by people. The native protocol is used
(https://systemd.io/JOURNAL_NATIVE_PROTOCOL/): one datagram an entry, values of any bytes. Where nobody listens, the
message goes to standard error. No field ever holds a secret: the callers give names and numbers.
"""

from __future__ import annotations

import re
import socket
import struct
import sys
import unicodedata
import uuid
from collections.abc import Mapping

from .system import to_bytes

SOCKET = "/run/systemd/journal/socket"
IDENTIFIER = "webex-rollout"
# Of syslog(3).
ALERT, ERROR, WARNING, NOTICE, INFO = 1, 3, 4, 5, 6
VALUE_LIMIT = 8192
FIELDS_AT_MOST = 64
# Message ids are derived from this one and the kind's name, so that they never change and none is chosen twice.
_FAMILY = uuid.UUID("5f0c7a55-6d0e-4c6e-9a3e-0e6c1d1f4b52")
_NAME = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
_LINK = re.compile(r"\b([a-z][a-z0-9+.-]{1,15})://([^\s\"'<>]*)", re.IGNORECASE)


def message_id(kind: str) -> str:
    """The ``MESSAGE_ID`` of a kind of event: 32 hex digits, the same for ever."""
    return uuid.uuid5(_FAMILY, kind).hex


def plain(text: str, limit: int = 500) -> str:
    """Text as one harmless line: control and formatting characters escaped, of a link only its host, bounded.

    A link's path, query and password may be a secret, and a link in a message is one that somebody follows.

    :param limit: characters.
    """
    text = _LINK.sub(lambda link: _host(link.group(2)), text[: 20 * limit])
    text = "".join(_shown(character) for character in re.sub(r"\s+", " ", text).strip()[: limit + 1])
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _host(rest: str) -> str:
    """What may be shown of a link: the host, without a user's name and password."""
    return re.split(r"[/?#]", rest, maxsplit=1)[0].rpartition("@")[2] or "a link"


def _shown(character: str) -> str:
    """Invisible characters, those that turn the direction of text, and halves of pairs by their numbers."""
    if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"):
        number = ord(character)
        return f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}"
    return character


def encoded(fields: Mapping[str, str]) -> bytes:
    """An entry as the journal takes it. A value with a newline has its length in front of it instead of ``=``.

    :raises ValueError: when a name could not be a field's: capitals, digits and ``_``, a capital first.
    """
    parts = []
    for name, value in list(fields.items())[:FIELDS_AT_MOST]:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} cannot be the name of a journal's field")
        data = to_bytes(value)[:VALUE_LIMIT]
        if b"\n" in data:
            parts += [name.encode(), b"\n", struct.pack("<Q", len(data)), data, b"\n"]
        else:
            parts += [name.encode(), b"=", data, b"\n"]
    return b"".join(parts)


def write(
    message: str,
    fields: Mapping[str, object] | None = None,
    *,
    priority: int = INFO,
    kind: str = "",
    path: str = SOCKET,
) -> bool:
    """Write one entry; whether the journal took it. Never raises for a journal that is not there, full or slow.

    :param fields: further fields, such as ``WEBEX_BOT``; those with an empty value are left out.
    :param kind: of event: ``WEBEX_EVENT``, and by `message_id` its ``MESSAGE_ID``.
    :raises ValueError: for a name that no field can have.
    """
    entry = {"MESSAGE": message, "PRIORITY": str(priority), "SYSLOG_IDENTIFIER": IDENTIFIER}
    if kind:
        entry.update(MESSAGE_ID=message_id(kind), WEBEX_EVENT=kind)
    entry.update({name: str(value) for name, value in (fields or {}).items() if str(value) and name not in entry})
    data = encoded(entry)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sending:
            sending.settimeout(2.0)
            sending.connect(path)
            sending.sendall(data)
        return True
    except OSError:
        print(f"{IDENTIFIER}: {plain(message, VALUE_LIMIT)}", file=sys.stderr)
        return False
