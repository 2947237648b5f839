# SPDX-License-Identifier: GPL-3.0-or-later
"""What /proc says of processes, sockets and limits. It knows no bots."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .system import to_text

HTTPS_PORTS = (443,)


@dataclass
class Stat:
    """The few fields of /proc/<pid>/stat that matter here."""

    pid: int
    comm: str
    state: str
    ppid: int
    session: int
    start_time: int


def read_stat(pid: int) -> Stat | None:
    """Parse /proc/<pid>/stat; None when there is no such process (any more)."""
    try:
        line = Path(f"/proc/{pid}/stat").read_bytes().decode("utf-8", "replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # comm may hold spaces and parentheses: the fields begin after the last one
    head, _, tail = line.rpartition(")")
    fields = tail.split()
    return Stat(pid, head.split("(", 1)[1], fields[0], int(fields[1]), int(fields[3]), int(fields[19]))


def all_pids() -> list[int]:
    """Process ids of the moment."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def read_nul_list(path: str) -> list[str]:
    """A NUL-separated list of /proc, undecodable bytes kept as surrogates."""
    data = Path(path).read_bytes()
    return [to_text(part) for part in (data[:-1] if data.endswith(b"\0") else data).split(b"\0")] if data else []


def same_root(pid: int) -> bool:
    """False for a process of a container, whose paths mean other files."""
    theirs, ours = os.stat(f"/proc/{pid}/root"), os.stat("/")
    return (theirs.st_dev, theirs.st_ino) == (ours.st_dev, ours.st_ino)


def unit_of(pid: int) -> tuple[str, bool]:
    """The systemd unit whose cgroup holds the process, and whether it belongs to a user's own manager."""
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return "", False
    # cgroup v1 and hybrid: systemd's own hierarchy is the named one; v2: the only one, numbered 0
    for prefix in (":name=systemd:", "0::"):
        for line in lines:
            if prefix in line:
                parts = line.split(":", 2)[2].split("/")
                units = [part for part in parts if part.endswith((".service", ".scope"))]
                if units:
                    in_user_manager = any(part.startswith("user@") for part in units[:-1])
                    return units[-1], in_user_manager
    return "", False


def ancestors(pid: int) -> Iterator[Stat]:
    """Parents of a process, nearest first, without PID 1."""
    stat = read_stat(pid)
    while stat and stat.ppid > 1:
        stat = read_stat(stat.ppid)
        if stat:
            yield stat


def status_fields(pid: int) -> dict[str, str]:
    """/proc/<pid>/status as a mapping."""
    fields = {}
    for line in Path(f"/proc/{pid}/status").read_bytes().decode("utf-8", "replace").splitlines():
        key, _, value = line.partition(":")
        fields[key] = value.strip()
    return fields


def read_limits(pid: int) -> dict[str, list[str]]:
    """/proc/<pid>/limits as ``{"open files": [soft, hard], …}``; values are numbers or ``unlimited``."""
    limits = {}
    for line in Path(f"/proc/{pid}/limits").read_text().splitlines()[1:]:
        match = re.match(r"^Max (.+?)\s{2,}(\S+)\s+(\S+)", line)
        if match:
            limits[match.group(1)] = [match.group(2), match.group(3)]
    return limits


def open_for_writing(pid: int, streams: bool = True) -> list[str]:
    """Regular files the process holds open for writing: its logs, for a bot.

    With `streams` off without those of its standard streams, which somebody else has opened for it.
    """
    found = set()
    base = f"/proc/{pid}"
    for fd in os.listdir(base + "/fd"):
        if not streams and int(fd) <= 2:
            continue
        try:
            target = os.readlink(f"{base}/fd/{fd}")
            if not target.startswith("/") or target.startswith(("/dev/", "/proc/")):
                continue
            flags = re.search(r"^flags:\s*(\d+)", Path(f"{base}/fdinfo/{fd}").read_text(), re.MULTILINE)
            if flags and int(flags.group(1), 8) & os.O_ACCMODE:
                found.add(target)
        except (FileNotFoundError, ProcessLookupError):
            continue
    return sorted(found)


def alive(pid: int, start_time: int) -> bool:
    """Whether exactly this process still runs; a zombie does not."""
    stat = read_stat(pid)
    return stat is not None and stat.start_time == start_time and stat.state not in "ZX"


def allowed_open_files() -> int:
    """The highest limit of open files that a unit, or a login, can get on this machine."""
    hard = read_limits(1)["open files"][1]
    sys_resource = 24
    may_raise = bool(int(status_fields(1)["CapEff"], 16) >> sys_resource & 1)
    return open_files_ceiling(int(Path("/proc/sys/fs/nr_open").read_text()), hard, may_raise)


def open_files_ceiling(nr_open: int, pid1_hard: str, may_raise: bool) -> int:
    """Above `fs.nr_open` setrlimit(2) fails for everybody; above PID 1's own hard limit it fails where PID 1 lacks
    CAP_SYS_RESOURCE, as in many containers. pam_limits then refuses the login, and nobody gets in any more."""
    return nr_open if may_raise or pid1_hard == "unlimited" else min(nr_open, int(pid1_hard))


def proxy_ports(pid: int) -> set[int]:
    """Ports of the proxies in a process's environment: behind one there is no connection to the real port."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        environment = read_nul_list(f"/proc/{pid}/environ")
        matches = (re.match(r"^(?:https?|all)_proxy=.*?:(\d+)/?$", entry, re.IGNORECASE) for entry in environment)
        return {int(match.group(1)) for match in matches if match}
    return set()


def connections_of(pid: int, ports: Sequence[int]) -> int:
    """How many established TCP connections a process has to one of the ports (or to its proxy's)."""
    wanted = {*ports, *proxy_ports(pid)}
    try:
        links = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
        sockets = {link[len("socket:[") : -1] for link in links if link.startswith("socket:[")}
        tables = [Path(f"/proc/{pid}/net/{name}").read_text() for name in ("tcp", "tcp6")]
    except (FileNotFoundError, ProcessLookupError):
        return 0
    count = 0
    established = "01"  # include/net/tcp_states.h; columns as in Documentation/networking/proc_net_tcp
    for line in "\n".join(tables).splitlines():
        columns = line.split()
        if len(columns) > 9 and columns[3] == established and columns[9] in sockets:
            port = int(columns[2].rsplit(":", 1)[1], 16)
            count += port in wanted
    return count


def open_files_of(pid: int) -> str:
    """How many files a process has open, of how many that it may."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        if pid:
            return f"{len(os.listdir(f'/proc/{pid}/fd'))}/{read_limits(pid)['open files'][0]}"
    return "-"
