"""What a canary's soak stands for, as one hash: the settings and the project's files that make its release.

A release id names the bytes that one bot runs. That of a canary does not show what a bot of the fleet would get from a
changed template or patch engine, so the soak also carries this hash, and the fleet follows only while it is the same.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from plugin_utils.settings import PROJECT, known_settings, value_of

SETTINGS = (
    "bot_arguments",
    "bot_command",
    "bot_data",
    "bot_environment_drop",
    "bot_environment_keep",
    "bot_hardening",
    "bot_output",
    "bot_python",
    "rollout_stop_timeout",
    "webex_max_retries",
    "webex_open_files",
    "webex_patch_scope",
    "webex_patch_search_paths",
    "webex_pool_connections",
    "webex_pool_maxsize",
    "webex_pool_module",
    "webex_pool_options",
    "webex_request_timeout",
)
"""Settings that change what a bot runs, or how its source is patched. Where a bot is, and how it is watched, do not."""

FILES = (
    "files/webex_pool_config.py",
    "plugin_utils/client_patch/*.py",
    "roles/bot_service/templates/*.j2",
    "roles/client_patch/templates/*.j2",
)
"""Files of the project that do the same, as patterns."""


def settings_hash(bot: str, variables: Mapping[str, Any], project: Path = PROJECT) -> str:
    """The hash for a bot with these variables, as ``hostvars`` has them.

    :raises FileNotFoundError: when a pattern of `FILES` matches nothing: it would be left out without a word.
    """
    settings = {name: plain(value_of(name, bot, variables), known_settings()[name]["type"]) for name in SETTINGS}
    content = json.dumps([settings, _files(project)], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(content.encode()).hexdigest()


def _files(project: Path) -> list[tuple[str, str]]:
    found = []
    for pattern in FILES:
        paths = sorted(project.glob(pattern))
        if not paths:
            raise FileNotFoundError(f"{project / pattern}: no such file, and a canary's soak stands for it")
        found += [
            (path.relative_to(project).as_posix(), hashlib.sha256(path.read_bytes()).hexdigest()) for path in paths
        ]
    return found


def plain(value: Any, kind: str = "") -> Any:
    """A value as plain JSON: `-e x=50` and `x: 50` are the same, and Ansible's own kinds of list and text are too."""
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if kind in ("str", "path"):
        return str(value)
    if kind == "int":
        return int(value)
    return str(value) if isinstance(value, str) else value
