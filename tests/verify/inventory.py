"""The settings of each bot as Ansible resolves them, for tools that are not a playbook."""

from __future__ import annotations

import contextlib
import inspect
import posixpath
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleUndefinedVariable
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible.vars.manager import VariableManager

PROJECT = Path(__file__).resolve().parents[2]
DEFAULTS = PROJECT / "roles" / "settings" / "defaults" / "main.yml"


def bot_settings(sources: Sequence[str], pattern: str = "bots") -> dict[str, dict[str, Any]]:
    """Every setting of every bot that the pattern matches, by bot; defaults, inventory and templates resolved.

    Connection variables (`ansible_*`) are among them. A setting that needs what only a play knows is left out.
    """
    loader = DataLoader()
    inventory = InventoryManager(loader=loader, sources=list(sources))
    manager = VariableManager(loader=loader, inventory=inventory)
    defaults = _load_templates(loader, DEFAULTS)
    settings: dict[str, dict[str, Any]] = {}
    for host in inventory.get_hosts(pattern):
        variables = {**defaults, **manager.get_vars(host=host)}
        templar = Templar(loader=loader, variables=variables)
        names = [name for name in variables if name in defaults or name.startswith("ansible_")]
        settings[host.name] = {}
        for name in names:
            with contextlib.suppress(AnsibleUndefinedVariable):
                if name != "ansible_version":
                    settings[host.name][name] = templar.template(variables[name])
    return settings


def in_full(settings: Mapping[str, Any], home_of: Callable[[str], str]) -> dict[str, Any]:
    """A bot's settings with its paths as the VM has them: absolute, but for the script, which is the checkout's.

    :param home_of: the home directory of a user of the VM.
    """

    def whole(path: str) -> str:
        if not path.startswith("~"):
            return path
        name, slash, rest = path[1:].partition("/")
        return home_of(name or settings["bot_user"]) + slash + rest

    home = posixpath.normpath(whole(settings["bot_home"]))
    paths = {
        name: posixpath.normpath(posixpath.join(home, whole(settings[name]))) for name in ("bot_log", "bot_python")
    }
    script = posixpath.relpath(posixpath.join(home, whole(settings["bot_script"])), home)
    return {**settings, **paths, "bot_home": home, "bot_script": script}


def _load_templates(loader: DataLoader, path: Path) -> dict[str, Any]:
    """Load YAML whose strings may be templates; from ansible-core 2.19 on, that has to be said."""
    if "trusted_as_template" in inspect.signature(loader.load_from_file).parameters:
        loaded: dict[str, Any] = loader.load_from_file(str(path), trusted_as_template=True)
    else:
        loaded = loader.load_from_file(str(path))
    return loaded
