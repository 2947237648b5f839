"""A bot of the bots' user, whose processes really run, and others beside it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from ansible.module_utils.webex_rollout.processes import Bot, bot_pids

if TYPE_CHECKING:
    import subprocess

    from tests.unit.people import People

PYTHON = "/usr/bin/python3"
WAITS = "import time\ntime.sleep(300)\n"


class Case:
    """A checkout of the bots' user, and what is started beside it."""

    def __init__(self, people: People) -> None:
        self.people = people
        self.home = people.home / "IR"
        self.script = self.home / "webex_bots/jarvis.py"
        self.script.parent.mkdir(parents=True)
        self.script.write_text(WAITS)
        people.give(people.home)
        self.bot = Bot("jarvis", str(self.home), "webex_bots/jarvis.py", PYTHON, "botuser")
        self.started: list[subprocess.Popen[bytes]] = []

    def start(self, name: str, *argv: str, cwd: Path | None = None, executable: str = "", **env: str) -> int:
        process = self.people.start(name, argv, cwd, executable or None, env)
        self.started.append(process)
        return process.pid

    def its_own(self) -> int:
        pid = self.start("botuser", "python3", "webex_bots/jarvis.py", cwd=self.home, executable=PYTHON, OWN="1")
        until = time.monotonic() + 20
        while pid not in bot_pids(self.bot):
            assert time.monotonic() < until
        return pid

    def shows(self, pid: int, word: bytes) -> None:
        """Wait until a process shows a word on its command line."""
        until = time.monotonic() + 20
        while word not in Path(f"/proc/{pid}/cmdline").read_bytes():
            assert time.monotonic() < until

    def alive(self, pid: int) -> bool:
        return next(p for p in self.started if p.pid == pid).poll() is None

    def close(self) -> None:
        for process in self.started:
            process.kill()
            process.wait()
