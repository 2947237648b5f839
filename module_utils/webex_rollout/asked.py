# SPDX-License-Identifier: GPL-3.0-or-later
"""The program in a module's place: it is there and compiled already, so a task costs a question and not a delivery."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .installed import is_installed
from .questions import bots, files, lock, log, patch, release, soak

ANSWERS: Mapping[str, Callable[[dict[str, Any], bool], dict[str, Any]]] = {
    "bot_info": bots.answer,
    "bot_log_info": log.answer,
    "client_patch": patch.answer,
    "webex_files": files.answer,
    "webex_lock": lock.answer,
    "webex_release": release.answer,
    "webex_soak": soak.answer,
}
"""By the module's name."""

MARK = "webex-rollout answers: "
"""What a login prints comes before it."""

OTHER = 3
"""Exit status of a program that is not the one that was asked: the controller sends the module then."""


def answer_request(program: str) -> int:
    """Answer the request on standard input, where arguments are seen by no one else; returns the exit status.

    :param program: the path of this program.
    """
    request = json.load(sys.stdin)
    if request["module"] not in ANSWERS or not is_installed(Path(program), request["program"]):
        return OTHER
    # What Ansible was told to use is used throughout, also by the tasks that are no questions.
    if request["python"] and os.path.realpath(request["python"]) != os.path.realpath(sys.executable):
        return OTHER
    print(MARK + json.dumps(ANSWERS[request["module"]](request["given"], request["check"])))
    return 0
