"""What a rollout makes a bot's release from, as one hash: where it is what was confirmed, nothing has to be done again.

Wider than what a canary's soak stands for (gate/settings_hash.py): every setting but those of one run, and the project.
"""

from __future__ import annotations

import functools
import hashlib
import json
from pathlib import Path

from plugin_utils.gate.controls import Variables, vm_settings
from plugin_utils.gate.settings_hash import plain
from plugin_utils.settings import PROJECT, known_settings, value_of

OF_A_RUN = frozenset(
    {
        "bot_scripts",
        "rollout_batches",
        "rollout_skip_canary",
        "rollout_stage",
        "rollout_to",
        "rollout_verdict",
        "rollout_verdict_why",
        "rollout_wait",
        "webex_patch_message",
        "webex_patch_original",
    }
)
"""Settings that say what a run does, and nothing of what a bot becomes."""

FILES = ("files/*", "library/*.py", "module_utils/**/*.py", "plugin_utils/client_patch/**/*.py", "roles/**/*")
"""Everything of the project that reaches a VM, as patterns."""


def inputs(bot: str, variables: Variables, project: Path = PROJECT) -> str:
    """The hash for one bot.

    :param variables: those of all bots, as ``hostvars`` has them.
    """
    own = {
        name: plain(value_of(name, bot, variables[bot]), option["type"])
        for name, option in known_settings().items()
        if name not in OF_A_RUN
    }
    # One file of limits names the users of all bots of a VM.
    users = plain(vm_settings(bot, variables, "bot_user"))
    content = json.dumps([own, users, project_hash(project)], sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(content.encode()).hexdigest()


@functools.cache
def project_hash(project: Path = PROJECT) -> str:
    """The project as it reaches a VM."""
    whole = hashlib.sha256()
    for path in sorted({path for pattern in FILES for path in project.glob(pattern)}):
        if path.is_file() and "__pycache__" not in path.parts:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            whole.update(f"{path.relative_to(project).as_posix()} {digest}\n".encode())
    return whole.hexdigest()
