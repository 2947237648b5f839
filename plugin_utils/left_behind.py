"""What uninstalling has done to a VM, in sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from plugin_utils.words import counted


def lines(left: Mapping[str, Any], vm: str) -> list[str]:
    """A line each for what went, what was restored, what stays and why.

    :param left: what the module ``webex_uninstall`` returned.
    """
    said = [
        f"{vm}: {counted(len(left['removed']), 'path')} of this project's removed, "
        f"{counted(len(left['restored']), 'file')} restored"
    ]
    if left["needed_by"]:
        said.append(f"{vm}: program, timers and state stay for {', '.join(left['needed_by'])}")
    return [*said, *(f"{vm}: {path} stays: {why}" for path, why in sorted(left["kept"].items()))]
