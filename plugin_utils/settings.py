"""Names of the public settings: which there are, and which one a misspelt name was meant to be."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path

import yaml

PREFIXES = ("bot_", "rollout_", "webex_")


def known_settings(roles: Path) -> dict[str, str]:
    """Every public setting and the role that documents it, read from the roles' argument specifications."""
    known: dict[str, str] = {}
    for path in sorted(roles.glob("*/meta/argument_specs.yml")):
        specification = yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"]
        for entry in specification.values():
            known.update(dict.fromkeys(entry.get("options", {}), path.parent.parent.name))
    return known


def unknown_settings(names_by_bot: Mapping[str, Iterable[str]], known: Iterable[str]) -> list[str]:
    """One sentence for each name that begins like a setting and is none, with the nearest name that is one."""
    candidates = sorted(known)
    bots_by_name: dict[str, list[str]] = {}
    for bot, names in names_by_bot.items():
        for name in names:
            if name.startswith(PREFIXES) and name not in candidates:
                bots_by_name.setdefault(str(name), []).append(bot)
    sentences = []
    for name, bots in sorted(bots_by_name.items()):
        nearest = difflib.get_close_matches(name, candidates, n=1, cutoff=0.6)
        hint = f"did you mean {nearest[0]}?" if nearest else "README.md lists the settings"
        sentences.append(f"{name} (set for {', '.join(bots)}) is no setting of this project; {hint}")
    return sentences
