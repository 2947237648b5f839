"""A machine that only runs what is sent to it, and an operator's side that sends and gets the artifacts back."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plugin_utils.runner import write
from tests.lab.run import Daemon, wait_for

RUNNER = Path(sys.executable).with_name("ansible-runner")


@dataclass(frozen=True)
class Worker:
    """A machine by its own host name and processes; a home of its own, and nothing of this process's environment."""

    name: str
    home: Path
    first: int
    """Pid of its first process, which lives until the machine is taken away."""

    def inside(self, *command: str | Path) -> list[str]:
        """A command that runs there."""
        enter = ["nsenter", "--target", str(self.first), "--uts", "--pid", "--mount"]
        path = f"{RUNNER.parent}:/usr/sbin:/usr/bin:/sbin:/bin"
        return [*enter, "env", "-i", f"HOME={self.home}", f"PATH={path}", "LANG=C.UTF-8", *map(str, command)]

    def kill_all(self) -> None:
        """SIGKILL for everything that runs there, as when somebody cuts the power."""
        subprocess.run(self.inside("sh", "-c", "kill -9 -1"), check=False)


@contextmanager
def worker(name: str) -> Iterator[Worker]:
    """A worker for the length of a `with` block."""
    with tempfile.TemporaryDirectory(prefix="wbr-w-", ignore_cleanup_errors=True) as home:
        script = f"hostname {name}; exec sleep infinity"
        command = ["unshare", "--uts", "--pid", "--mount-proc", "--fork", "--kill-child", "sh", "-c", script]
        machine = Daemon.spawn(command, Path(home, "log"))
        try:
            children = Path(f"/proc/{machine.pid}/task/{machine.pid}/children")
            wait_for(lambda: bool(children.read_text().split()), f"the start of {name}", timeout=10)
            yield Worker(name, Path(home), int(children.read_text().split()[0]))
        finally:
            machine.stop(grace=0)


@dataclass
class Sent:
    """A run that was sent to a worker."""

    directory: Path
    ident: str
    processes: list[subprocess.Popen[bytes]]

    @property
    def running(self) -> bool:
        return self.processes[-1].poll() is None

    def wait(self) -> int:
        """Wait until all that comes back has come; returns the run's exit code, or -1 if it did not end."""
        for process in self.processes:
            process.wait(timeout=600)
        code = self.artifacts / "rc"
        return int(code.read_text()) if code.exists() else -1

    @property
    def artifacts(self) -> Path:
        return self.directory / "artifacts" / self.ident

    @property
    def output(self) -> str:
        return (self.artifacts / "stdout").read_text()

    @property
    def reports(self) -> list[Path]:
        return sorted(self.artifacts.glob("reports/*/report.json"))

    @property
    def handed_over(self) -> dict[str, Any]:
        """What the run gave to `set_stats`, by bot."""
        events = [json.loads(path.read_text()) for path in self.artifacts.glob("job_events/*-*.json")]
        stats = [event["event_data"] for event in events if event["event"] == "playbook_on_stats"]
        return dict(stats[-1]["artifact_data"]["webex_rollout"]) if stats else {}


def send(
    worker: Worker, directory: Path, inventory: Path, ident: str, extra: dict[str, Any], *, limit: str = ""
) -> Sent:
    """Have a worker run rollout.yml: transmit | worker | process, as docs/controllers.md shows it."""
    write(directory, inventory)
    shutil.rmtree(directory / "artifacts" / ident, ignore_errors=True)
    transmit = [RUNNER, "transmit", directory, "-p", "rollout.yml", "--ident", ident]
    transmit += ["--cmdline", f"-e '{json.dumps(extra)}'", *(["--limit", limit] if limit else [])]
    pipe, nothing = subprocess.PIPE, subprocess.DEVNULL
    first = subprocess.Popen(transmit, stdout=pipe, stdin=nothing)
    there = worker.inside(RUNNER, "worker")
    second = subprocess.Popen(there, stdin=first.stdout, stdout=pipe, cwd=worker.home)
    third = subprocess.Popen(
        [RUNNER, "process", directory, "--ident", ident],
        stdin=second.stdout,
        stdout=nothing,
        env={**os.environ, "ANSIBLE_NOCOLOR": "1"},
    )
    for process in (first, second):
        if process.stdout is not None:
            process.stdout.close()  # the next one's alone, or an end would not be noticed
    return Sent(directory, ident, [first, second, third])
