# SPDX-License-Identifier: GPL-3.0-or-later
"""The program in a module's place: it is there and compiled already, so a task costs a question and not a delivery.

One room alone is imported for a question: to import all of them takes longer than most questions do. That happens at
once, before anything could replace the archive that they are read from.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path

from .errors import RolloutError
from .installed import is_installed
from .paths import STATE_DIR
from .tree import must_be_roots_alone

ROOMS: Mapping[str, str] = {
    "bot_info": "bots",
    "bot_log_info": "log",
    "client_patch": "patch",
    "webex_files": "files",
    "webex_lock": "lock",
    "webex_release": "release",
    "webex_soak": "soak",
}
"""Which room of `questions` answers for a module."""

MARK = "webex-rollout answers: "
"""What a login prints comes before it."""

OTHER = 3
"""Exit status of a program that is not the one that was asked: the controller sends the module then."""


def answering(request: bytes) -> Callable[[], int]:
    """What answers a request, its room imported already; that returns the exit status.

    :param request: as `plugin_utils.asking` sends it on standard input, where arguments are seen by no one else.
    """
    asked = json.loads(request)
    room = import_module(f".questions.{ROOMS[asked['module']]}", __package__) if asked["module"] in ROOMS else None

    def answer() -> int:
        if os.geteuid() != 0:
            print("webex-rollout: this needs root", file=sys.stderr)
            return 1
        if room is None or not is_installed(Path(os.path.abspath(sys.argv[0])), asked["program"]):
            return OTHER
        # What Ansible was told to use is used throughout, also by the tasks that are no questions.
        if asked["python"] and os.path.realpath(asked["python"]) != os.path.realpath(sys.executable):
            return OTHER
        try:
            must_be_roots_alone(STATE_DIR)
        except RolloutError as error:
            print(f"webex-rollout: {error}", file=sys.stderr)
            return 1
        print(MARK + json.dumps(room.answer(asked["given"], asked["check"])))
        return 0

    return answer
