"""Webex ids. The REST API speaks base64 of a `ciscospark://` URI, websocket and conversation service bare UUIDs."""

from __future__ import annotations

import base64
import binascii
import random
import uuid
from collections.abc import Callable


def to_rest_id(kind: str, key: str) -> str:
    """The REST id of an object, e.g. kind `MESSAGE`; base64 without padding, as Webex writes it."""
    return base64.b64encode(f"ciscospark://us/{kind}/{key}".encode()).decode().rstrip("=")


def to_key(any_id: str) -> str:
    """The UUID in an id of either form; what is neither form comes back unchanged, and matches nothing."""
    try:
        text = base64.b64decode(any_id + "=" * (-len(any_id) % 4), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return any_id
    return text.rsplit("/", 1)[-1] if text.startswith("ciscospark://") else any_id


def uuid_source(rng: random.Random) -> Callable[[], str]:
    """A maker of version 4 UUIDs that repeat with the seed of `rng`."""
    return lambda: str(uuid.UUID(int=rng.getrandbits(128), version=4))
