# SPDX-License-Identifier: GPL-3.0-or-later
"""The texts that show that something went wrong, and what each stands for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..errors import LogError

FAILURE, RECOVERED, NOTICE = "failure", "recovered", "notice"


@dataclass(frozen=True)
class Signature:
    """A literal text: something went wrong. ``kind``: failure, recovered (the record it stands in is one that
    is tried again), or notice (counted, but no failed call)."""

    name: str
    text: str
    kind: str = FAILURE


SIGNATURES = (
    Signature("read_timeout", "Read timed out"),
    # A client without a time-out, ended by the kernel (TCP_USER_TIMEOUT, or 938 s of retransmissions).
    Signature("hang", "Read timed out. (read timeout=None)"),
    Signature("remote_disconnected", "RemoteDisconnected"),
    Signature("connection_aborted", "Connection aborted"),
    Signature("ssl_error", "SSLError"),
    Signature("retry_error", "RetryError"),
    # What a log without tracebacks shows of a RetryError, and of a connection that cannot be made at all.
    Signature("retries_exhausted", "Max retries exceeded"),
    Signature("retrying", "Retrying (Retry(", RECOVERED),
    # The pool module's own repeats, when the bot logs DEBUG; its stats lines count them in any case.
    Signature("pool_repeat", "webex-pool repeat=", RECOVERED),
    # Costs a connection, never a request.
    Signature("pool_full", "Connection pool is full", NOTICE),
)


def signatures_with(extra: Sequence[Mapping[str, str]]) -> tuple[Signature, ...]:
    """The built-in signatures, changed and extended by ``extra`` (name, text, kind); an empty text removes one.

    :raises LogError: for an entry that cannot be searched for.
    """
    merged = {signature.name: signature for signature in SIGNATURES}
    for entry in extra:
        name, text, kind = str(entry.get("name", "")), str(entry.get("text", "")), str(entry.get("kind", FAILURE))
        if not name or "\n" in text or kind not in (FAILURE, RECOVERED, NOTICE):
            raise LogError(
                f"signature {entry!r}: give a name, a text of one line, and a kind ({FAILURE}, {RECOVERED} or {NOTICE})"
            )
        if text:
            merged[name] = Signature(name, text, kind)
        else:
            merged.pop(name, None)
    if not merged:
        raise LogError("no signature is left to search for: remove fewer of them")
    return tuple(merged.values())
