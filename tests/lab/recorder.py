"""Who touched what below a directory of the VM: the kernel's audit records, made as each system call ends.

Recorded with the effective uid at that moment, whatever becomes of the process: opens of any kind (contents and
directories), programs started, files and directories made, renamed, linked and removed, owners, modes, times and
attributes changed, links read. Not recorded: mere walks through a path and looks at a file's status, which hand out
nothing; what is done to a descriptor that was opened elsewhere or earlier; PID 1 itself, where auditing was never
enabled before the VM started.

The kernel has one audit daemon at most; the recorder is it for the while, waits for another recorder to be done, and
refuses where somebody else's daemon runs.
"""

from __future__ import annotations

import os
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.lab.errors import LabError
from tests.lab.run import locked

# <linux/audit.h>
_GET, _SET, _ADD_RULE, _DEL_RULE = 1000, 1001, 1011, 1012
_SYSCALL, _PATH, _CWD, _END, _PROCTITLE = 1300, 1302, 1307, 1320, 1327
_EXIT_LIST, _ALWAYS = 4, 2
_FIELD_EUID, _FIELD_PERM, _FIELD_DIR, _FIELD_KEY = 2, 106, 107, 210
_EQUAL, _NOT_EQUAL = 0x40000000, 0x30000000
_READ_WRITE_EXECUTE_ATTRIBUTES = 1 | 2 | 4 | 8
_STATUS_ENABLED, _STATUS_PID, _STATUS_BACKLOG = 1, 4, 16
_STATUS = struct.Struct("=9I")
_BACKLOG = 65536
_HEADER = struct.Struct("=IHHII")
_REQUEST, _ACKNOWLEDGE, _ERROR = 1, 4, 2
_KEY = b"webex-bot-rollout"


@dataclass(frozen=True)
class Touch:
    """One system call on one or more paths; `command` is the process' command line, cut at 128 bytes."""

    euid: int
    pid: int
    parent: int
    comm: str
    exe: str
    command: str
    call: str
    success: bool
    paths: tuple[str, ...]
    """As the process named them: absolute, or below a descriptor's directory where that was given instead."""

    def __str__(self) -> str:
        failed = "" if self.success else " (refused)"
        what = ", ".join(self.paths)
        return f"uid {self.euid} {self.comm}[{self.pid}] {self.call}: {what}{failed} <- {self.command[:100]}"


class _Audit:
    """The audit subsystem by netlink: each request is acknowledged before the next one."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 9)
        self._socket.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE
        self._socket.bind((0, 0))
        self._number = 0

    def close(self) -> None:
        self._socket.close()

    def request(self, kind: int, data: bytes, on_record: Callable[[int, bytes], None]) -> None:
        """Send, and wait for the kernel's answer; records that come in between go to `on_record`."""
        self._number += 1
        size = _HEADER.size + len(data)
        self._socket.send(_HEADER.pack(size, kind, _REQUEST | _ACKNOWLEDGE, self._number, 0) + data)
        while True:
            for answer, sequence, body in self.receive(5):
                if answer == _ERROR and sequence == self._number:
                    (code,) = struct.unpack_from("=i", body)
                    if code:
                        raise LabError(f"the kernel's auditing refuses request {kind}: {os.strerror(-code)}")
                    return
                on_record(answer, body)

    def status(self) -> tuple[int, ...]:
        """mask, enabled, failure, pid, rate limit, backlog limit, lost, backlog, features."""
        found: list[bytes] = []

        def keep(kind: int, body: bytes) -> None:
            if kind == _GET:
                found.append(body)

        self.request(_GET, b"", keep)
        while not found:  # the answer may come after the acknowledgement, and records of the rule before it
            for kind, _, body in self.receive(5):
                keep(kind, body)
        return _STATUS.unpack_from(found[0])

    def receive(self, timeout: float) -> Iterator[tuple[int, int, bytes]]:
        """Messages as (type, sequence number, body); raises TimeoutError after `timeout` seconds without any."""
        self._socket.settimeout(timeout)
        data = self._socket.recv(65536)
        while len(data) >= _HEADER.size:
            size, kind, _, sequence, _ = _HEADER.unpack_from(data)
            # In audit records the header's length leaves out the header itself.
            body = data[_HEADER.size :] if kind >= 1100 else data[_HEADER.size : size]
            yield kind, sequence, body
            if kind >= 1100:
                return
            data = data[(size + 3) & ~3 :]


def _rule(directory: Path, euid: int) -> bytes:
    """Whatever a process with another effective uid than `euid` does below `directory`."""
    texts = [str(directory).encode(), _KEY]
    fields = [
        (_FIELD_DIR, _EQUAL, len(texts[0])),
        (_FIELD_PERM, _EQUAL, _READ_WRITE_EXECUTE_ATTRIBUTES),
        (_FIELD_EUID, _NOT_EQUAL, euid),
        (_FIELD_KEY, _EQUAL, len(texts[1])),
    ]

    def column(values: list[int]) -> bytes:
        return struct.pack("=64I", *values, *[0] * (64 - len(values)))

    every_call = b"\xff" * 256
    columns = [column([field[place] for field in fields]) for place in (0, 2, 1)]
    head = struct.pack("=3I", _EXIT_LIST, _ALWAYS, len(fields)) + every_call
    return head + b"".join(columns) + struct.pack("=I", sum(map(len, texts))) + b"".join(texts)


class Recording:
    """What was touched so far; `touches` is complete once the `with` block of `recorded` has ended."""

    def __init__(self) -> None:
        self.touches: list[Touch] = []
        self.lost = 0
        self._open: dict[str, dict[int, list[dict[str, str]]]] = {}

    def add(self, kind: int, body: bytes) -> None:
        """Take one record in; an event's records come one after another, its end last."""
        found = re.match(r"audit\(([\d.]+:\d+)\): ?(.*)", body.decode(errors="replace").rstrip("\0\n"), re.S)
        if not found:
            return
        event, text = found.groups()
        if kind == _END:
            self._close(self._open.pop(event, {}))
        else:
            self._open.setdefault(event, {}).setdefault(kind, []).append(_fields(text))

    def _close(self, event: dict[int, list[dict[str, str]]]) -> None:
        if _SYSCALL not in event or event[_SYSCALL][0].get("key") != _KEY.decode():
            return
        call = event[_SYSCALL][0]
        cwd = event.get(_CWD, [{}])[0].get("cwd", "")
        # An overlay names what it does in its own layers "(null)".
        names = [path["name"] for path in event.get(_PATH, []) if path.get("name", "(null)") != "(null)"]
        title = event.get(_PROCTITLE, [{}])[0].get("proctitle", "")
        touch = Touch(
            euid=int(call["euid"]),
            pid=int(call["pid"]),
            parent=int(call["ppid"]),
            comm=call.get("comm", ""),
            exe=call.get("exe", ""),
            command=title.replace("\0", " "),
            call=_CALLS.get((call["arch"], call["syscall"]), f"call {call['syscall']}"),
            success=call.get("success") == "yes",
            paths=tuple(name if name.startswith("/") else f"({cwd}) {name}" for name in names),
        )
        self.touches.append(touch)


_X86_64, _AARCH64 = "c000003e", "c00000b7"
_CALLS = {
    **{(_X86_64, number): "open" for number in ("2", "85", "257", "437")},
    **{(_X86_64, number): "rename" for number in ("82", "264", "316")},
    **{(_X86_64, number): "make directory" for number in ("83", "258")},
    **{(_X86_64, number): "remove" for number in ("84", "87", "263")},
    **{(_X86_64, number): "read link" for number in ("89", "267")},
    **{(_X86_64, number): "change mode" for number in ("90", "91", "268", "452")},
    **{(_X86_64, number): "change owner" for number in ("92", "93", "94", "260")},
    **{(_X86_64, number): "run" for number in ("59", "322")},
    **{(_X86_64, number): "link" for number in ("86", "265", "88", "266")},
    (_AARCH64, "78"): "read link",
}
"""What the system calls of the audit record are called here, by architecture and number."""

_HEXADECIMAL = {"proctitle", "name", "cwd", "comm", "exe", "key"}


def _fields(text: str) -> dict[str, str]:
    """`key=value` pairs; a text is quoted, or in hexadecimal digits where it has odd characters."""
    values = {}
    for key, quoted, bare in re.findall(r'(\w+)=(?:"([^"]*)"|(\S+))', text):
        value = quoted or bare
        if bare and key in _HEXADECIMAL and re.fullmatch(r"(?:[0-9A-F]{2})+", bare):
            value = bytes.fromhex(bare).decode(errors="backslashreplace")
        values[key] = value
    return values


@contextmanager
def recorded(directory: Path, *, but: int) -> Iterator[Recording]:
    """Record what is done below `directory`, a path of this side, by anybody whose effective uid is not `but`.

    Raises a LabError where the kernel has no auditing or another daemon has it, and where records were lost.
    """
    with locked("recorder.lock"):
        yield from _recorded(directory, but)


def _recorded(directory: Path, but: int) -> Iterator[Recording]:
    audit, recording, rule = _Audit(), Recording(), _rule(directory, but)
    try:
        before = audit.status()
        if before[3]:
            raise LabError(f"process {before[3]} has the kernel's auditing (auditd?): stop it for these tests")

        def setting(mask: int, enabled: int, pid: int, backlog: int) -> bytes:
            return struct.pack("=10I", mask, enabled, 0, pid, 0, backlog, 0, 0, 0, 0)

        everything = _STATUS_ENABLED | _STATUS_PID | _STATUS_BACKLOG
        audit.request(_SET, setting(everything, 1, os.getpid(), _BACKLOG), recording.add)
        try:
            audit.request(_ADD_RULE, rule, recording.add)
            stop = threading.Event()
            reader = threading.Thread(target=_read, args=(audit, recording, stop), daemon=True)
            reader.start()
            try:
                yield recording
            finally:
                stop.set()
                reader.join()
                audit.request(_DEL_RULE, rule, recording.add)
            recording.lost = audit.status()[6] - before[6]
        finally:
            audit.request(_SET, setting(everything, before[1], 0, before[5]), recording.add)
    finally:
        audit.close()
    if recording.lost:
        raise LabError(f"{recording.lost} of the kernel's audit records were lost; what was recorded is not all")


def _read(audit: _Audit, recording: Recording, stop: threading.Event) -> None:
    """Take records until told to stop, and then what is still on its way."""
    while True:
        try:
            for kind, _, body in audit.receive(0.3):
                recording.add(kind, body)
        except TimeoutError:
            if stop.is_set():
                return
