# SPDX-License-Identifier: GPL-3.0-or-later
"""The processes above a bot: who looks after it, and who might start it again when it ends."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Sequence

from .become import Account, as_account, root_account
from .command_line import SHELL_NAMES
from .errors import RolloutError
from .procfs import COMMAND_LINE_LIMIT, Stat, ancestors, read_nul_list, uids_of
from .tree import is_roots

SESSION_MULTIPLEXERS = {"tmux": "tmux", "screen": "screen"}

# Services which start people's sessions and jobs: a process in their cgroup is not theirs to restart.
SESSION_SERVICES = re.compile(
    r"(sshd?|crond?|atd|anacron|telnet|([a-z]+-)?getty|user|emergency|rescue|debug-shell)(@.*)?\.service"
)

# Parents that end with their child, and those which people's shells run in.
HARMLESS_PARENTS = {"su", "sudo", "timeout", "script", "setsid", "nohup", "login", "cron", "crond", "atd", "systemd"}

SHELL_LOOP = re.compile(rb"\b(while|until|for|watch)\b")
SCRIPT_SIZE_LIMIT = 256 << 10
SECONDS = 5.0


def restarting_parent_of(pid: int, account: Account) -> dict[str, object] | None:
    """A living parent that may start the bot again when it ends (a restart loop, supervisord), as pid and name.

    :param account: the bots' user. A parent of anybody but him and root starts nothing as him, and shows nothing here.
    """
    parent = next(ancestors(pid), None)
    return {"pid": parent.pid, "name": parent.comm} if parent and _may_restart(parent, account) else None


def _may_restart(parent: Stat, account: Account) -> bool:
    """Whether a parent could start its child again: a shell in a loop, or a program nobody here knows."""
    uids = uids_of(parent.pid)
    if uids not in ((account.uid,) * 4, (0,) * 4):
        return False
    if parent.comm in HARMLESS_PARENTS or parent.comm.lower().startswith(("sshd", "tmux", "screen")):
        return False
    try:
        cwd = os.readlink(f"/proc/{parent.pid}/cwd")
        path = f"/proc/{parent.pid}/cmdline"
        argv: list[str] = as_account(root_account(), read_nul_list, path, COMMAND_LINE_LIMIT, seconds=SECONDS)
    except OSError:
        return False  # it has ended
    except (ValueError, RolloutError):
        return True
    if not argv or os.path.basename(argv[0].lstrip("-")) not in SHELL_NAMES:
        return bool(argv)
    return _shell_loops(argv, cwd, account, roots=uids == (0,) * 4)


def _shell_loops(argv: Sequence[str], cwd: str, account: Account, roots: bool) -> bool:
    """Whether a shell runs a loop. Its script is read by the bots' user, or by root if it is root's alone to change."""
    arguments = [arg for arg in argv[1:] if not arg.startswith("-")]
    if not arguments:  # a login or terminal shell
        return False
    if any(re.fullmatch(r"-[a-z]*c", arg) for arg in argv[1:]):
        return bool(SHELL_LOOP.search(os.fsencode(arguments[0])))
    path = os.path.join(cwd, arguments[0])
    reader = root_account() if roots and is_roots(path) else account
    try:
        return bool(as_account(reader, _file_loops, path, seconds=SECONDS))
    except (OSError, ValueError, RolloutError):
        return True  # nobody can tell


def _file_loops(path: str) -> bool:
    """Whether a shell script has a loop; anything but a file of a script's size might."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    with os.fdopen(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return True
        content = file.read(SCRIPT_SIZE_LIMIT + 1)
    return len(content) > SCRIPT_SIZE_LIMIT or bool(SHELL_LOOP.search(content))


def supervisor_of(pid: int, ignores_hangup: bool, unit: str) -> str:
    """Who looks after a process: a unit's name, ``tmux``, ``screen``, ``nohup`` or ``other``."""
    for ancestor in ancestors(pid):
        for prefix, name in SESSION_MULTIPLEXERS.items():
            if ancestor.comm.lower().startswith(prefix):
                return name
    if unit.endswith(".service") and not SESSION_SERVICES.fullmatch(unit):
        return unit
    return "nohup" if ignores_hangup else "other"
