# SPDX-License-Identifier: GPL-3.0-or-later
"""What preflight has read and worked out of a bot's patch, for later in the run: to read and edit again costs most.

Kept in the run's own directory on the controller, which Ansible makes for its user alone and removes at the end.
"""

from __future__ import annotations

import base64
import hashlib
import json
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible import constants


@dataclass
class Foreseen:
    """A patch before it is written."""

    known: dict[str, list[str]]
    """By path of the checkout, which contents the patch holds for, as hashes; an empty one is no file at all."""
    before: dict[str, bytes]
    """The sources that change, by path, as they are."""
    sources: dict[str, bytes]
    """The same, patched."""
    result: dict[str, Any]
    """What the action returns of it besides."""


class Kept:
    """The place of one bot's patch."""

    def __init__(self, host: str, arguments: Mapping[str, Any]) -> None:
        """Name it by the bot and by all that was asked for."""
        asked = json.dumps([host, arguments], sort_keys=True).encode()
        self.path = Path(constants.DEFAULT_LOCAL_TMP) / f"webex-patch-{hashlib.sha256(asked).hexdigest()}.json"

    def put(self, foreseen: Foreseen) -> None:
        """Keep a patch."""
        text = {
            "known": foreseen.known,
            "before": {path: base64.b64encode(data).decode("ascii") for path, data in foreseen.before.items()},
            "sources": {path: base64.b64encode(data).decode("ascii") for path, data in foreseen.sources.items()},
            "result": foreseen.result,
        }
        self.path.write_text(json.dumps(text), encoding="ascii")

    def take(self) -> Foreseen | None:
        """The patch, if this run has worked it out."""
        try:
            text = json.loads(self.path.read_text(encoding="ascii"))
        except FileNotFoundError:
            return None
        before, sources = (
            {path: base64.b64decode(data) for path, data in text[name].items()} for name in ("before", "sources")
        )
        return Foreseen(text["known"], before, sources, text["result"])


class SourcesAhead:
    """What the look at a VM has read of one bot's sources, for the patch that is worked out next."""

    def __init__(self, bot: str, home: str, script: str, directories: Sequence[str]) -> None:
        """Name it by what was read."""
        asked = json.dumps([bot, home, posixpath.normpath(script), list(directories)]).encode()
        self.path = Path(constants.DEFAULT_LOCAL_TMP) / f"webex-sources-{hashlib.sha256(asked).hexdigest()}.json"

    def put(self, answer: Mapping[str, Any]) -> None:
        """Keep an answer of the VM, with ``tried`` and ``contents``."""
        self.path.write_text(json.dumps(answer), encoding="ascii")

    def take(self) -> dict[str, Any] | None:
        """The answer, once: later it may be out of date."""
        try:
            answer: dict[str, Any] = json.loads(self.path.read_text(encoding="ascii"))
        except FileNotFoundError:
            return None
        self.path.unlink()
        return answer


def known_of(tried: Mapping[str, bytes | None], pool_file: str, pool_module: Path) -> dict[str, list[str]]:
    """The contents that a patch holds for: those that were read, and, in its place, the pool module.

    :param tried: what was read, by path; None where there is no file.
    :param pool_file: where the pool module goes, or has gone since; empty for nowhere.
    """
    known = {path: ["" if data is None else hashlib.sha256(data).hexdigest()] for path, data in tried.items()}
    if pool_file in known:
        known[pool_file].append(hashlib.sha256(pool_module.read_bytes()).hexdigest())
    return known
