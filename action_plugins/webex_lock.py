# SPDX-License-Identifier: GPL-3.0-or-later
"""Controller's side of the lock: names who asks, and whether a holder on this very host is still alive."""

from __future__ import annotations

import getpass
import hashlib
import multiprocessing
import os
import platform
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

# Ansible puts neither the project nor a plugin's own directory on the path.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from module_utils.webex_lock_options import SPECIFICATION
from plugin_utils.asking import ask


def start_time(pid: int) -> str:
    """When a process of this host was started, in the host's own words; empty if there is none."""
    stat = Path(f"/proc/{pid}/stat")
    if Path("/proc/self/stat").exists():
        try:
            fields = stat.read_text(errors="replace").rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return ""
        return "" if fields[0] in "ZX" else fields[19]
    done = subprocess.run(["ps", "-p", str(pid), "-o", "lstart="], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def place() -> str:
    """Names the space in which a pid and a start time are proof: host, boot and process namespace, as one hash.

    Every worker of a run must get the same. No MAC takes part: where no interface has one, `uuid.getnode` makes one up
    for each process.

    Two containers share a machine id, a host keeps it over a reboot; only with all of these equal may the absence of a
    process be taken for its death.
    """
    parts = [platform.node()]
    for path in ("/etc/machine-id", "/proc/sys/kernel/random/boot_id"):
        if Path(path).exists():
            parts.append(Path(path).read_text().strip())
    if Path("/proc/self/ns/pid").exists():
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def ourselves() -> dict[str, Any]:
    """This run, as the lock names it.

    A task runs in a child of the run's own process. That one may have been killed a moment ago: the child's parent is
    init then, which never dies, and in whose name the lock would be held until it expires.
    """
    run = multiprocessing.parent_process()
    pid = run.pid if run is not None and run.pid is not None else os.getppid()
    started = start_time(pid)
    if not started:
        raise AnsibleActionFail(f"the run that asks for the lock (pid {pid}) is gone. Nothing was done")
    user = os.environ.get("SUDO_USER") or getpass.getuser()
    return {"who": user, "host": socket.gethostname(), "pid": pid, "start_time": started, "place": place()}


def is_dead(holder: dict[str, Any]) -> bool:
    """Whether a holder ran on this host and is gone. Of any other host nothing is known."""
    here: bool = holder["pid"] != 0 and holder["place"] == place()
    return here and start_time(holder["pid"]) != holder["start_time"]


class ActionModule(ActionBase):
    """Acquire the lock for this run, taking over from a dead run of this host."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Ask the machine; ask once more when its answer names a dead holder."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        if self._task.args.get("state", "acquired") == "released":
            result.update(self._ask({}, task_vars))
            return result
        answer = self._ask({}, task_vars)
        if answer.get("refused") and answer.get("holder") and is_dead(answer["holder"]):
            answer = self._ask({"dead_token": answer["held_token"]}, task_vars)
        if answer.get("refused") and not self._task.check_mode:
            raise AnsibleActionFail(
                f"another rollout of this machine is under way: the lock is held by {answer['message']}. Nothing was "
                "done. Wait for it; if that run is dead, its lock expires by itself, or release it there with "
                "`sudo webex-rollout unlock`"
            )
        result.update(answer)
        return result

    def _ask(self, extra: dict[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        """Run the module on the machine."""
        arguments = {**self._task.args, **extra}
        if arguments.get("state", "acquired") == "acquired":
            arguments["holder"] = ourselves()
        return ask(self, "webex_lock", arguments, task_vars or {}, SPECIFICATION)
