# SPDX-License-Identifier: GPL-3.0-or-later
"""Changing which units systemd knows and starts at boot; one at a time, for six bots may be at it."""

from __future__ import annotations

from .store import Vm
from .systemd import show_unit, systemctl


def reload_units(vm: Vm) -> None:
    """Let systemd read its units again."""
    with vm.mutex():
        systemctl("daemon-reload")


def disable_unit(vm: Vm, name: str) -> None:
    """Take a unit out of the boot, if it is there."""
    with vm.mutex():
        if show_unit(name).enabled:
            systemctl("disable", name)


def enable_unit(vm: Vm, name: str) -> bool:
    """Have a unit started at boot; whether that is new."""
    with vm.mutex():
        if show_unit(name).enabled:
            return False
        systemctl("enable", name)
        return True
