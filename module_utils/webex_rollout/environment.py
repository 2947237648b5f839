# SPDX-License-Identifier: GPL-3.0-or-later
"""The environment. A unit starts a bot without the variables of the shell that used to: they are carried over."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from .become import as_account, root_account
from .procfs import MEMORY_SECONDS, read_nul_list
from .system import to_bytes

# Variables that describe the session, terminal or service a process was started from, not what it needs.
SESSION_VARIABLES = (
    *("SSH_*", "SUDO_*", "TMUX", "TMUX_*", "STY", "WINDOW", "TERM", "TERMCAP", "TERM_PROGRAM*", "COLORTERM"),
    *("LINES", "COLUMNS", "DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY", "GPG_AGENT_INFO", "GPG_TTY", "MAIL", "MAILCHECK"),
    *("PWD", "OLDPWD", "SHLVL", "_", "PS[1-4]", "PROMPT_COMMAND", "HIST*", "LS_COLORS", "LESS*", "PAGER", "EDITOR"),
    *("XDG_SESSION_*", "XDG_RUNTIME_DIR", "XDG_SEAT*", "XDG_VTNR", "XDG_GREETER_*", "XDG_CURRENT_DESKTOP"),
    *("DBUS_*", "INVOCATION_ID", "JOURNAL_STREAM", "NOTIFY_SOCKET", "LISTEN_*", "WATCHDOG_*", "MAINPID", "MANAGERPID*"),
    *("SYSTEMD_*", "CREDENTIALS_DIRECTORY", "RUNTIME_DIRECTORY", "STATE_DIRECTORY", "CACHE_DIRECTORY"),
    *("LOGS_DIRECTORY", "CONFIGURATION_DIRECTORY", "MEMORY_PRESSURE_*", "SERVICE_RESULT", "EXIT_CODE", "EXIT_STATUS"),
)


VARIABLE_NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")  # systemd ignores any other


@dataclass
class EnvironmentPlan:
    """What becomes of a process's variables. ``carried`` holds values: never show it. The rest are names."""

    carried: dict[str, str] = field(default_factory=dict, repr=False)
    dropped: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def names(self) -> dict[str, list[str]]:
        """The same without values."""
        return {"carried": sorted(self.carried), "dropped": sorted(self.dropped), "refused": sorted(self.refused)}


def plan_environment(environment: Sequence[str], keep: Sequence[str] = (), drop: Sequence[str] = ()) -> EnvironmentPlan:
    """Sort variables into carried, dropped (of the session, or as set) and refused (systemd could not hand them on).

    `keep` and `drop` are shell patterns of names; `keep` wins over `drop`, and both over the built-in list.
    """
    plan = EnvironmentPlan()
    seen = set()
    for assignment in environment:
        name, equals, value = assignment.partition("=")
        if not equals or name in seen:  # of two assignments, getenv(3) and Python see the first
            continue
        seen.add(name)
        kept = any(fnmatch.fnmatchcase(name, pattern) for pattern in keep)
        if not kept and any(fnmatch.fnmatchcase(name, pattern) for pattern in (*drop, *SESSION_VARIABLES)):
            plan.dropped.append(name)
        elif not VARIABLE_NAME.match(name) or not _is_utf8(value):
            plan.refused.append(name)
        else:
            plan.carried[name] = value
    return plan


def _is_utf8(value: str) -> bool:
    """False for bytes that were not UTF-8: systemd rejects the whole file over one such value."""
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def render_environment(bot: str, carried: Mapping[str, str]) -> bytes:
    """An ``EnvironmentFile=``. Between double quotes systemd reads a backslash before ``" \\ ` $`` as an escape and
    everything else, newlines included, as it stands (systemd.exec(5), src/basic/env-file.c)."""
    lines = [f"# Variables of the process that {bot} was found as. Not for other eyes: it may hold tokens.\n"]
    for name in sorted(carried):
        escaped = re.sub(r'(["\\`$])', r"\\\1", carried[name])
        lines.append(f'{name}="{escaped}"\n')
    return to_bytes("".join(lines))


def missing_variables(pid: int, carried: Mapping[str, str]) -> list[str]:
    """Names of the carried variables that a process did not get byte for byte."""
    environ = as_account(root_account(), read_nul_list, f"/proc/{pid}/environ", seconds=MEMORY_SECONDS)
    found = dict(reversed([e.split("=", 1) for e in environ if "=" in e]))
    return sorted(name for name, value in carried.items() if found.get(name) != value)
