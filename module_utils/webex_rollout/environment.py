# SPDX-License-Identifier: GPL-3.0-or-later
"""The environment. A unit starts a bot without the variables of the shell that used to: they are carried over."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

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


# Variables by which whoever sets them decides which code a loader, an interpreter or a shell runs. Certificates and
# proxies (SSL_CERT_FILE, REQUESTS_CA_BUNDLE, HTTPS_PROXY) are none: bots need them.
STEERING_VARIABLES = (
    *("LD_*", "GLIBC_TUNABLES", "MALLOC_*", "GCONV_PATH", "GETCONF_DIR", "LOCPATH", "NLSPATH", "TZDIR"),
    *("HOSTALIASES", "LOCALDOMAIN", "RESOLV_*", "RES_OPTIONS", "OPENSSL_CONF*", "OPENSSL_ENGINES", "OPENSSL_MODULES"),
    *("BASH_*", "ENV", "SHELLOPTS", "BASHOPTS", "IFS", "CDPATH", "GLOBIGNORE", "EXECIGNORE", "ZDOTDIR", "FPATH"),
    *("PYTHON*", "__PYVENV_*", "PERL*", "RUBY*", "GEM_HOME", "GEM_PATH", "BUNDLE_*", "NODE_*", "LUA_*", "TCL*"),
    *("PHPRC", "PHP_INI_*", "AWKPATH", "AWKLIBPATH", "CLASSPATH", "JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS"),
    *("_JAVA_OPTIONS", "GIT_SSH*", "GIT_EXEC_PATH", "GIT_CONFIG*", "GIT_ASKPASS", "GIT_PROXY_COMMAND", "SSH_ASKPASS"),
    *("GIO_*MODULES", "GTK_*MODULES", "QT_*PLUGIN_PATH"),
)
# Python's own that make it run nothing else, or less.
HARMLESS_VARIABLES = {
    *("PYTHONUNBUFFERED", "PYTHONIOENCODING", "PYTHONUTF8", "PYTHONDONTWRITEBYTECODE", "PYTHONHASHSEED"),
    *("PYTHONNOUSERSITE", "PYTHONSAFEPATH", "PYTHONFAULTHANDLER", "PYTHONOPTIMIZE", "PYTHONCOERCECLOCALE"),
}


VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")  # systemd ignores any other


@dataclass
class EnvironmentPlan:
    """What becomes of a process's variables. ``carried`` holds values: never show it. The rest are names."""

    carried: dict[str, str] = field(default_factory=dict, repr=False)
    dropped: list[str] = field(default_factory=list)
    steering: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def names(self) -> dict[str, list[str]]:
        """The same without values."""
        return {
            "carried": sorted(self.carried),
            "dropped": sorted(self.dropped),
            "steering": sorted(self.steering),
            "refused": sorted(self.refused),
        }


def steers(name: str) -> bool:
    """Whether a variable decides which code runs: such a one is carried over only if `bot_environment_keep` has it."""
    return name not in HARMLESS_VARIABLES and _is_one_of(name, STEERING_VARIABLES)


def _is_one_of(name: str, patterns: Iterable[str]) -> bool:
    return _any_of(tuple(patterns)).match(name) is not None


@lru_cache(maxsize=64)
def _any_of(patterns: tuple[str, ...]) -> re.Pattern[str]:
    """One expression for all: a process may have half a million variables."""
    return re.compile("|".join(map(fnmatch.translate, patterns)) or "(?!)")


def plan_environment(environment: Sequence[str], keep: Sequence[str] = (), drop: Sequence[str] = ()) -> EnvironmentPlan:
    """Sort variables into carried, dropped (of the session, or as set), steering (which decide what code runs, so they
    are dropped unless asked for) and refused (systemd could not hand them on).

    `keep` and `drop` are shell patterns of names; `keep` wins over `drop`, and both over the built-in lists.
    """
    plan = EnvironmentPlan()
    seen = set()
    for assignment in environment:
        name, equals, value = assignment.partition("=")
        if not equals or name in seen:  # of two assignments, getenv(3) and Python see the first
            continue
        seen.add(name)
        kept = _is_one_of(name, keep)
        if not kept and _is_one_of(name, (*drop, *SESSION_VARIABLES)):
            plan.dropped.append(name)
        elif not kept and steers(name):
            plan.steering.append(name)
        elif not VARIABLE_NAME.fullmatch(name) or not _is_utf8(value):
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
