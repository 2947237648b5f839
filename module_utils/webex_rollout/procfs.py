# SPDX-License-Identifier: GPL-3.0-or-later
"""What /proc says of processes, sockets and limits. It knows no bots.

A process belongs to somebody, who decides on its name, its command line, and how long its memory takes to be read:
every answer is bounded, and one that cannot be had is none.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .become import as_account, root_account
from .errors import RolloutError
from .paths import UNITS_RUN_DIR, is_below
from .system import to_text

HTTPS_PORTS = (443,)

# What can go wrong while one looks at a process of somebody else's: it ends, hides, is named oddly, has a path of more
# than a page. None of it is ever a reason for more than "this one is not known".
UNREADABLE = (OSError, ValueError, LookupError)

ANSWER_LIMIT = 1 << 20
COMMAND_LINE_LIMIT = 64 << 10
MEMORY_LIMIT = 16 << 20  # of command line and environment; the kernel itself allows 6 MiB
MEMORY_SECONDS = 5.0
DESCRIPTORS_LIMIT = 4096


@dataclass
class Stat:
    """The few fields of /proc/<pid>/stat that matter here."""

    pid: int
    comm: str
    state: str
    ppid: int
    session: int
    start_time: int
    image: tuple[int, ...]
    """Where its arguments and environment are: other numbers after it has become another program."""


def read_bounded(path: str, limit: int = ANSWER_LIMIT) -> bytes:
    """The first bytes of a file of /proc."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        blocks = []
        while limit > 0:
            block = os.read(fd, limit)
            if not block:
                break
            blocks.append(block)
            limit -= len(block)
        return b"".join(blocks)
    finally:
        os.close(fd)


def read_stat(pid: int) -> Stat | None:
    """Parse /proc/<pid>/stat; None when there is no such process (any more)."""
    try:
        # comm may hold spaces and parentheses: the fields begin after the last one
        head, _, tail = read_bounded(f"/proc/{pid}/stat").decode("utf-8", "replace").rpartition(")")
        fields = tail.split()
        image = tuple(map(int, fields[45:49]))
        return Stat(pid, head.split("(", 1)[1], fields[0], int(fields[1]), int(fields[3]), int(fields[19]), image)
    except UNREADABLE:
        return None


def all_pids() -> list[int]:
    """Process ids of the moment."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def uids_of(pid: int) -> tuple[int, ...]:
    """Real, effective, saved and file system uid of a process; empty when there is none (any more)."""
    try:
        data = read_bounded(f"/proc/{pid}/status", 2048)  # asked of every process there is, and near its beginning
        return tuple(map(int, data[data.index(b"\nUid:") + 5 :].split(b"\n", 1)[0].split()))
    except UNREADABLE:
        return ()


def nul_list(data: bytes) -> list[str]:
    """A NUL-separated list of /proc, undecodable bytes kept as surrogates."""
    whole = data[:-1] if data.endswith(b"\0") else data
    return [to_text(part) for part in whole.split(b"\0")] if data else []


def read_nul_list(path: str, limit: int = MEMORY_LIMIT) -> list[str]:
    """A NUL-separated list in a file of /proc."""
    return nul_list(read_bounded(path, limit))


UNANSWERED = "unanswered"


def for_each(
    function: Callable[[Any], Any], items: Sequence[Any], patience: float = 0.5, most: float = 10
) -> list[Any]:
    """What a function returns for each item; None where it fails, UNANSWERED where it did not answer in time.

    The memory of a process can be made to wait for its owner for ever, and who reads it waits, too. For a child that
    ends afterwards: what waits then ends with it.

    :param patience: seconds without any progress.
    :param most: seconds in all.
    """
    results: list[Any] = [UNANSWERED] * len(items)
    left = deque(enumerate(items))

    def work() -> None:
        while True:
            try:
                index, item = left.popleft()
            except IndexError:
                return
            answer = None
            with contextlib.suppress(*UNREADABLE):
                answer = function(item)
            results[index] = answer

    until = time.monotonic() + most
    while left and time.monotonic() < until:
        worker = threading.Thread(target=work, daemon=True)
        worker.start()
        before = -1
        while worker.is_alive() and len(left) != before and time.monotonic() < until:
            before = len(left)
            worker.join(patience)
    return list(results)


def same_root(pid: int) -> bool:
    """False for a process of a container, whose paths mean other files."""
    theirs, ours = os.stat(f"/proc/{pid}/root"), os.stat("/")
    return (theirs.st_dev, theirs.st_ino) == (ours.st_dev, ours.st_ino)


def unit_of(pid: int) -> tuple[str, bool]:
    """The systemd unit whose cgroup holds the process, and whether it belongs to a user's own manager."""
    try:
        lines = read_bounded(f"/proc/{pid}/cgroup").decode("utf-8", "replace").splitlines()
    except OSError:
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
    for _ in range(1000):  # pids that are used again while one looks could make a circle
        stat = read_stat(stat.ppid) if stat and stat.ppid > 1 else None
        if stat is None:
            return
        yield stat


def status_fields(pid: int) -> dict[str, str]:
    """/proc/<pid>/status as a mapping."""
    fields = {}
    for line in read_bounded(f"/proc/{pid}/status").decode("utf-8", "replace").splitlines():
        key, _, value = line.partition(":")
        fields[key] = value.strip()
    return fields


def read_limits(pid: int) -> dict[str, list[str]]:
    """/proc/<pid>/limits as ``{"open files": [soft, hard], …}``; values are numbers or ``unlimited``."""
    limits = {}
    for line in read_bounded(f"/proc/{pid}/limits").decode("utf-8", "replace").splitlines()[1:]:
        match = re.match(r"^Max (.+?)\s{2,}(\S+)\s+(\S+)", line)
        if match:
            limits[match.group(1)] = [match.group(2), match.group(3)]
    return limits


def open_for_writing(pid: int, streams: bool = True) -> list[str]:
    """Regular files the process holds open for writing: its logs, for a bot.

    The channel that its pool module keeps open is none: it is of this process alone and gone with it. With `streams`
    off without those of its standard streams, which somebody else has opened for it.
    """
    found = set()
    base = f"/proc/{pid}"
    for fd in os.listdir(base + "/fd")[:DESCRIPTORS_LIMIT]:
        if not streams and int(fd) <= 2:
            continue
        try:
            target = os.readlink(f"{base}/fd/{fd}")
            if not target.startswith("/") or target.startswith(("/dev/", "/proc/")):
                continue
            if is_below(target, UNITS_RUN_DIR):
                continue
            flags = re.search(rb"^flags:\s*(\d+)", read_bounded(f"{base}/fdinfo/{fd}"), re.MULTILINE)
            if flags and int(flags.group(1), 8) & os.O_ACCMODE:
                found.add(target)
        except UNREADABLE:
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


_ports: dict[tuple[int, int, tuple[int, ...]], set[int]] = {}


def proxy_ports(pid: int) -> set[int]:
    """Ports of the proxies in a process's environment: behind one there is no connection to the real port."""
    stat = read_stat(pid)
    if stat is None:
        return set()
    key = (pid, stat.start_time, stat.image)
    if key not in _ports:
        _ports[key] = set()
        with contextlib.suppress(*UNREADABLE, RolloutError):
            environ = as_account(root_account(), read_nul_list, f"/proc/{pid}/environ", seconds=MEMORY_SECONDS)
            _ports[key] = ports_of_proxies(environ)
    return _ports[key]


def environment_of(pid: int) -> list[str]:
    """A process's ``NAME=value`` entries; none of one that is gone, or cannot be looked at."""
    try:
        return read_nul_list(f"/proc/{pid}/environ")
    except UNREADABLE:
        return []


def ports_of_proxies(environ: Sequence[str]) -> set[int]:
    """Ports of the proxies that variables name."""
    matches = (re.match(r"(?:https?|all)_proxy=.*:(\d{1,5})/?$", entry, re.IGNORECASE) for entry in environ)
    return {int(match.group(1)) for match in matches if match}


def without_mark(path: str) -> str:
    """A path of /proc without what the kernel adds where the file is gone, as a program that was upgraded is."""
    mark = " (deleted)"
    return path[: -len(mark)] if path.endswith(mark) else path


def _sockets_of(pid: int) -> set[str]:
    """Numbers of the sockets that a process has open."""
    found = set()
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(*UNREADABLE):
            link = os.readlink(f"/proc/{pid}/fd/{fd}")
            if link.startswith("socket:["):
                found.add(link[len("socket:[") : -1])
    return found


def connections_of(pid: int, ports: Sequence[int]) -> int:
    """How many established TCP connections a process has to one of the ports (or to its proxy's)."""
    wanted = {*ports, *proxy_ports(pid)}
    return sum(port in wanted for port in remote_ports(pid))


def remote_ports(pid: int) -> list[int]:
    """The port at the other end of each established TCP connection that a process has made."""
    return ports_of(pid)[0]


def listening_ports(pid: int) -> list[int]:
    """The TCP ports on which a process waits to be called."""
    return ports_of(pid)[1]


def ports_of(pid: int) -> tuple[list[int], list[int]]:
    """What `remote_ports` and `listening_ports` say, from one look."""
    # The states are those of include/net/tcp_states.h, columns as in Documentation/networking/proc_net_tcp.
    established, waiting, sockets = "01", "0A", _tcp_sockets(pid)
    listening = sorted({_port(local) for local, _, state in sockets if state == waiting})
    remote = [_port(end) for local, end, state in sockets if state == established and _port(local) not in listening]
    return remote, listening


def _port(address: str) -> int:
    return int(address.rsplit(":", 1)[1], 16)


def _tcp_sockets(pid: int) -> list[list[str]]:
    """Local address, remote address and state of a process's own sockets; none where it cannot be looked at."""
    try:
        sockets = _sockets_of(pid)
        tables = [Path(f"/proc/{pid}/net/{name}").read_text() for name in ("tcp", "tcp6")]
    except UNREADABLE:
        return []
    lines = (line.split() for line in "\n".join(tables).splitlines())
    return [columns[1:4] for columns in lines if len(columns) > 9 and columns[9] in sockets]


def open_files_of(pid: int) -> str:
    """How many files a process has open, of how many that it may."""
    with contextlib.suppress(*UNREADABLE):
        if pid:
            return f"{len(os.listdir(f'/proc/{pid}/fd'))}/{read_limits(pid)['open files'][0]}"
    return "-"
