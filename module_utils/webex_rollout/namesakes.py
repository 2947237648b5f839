# SPDX-License-Identifier: GPL-3.0-or-later
"""Namesakes: processes of other users that name a bot's script. They are a note, and nothing else."""

from __future__ import annotations

import os
import pwd
from collections.abc import Sequence
from typing import NamedTuple

from .become import account_of, as_account, root_account
from .command_line import is_python, python_paths
from .errors import RolloutError
from .processes import LOOK_SECONDS, Bot
from .procfs import COMMAND_LINE_LIMIT, UNANSWERED, all_pids, for_each, read_nul_list, same_root, uids_of

NAMESAKES_SHOWN = 20


class Namesake(NamedTuple):
    """A process of another user whose command line names the bot's script: a note, and nothing else."""

    pid: int
    user: str


def find_namesakes(bot: Bot) -> list[Namesake]:
    """Processes of other users whose command line names the bot's script, the first NAMESAKES_SHOWN of them.

    Their paths are compared as they are written: no link of theirs is followed, nothing but /proc is read.
    """
    try:
        uid = account_of(bot.user).uid
        paths = {os.path.normpath(os.path.join(bot.home, bot.script)), bot.script_path}
        found = as_account(root_account(), _find_named, uid, sorted(paths), seconds=LOOK_SECONDS)
    except (RolloutError, OSError):
        return []  # a note that cannot be had keeps nobody from anything
    return [Namesake(pid, _user_of(uid)) for pid, uid in found[:NAMESAKES_SHOWN]]


def _find_named(uid: int, paths: Sequence[str]) -> list[tuple[int, int]]:
    def named(pid: int) -> tuple[int, int] | None:
        uids = uids_of(pid)
        if not uids or uids == (uid,) * 4:
            return None
        argv = read_nul_list(f"/proc/{pid}/cmdline", COMMAND_LINE_LIMIT)
        if not argv or not is_python(argv[0]) or not same_root(pid):
            return None
        targets = python_paths(argv, os.readlink(f"/proc/{pid}/cwd"))
        return (pid, uids[1]) if any(os.path.normpath(target) in paths for target in targets) else None

    return [one for one in for_each(named, all_pids()) if one not in (None, UNANSWERED)]


def _user_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
