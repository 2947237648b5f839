# SPDX-License-Identifier: GPL-3.0-or-later
"""Callback: print the status that a run has handed over as the last line of its output, for programs."""

# ansible-doc wants the documentation before the imports.
# ruff: noqa: E402

from __future__ import annotations

DOCUMENTATION = r"""
name: status_json
type: aggregate
short_description: Print the bots' status as one line of JSON
description:
  - At the end of C(playbooks/status.yml -e status_format=json), prints the whole status as one JSON document on one
    line, the last of the output. Every other run is left alone.
requirements: [enabled in callbacks_enabled]
author: [The webex-bot-rollout authors]
"""

import json
from typing import Any

from ansible.plugins.callback import CallbackBase

STATUS = "webex_status"
"""The custom statistic that carries it; a scheduler has it among the run's artifacts, too."""


class CallbackModule(CallbackBase):
    """Waits for the run's end."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "status_json"
    CALLBACK_NEEDS_ENABLED = True

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """Print it, if there is one. JSON escapes what is no ASCII, so nothing of it can act on a terminal."""
        status = stats.custom.get("_run", {}).get(STATUS)
        if status is not None:
            self._display.display(json.dumps(status, default=str))
