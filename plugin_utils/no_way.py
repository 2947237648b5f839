"""Why a bot's VM cannot be worked on: by SSH, by sudo, or because the look at its bots has failed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def no_way(way: Mapping[str, Any], bot: str, host: str, user: str, port: object = "") -> str:
    """One sentence with the next step.

    :param way: the failed result of `bot_info`; of an unreachable VM Ansible's own.
    :param host: how the VM is called, and `user` who works on it; empty where nothing says so.
    """
    message = str(way.get("msg") or "")
    if way.get("unreachable"):
        given = f"-p {port} " if port else ""
        return (
            f"{bot}: cannot work on {user or '?'}@{host} ({message.strip() or 'no answer'}). Nothing was changed. "
            f"Try `ssh {given}{user or '?'}@{host}`, then correct ansible_host, ansible_user or the key."
        )
    # A failure of the look itself is a sentence of its own; what sudo and Python say is not.
    if "bots" in way:
        return f"{bot}: {message}. Nothing was changed."
    who = user or "this user"
    said = f"{message} {way.get('module_stderr') or ''}".strip()
    return (
        f"{bot}: {who} cannot become root on {host} ({said}). Nothing was changed. Give {who} sudo there, or run with "
        "--ask-become-pass."
    )
