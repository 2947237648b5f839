"""The bots' accounts: who a token belongs to, and the environment that carries the tokens to the bots."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

DISPLAY_NAMES = {
    "jarvis": "Jarvis",
    "tars": "TARS",
    "toodles": "Toodles",
    "barnacles": "Barnacles",
    "money_ball": "Money Ball",
    "msoar": "mSOAR",
}
"""The six bots of the lab, by the name of their script."""

WAR_ROOM_KEY = "b0d3a9c2-1f4e-4c8a-9a55-0c6f6d3f7a01"
OUTREACH_ROOM_KEY = "b0d3a9c2-1f4e-4c8a-9a55-0c6f6d3f7a02"


@dataclass(frozen=True)
class Account:
    """One bot account. The token is a secret of the lab like any other: it stays out of `repr` and of arguments."""

    bot: str
    display_name: str
    email: str
    token: str = field(repr=False)


def new_accounts(bots: Iterable[str] = tuple(DISPLAY_NAMES)) -> list[Account]:
    """Accounts with fresh random tokens."""
    return [
        Account(bot, DISPLAY_NAMES.get(bot, bot.title()), f"{bot}@webex.bot", secrets.token_urlsafe(48)) for bot in bots
    ]


def save_accounts(path: Path, accounts: Iterable[Account]) -> None:
    """Write the accounts, tokens included, readable by the owner alone."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        json.dump([asdict(account) for account in accounts], stream, indent=1)


def load_accounts(path: Path) -> list[Account]:
    """Read what `save_accounts` wrote. Raises OSError, ValueError or TypeError on anything else."""
    return [Account(**row) for row in json.loads(path.read_text())]


def token_variable(bot: str) -> str:
    """The environment variable from which the checkout's my_config.py takes the bot's token."""
    return f"WEBEX_BOT_ACCESS_TOKEN_{bot.upper()}"
