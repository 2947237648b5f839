# SPDX-License-Identifier: GPL-3.0-or-later
"""The processes above a bot: who looks after it, and who might start it again when it ends."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Sequence
from typing import Any

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

# Parents that end with their child: what people's shells run in, and what only waits for a command.
HARMLESS_PARENTS = {"su", "sudo", "doas", "runuser", "login", "cron", "crond", "atd", "systemd"}
WAITING_PARENTS = {
    *("timeout", "script", "setsid", "nohup", "flock", "uv", "uvx", "poetry", "pipenv", "conda", "mamba", "micromamba"),
    *("dotenv", "env", "chronic", "stdbuf", "unbuffer", "time", "nice", "ionice", "taskset", "chrt", "prlimit", "sg"),
    *("newgrp", "systemd-cat", "strace", "firejail", "tini", "dumb-init", "catatonit", "logger", "xargs", "rye", "pdm"),
    *("hatch", "pixi", "direnv", "op", "doppler", "sops", "chpst", "cronic", "start-stop-daem", "daemon"),
}

# What keeps programs alive, by the beginning of its name, and what makes it leave one alone.
SUPERVISORS = {
    "supervisord": "supervisorctl stop <its program>, and take that program out of supervisord's configuration",
    "pm2": "pm2 delete <its name> && pm2 save",
    "node": "pm2 delete <its name> && pm2 save (or what else of Node.js keeps it)",
    "runsv": "sv down <its service>, and remove the service's directory",
    "s6-supervise": "s6-svc -d <its service directory>, and remove that directory",
    "supervise": "svc -d <its service directory>, and remove that directory",
    "circusd": "circusctl rm <its watcher>",
    "monit": "monit unmonitor <its name>, and take it out of monit's configuration",
    "forever": "forever stop <its script>",
    "god": "god stop <its name>",
}

SHELL_LOOP = re.compile(rb"\b(while|until|for|watch)\b")
SCRIPT_SIZE_LIMIT = 256 << 10
SECONDS = 5.0


def restarting_parent_of(pid: int, account: Account) -> dict[str, object] | None:
    """A living ancestor that may start the bot again when it ends (a restart loop, supervisord): ``pid``, ``name``, and
    ``end``, the command that keeps it from doing so. Those that only wait for their child are looked behind.

    :param account: the bots' user. A parent of anybody but him and root starts nothing as him, and shows nothing here.
    """
    for parent in ancestors(pid):
        answer = _role_of(parent, account)
        if answer == "restarts":
            prefix = next((each for each in SUPERVISORS if parent.comm.lower().startswith(each)), "")
            return {"pid": parent.pid, "name": parent.comm, "end": SUPERVISORS.get(prefix, f"kill {parent.pid}")}
        if answer != "waits":
            break
    return None


def restart_problem(name: str, process: Any) -> str:
    """Why a bot cannot be taken from whoever looks after its process (a `Process`); empty if it can be.

    The same for preflight, which asks first, and for the record, without which nothing is changed.
    """
    if process.unit_is_user and process.unit.endswith(".service"):
        return (
            f"{name} runs under {process.unit} of a user's own service manager, which would start it again. "
            f"Disable it there (`systemctl --user disable --now {process.unit}`) and run again: what does not run, the "
            "rollout starts"
        )
    parent = process.restarting_parent
    if parent and not process.supervisor.endswith(".service"):
        return (
            f"{name} (pid {process.pid}) is a child of process {parent['pid']} ({parent['name']}), which may start it "
            f"again when it is stopped. End that so that the bot stays alone (`{parent['end']}`), and run again: what "
            "does not run, the rollout starts"
        )
    return ""


def _role_of(parent: Stat, account: Account) -> str:
    """What an ancestor does: ``restarts`` its child (a shell in a loop, or a program nobody here knows), ``waits`` for
    it, or is the session's ``end``."""
    uids = uids_of(parent.pid)
    if uids not in ((account.uid,) * 4, (0,) * 4):
        return "end"
    if parent.comm in HARMLESS_PARENTS or parent.comm.lower().startswith(("sshd", "tmux", "screen")):
        return "end"
    if parent.comm in WAITING_PARENTS:
        return "waits"
    try:
        cwd = os.readlink(f"/proc/{parent.pid}/cwd")
        path = f"/proc/{parent.pid}/cmdline"
        argv: list[str] = as_account(root_account(), read_nul_list, path, COMMAND_LINE_LIMIT, seconds=SECONDS)
    except OSError:
        return "end"  # it has ended
    except (ValueError, RolloutError):
        return "restarts"
    if not argv:
        return "end"
    called = [os.path.basename(arg) for arg in argv[:2]]
    if WAITING_PARENTS & set(called):  # also those that are written in Python
        return "waits"
    if called[0].lstrip("-") not in SHELL_NAMES:
        return "restarts"
    return "restarts" if _shell_loops(argv, cwd, account, roots=uids == (0,) * 4) else "waits"


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
