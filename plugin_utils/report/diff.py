"""Diffs as Ansible's results carry them, made into unified text that may be shown."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from plugin_utils.report.mask import mask_diff
from plugin_utils.report.model import Diff

MAX_LINES = 1500
"""Lines of one diff that a report keeps; a file that is new is all additions."""

MAX_COMPARED = 20_000
"""Lines of a file above which no diff is made: difflib takes quadratic time in the worst case."""

# What a bot gets as its environment is nobody's to read, masked or not.
WITHHELD_DIRECTORY, WITHHELD_SUFFIX = "/etc/webex-bots/", ".env"


def is_withheld(path: str) -> bool:
    """Whether a file's contents never go into a report."""
    return path.startswith(WITHHELD_DIRECTORY) or path.endswith(WITHHELD_SUFFIX)


def make_diff(path: str, item: Mapping[str, Any]) -> Diff:
    """One entry of a result's `diff` as a report shows it: masked, in unified form, at most MAX_LINES lines.

    :param path: the file, as far as it is known; an environment file's contents are withheld.
    :param item: `before` and `after`, texts or attributes, or what the module prepared, as Ansible has them.
    """
    if is_withheld(path):
        return Diff(note="an environment's contents are not shown")
    shown = mask_diff(item)
    if "prepared" in shown:
        return _shortened(shown["prepared"].splitlines())
    for key in ("src_binary", "dst_binary", "src_larger", "dst_larger"):
        if item.get(key):
            return Diff(note="binary" if "binary" in key else f"too large to show (more than {item[key]} bytes)")
    before, after = (shown.get(side, "").splitlines() for side in ("before", "after"))
    if len(before) + len(after) > MAX_COMPARED:
        return Diff(note=f"{len(before)} lines before, {len(after)} after; too many to compare here")
    lines = list(difflib.unified_diff(before, after, "before", "after", lineterm=""))
    return _shortened(lines[2:])  # the headers name no file


def _shortened(lines: list[str]) -> Diff:
    added = sum(line.startswith("+") and not line.startswith("+++ ") for line in lines)
    removed = sum(line.startswith("-") and not line.startswith("--- ") for line in lines)
    note = f"{len(lines) - MAX_LINES} more lines are not shown" if len(lines) > MAX_LINES else ""
    return Diff("\n".join(lines[:MAX_LINES]), added, removed, note)
