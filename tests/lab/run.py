"""Subprocesses of the lab: short commands with readable failures, and long-lived ones known by pid and start time."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.lab.errors import LabError
from tests.lab.paths import RUN


def run(
    argv: Sequence[str | Path], *, stdin: str | None = None, check: bool = True, timeout: float = 600
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end and return it with its output; a failure carries the command's own last words."""
    words = [str(word) for word in argv]
    try:
        done = subprocess.run(words, input=stdin, capture_output=True, text=True, timeout=timeout, check=False)
    except FileNotFoundError:
        raise LabError(f"{words[0]} is not installed; `make lab-up` as root installs what the lab needs") from None
    except subprocess.TimeoutExpired:
        raise LabError(f"`{shlex.join(words)}` did not end within {timeout:.0f} s") from None
    if check and done.returncode != 0:
        tail = (done.stderr or done.stdout).strip()[-2000:]
        raise LabError(f"`{shlex.join(words)}` failed with exit code {done.returncode}: {tail}")
    return done


def wait_for(condition: Callable[[], bool], what: str, *, timeout: float, pause: float = 0.05) -> None:
    """Return as soon as the condition holds; after `timeout` seconds raise a LabError that names `what`."""
    end = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > end:
            raise LabError(f"{what}: not within {timeout:.0f} s")
        time.sleep(pause)


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    """One process, or thread, of this machine at a time."""
    RUN.mkdir(parents=True, exist_ok=True)
    with (RUN / name).open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def start_time(pid: int) -> int | None:
    """Start time of a process in clock ticks since boot (field 22 of /proc/PID/stat); None if it is not there."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat[stat.rindex(b")") + 2 :].split()
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


@dataclass(frozen=True)
class Daemon:
    """A long-lived process, known by pid *and* start time: a pid alone may be somebody else's by tomorrow."""

    pid: int
    started: int

    @classmethod
    def spawn(cls, argv: Sequence[str | Path], log: Path, *, pass_fds: Sequence[int] = ()) -> Daemon:
        """Start a command in a session of its own, its output appended to `log`."""
        with log.open("ab") as out:
            process = subprocess.Popen(
                [str(word) for word in argv],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=tuple(pass_fds),
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )
        started = start_time(process.pid)
        if started is None:
            process.wait()
            raise LabError(f"`{shlex.join(map(str, argv))}` ended at once; see {log}")
        return cls(process.pid, started)

    @property
    def alive(self) -> bool:
        return start_time(self.pid) == self.started

    def signal(self, number: int) -> None:
        if self.alive:
            os.kill(self.pid, number)

    def stop(self, *, grace: float = 3.0) -> None:
        """SIGTERM, wait up to `grace` seconds, SIGKILL; returns when the process is gone."""
        self.signal(signal.SIGTERM)
        end = time.monotonic() + grace
        while self._here() and time.monotonic() < end:
            time.sleep(0.02)
        self.signal(signal.SIGKILL)
        wait_for(lambda: not self._here(), f"end of process {self.pid}", timeout=10)

    def _here(self) -> bool:
        # A child of this very process stays a zombie until it is waited for.
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, os.WNOHANG)
        return self.alive
