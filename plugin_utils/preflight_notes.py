"""What preflight says of a bot although nothing forbids its rollout: accounts, the way to root, confinement."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

STANDARD = (
    "programs with more rights than {user}'s own (sudo, ping with a capability, crontab, newgrp)",
    "{user}'s service manager and keyring (/run/user)",
    "~{user}/.ssh",
    "writing anything of ~{user} but {writable}",
    "devices, the clock, kernel settings and modules",
)
STRICT = (
    "writing anything else but a /tmp of its own and /dev/shm: its source is read-only",
    "D-Bus",
    "the processes of other users",
    "shared memory of System V with other processes",
    "other sockets than Unix, IPv4 and IPv6",
    "new namespaces, and system calls that no service needs",
)


@dataclass(frozen=True)
class About:
    """What a note may be about."""

    bot: str
    host: str
    ansible_user: str
    bot_user: str
    leader: bool
    """Whether this bot speaks for its VM."""
    pipelining: Callable[[], bool]
    """Asked only where it matters: the answer takes loading a plugin, in each bot's process anew."""
    hardening: str
    writable: Sequence[str]
    """What the bot may write below its user's home when it is confined."""
    found: Sequence[str] = ()
    """What the VM itself notes of the bot."""
    programs: Sequence[Mapping[str, Any]] = field(default=())
    """Programs that its source names and confinement may break, each with `path`, `line` and `name`."""
    findings: Sequence[Mapping[str, Any]] = field(default=())
    """Clients that stay without the pool, each with `path`, `line`, `column` and `message`."""


def notes(about: About) -> list[str]:
    """The notes, each a sentence or two."""
    unpooled = [f"{each['path']}:{each['line']}:{each['column']}: {each['message']}" for each in about.findings]
    return [*_accounts(about), *_confinement(about), *about.found, *unpooled]


def _accounts(about: About) -> list[str]:
    user = about.bot_user
    if not about.leader or user == "root" or user != about.ansible_user:
        return []
    said = [
        f"{user} is both ansible_user and bot_user on {about.host}: whoever takes over a bot of {user}'s is root "
        "there, by the sudo that Ansible uses. Give Ansible an account of its own"
    ]
    if not about.pipelining():
        said.append(
            f"pipelining is switched off, so what root runs on {about.host} passes through files that {user}'s bots "
            "can change. Switch it on (ANSIBLE_PIPELINING=true), or give Ansible an account of its own"
        )
    return said


def _confinement(about: About) -> list[str]:
    if about.hardening not in ("standard", "strict"):
        return []
    takes = STANDARD if about.hardening == "standard" else STANDARD + STRICT
    words = {"user": about.bot_user, "writable": " and ".join(about.writable)}
    said = f"bot_hardening: {about.hardening} takes from {about.bot}: {'; '.join(takes).format(**words)}"
    named = [f"{each['name']} ({each['path']}:{each['line']})" for each in about.programs]
    return [f"{said}. Its source names {', '.join(named)}" if named else said]
