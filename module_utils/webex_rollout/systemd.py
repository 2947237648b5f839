# SPDX-License-Identifier: GPL-3.0-or-later
"""Units: systemd is asked by `systemctl show`, whose output is made for programs."""

from __future__ import annotations

import contextlib
import os
import re
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .errors import RolloutError
from .system import run_command

UNIT_PROPERTIES = (
    *("LoadState", "ActiveState", "SubState", "UnitFileState", "MainPID", "NRestarts", "Result", "ExecMainCode"),
    *("ExecMainStatus", "LoadError", "TimeoutStopUSec"),
)


NOT_LOADED = ("not-found", "bad-setting", "error")


@dataclass(frozen=True)
class Unit:
    """A unit as systemd sees it at one moment."""

    name: str
    load: str
    active: str
    sub: str
    file_state: str  # as `systemctl is-enabled` says; `transient` for one that has no file
    main_pid: int
    restarts: int
    result: str
    exit_code: int  # si_code of the last main process's end: 1 exited, 2 killed, 3 dumped core
    exit_status: int
    load_error: str
    stop_timeout: float | None = 90.0
    """Seconds that a stopped process has before systemd kills it; None for ever."""

    @property
    def enabled(self) -> bool:
        """Whether a boot starts it."""
        return self.file_state in ("enabled", "enabled-runtime")

    @property
    def over(self) -> bool:
        """Whether systemd will not start it again by itself."""
        return self.active in ("failed", "inactive")

    @property
    def crashed(self) -> bool:
        """Whether the main process has ended by itself, and systemd waits before it starts it again.

        One that somebody killed has not: that says nothing about the release.
        """
        killed = self.exit_code == 2 and self.exit_status in (signal.SIGKILL, signal.SIGTERM)
        return self.sub.startswith("auto-restart") and not killed

    def end_described(self) -> str:
        """How the last main process ended."""
        how = {1: "exit status", 2: "killed by signal", 3: "dumped core by signal"}.get(self.exit_code, "status")
        return f"{self.name} is {self.active} ({self.sub}), result {self.result}, {how} {self.exit_status}"


def systemd_version() -> int | None:
    """The version of the systemd that runs this machine; None where another one does."""
    if not os.path.isdir("/run/systemd/system"):
        return None
    # As in `systemd 257~rc2 (257~rc2-1)`.
    number = re.match(rb"systemd (\d+)", run_command(["systemctl", "--version"]).stdout)
    return int(number[1]) if number else None


def systemctl(*arguments: str, timeout: float | None = 120) -> str:
    """Run systemctl; its error text goes into ours.

    :param timeout: seconds to wait for its answer, None where systemd itself never gives up.
    """
    done = run_command(["systemctl", *arguments], timeout)
    if done.returncode != 0:
        said = (done.stderr or done.stdout).decode("utf-8", "replace").strip()
        raise RolloutError(f"`systemctl {' '.join(arguments)}` failed: {said}")
    return done.stdout.decode("utf-8", "replace")


def stop_unit(unit: Unit) -> None:
    """Stop a unit, waiting as long as the unit itself gives its process, and as long again for it to be killed."""
    systemctl("stop", unit.name, timeout=None if unit.stop_timeout is None else 60 + 2 * unit.stop_timeout)


# systemd.time(7); what `systemctl show` prints of a time span
SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0, "month": 2629800.0}


def time_span(text: str) -> float | None:
    """Seconds of a time span such as ``2min 30s``; None for ``infinity``."""
    if text == "infinity":
        return None
    parts = re.findall(r"([0-9.]+)(us|ms|s|min|h|d|w|month)\b", text)
    return sum(float(count) * SECONDS[name] for count, name in parts)


_seen: dict[str, Unit] | None = None
"""What a look that changes nothing has been told; None outside one."""


@contextlib.contextmanager
def units_seen_once(names: Sequence[str]) -> Iterator[None]:
    """Ask systemd about these units in one go, and about others once; until the end that is what `show_unit` returns.

    For a look at many bots that changes none of them: each question takes systemctl its start.
    """
    global _seen
    _seen = {}
    with contextlib.suppress(RolloutError):  # who needs one of them is told
        _seen = _shown(names)
    try:
        yield
    finally:
        _seen = None


def show_unit(name: str) -> Unit:
    """Ask systemd about a unit; one that does not exist has ``load`` ``not-found``."""
    if _seen is None:
        return _shown([name])[name]
    if name not in _seen:
        _seen.update(_shown([name]))
    return _seen[name]


def _shown(names: Sequence[str]) -> dict[str, Unit]:
    """Units by name; only all of them, or none."""
    if not names:
        return {}
    output = systemctl("show", *names, "--property", ",".join(UNIT_PROPERTIES))
    # In the order of the names, with an empty line between.
    blocks = output.split("\n\n") if len(names) > 1 else [output]
    return {name: _unit(name, block) for name, block in zip(names, blocks)} if len(blocks) == len(names) else {}


def _unit(name: str, block: str) -> Unit:
    got = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
    return Unit(
        name=name,
        load=got.get("LoadState", ""),
        active=got.get("ActiveState", ""),
        sub=got.get("SubState", ""),
        file_state=got.get("UnitFileState", ""),
        main_pid=int(got.get("MainPID", "0") or 0),
        restarts=int(got.get("NRestarts", "0") or 0),
        result=got.get("Result", ""),
        exit_code=int(got.get("ExecMainCode", "0") or 0),
        exit_status=int(got.get("ExecMainStatus", "0") or 0),
        load_error=got.get("LoadError", "").partition(" ")[2].strip('"'),  # after the name of a D-Bus error
        stop_timeout=time_span(got.get("TimeoutStopUSec", "1min 30s")),
    )
