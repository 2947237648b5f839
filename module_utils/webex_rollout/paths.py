# SPDX-License-Identifier: GPL-3.0-or-later
"""Where things are on the VM: the one place that spells directories, files and unit names."""

from __future__ import annotations

import os
import re

from .errors import RolloutError

STATE_DIR = "/var/lib/webex-rollout"
PROGRAM = "/usr/local/sbin/webex-rollout"
CACHE_DIR = "/var/cache/webex-rollout"
ENVIRONMENT_DIR = "/etc/webex-bots"
UNIT_DIR = "/etc/systemd/system"
# Webhooks that events are sent to: secrets, readable by root alone.
NOTIFY_FILE = f"{ENVIRONMENT_DIR}/notify.json"
# Gone with the boot: which children hang.
RUN_DIR = "/run/webex-rollout"
# The token of the account that probes the bots: a secret, too.
PROBE_TOKEN_FILE = f"{ENVIRONMENT_DIR}/probe-token"
OWN_UNITS = "webex-bot@"
# Directories of the units, one a bot: gone when the unit stops, and kept when it is started anew.
UNITS_RUN_DIR = "/run/webex-bots"
GUARD_TIMER = "webex-rollout-guard.timer"
WATCH_TIMER = "webex-rollout-watch.timer"
SAMPLING_TIMER = "webex-rollout-soak.timer"  # of version 0.1.0


def checked_name(bot: str) -> str:
    """A bot's name that is one directory and one unit instance.

    :raises RolloutError: when it is not.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", bot):
        raise RolloutError(
            f"{bot!r} cannot be a bot's name: use letters, digits, `_`, `.` and `-`, a letter or digit first"
        )
    return bot


def checked_release(release: str) -> str:
    """A release's name that is one directory.

    :raises RolloutError: when it is not.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", release):
        raise RolloutError(f"{release!r} cannot be a release's name; `webex-rollout status` shows them")
    return release


def unit_name(bot: str) -> str:
    """The unit that the rollout runs a bot under, by the bot's name."""
    return f"{OWN_UNITS}{bot}.service"


def environment_file(bot: str) -> str:
    """The variables that a bot's unit carries over from the process that was found; readable by root alone."""
    return f"{ENVIRONMENT_DIR}/{bot}.env"


def runtime_directory(bot: str) -> str:
    """Where a bot's pool module has its channel: the unit's own, gone with the boot, as the unit names it."""
    return f"{UNITS_RUN_DIR}/{bot}"


def is_below(path: str, directory: str) -> bool:
    """Whether a path is a directory or in it, as both are written; no link is followed."""
    return path == directory or path.startswith(directory.rstrip("/") + "/")


def absolute(home: str, path: str) -> str:
    """A path of a bot as its settings give it: relative to the checkout `home`, or absolute."""
    return os.path.normpath(os.path.join(home, path))


def relative(home: str, path: str) -> str:
    """The same relative to the checkout, where it is in it."""
    whole = absolute(home, path)
    return os.path.relpath(whole, home) if is_below(whole, home) and whole != home else path
