# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors whose text is for the operator: raised by the rooms above, printed by command line and modules."""

from __future__ import annotations


class RolloutError(Exception):
    """Something the operator has to know: what, which bot or file, why, and what to do next."""


class BusyError(RolloutError):
    """Another process acts on the same bot, or the same machine, at this moment."""


class DamagedError(RolloutError):
    """A file of the state that does not match its own checksum, or is none."""


class BlockedError(RolloutError):
    """Something in a path of the bot's user's own that keeps him from having a file there: only he can clear it."""


class LogError(RolloutError):
    """A log that cannot be read; the message names it."""


class SoakError(RolloutError):
    """What is kept of a soak cannot be used; the message shows what to do."""
