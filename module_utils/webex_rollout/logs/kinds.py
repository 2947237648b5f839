# SPDX-License-Identifier: GPL-3.0-or-later
"""What kind of error a record shows, in a bounded text that is the same for errors of the same kind."""

from __future__ import annotations

import re

TRACEBACK = b"Traceback (most recent call last)"
# Kinds that are told apart; the rest is `OTHER`.
MAX_KINDS = 32
MAX_LENGTH = 80
OTHER = "other"

_NAMED = rb"[A-Z]\w{0,60}(?:Error|Exception|Timeout|Interrupt|Disconnected|Exit|Group|Closed(?:OK|Error)?)"
_EXCEPTION = re.compile(rb"(?:(?:[A-Za-z_]\w{0,60}\.){1,8}[A-Z]\w{0,80}|" + _NAMED + rb")(?=: |:?\r?\n|:?\Z)")
_LAST_LINE = re.compile(rb"\n(?:[A-Za-z_]\w{0,60}\.){0,8}([A-Za-z_]\w{0,80})(?=:|\s|\Z)")
_IN_MESSAGE = re.compile(rb"(?<![\w.])(?:[A-Za-z_]\w{0,60}\.){0,8}([A-Z]\w{2,60}(?:Error|Exception|Timeout))(?!\w)")
_VARYING = (
    (re.compile(rb"[a-z]+://\S+"), b"<url>"),
    (re.compile(rb"\S+@\S+"), b"<mail>"),
    (re.compile(rb"'[^'\n]*'|\"[^\"\n]*\""), b"<text>"),
    (re.compile(rb"[\w/+=.-]{24,}|\b[0-9a-fA-F-]{8,}\b"), b"<id>"),
    (re.compile(rb"\d+"), b"#"),
    (re.compile(rb"[^ -~]+| {2,}"), b" "),
)


EXCEPTION_LINES = re.compile(rb"\n" + _EXCEPTION.pattern)
"""Finds the newline before each of them."""


def is_exception(line: bytes) -> bool:
    """Whether a line is what a traceback ends with: the exception's class, and what it says."""
    return _EXCEPTION.match(line) is not None


def kind_of(message: bytes, trace: bytes) -> str:
    """The class of the exception that a record shows, else its message without what varies.

    :param trace: what stands in the record beside its message, if anything.
    """
    _, marked, rest = trace.rpartition(TRACEBACK)
    if marked:
        found = _LAST_LINE.search(rest)
        if found:
            return found[1].decode("ascii", "replace")[:MAX_LENGTH]
    named = _IN_MESSAGE.search(message[:400])
    if named:
        return named[1].decode("ascii", "replace")[:MAX_LENGTH]
    text = message[:200].partition(b"\n")[0]
    for pattern, instead in _VARYING:
        text = pattern.sub(instead, text)
    return text.decode("ascii", "replace").strip(" -:|[]")[:MAX_LENGTH].strip() or OTHER
