"""Diffs as Ansible's results carry them, made into unified text that may be shown."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from plugin_utils.report.mask import mask

MAX_LINES = 1500
"""Lines of one diff that a report keeps; a file that is new is all additions."""

MAX_COMPARED = 20_000
"""Lines of a file above which no diff is made: difflib takes quadratic time in the worst case."""

# What a bot gets as its environment is nobody's to read, masked or not.
WITHHELD_DIRECTORY, WITHHELD_SUFFIX = "/etc/webex-bots/", ".env"


@dataclass(frozen=True)
class Diff:
    """One file's change: `text` in unified form, at most MAX_LINES lines; `note` says what is left out, and why."""

    text: str = ""
    added: int = 0
    removed: int = 0
    note: str = ""


def is_withheld(path: str) -> bool:
    """Whether a file's contents never go into a report."""
    return path.startswith(WITHHELD_DIRECTORY) or path.endswith(WITHHELD_SUFFIX)


def make_diff(path: str, item: Mapping[str, Any]) -> Diff:
    """One entry of a result's `diff`: `before` and `after`, texts or values, or what the module prepared."""
    if is_withheld(path):
        return Diff(note="an environment's contents are not shown")
    if "prepared" in item:
        return _shortened(mask(str(item["prepared"])).splitlines())
    for key in ("src_binary", "dst_binary", "src_larger", "dst_larger"):
        if item.get(key):
            return Diff(note="binary" if "binary" in key else f"too large to show (more than {item[key]} bytes)")
    before, after = (mask(_text(item.get(side, ""))).splitlines() for side in ("before", "after"))
    if len(before) + len(after) > MAX_COMPARED:
        return Diff(note=f"{len(before)} lines before, {len(after)} after; too many to compare here")
    lines = list(difflib.unified_diff(before, after, "before", "after", lineterm=""))
    return _shortened(lines[2:])  # the names of the sides say nothing here


def _text(side: Any) -> str:
    """Modules give attributes (owner, mode, state) as a mapping."""
    if side is None:
        return ""
    if isinstance(side, str):
        return str(side)
    return json.dumps(side, indent=2, sort_keys=True, default=str)


def _shortened(lines: list[str]) -> Diff:
    added = sum(line.startswith("+") and not line.startswith("+++ ") for line in lines)
    removed = sum(line.startswith("-") and not line.startswith("--- ") for line in lines)
    note = f"{len(lines) - MAX_LINES} more lines are not shown" if len(lines) > MAX_LINES else ""
    return Diff("\n".join(lines[:MAX_LINES]), added, removed, note)
