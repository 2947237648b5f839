#!/usr/bin/python3
"""Adopt, switch, check, bless and revert Webex bots on the machine they run on.

Installed as ``/usr/local/sbin/webex-rollout``, and imported under the same text by the modules of the rollout, so that
a playbook, an operator and the guard act through one implementation. Standard library only, Python 3.8 or later.

What holds at every moment, whoever is killed and whatever is cut:

* The way back is on disk before the first change (``record``), and somebody on the machine itself will walk it
  (``arm``): the guard, a timer, takes back every attempt that is not blessed by its deadline.
* Every step is written down before it is taken. A program that dies half-way leaves a phase that says so; the guard
  sees it at its next tick, a few seconds later, and takes the attempt back.
* Nothing is overwritten that is not kept. A file whose content nobody here wrote stops the way back, and it says so.
* No copy of a bot is started before it is proven that none runs.
"""

# Paths of other processes and of unit files are kept as the strings they are; pathlib would tidy them.
# ruff: noqa: PTH100, PTH102, PTH105, PTH106, PTH108, PTH112, PTH113, PTH114, PTH115, PTH116, PTH117, PTH118, PTH119
# ruff: noqa: PTH120, PTH123, PTH202, PTH208, PTH211

from __future__ import annotations

import argparse
import contextlib
import datetime
import errno
import fcntl
import fnmatch
import hashlib
import json
import os
import pwd
import re
import resource
import shutil
import signal
import socket
import stat as stat_module
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

# Format of the state below STATE_DIR. A program that finds another one refuses rather than guesses.
STATE_VERSION = 1
STATE_DIR = "/var/lib/webex-rollout"
PROGRAM = "/usr/local/sbin/webex-rollout"
ENVIRONMENT_DIR = "/etc/webex-bots"
GUARD_TIMER = "webex-rollout-guard.timer"
HTTPS_PORTS = (443,)


class RolloutError(Exception):
    """Something the operator has to know: what, which bot or file, why, and what to do next."""


def run_command(argv: Sequence[str], timeout: float = 120) -> subprocess.CompletedProcess:
    """Run a command without a shell; its exit status is the caller's to judge. Never given secrets as arguments."""
    try:
        return subprocess.run(list(argv), stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout, check=False)
    except OSError as error:
        raise RolloutError(f"cannot run {argv[0]}: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise RolloutError(f"`{' '.join(argv)}` gave no answer within {timeout:.0f} s") from None


def to_text(data: bytes) -> str:
    """Bytes of the system as text, whatever the locale; undecodable bytes survive as surrogates."""
    return data.decode("utf-8", "surrogateescape")


def to_bytes(string: str) -> bytes:
    """The bytes that `to_text` was given."""
    return string.encode("utf-8", "surrogateescape")


@dataclass(frozen=True)
class Bot:
    """One bot: its script inside a checkout, and the Python that runs it."""

    name: str
    home: str
    script: str
    python: str
    user: str

    def __post_init__(self) -> None:
        """Refuse a name that would not be one directory and one unit instance."""
        if not re.match(r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", self.name):
            raise RolloutError(
                f"{self.name!r} cannot be a bot's name: use letters, digits, `_`, `.` and `-`, a letter or digit first"
            )

    @property
    def script_path(self) -> str:
        """The script, with every symbolic link resolved; the file need not exist."""
        return os.path.realpath(os.path.join(self.home, self.script))


# ----------------------------------------------------------------------------------------------------------
# Time. The wall clock is for people: it can be set back. Decisions use the clock of the boot, and the boot itself.
# ----------------------------------------------------------------------------------------------------------


def boot_clock() -> float:
    """Seconds since boot, suspension included; no administrator can set it."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def boot_key() -> str:
    """Names this boot. PID 1's start tells apart two boots of a container that is given its host's boot id."""
    first = read_stat(1)
    return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()}:{first.start_time if first else 0}"


def utc(seconds: float) -> str:
    """A time as people and sort(1) read it, in UTC."""
    return datetime.datetime.fromtimestamp(int(seconds), datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True)
class Deadline:
    """A moment some seconds ahead, told by the boot's clock; ``wall`` is the same moment for people."""

    boot: str
    clock: float
    wall: float
    seconds: float

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        """The moment `seconds` from now."""
        return cls(boot_key(), boot_clock() + seconds, time.time() + seconds, seconds)

    @classmethod
    def load(cls, data: Any) -> Deadline | None:
        """Read back what `asdict` wrote."""
        return None if data is None else cls(str(data["boot"]), *(float(data[k]) for k in ("clock", "wall", "seconds")))

    def rebooted(self) -> bool:
        """Whether the machine was booted again since the deadline was set."""
        return self.boot != boot_key()

    def remaining(self) -> float:
        """Seconds left, never more than were given. After a reboot only the wall clock can tell."""
        left = self.wall - time.time() if self.rebooted() else self.clock - boot_clock()
        return max(0.0, min(left, self.seconds))

    def past(self) -> bool:
        """Whether the time is up."""
        return self.remaining() <= 0


# ----------------------------------------------------------------------------------------------------------
# Files of the state: written whole or not at all, and never believed when damaged.
# ----------------------------------------------------------------------------------------------------------

BALLAST_BYTES = 1024 * 1024


def sync_directory(path: str | Path) -> None:
    """Make renames and removals in a directory last."""
    fd = os.open(str(path), os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_whole(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Replace a file of the state by new content in one step that survives a power cut."""
    temporary = path.with_name(f".{path.name}.tmp")
    with contextlib.suppress(FileNotFoundError):
        temporary.unlink()
    fd = os.open(str(temporary), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(str(temporary), str(path))
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    sync_directory(path.parent)


def make_directory(path: Path) -> None:
    """A directory only root can look into, and so its parents where they are made."""
    for directory in reversed([path, *path.parents]):
        if not directory.is_dir():
            directory.mkdir(mode=0o700, exist_ok=True)


def sha256(data: bytes) -> str:
    """Hex digest of some bytes."""
    return hashlib.sha256(data).hexdigest()


def seal(content: dict[str, Any]) -> bytes:
    """JSON with its own checksum: a half-written or bit-rotten file must not pass for a state."""
    body = json.dumps(content, sort_keys=True, indent=1)
    return (
        json.dumps({"sha256": sha256(body.encode()), "version": STATE_VERSION})[:-1] + ', "content": ' + body + "}\n"
    ).encode()


def unseal(path: Path) -> dict[str, Any]:
    """Read a sealed file. FileNotFoundError if there is none; RolloutError if it cannot be believed."""
    data = path.read_bytes()
    try:
        outer = json.loads(data)
        version, content = outer["version"], outer["content"]
        intact = outer["sha256"] == sha256(json.dumps(content, sort_keys=True, indent=1).encode())
    except (ValueError, KeyError, TypeError):
        intact, version, content = False, STATE_VERSION, {}
    if not intact:
        raise RolloutError(
            f"{path} is damaged: it does not match its own checksum. Nothing was done with it. "
            "Put back a copy of it from a backup, or see docs/on-the-vm.md, `A state file is damaged`"
        )
    if version != STATE_VERSION:
        raise RolloutError(
            f"{path} has format {version}, this program reads {STATE_VERSION}; install the program of its rollout"
        )
    return content


class Vm:
    """The rollout's state of this machine: ``lock.json``, ``audit.log``, one directory a bot."""

    def __init__(self, state_dir: str = STATE_DIR, who: str = "") -> None:
        """`who` acts, as the audit names it."""
        self.path = Path(state_dir)
        self.who = who or local_user()
        self.program = PROGRAM

    # -- one at a time ------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def mutex(self, wait: float = 60) -> Iterator[None]:
        """Held while shared files, systemd's own configuration, the lock or the guard's timer change. Never ask for a
        bot's mutex while holding this one."""
        make_directory(self.path)
        with flock(self.path / "mutex", "another action on this machine", wait):
            yield

    # -- audit --------------------------------------------------------------------------------------------

    def audit(self, action: str, bot: str, result: str, **details: object) -> None:
        """Append one line: who did what to which bot with which result. A full disk must not stop a way back."""
        words = [utc(time.time()), f"who={self.who}", f"action={action}", f"bot={bot or '-'}", f"result={result}"]
        words += [f"{key}={json.dumps(value) if isinstance(value, str) else value}" for key, value in details.items()]
        line = " ".join(words).replace("\n", " ") + "\n"
        path = self.path / "audit.log"
        try:
            fd = os.open(str(path), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                os.write(fd, line.encode("utf-8", "replace"))
                os.fsync(fd)
            finally:
                os.close(fd)
        except OSError as error:
            print(f"webex-rollout: cannot write {path} ({error.strerror}): {line}", file=sys.stderr, end="")

    def audit_tail(self, lines: int) -> list[str]:
        """The last lines of the audit."""
        try:
            return (self.path / "audit.log").read_text("utf-8", "replace").splitlines()[-lines:]
        except FileNotFoundError:
            return []

    # -- room on the disk ---------------------------------------------------------------------------------

    def reserve_room(self) -> None:
        """Keep blocks back, so that the way back can still be written down when the disk is full."""
        ballast = self.path / "ballast"
        if ballast.exists() and ballast.stat().st_size == BALLAST_BYTES:
            return
        fd = os.open(str(ballast), os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            os.posix_fallocate(fd, 0, BALLAST_BYTES)
        except OSError as error:
            ballast.unlink()
            raise RolloutError(
                f"no room for the way back on the disk of {self.path} ({error.strerror}); nothing was changed. "
                "Free some megabytes there and run again"
            ) from None
        finally:
            os.close(fd)

    def write(self, path: Path, content: dict[str, Any] | bytes) -> None:
        """Write a file of the state; on a full disk the ballast goes overboard."""
        data = content if isinstance(content, bytes) else seal(content)
        try:
            write_whole(path, data)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            with contextlib.suppress(FileNotFoundError):
                (self.path / "ballast").unlink()
            try:
                write_whole(path, data)
            except OSError as again:
                raise RolloutError(
                    f"cannot write {path}: {again.strerror}. Free some megabytes and run again"
                ) from None

    # -- bots ---------------------------------------------------------------------------------------------

    def bot_names(self) -> list[str]:
        """Every bot that was ever recorded here."""
        try:
            entries = sorted(self.path.iterdir())
        except FileNotFoundError:
            return []
        return [entry.name for entry in entries if entry.is_dir() and (entry / "state.json").exists()]

    def store(self, bot: str) -> Store:
        """One bot's part of the state."""
        return Store(self, bot)


def local_user() -> str:
    """Who acts here by hand: the login behind sudo, else the user."""
    name = os.environ.get("SUDO_USER")
    if not name:
        try:
            name = pwd.getpwuid(os.getuid()).pw_name
        except KeyError:
            name = str(os.getuid())
    return f"{name}@{socket.gethostname()}"


class BusyError(RolloutError):
    """Somebody else is at it right now."""


@contextlib.contextmanager
def flock(path: Path, what: str, wait: float) -> Iterator[None]:
    """An exclusive lock that the kernel drops with its holder, however it dies."""
    fd = os.open(str(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        until = time.monotonic() + wait
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if time.monotonic() >= until:
                    holder = os.read(fd, 100).decode("utf-8", "replace") or "an unknown process"
                    raise BusyError(f"{what} is still running ({holder}); wait for it and run again") from None
                time.sleep(0.05)
        with contextlib.suppress(OSError):  # only for the message above; a full disk is no reason to stop
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"pid {os.getpid()} since {utc(time.time())}".encode(), 0)
        yield
    finally:
        os.close(fd)


# ----------------------------------------------------------------------------------------------------------
# Processes. A bot is found by what it runs (interpreter, script, working directory), never by a name pattern:
# `pkill -f jarvis.py` also hits an editor, a tail, and the shell that runs it.
# ----------------------------------------------------------------------------------------------------------

PYTHON_NAME = re.compile(r"^(python|pypy)[0-9.]*(-[\w.]+)?$")
# Options of the interpreter that take the next argument as their value.
PYTHON_VALUE_OPTIONS = {"-X", "-W", "--check-hash-based-pycs"}
SECRET_ARGUMENT = re.compile(
    r"^(--?[\w-]*(?:token|secret|passw|credential|api-?key)[\w-]*)(=.*)?$", re.IGNORECASE | re.DOTALL
)
SESSION_KEEPERS = {"tmux": "tmux", "screen": "screen"}
# Services which start people's sessions and jobs: a process in their cgroup is not theirs to restart.
SESSION_SERVICES = re.compile(
    r"^(sshd?|crond?|atd|anacron|telnet|([a-z]+-)?getty|user|emergency|rescue|debug-shell)(@.*)?\.service$"
)
# Parents that end with their child, and those which people's shells run in.
HARMLESS_PARENTS = {"su", "sudo", "timeout", "script", "setsid", "nohup", "login", "cron", "crond", "atd", "systemd"}
SHELL_NAMES = {"sh", "bash", "dash", "zsh", "ksh", "fish"}
SHELL_LOOP = re.compile(r"\b(while|until|for|watch)\b")


@dataclass
class Process:
    """One independent running copy of a bot. ``start_time``, in clock ticks since boot, makes the pid an identity."""

    pid: int
    ppid: int
    start_time: int
    started: str
    argv: list[str]
    cwd: str
    uid: int
    gid: int
    groups: list[int]
    umask: str
    limits: dict[str, list[str]]
    environment_names: list[str]
    supervisor: str
    unit: str
    unit_is_user: bool
    keeper: dict[str, object] | None
    children: list[int]
    log_files: list[str]


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


def python_target(argv: Sequence[str]) -> tuple[str, str]:
    """What a Python command line runs: ``("script", path)``, ``("module", name)`` or ``("", "")``.

    Source: `python --help`; options may be joined (``-uB``), and ``-m``/``-c`` end the option list.
    """
    index = 1
    while index < len(argv):
        arg = argv[index]
        if arg in PYTHON_VALUE_OPTIONS:
            index += 2
        elif arg.startswith("--"):
            index += 1
        elif arg.startswith("-") and len(arg) > 1:
            letters = arg[1:]
            for position, letter in enumerate(letters):
                if letter == "c":
                    return "", ""
                if letter == "m":
                    name = letters[position + 1 :] or (argv[index + 1] if index + 1 < len(argv) else "")
                    return "module", name
                if letter in "XW":
                    index += 0 if letters[position + 1 :] else 1
                    break
            index += 1
        else:
            return ("", "") if arg == "-" else ("script", arg)
    return "", ""


def runs_script(argv: Sequence[str], cwd: str, script_path: str, pythonpath: Sequence[str] = ()) -> bool:
    """Whether this Python command line, given in this directory, runs that script."""
    kind, target = python_target(argv)
    if kind == "script":
        return os.path.realpath(os.path.join(cwd, target)) == script_path
    if kind == "module":
        relative = target.replace(".", "/")
        return any(
            os.path.realpath(os.path.join(cwd, base, relative + suffix)) == script_path
            for base in ["", *pythonpath]
            for suffix in (".py", "/__main__.py")
        )
    return False


def _same_root(pid: int) -> bool:
    """False for a process of a container, whose paths mean other files."""
    theirs, ours = os.stat(f"/proc/{pid}/root"), os.stat("/")
    return (theirs.st_dev, theirs.st_ino) == (ours.st_dev, ours.st_ino)


def _is_bot(pid: int, bot: Bot) -> bool:
    """Whether this process runs the bot's script with a Python interpreter."""
    try:
        exe = os.readlink(f"/proc/{pid}/exe")
        if exe.endswith(" (deleted)"):  # the interpreter was upgraded under the running bot
            exe = exe[: -len(" (deleted)")]
        if not PYTHON_NAME.match(os.path.basename(exe)) and exe != os.path.realpath(bot.python):
            return False
        argv = read_nul_list(f"/proc/{pid}/cmdline")
        cwd = os.readlink(f"/proc/{pid}/cwd")
        pythonpath: list[str] = []
        if python_target(argv)[0] == "module":
            environ = read_nul_list(f"/proc/{pid}/environ")
            pythonpath = [v for e in environ if e.startswith("PYTHONPATH=") for v in e[11:].split(":") if v]
        return _same_root(pid) and runs_script(argv, cwd, bot.script_path, pythonpath)
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return False


def redact_argv(argv: Sequence[str]) -> list[str]:
    """A command line fit for output: values of arguments named like secrets are masked."""
    shown: list[str] = []
    mask_next = False
    for arg in argv:
        match = SECRET_ARGUMENT.match(arg)
        if mask_next and not arg.startswith("-"):
            shown.append("***")
        elif match:
            shown.append(match.group(1) + ("=***" if match.group(2) else ""))
        else:
            shown.append(arg)
        mask_next = bool(match and not match.group(2))
    return shown


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


def _ancestors(pid: int) -> Iterator[Stat]:
    """Parents of a process, nearest first, without PID 1."""
    stat = read_stat(pid)
    while stat and stat.ppid > 1:
        stat = read_stat(stat.ppid)
        if stat:
            yield stat


def _may_restart(parent: Stat) -> bool:
    """Whether a parent could start its child again: a shell in a loop, or a program nobody here knows."""
    if parent.comm in HARMLESS_PARENTS or parent.comm.lower().startswith(("sshd", "tmux", "screen")):
        return False
    try:
        argv = read_nul_list(f"/proc/{parent.pid}/cmdline")
        cwd = os.readlink(f"/proc/{parent.pid}/cwd")
    except (FileNotFoundError, ProcessLookupError):
        return False
    if os.path.basename(argv[0].lstrip("-")) not in SHELL_NAMES:
        return True
    arguments = [arg for arg in argv[1:] if not arg.startswith("-")]
    if not arguments:  # a login or terminal shell
        return False
    if any(re.match(r"^-[a-z]*c$", arg) for arg in argv[1:]):
        return bool(SHELL_LOOP.search(arguments[0]))
    try:
        script = Path(os.path.join(cwd, arguments[0])).read_bytes()
    except OSError:
        return True
    return bool(SHELL_LOOP.search(to_text(script)))


def keeper_of(pid: int) -> dict[str, object] | None:
    """A living parent that may start the bot again when it ends (a restart loop, supervisord), as pid and name."""
    parent = next(_ancestors(pid), None)
    return {"pid": parent.pid, "name": parent.comm} if parent and _may_restart(parent) else None


def supervisor_of(pid: int, ignores_hangup: bool, unit: str) -> str:
    """Who looks after a process: a unit's name, ``tmux``, ``screen``, ``nohup`` or ``other``."""
    for ancestor in _ancestors(pid):
        for prefix, name in SESSION_KEEPERS.items():
            if ancestor.comm.lower().startswith(prefix):
                return name
    if unit.endswith(".service") and not SESSION_SERVICES.match(unit):
        return unit
    return "nohup" if ignores_hangup else "other"


def _status_fields(pid: int) -> dict[str, str]:
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


def describe_process(pid: int, children: list[int]) -> Process | None:
    """Everything that may be shown of a process; None when it ended, or its pid was reused, meanwhile."""
    base = f"/proc/{pid}"
    before = read_stat(pid)
    if before is None:
        return None
    try:
        status = _status_fields(pid)
        unit, unit_is_user = unit_of(pid)
        ignores_hangup = bool(int(status["SigIgn"], 16) & 1)
        supervisor = supervisor_of(pid, ignores_hangup, unit)
        process = Process(
            pid=pid,
            ppid=before.ppid,
            start_time=before.start_time,
            started=utc(wall_start(before.start_time)),
            argv=redact_argv(read_nul_list(base + "/cmdline")),
            cwd=os.readlink(base + "/cwd"),
            uid=int(status["Uid"].split()[1]),
            gid=int(status["Gid"].split()[1]),
            groups=[int(group) for group in status["Groups"].split()],
            umask=status.get("Umask", ""),
            limits=read_limits(pid),
            environment_names=sorted({e.split("=", 1)[0] for e in read_nul_list(base + "/environ") if "=" in e}),
            supervisor=supervisor,
            unit=unit,
            unit_is_user=unit_is_user,
            keeper=keeper_of(pid),
            children=sorted(children),
            log_files=open_for_writing(pid),
        )
    except (FileNotFoundError, ProcessLookupError):
        return None
    after = read_stat(pid)
    return process if after and after.start_time == before.start_time else None


def bot_pids(bot: Bot) -> dict[int, list[int]]:
    """Independent copies of the bot and, for each, its forked children that show the same command line.

    A fork shows its parent's command line until it runs another program; it is told from a copy by its ancestry.
    """
    matching = {pid for pid in all_pids() if _is_bot(pid, bot)}
    copies: dict[int, list[int]] = {}
    forks: list[tuple[int, int]] = []
    for pid in sorted(matching):
        above = [stat.pid for stat in _ancestors(pid) if stat.pid in matching]
        if above:
            forks.append((above[-1], pid))
        else:
            copies[pid] = []
    for top, pid in forks:
        copies.setdefault(top, []).append(pid)
    return copies


def find_processes(bot: Bot) -> list[Process]:
    """Every independent running copy of the bot, oldest first."""
    found = (describe_process(pid, children) for pid, children in bot_pids(bot).items())
    return sorted((p for p in found if p), key=lambda p: (p.start_time, p.pid))


def alive(pid: int, start_time: int) -> bool:
    """Whether exactly this process still runs; a zombie does not."""
    stat = read_stat(pid)
    return stat is not None and stat.start_time == start_time and stat.state not in "ZX"


@dataclass
class FoundProcess:
    """A process as it has to be started again: with its whole environment, so only for root's eyes."""

    argv: list[str]
    executable: str
    cwd: str
    environment: list[str]
    uid: int
    gid: int
    groups: list[int]
    umask: str
    limits: dict[str, list[str]]
    nice: int
    ignored_signals: list[int]
    stdout: str
    stderr: str

    @classmethod
    def read(cls, process: Process) -> FoundProcess:
        """Take down a running process. ProcessLookupError or FileNotFoundError if it ends meanwhile."""
        base = f"/proc/{process.pid}"
        ignored = int(_status_fields(process.pid)["SigIgn"], 16)
        inherited = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT)  # what nohup and `&` leave ignored
        return cls(
            argv=read_nul_list(base + "/cmdline"),
            executable=os.readlink(base + "/exe"),
            cwd=process.cwd,
            environment=read_nul_list(base + "/environ"),
            uid=process.uid,
            gid=process.gid,
            groups=process.groups,
            umask=process.umask,
            limits=process.limits,
            nice=os.getpriority(os.PRIO_PROCESS, process.pid),
            ignored_signals=[int(number) for number in inherited if ignored >> (number - 1) & 1],
            stdout=_output_of(process.pid, 1),
            stderr=_output_of(process.pid, 2),
        )

    @classmethod
    def load(cls, data: Any) -> FoundProcess | None:
        """Read back what `asdict` wrote."""
        return None if data is None else cls(**data)


def _output_of(pid: int, fd: int) -> str:
    """Where an output goes: a file's path, or /dev/null for whatever does not outlive its session (terminal, pipe)."""
    try:
        target = os.readlink(f"/proc/{pid}/fd/{fd}")
    except FileNotFoundError:
        return "/dev/null"
    return target if target.startswith("/") and os.path.isfile(target) else "/dev/null"


def wall_start(process_start: int) -> float:
    """A process start (ticks since boot) on the wall clock as it is set now."""
    return time.time() - boot_clock() + process_start / os.sysconf("SC_CLK_TCK")


# ----------------------------------------------------------------------------------------------------------
# Environment. A unit starts a bot without the variables of the shell that used to start it: carry them over.
# ----------------------------------------------------------------------------------------------------------

# Variables that describe the session, terminal or service a process was started from, not what it needs.
SESSION_VARIABLES = (
    *("SSH_*", "SUDO_*", "TMUX", "TMUX_*", "STY", "WINDOW", "TERM", "TERMCAP", "TERM_PROGRAM*", "COLORTERM"),
    *("LINES", "COLUMNS", "DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY", "GPG_AGENT_INFO", "GPG_TTY", "MAIL", "MAILCHECK"),
    *("PWD", "OLDPWD", "SHLVL", "_", "PS[1-4]", "PROMPT_COMMAND", "HIST*", "LS_COLORS", "LESS*", "PAGER", "EDITOR"),
    *("XDG_SESSION_*", "XDG_RUNTIME_DIR", "XDG_SEAT*", "XDG_VTNR", "XDG_GREETER_*", "XDG_CURRENT_DESKTOP"),
    *("DBUS_*", "INVOCATION_ID", "JOURNAL_STREAM", "NOTIFY_SOCKET", "LISTEN_*", "WATCHDOG_*", "MAINPID", "MANAGERPID*"),
    *("SYSTEMD_*", "CREDENTIALS_DIRECTORY", "RUNTIME_DIRECTORY", "STATE_DIRECTORY", "CACHE_DIRECTORY"),
    *("LOGS_DIRECTORY", "CONFIGURATION_DIRECTORY", "MEMORY_PRESSURE_*", "SERVICE_RESULT", "EXIT_CODE", "EXIT_STATUS"),
)
VARIABLE_NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")  # systemd ignores any other


@dataclass
class EnvironmentPlan:
    """What becomes of a process's variables. ``carried`` holds values: never show it. The rest are names."""

    carried: dict[str, str] = field(default_factory=dict, repr=False)
    dropped: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def names(self) -> dict[str, list[str]]:
        """The same without values."""
        return {"carried": sorted(self.carried), "dropped": sorted(self.dropped), "refused": sorted(self.refused)}


def plan_environment(environment: Sequence[str], keep: Sequence[str] = (), drop: Sequence[str] = ()) -> EnvironmentPlan:
    """Sort variables into carried, dropped (of the session, or as told) and refused (systemd could not hand them on).

    `keep` and `drop` are shell patterns of names; `keep` wins over `drop`, and both over the built-in list.
    """
    plan = EnvironmentPlan()
    seen = set()
    for assignment in environment:
        name, equals, value = assignment.partition("=")
        if not equals or name in seen:  # of two assignments, getenv(3) and Python see the first
            continue
        seen.add(name)
        kept = any(fnmatch.fnmatchcase(name, pattern) for pattern in keep)
        if not kept and any(fnmatch.fnmatchcase(name, pattern) for pattern in (*drop, *SESSION_VARIABLES)):
            plan.dropped.append(name)
        elif not VARIABLE_NAME.match(name) or not _is_utf8(value):
            plan.refused.append(name)
        else:
            plan.carried[name] = value
    return plan


def _is_utf8(value: str) -> bool:
    """False for bytes that were not UTF-8: systemd rejects the whole file over one such value."""
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def render_environment(bot: str, carried: Mapping[str, str]) -> bytes:
    """An ``EnvironmentFile=``. Between double quotes systemd reads a backslash before ``" \\ ` $`` as an escape and
    everything else, newlines included, as it stands (systemd.exec(5), src/basic/env-file.c)."""
    lines = [f"# Variables of the process that {bot} was found as. Not for other eyes: it may hold tokens.\n"]
    for name in sorted(carried):
        escaped = re.sub(r'(["\\`$])', r"\\\1", carried[name])
        lines.append(f'{name}="{escaped}"\n')
    return to_bytes("".join(lines))


def missing_variables(pid: int, carried: Mapping[str, str]) -> list[str]:
    """Names of the carried variables that a process did not get byte for byte."""
    found = dict(reversed([e.split("=", 1) for e in read_nul_list(f"/proc/{pid}/environ") if "=" in e]))
    return sorted(name for name, value in carried.items() if found.get(name) != value)


# ----------------------------------------------------------------------------------------------------------
# Files a release consists of: what they are now, and how they are put back.
# ----------------------------------------------------------------------------------------------------------

FILE_SIZE_LIMIT = 32 * 1024 * 1024


@dataclass(frozen=True)
class Entry:
    """One path of a manifest. ``missing_parents`` are directories that were not there either, deepest last."""

    kind: str  # file, link or absent
    sha256: str = ""
    mode: int = 0
    uid: int = 0
    gid: int = 0
    mtime_ns: int = 0
    target: str = ""
    missing_parents: tuple[str, ...] = ()

    @classmethod
    def load(cls, data: Any) -> Entry:
        """Read back what `asdict` wrote."""
        return cls(**{**data, "missing_parents": tuple(data["missing_parents"])})

    @property
    def content(self) -> str:
        """What is in it: equal for two files that hold the same bytes."""
        return f"{self.kind}:{self.sha256}{self.target}"

    @property
    def identity(self) -> str:
        """Content, mode and owner: equal where putting one back for the other would change nothing."""
        return self.content if self.kind != "file" else f"{self.content}:{self.mode:04o}:{self.uid}:{self.gid}"


Manifest = dict  # path -> Entry; an alias, since Python 3.8 cannot subscript dict at run time


def look_at(path: str) -> tuple[Entry, bytes]:
    """A path as it is now, with the bytes of a regular file."""
    try:
        status = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return Entry("absent", missing_parents=tuple(_missing_parents(path))), b""
    if stat_module.S_ISLNK(status.st_mode):
        return Entry("link", target=os.readlink(path)), b""
    if not stat_module.S_ISREG(status.st_mode):
        raise RolloutError(f"{path} is no regular file; a release consists of regular files. Move it out of the way")
    if status.st_size > FILE_SIZE_LIMIT:
        raise RolloutError(f"{path} has {status.st_size} bytes; a file of a release may have {FILE_SIZE_LIMIT}")
    data, status = _read_steady(path)
    return Entry(
        "file", sha256(data), stat_module.S_IMODE(status.st_mode), status.st_uid, status.st_gid, status.st_mtime_ns
    ), data


def _read_steady(path: str) -> tuple[bytes, os.stat_result]:
    """A file's bytes with the status they belong to; read again when somebody wrote meanwhile."""
    for _ in range(5):
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(fd, "rb") as file:
            before = os.fstat(fd)
            data = file.read()
            after = os.fstat(fd)
        if (before.st_mtime_ns, before.st_size) == (after.st_mtime_ns, after.st_size) and len(data) == after.st_size:
            return data, after
        time.sleep(0.05)
    raise RolloutError(f"{path} is being written by somebody; run again when that is done")


def _missing_parents(path: str) -> list[str]:
    """Directories above a path that do not exist, deepest last."""
    missing: list[str] = []
    parent = os.path.dirname(path)
    while parent not in ("", "/") and not os.path.isdir(parent):
        missing.insert(0, parent)
        parent = os.path.dirname(parent)
    return missing


def put_back(path: str, entry: Entry, data: bytes) -> None:
    """Make a path what an entry says; the step between old and new is one rename."""
    if entry.kind == "absent":
        _remove(path, entry.missing_parents)
        return
    for parent in _missing_parents(path):
        os.mkdir(parent, 0o755)
    if entry.kind == "link":
        temporary = _temporary(path)
        os.symlink(entry.target, temporary)
        os.replace(temporary, path)
        sync_directory(os.path.dirname(path))
        return
    try:
        _replace_file(path, entry, data)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT) or not os.path.isfile(path):
            raise
        _overwrite_file(path, entry, data)


def _temporary(path: str) -> str:
    """A name beside a path, free for use: what an earlier, killed attempt left there is removed."""
    temporary = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.webex-rollout")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary)
    return temporary


def _replace_file(path: str, entry: Entry, data: bytes) -> None:
    """Write beside, then rename."""
    temporary = _temporary(path)
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            _set_attributes(file.fileno(), entry)
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    sync_directory(os.path.dirname(path))


def _overwrite_file(path: str, entry: Entry, data: bytes) -> None:
    """On a full disk: write over the bytes that are there, which needs no new block as long as the old content is not
    the longer one. Not one step; whoever is killed here has left a phase that makes the guard do it again."""
    fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    try:
        written = 0
        while written < len(data):
            written += os.pwrite(fd, data[written:], written)
        os.ftruncate(fd, len(data))
        _set_attributes(fd, entry)
        os.fsync(fd)
    finally:
        os.close(fd)


def _set_attributes(fd: int, entry: Entry) -> None:
    """Owner, mode and time; the time lets Python's own cache see that the source is another one."""
    os.fchown(fd, entry.uid, entry.gid)
    os.fchmod(fd, entry.mode)
    os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))


def _remove(path: str, missing_parents: Sequence[str]) -> None:
    """Remove a file that was not there, Python's cache of it, and the directories made for it if they are empty."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        os.unlink(path)
        sync_directory(os.path.dirname(path))
    directory, name = os.path.split(path)
    cache = os.path.join(directory, "__pycache__")
    if name.endswith(".py") and os.path.isdir(cache):
        for cached in os.listdir(cache):
            if cached.startswith(name[:-3] + ".") and cached.endswith(".pyc"):
                os.unlink(os.path.join(cache, cached))
    for parent in reversed(missing_parents):
        if name.endswith(".py") and parent == directory:
            with contextlib.suppress(OSError):
                os.rmdir(cache)
        with contextlib.suppress(OSError):
            os.rmdir(parent)


def clear_away(path: str, entry: Entry) -> None:
    """Remove what somebody who was killed while writing a path has left: the unfinished file, empty directories."""
    if os.path.isdir(os.path.dirname(path)):
        _temporary(path)
    if entry.kind == "absent" and not os.path.lexists(path):
        _remove(path, entry.missing_parents)


def unchanged_since(path: str, wall: float) -> bool:
    """Whether a path was last touched a second or more before a moment; a doubt (clock steps) counts as touched."""
    try:
        return os.lstat(path).st_ctime + 1 < wall
    except (FileNotFoundError, NotADirectoryError):
        return True


# ----------------------------------------------------------------------------------------------------------
# One bot's state: releases with their bytes, and where its rollout stands.
# ----------------------------------------------------------------------------------------------------------

# recording  the way back is being written down for the first time; nothing was changed
# recorded   the way back is known
# armed      files may change from now on; the guard takes back what is not blessed by the deadline
# switching  the old process is being replaced
# switched   the new one runs, unproven
# checked    the start-up check passed
# blessed    the release stays; on probation the guard still takes back one whose unit ends as failed
# failed     the start-up check failed: to be taken back without waiting for the deadline
# reverting  on the way back
# reverted   back
OPEN_PHASES = ("armed", "switched", "checked")
# Left behind only by a program that died, or by a step that failed: the guard need not wait for a deadline.
INTERRUPTED_PHASES = ("switching", "failed", "reverting")
KEEP_RELEASES = 5


@dataclass(frozen=True)
class FileRule:
    """How a path is treated: shared by all bots of the machine, and whether a change of it wants a restart."""

    shared: bool = False
    restart: bool = True


@dataclass(frozen=True)
class Runner:
    """How a release's process is run: ``unit``, ``process`` (started by hand), or ``none`` (it was not running).

    A process has a unit only if `systemd-run` made one for it.
    """

    kind: str
    unit: str = ""
    enabled: bool = False
    process: FoundProcess | None = field(default=None, repr=False)

    @classmethod
    def load(cls, data: Any) -> Runner:
        """Read back what `asdict` wrote."""
        return cls(data["kind"], data["unit"], data["enabled"], FoundProcess.load(data["process"]))


@dataclass(frozen=True)
class Release:
    """Files and the way to run them. Release ``0`` is what was found first."""

    id: str
    origin: str  # found or rollout
    created: float
    manifest: dict[str, Entry]
    runner: Runner

    @classmethod
    def load(cls, data: Any) -> Release:
        """Read back what `asdict` wrote."""
        manifest = {path: Entry.load(entry) for path, entry in data["manifest"].items()}
        return cls(data["id"], data["origin"], data["created"], manifest, Runner.load(data["runner"]))


def release_id(manifest: Mapping[str, Entry], runner: Runner) -> str:
    """Names a release by what it consists of."""
    lines = [f"{path} {entry.identity}" for path, entry in sorted(manifest.items())]
    return sha256("\n".join([*lines, runner.kind, runner.unit]).encode("utf-8", "surrogateescape"))[:12]


@dataclass(frozen=True)
class Running:
    """The process that was started last, and the files it was started from (path -> identity)."""

    pid: int
    start_time: int
    boot: str
    files: dict[str, str]
    restarts: int = 0

    @classmethod
    def load(cls, data: Any) -> Running | None:
        """Read back what `asdict` wrote."""
        return None if data is None else cls(**data)


@dataclass
class State:
    """Where a bot's rollout stands. ``current`` is the release that stays; ``candidate`` the one under trial."""

    bot: Bot
    unit: str
    environment_file: str
    files: dict[str, FileRule]
    phase: str = "recording"
    current: str = "0"
    previous: str = ""
    candidate: str = ""
    revert_to: str = ""
    restoring: list[str] = field(default_factory=list)
    attempt: int = 0
    token: int = 0
    deadline: Deadline | None = None
    probation: Deadline | None = None
    running: Running | None = None
    carried_from: str = ""  # the release whose process the environment comes from
    keep_variables: list[str] = field(default_factory=list)
    drop_variables: list[str] = field(default_factory=list)
    tries: int = 0
    retry: Deadline | None = None
    note: str = ""

    @classmethod
    def load(cls, data: Any) -> State:
        """Read back what `asdict` wrote."""
        nested = {
            "bot": Bot(**data["bot"]),
            "files": {path: FileRule(**rule) for path, rule in data["files"].items()},
            "deadline": Deadline.load(data["deadline"]),
            "probation": Deadline.load(data.get("probation")),
            "running": Running.load(data["running"]),
            "retry": Deadline.load(data["retry"]),
        }
        return cls(**{**data, **nested})

    @property
    def pending(self) -> bool:
        """Whether the guard has to take something back, now or later."""
        return self.phase in OPEN_PHASES or self.phase in INTERRUPTED_PHASES

    @property
    def watched(self) -> bool:
        """Whether the guard has to start a process again that a reboot takes before its bot's turn came."""
        return self.phase == "recorded" and self.deadline is not None


class Store:
    """Reads and writes one bot's state below ``<state>/<bot>/``."""

    def __init__(self, vm: Vm, bot: str) -> None:
        """Nothing is created before something is written."""
        self.vm = vm
        self.bot = bot
        self.path = vm.path / bot

    @contextlib.contextmanager
    def mutex(self, wait: float = 60) -> Iterator[None]:
        """Held by whoever acts on this bot."""
        make_directory(self.path)
        with flock(self.path / "mutex", f"another action on {self.bot}", wait):
            yield

    def load(self) -> State | None:
        """The bot's state; None if it was never recorded."""
        path = self.path / "state.json"
        try:
            return State.load(unseal(path))
        except FileNotFoundError:
            if (self.path / "releases").exists():
                raise RolloutError(
                    f"{path} is gone while releases of {self.bot} are there; recording again would take the changed "
                    f"files for the ones that were found. Put state.json back, or move {self.path} away to start anew"
                ) from None
            return None
        except (KeyError, TypeError, ValueError) as error:
            raise RolloutError(
                f"{path} is not what this program writes ({error}); nothing was done with {self.bot}"
            ) from None

    def need(self) -> State:
        """The bot's state; an error if it was never recorded."""
        state = self.load()
        if state is None or state.phase == "recording":
            known = ", ".join(self.vm.bot_names()) or "none"
            raise RolloutError(f"{self.bot} was never recorded on this machine (recorded: {known}); record it first")
        return state

    def save(self, state: State) -> None:
        """Write the state; it is on disk when this returns."""
        make_directory(self.path)
        self.vm.write(self.path / "state.json", asdict(state))

    # -- releases -----------------------------------------------------------------------------------------

    def release_path(self, release: str) -> Path:
        """The directory of a release."""
        return self.path / "releases" / release

    def release(self, release: str) -> Release:
        """Read a release."""
        path = self.release_path(release) / "release.json"
        try:
            return Release.load(unseal(path))
        except FileNotFoundError:
            known = ", ".join(self.release_names()) or "none"
            raise RolloutError(f"{self.bot} has no release {release!r} on this machine (there are: {known})") from None
        except (KeyError, TypeError, ValueError) as error:
            raise RolloutError(f"{path} is not what this program writes ({error})") from None

    def release_names(self) -> list[str]:
        """Releases that are kept."""
        try:
            paths = list((self.path / "releases").iterdir())
        except FileNotFoundError:
            return []
        return sorted(path.name for path in paths if (path / "release.json").exists())

    def write_release(self, release: Release) -> None:
        """Write a release's description; its bytes must have been kept before."""
        directory = self.release_path(release.id)
        make_directory(directory)
        self.vm.write(directory / "release.json", asdict(release))

    def keep(self, data: bytes) -> str:
        """Keep bytes under their hash."""
        digest = sha256(data)
        path = self.path / "blobs" / digest
        if not path.exists():
            make_directory(path.parent)
            self.vm.write(path, data)
        return digest

    def displace(self, path: str, data: bytes) -> Path:
        """Keep bytes that no release has before they are overwritten, under a name that says whose they are."""
        directory = self.path / "displaced"
        place = directory / f"{sha256(data)[:12]}-{os.path.basename(path)}"
        if not place.exists():
            make_directory(directory)
            self.vm.write(place, data)
        return place

    def bytes_of(self, entry: Entry) -> bytes:
        """The bytes of a file's entry."""
        if entry.kind != "file":
            return b""
        path = self.path / "blobs" / entry.sha256
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise RolloutError(
                f"{path} is missing: {self.bot} cannot be taken back to the release it belongs to"
            ) from None
        if sha256(data) != entry.sha256:
            raise RolloutError(f"{path} is damaged: {self.bot} cannot be taken back to the release it belongs to")
        return data

    def prune(self, state: State, keep: int) -> None:
        """Remove the oldest releases beyond `keep`, never one that somebody could be taken back to."""
        wanted = {"0", state.current, state.previous, state.candidate, state.carried_from}
        releases = sorted((self.release(name) for name in self.release_names()), key=lambda release: release.created)
        spare = [release.id for release in releases if release.id not in wanted]
        for name in spare[: max(0, len(releases) - keep)]:
            (self.release_path(name) / "release.json").unlink()  # first: from now on it is no release any more
            shutil.rmtree(str(self.release_path(name)))
        used = {entry.sha256 for name in self.release_names() for entry in self.release(name).manifest.values()}
        for blob in list((self.path / "blobs").iterdir()):
            if blob.name not in used:
                blob.unlink()

    # -- files shared by the bots of the machine ------------------------------------------------------------

    def put_there(self, path: str, entry: Entry) -> bool:
        """Whether a shared file's content is one that some bot's rollout put there, or found there."""
        return any(entry.content in self.vm.store(name).known_contents(path) for name in self.vm.bot_names())

    def being_written(self, path: str) -> bool:
        """Whether another bot's rollout may be writing a shared file right now, or was left doing so."""
        for name in self.vm.bot_names():
            with contextlib.suppress(RolloutError):
                state = self.vm.store(name).load()
                if name != self.bot and state is not None and state.pending and path in state.files:
                    return True
        return False

    def known_contents(self, path: str) -> set[str]:
        """Contents that a path has in this bot's releases."""
        contents = set()
        for name in self.release_names():
            with contextlib.suppress(RolloutError):  # pruned at this moment, or damaged
                manifest = self.release(name).manifest
                if path in manifest:
                    contents.add(manifest[path].content)
        return contents

    def extend_releases(self, manifest: Mapping[str, Entry]) -> None:
        """Take new paths up into every release: as long as nobody managed them, they were what they are now."""
        for name in self.release_names():
            release = self.release(name)
            missing = {path: entry for path, entry in manifest.items() if path not in release.manifest}
            if missing:
                self.write_release(replace(release, manifest={**release.manifest, **missing}))

    def shared_found(self, path: str, entry: Entry, data: bytes) -> tuple[Entry, bytes]:
        """How the first bot to be recorded found a shared file. Without it the second one would take the changes made
        for the first for what was found. Given entry and bytes if nobody recorded it before."""
        for name in self.vm.bot_names():
            store = self.vm.store(name)
            with contextlib.suppress(RolloutError):
                found = store.release("0").manifest.get(path)
                if found is not None and name != self.bot:
                    return found, store.bytes_of(found)
        return entry, data

    def needed_by_others(self, path: str, entry: Entry) -> list[str]:
        """Other bots that need this shared file as it is now. A bot whose state cannot be read counts as one."""
        needing = []
        for name in self.vm.bot_names():
            if name != self.bot:
                try:
                    if self.vm.store(name)._needs(path, entry):
                        needing.append(name)
                except RolloutError:
                    needing.append(name)
        return needing

    def _needs(self, path: str, entry: Entry) -> bool:
        """Whether this bot's release, present or coming, has a shared file with this content."""
        state = self.load()
        if state is None or path not in state.files:
            return False
        if state.phase == "armed":  # its files are being written at this moment
            return True
        staying = {"switching": state.candidate, "switched": state.candidate, "checked": state.candidate}
        release = self.release(staying.get(state.phase) or state.revert_to or state.current)
        return path in release.manifest and release.manifest[path].content == entry.content


# ----------------------------------------------------------------------------------------------------------
# Lock: one rollout of a machine at a time.
# ----------------------------------------------------------------------------------------------------------

LOCK_SECONDS = 900.0


@dataclass(frozen=True)
class Holder:
    """Who holds the lock. ``place`` names host, boot and process namespace: inside it pid and start time are proof."""

    who: str
    host: str
    pid: int = 0
    start_time: str = ""
    place: str = ""

    def same_run(self, other: Holder) -> bool:
        """Whether both are one run of one program, whoever it names as the user."""
        return self.pid != 0 and (self.place, self.pid, self.start_time) == (other.place, other.pid, other.start_time)


@dataclass(frozen=True)
class Lock:
    """The lock, or its last holder's traces. ``token`` grows with every new holder and is never used twice."""

    token: int = 0
    holder: Holder | None = None
    since: float = 0.0
    expiry: Deadline | None = None

    @classmethod
    def load(cls, data: Any) -> Lock:
        """Read back what `asdict` wrote."""
        holder = None if data["holder"] is None else Holder(**data["holder"])
        return cls(data["token"], holder, data["since"], Deadline.load(data["expiry"]))

    @property
    def held(self) -> bool:
        """Whether somebody holds it and has not let it expire."""
        return self.holder is not None and self.expiry is not None and not self.expiry.past()

    def described(self) -> str:
        """Who, from where, since when, until when."""
        if self.holder is None or self.expiry is None:
            return "free"
        process = f" (pid {self.holder.pid})" if self.holder.pid else " (by hand)"
        until = utc(time.time() + self.expiry.remaining()) if self.held else "expired"
        return f"{self.holder.who} on {self.holder.host}{process} since {utc(self.since)} until {until}"


def read_lock(vm: Vm) -> Lock:
    """The lock as it is now."""
    try:
        return Lock.load(unseal(vm.path / "lock.json"))
    except FileNotFoundError:
        return Lock()
    except (KeyError, TypeError, ValueError) as error:
        raise RolloutError(f"{vm.path / 'lock.json'} is not what this program writes ({error})") from None


def _write_lock(vm: Vm, lock: Lock) -> Lock:
    make_directory(vm.path)
    vm.write(vm.path / "lock.json", asdict(lock))
    return lock


@dataclass(frozen=True)
class LockResult:
    """What came of asking for the lock."""

    lock: Lock
    got: bool
    changed: bool


def take_lock(vm: Vm, holder: Holder, seconds: float = LOCK_SECONDS, dead: int = 0, check: bool = False) -> LockResult:
    """Take the lock, or hold it on. `dead` is the token of a holder of whom the caller knows that it died.

    Another one's lock is not an error here: the caller may know more about the holder.
    """
    with vm.mutex() if not check else contextlib.nullcontext():
        lock = read_lock(vm)
        expiry = Deadline.after(seconds)
        if lock.holder is not None and lock.holder.same_run(holder):  # expired or not: nobody took it meanwhile
            renewed = lock if check else _write_lock(vm, Lock(lock.token, lock.holder, lock.since, expiry))
            return LockResult(renewed, True, False)
        if lock.held and lock.token != dead:
            return LockResult(lock, False, False)
        if check:
            return LockResult(lock, True, True)
        taken = _write_lock(vm, Lock(lock.token + 1, holder, time.time(), expiry))
        why = "free" if lock.holder is None else ("holder died" if lock.held else "expired")
        vm.audit("lock", "", "taken", token=taken.token, holder=taken.described(), was=why, before=lock.described())
        return LockResult(taken, True, True)


def release_lock(vm: Vm, token: int, force: bool = False, check: bool = False) -> LockResult:
    """Let go of the lock with this token; with `force` of anybody's. Someone else's is left alone."""
    with vm.mutex() if not check else contextlib.nullcontext():
        lock = read_lock(vm)
        mine = lock.holder is not None and (force or lock.token == token)
        if not mine or check:
            return LockResult(lock, mine, mine)
        freed = _write_lock(vm, Lock(lock.token, None, 0.0, None))
        vm.audit("unlock", "", "forced" if force else "released", token=lock.token, before=lock.described())
        return LockResult(freed, True, True)


def repair_lock(vm: Vm) -> Lock:
    """Replace a damaged lock by a free one whose tokens go on above every token that was ever used."""
    with vm.mutex():
        used = [0]
        for name in vm.bot_names():
            with contextlib.suppress(RolloutError):
                used.append(vm.store(name).need().token)
        used += [int(n) for line in vm.audit_tail(100000) for n in re.findall(r"\btoken=(\d+)", line)]
        lock = _write_lock(vm, Lock(max(used) + 1, None, 0.0, None))
        vm.audit("unlock", "", "repaired", token=lock.token)
        return lock


def require_token(vm: Vm, token: int | None) -> None:
    """Refuse an action whose run lost the lock; hold the lock on for one that has it."""
    if token is None:
        return
    with vm.mutex():
        lock = read_lock(vm)
        if lock.token != token or lock.holder is None:
            now = f"held by {lock.described()}" if lock.held else "free"
            raise RolloutError(
                f"this run's lock (token {token}) is stale: the lock of this machine is {now} (token {lock.token}). "
                "Nothing was done. Run again; a run that is refused says who holds the lock"
            )
        # Nobody took it over meanwhile, so it is still ours even if it had just expired
        seconds = lock.expiry.seconds if lock.expiry else LOCK_SECONDS
        _write_lock(vm, Lock(lock.token, lock.holder, lock.since, Deadline.after(seconds)))
        vm.who = f"{lock.holder.who}@{lock.holder.host}" if "@" not in lock.holder.who else lock.holder.who


# ----------------------------------------------------------------------------------------------------------
# Units: systemd is asked by `systemctl show`, whose output is made for programs.
# ----------------------------------------------------------------------------------------------------------

UNIT_PROPERTIES = (
    *("LoadState", "ActiveState", "SubState", "UnitFileState", "MainPID", "NRestarts", "Result", "ExecMainCode"),
    *("ExecMainStatus", "LoadError"),
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


def systemctl(*arguments: str) -> str:
    """Run systemctl; an error says what systemd said."""
    done = run_command(["systemctl", *arguments])
    if done.returncode != 0:
        said = (done.stderr or done.stdout).decode("utf-8", "replace").strip()
        raise RolloutError(f"`systemctl {' '.join(arguments)}` failed: {said}")
    return done.stdout.decode("utf-8", "replace")


def show_unit(name: str) -> Unit:
    """Ask systemd about a unit; one that does not exist has ``load`` ``not-found``."""
    output = systemctl("show", name, "--property", ",".join(UNIT_PROPERTIES))
    got = dict(line.split("=", 1) for line in output.splitlines() if "=" in line)
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
    )


def reload_units(vm: Vm) -> None:
    """Let systemd read its units again; one at a time, six bots may be at it."""
    with vm.mutex():
        systemctl("daemon-reload")


def disable_unit(vm: Vm, name: str) -> None:
    """Take a unit out of the boot, if it is there."""
    with vm.mutex():
        if show_unit(name).enabled:
            systemctl("disable", name)


def enable_unit(vm: Vm, name: str) -> bool:
    """Have a unit started at boot; whether that is new."""
    with vm.mutex():
        if show_unit(name).enabled:
            return False
        systemctl("enable", name)
        return True


def fallen(state: State) -> str:
    """Why a release that was blessed cannot stay after all; empty while it can, and once its probation is over.

    A bot that dies some time after its hold is started again by systemd until the unit's start limit, and then stays
    down. A unit that ended as failed because it did not stop in time was stopped by somebody: that is no such end.
    """
    if state.phase != "blessed" or not state.previous or state.probation is None or state.probation.past():
        return ""
    unit = show_unit(state.unit)
    return unit.end_described() if unit.active == "failed" and unit.result != "timeout" else ""


def unsteady(vm: Vm, bot: str, release: str) -> str:
    """Why a release under watch is not what runs, or does not run steadily; empty while it does."""
    state = vm.store(bot).load()
    if state is None or release != {"blessed": state.current, "checked": state.candidate}.get(state.phase):
        now = f"release {state.current}, {state.phase}: {state.note or 'no reason given'}" if state else "no record"
        return f"release {release} is not what it runs any more ({now})"
    unit, running = show_unit(state.unit), state.running
    before = running.restarts if running and running.boot == boot_key() else 0
    if unit.active == "failed" or unit.restarts - before > RESTARTS_ALLOWED:
        return f"started again {unit.restarts - before} times since its start-up check; {unit.end_described()}"
    return ""


def guard_needed(vm: Vm) -> list[str]:
    """Bots that the guard has to look after. One whose state cannot be read is one."""
    needed = []
    for name in vm.bot_names():
        try:
            state = vm.store(name).load()
            if state and (state.pending or state.watched or fallen(state)):
                needed.append(name)
        except RolloutError:
            needed.append(name)
    return needed


def start_guard() -> None:
    """Have the guard look every few seconds, and after a boot. The caller holds the machine's mutex."""
    timer = show_unit(GUARD_TIMER)
    if timer.active == "active" and timer.enabled:
        return
    systemctl("enable", "--now", GUARD_TIMER)
    timer = show_unit(GUARD_TIMER)
    if timer.active != "active" or not timer.enabled:
        raise RolloutError(
            f"{GUARD_TIMER} does not run ({timer.end_described()}), so nothing would take the bots back. "
            f"Nothing was changed. `systemctl status {GUARD_TIMER}` says why"
        )


def rest_guard(vm: Vm) -> None:
    """Send the guard to sleep when nothing is left to guard."""
    with vm.mutex():
        if not guard_needed(vm) and show_unit(GUARD_TIMER).active == "active":
            systemctl("disable", "--now", GUARD_TIMER)
            if guard_needed(vm):  # a unit that failed since the look above has woken a guard that we then stopped
                start_guard()


# ----------------------------------------------------------------------------------------------------------
# Stopping and starting.
# ----------------------------------------------------------------------------------------------------------

POLL = 0.02
KILL_WAIT = 5.0
STOP_SECONDS = 10.0
START_WAIT = 15.0
# A process as found has nobody to restart it; one that ends this soon did not come up.
FOUND_SETTLE = 2.0

Identity = tuple  # (pid, start time)


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Wait for something to become true."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= until:
            return False
        time.sleep(POLL)
    return True


def _family(pid: int) -> list[Identity]:
    """A process and those of its descendants that live in its session: they end with it.

    A child with a session of its own was meant to live on.
    """
    stats = {stat.pid: stat for stat in map(read_stat, all_pids()) if stat}
    if pid not in stats:
        return []
    found, family = [pid], [(pid, stats[pid].start_time)]
    for parent in found:
        for stat in stats.values():
            if stat.ppid == parent and stat.session == stats[pid].session and stat.pid not in found:
                found.append(stat.pid)
                family.append((stat.pid, stat.start_time))
    return family


def _signal(identity: Identity, number: int) -> None:
    """Signal exactly this process."""
    if alive(*identity):
        with contextlib.suppress(ProcessLookupError):
            os.kill(identity[0], number)


def _stop_family(pid: int, seconds: float) -> None:
    """End one copy and its children: ask, wait, insist."""
    family = _family(pid)
    gone = lambda: not any(alive(*identity) for identity in family)  # noqa: E731 - said once, asked thrice
    main, children = family[:1], family[1:]
    for identity in main:
        _signal(identity, signal.SIGTERM)
    until = time.monotonic() + seconds
    wait_until(lambda: not any(alive(*identity) for identity in main), seconds)
    for identity in children:
        _signal(identity, signal.SIGTERM)
    if not wait_until(gone, max(0.5, until - time.monotonic())):
        for identity in family:
            _signal(identity, signal.SIGKILL)
        if not wait_until(gone, KILL_WAIT):
            left = ", ".join(str(identity[0]) for identity in family if alive(*identity))
            raise RolloutError(
                f"process {left} does not end even when killed; it hangs in the kernel. Look at the disk"
            )


def stop_all(bot: Bot, units: Sequence[str], seconds: float) -> None:
    """End every copy of a bot and prove it: first those that a unit would start again, then the rest.

    A unit is stopped even if it looks stopped: that also cancels a start which systemd has still in its queue.
    """
    for unit in units:
        shown = show_unit(unit)
        # A way back removes the drop-in, and what is left is `bad-setting`: systemd refuses to stop what it cannot load
        # and does not run. A unit that runs is stopped even without its file.
        if shown.load not in NOT_LOADED or not shown.over:
            systemctl("stop", unit)
    for _ in range(3):
        copies = bot_pids(bot)
        if not copies:
            return
        for pid in copies:
            _stop_family(pid, seconds)
    keeper = next((keeper_of(pid) for pid in bot_pids(bot)), None)
    by = f"process {keeper['pid']} ({keeper['name']})" if keeper else "something else"
    raise RolloutError(f"{bot.name} is started again as soon as it is stopped, by {by}. Stop that first and run again")


def _become(uid: int, gid: int, groups: Sequence[int]) -> None:
    """Become another user. Root only becomes less here."""
    os.setgroups(list(groups))
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)


def _set_limits(limits: Mapping[str, Sequence[str]]) -> None:
    """Set resource limits as they were; where the kernel no longer allows the hard limit, as near as it does."""
    names = {
        "cpu time": resource.RLIMIT_CPU,
        "file size": resource.RLIMIT_FSIZE,
        "data size": resource.RLIMIT_DATA,
        "stack size": resource.RLIMIT_STACK,
        "core file size": resource.RLIMIT_CORE,
        "processes": resource.RLIMIT_NPROC,
        "open files": resource.RLIMIT_NOFILE,
        "locked memory": resource.RLIMIT_MEMLOCK,
        "address space": resource.RLIMIT_AS,
    }
    for name, kind in names.items():
        if name not in limits:
            continue
        soft, hard = (resource.RLIM_INFINITY if value == "unlimited" else int(value) for value in limits[name])
        try:
            resource.setrlimit(kind, (soft, hard))
        except (ValueError, OSError):
            _, allowed = resource.getrlimit(kind)
            soft = allowed if soft == resource.RLIM_INFINITY else min(soft, allowed if allowed != -1 else soft)
            resource.setrlimit(kind, (soft, allowed))


def run_found(process: FoundProcess) -> None:
    """Turn this process into the one that was found. Does not return."""
    _set_limits(process.limits)
    os.setpriority(os.PRIO_PROCESS, 0, process.nice)
    os.umask(int(process.umask or "022", 8))
    _become(process.uid, process.gid, process.groups)
    os.chdir(process.cwd)
    executable = _executable(process)
    if not os.access(executable, os.X_OK):
        raise RolloutError(f"{os.path.join(process.cwd, executable)} is not there, or not for uid {process.uid} to run")
    for number in (signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN if number in process.ignored_signals else signal.SIG_DFL)
    # Detached whatever it was: the terminal or tmux it may have lived in is gone
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, and what is ignored is inherited
    for fd, path in ((1, process.stdout), (2, process.stderr)):
        os.dup2(_open_output(path), fd)
    environment: dict[bytes, bytes] = {}
    for assignment in process.environment:
        name, _, value = assignment.partition("=")
        environment.setdefault(to_bytes(name), to_bytes(value))  # the first of two is the one that counts
    os.execve(to_bytes(executable), [to_bytes(arg) for arg in process.argv], environment)


def _open_output(path: str) -> int:
    """A file to append to, or /dev/null where that is not possible any more."""
    try:
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    except OSError:
        return os.open("/dev/null", os.O_WRONLY)


def _executable(process: FoundProcess) -> str:
    """The file to run, as it was called: a virtual environment's Python knows itself by that path."""
    called = process.argv[0]
    if "/" in called:
        return called
    path = next((e[5:] for e in process.environment if e.startswith("PATH=")), os.defpath)
    return shutil.which(called, path=path) or process.executable


def start_found(store: Store, release: str) -> tuple[int, float]:
    """Start a release's process as it was found, out of everybody's cgroup; returns its pid, and when it came up.

    In a scope of its own: a process left in the cgroup of the guard's service would be ended with it, one in an SSH
    session's with the session. The command line holds names only; the program reads the environment from the state.
    """
    scope = f"webex-found-{store.bot}-{int(boot_clock() * 1000)}.scope"
    program = [sys.executable, "-I", store.vm.program, "--state", str(store.vm.path), "run-found", store.bot, release]
    described = f"--description=Webex bot {store.bot} as it was found"
    manager = ["systemd-run", "--scope", "--quiet", "--collect", f"--unit={scope}", described]
    process = subprocess.Popen(
        [*manager, "--", *program],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    return _await_found(store.need().bot, process)


def _await_found(bot: Bot, process: subprocess.Popen) -> tuple[int, float]:
    """Wait until a started process has become the bot, alone, and stays it for a moment."""
    begun = time.monotonic()
    seen = 0.0
    while time.monotonic() - begun < START_WAIT:
        if process.poll() is not None:
            said = process.stderr.read().decode("utf-8", "replace").strip().splitlines() if process.stderr else []
            last = f": {said[-1]}" if said else ""
            raise RolloutError(f"{bot.name} as it was found ended at once (status {process.returncode}){last}")
        if list(bot_pids(bot)) == [process.pid]:
            seen = seen or time.monotonic()
            if time.monotonic() - seen >= FOUND_SETTLE:
                return process.pid, seen
        time.sleep(POLL)
    raise RolloutError(f"{bot.name} as it was found did not come up alone within {START_WAIT:.0f} s")


def start_unit(bot: Bot, unit: str) -> Unit:
    """Start a unit and prove that its main process is the one running copy of the bot."""
    systemctl("reset-failed", unit)
    systemctl("start", unit)
    shown = show_unit(unit)

    def one_runs() -> bool:
        nonlocal shown
        if list(bot_pids(bot)) == [shown.main_pid]:
            return True
        shown = show_unit(unit)
        return shown.over or shown.crashed

    if not wait_until(one_runs, START_WAIT) or shown.over or shown.crashed:
        found = ", ".join(map(str, bot_pids(bot))) or "none"
        raise RolloutError(
            f"{bot.name} did not come up as exactly one process: {shown.end_described()}, processes: {found}"
        )
    return shown


# ----------------------------------------------------------------------------------------------------------
# Actions. Each holds its bot's mutex, writes down what it is about to do, does it, writes down that it is done.
# ----------------------------------------------------------------------------------------------------------


@dataclass
class Result:
    """What an action found, did, or (in check mode) would do. Holds names and numbers, no values of variables."""

    bot: str
    action: str
    changed: bool = False
    phase: str = ""
    release: str = ""
    candidate: str = ""
    previous: str = ""
    attempt: int = 0
    deadline: str = ""
    seconds_left: float = 0.0
    reasons: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    kept_shared: list[str] = field(default_factory=list)
    pids_before: list[int] = field(default_factory=list)
    pids_after: list[int] = field(default_factory=list)
    seconds_down: float = 0.0
    found: dict[str, object] = field(default_factory=dict)
    environment: dict[str, list[str]] = field(default_factory=dict)
    checks: list[dict[str, object]] = field(default_factory=list)
    before: str = ""
    after: str = ""
    message: str = ""

    def of(self, state: State) -> Result:
        """Fill in where the bot's rollout stands."""
        self.phase, self.release, self.candidate = state.phase, state.current, state.candidate
        self.previous, self.attempt = state.previous, state.attempt
        if state.deadline:
            self.deadline = utc(time.time() + state.deadline.remaining())
            self.seconds_left = round(state.deadline.remaining(), 1)
        return self


@dataclass(frozen=True)
class Wanted:
    """What to record of a bot, and how."""

    bot: Bot
    files: Mapping[str, FileRule]
    unit: str = ""
    environment_file: str = ""
    take_over: bool = False
    keep_variables: Sequence[str] = ()
    drop_variables: Sequence[str] = ()
    watch: float = 900.0

    @property
    def own_unit(self) -> str:
        """The unit the rollout runs the bot under."""
        return self.unit or f"webex-bot@{self.bot.name}.service"

    @property
    def own_environment_file(self) -> str:
        """The file its variables are carried over in."""
        return self.environment_file or f"{ENVIRONMENT_DIR}/{self.bot.name}.env"

    def rules(self) -> dict[str, FileRule]:
        """Every managed path: those given, what they link to, and the environment file."""
        rules = dict(self.files)
        rules[self.own_environment_file] = FileRule()
        for path in list(rules):
            if not os.path.isabs(path) or os.path.normpath(path) != path:
                raise RolloutError(f"{self.bot.name}: {path!r} cannot be managed: give an absolute path without `..`")
            if os.path.islink(path):
                rules.setdefault(os.path.realpath(path), rules[path])
        return rules


# -- record -------------------------------------------------------------------------------------------------


def record(vm: Vm, wanted: Wanted, token: int | None = None, check: bool = False) -> Result:
    """Write down what a bot is now: the way back. Nothing of the bot itself is touched.

    While an attempt is open this changes nothing: what is on disk then is not what was found. An attempt that somebody
    left half-way is taken back first.
    """
    store = vm.store(wanted.bot.name)
    if check:
        return _record(store, wanted, store.load(), check=True)
    with store.mutex():
        require_token(vm, token)
        state = store.load()
        taken_back = False
        if state is not None and state.phase in INTERRUPTED_PHASES:
            _revert(store, state, state.revert_to or state.current, "an earlier attempt was left half-way")
            state, taken_back = store.need(), True
        result = _record(store, wanted, state, check=False)
        result.changed = result.changed or taken_back
        return result


def _record(store: Store, wanted: Wanted, state: State | None, check: bool) -> Result:
    """Record with the mutex held, or look only."""
    result = Result(wanted.bot.name, "record")
    if state is not None and state.phase == "reverted":
        result.reasons = [state.note]
    if state is not None and state.phase in OPEN_PHASES:
        if not check:
            _manage_more(store, state, wanted.rules())
        result.pids_before = result.pids_after = sorted(bot_pids(wanted.bot))
        result.message = f"attempt {state.attempt} is open; release {state.current} stays the way back"
        return result.of(state)
    old = store.release(state.current) if state is not None and state.phase != "recording" else None
    found = _look_at_bot(store, wanted, state, old)
    _compare_found(result, wanted, state, old, found)
    if check:
        return result.of(state) if state else result
    state = _adopt(store, wanted, state, found) if result.changed else state
    if state is None:
        raise AssertionError("a bot without a state is always a change")
    state.keep_variables, state.drop_variables = list(wanted.keep_variables), list(wanted.drop_variables)
    if found.runner.kind == "process" and state.phase in ("recorded", "reverted"):
        state.phase, state.deadline = "recorded", Deadline.after(wanted.watch)
        with store.vm.mutex():
            start_guard()
            store.save(state)
    else:
        store.save(state)
    if result.changed:
        runs = found.runner.unit or found.runner.kind
        store.vm.audit("record", state.bot.name, "ok", release=state.current, runs=runs, copies=len(found.processes))
    return result.of(state)


@dataclass
class FoundBot:
    """A bot as it is at this moment."""

    rules: dict[str, FileRule]
    manifest: dict[str, Entry]
    contents: dict[str, bytes]  # by hash
    processes: list[Process]
    runner: Runner


def _look_at_bot(store: Store, wanted: Wanted, state: State | None, old: Release | None) -> FoundBot:
    """Files, processes and unit of a bot."""
    rules = {**(state.files if state else {}), **wanted.rules()}
    manifest, contents = {}, {}
    for path, rule in rules.items():
        entry, data = look_at(path)
        if rule.shared and (store.put_there(path, entry) or store.being_written(path)):
            # By the rollout of another bot, so it is not what this one was found with
            before = old.manifest.get(path) if old else None
            entry, data = (before, store.bytes_of(before)) if before else store.shared_found(path, entry, data)
        manifest[path] = entry
        contents[entry.sha256] = data
    processes = find_processes(wanted.bot)
    return FoundBot(rules, manifest, contents, processes, _runner(wanted, processes))


def _runner(wanted: Wanted, processes: Sequence[Process]) -> Runner:
    """How the bot is run now. Refuses what would start it again behind the rollout's back."""
    own = show_unit(wanted.own_unit)
    if any(process.pid == own.main_pid for process in processes) or (own.enabled and not processes):
        return Runner("unit", wanted.own_unit, own.enabled)
    for process in processes:
        _refuse_keepers(wanted, process)
    if not processes:
        return Runner("none")
    newest = processes[-1]
    foreign = show_unit(newest.supervisor) if newest.supervisor.endswith(".service") else None
    found = FoundProcess.read(newest)
    if foreign is None or not _belongs_to(newest.pid, foreign.main_pid):
        return Runner("process", process=found)
    if foreign.file_state == "transient":  # of systemd-run: once stopped, nobody can start it again
        return Runner("process", foreign.name, process=found)
    if not wanted.take_over:
        raise RolloutError(
            f"{wanted.bot.name} runs under the unit {foreign.name}, which is not the rollout's. Nothing was done. "
            f"To have it replaced by {wanted.own_unit}, say so (take_over); a revert puts {foreign.name} back"
        )
    return Runner("unit", foreign.name, foreign.enabled, found)


def _belongs_to(pid: int, main_pid: int) -> bool:
    """Whether a process is a unit's main process or comes from it."""
    return main_pid > 1 and (pid == main_pid or any(stat.pid == main_pid for stat in _ancestors(pid)))


def _refuse_keepers(wanted: Wanted, process: Process) -> None:
    """Refuse a bot that somebody would start again: a second copy would run."""
    if process.unit_is_user and process.unit.endswith(".service"):
        raise RolloutError(
            f"{wanted.bot.name} runs under {process.unit} of a user's own service manager. Nothing was done. "
            f"Disable it there (`systemctl --user disable --now {process.unit}`), start the bot by hand and run again"
        )
    if process.keeper and not process.supervisor.endswith(".service"):
        raise RolloutError(
            f"{wanted.bot.name} (pid {process.pid}) is looked after by process {process.keeper['pid']} "
            f"({process.keeper['name']}), which may start it again when it is stopped. Nothing was done. "
            "End that process so that the bot stays alone, and run again"
        )


def _compare_found(result: Result, wanted: Wanted, state: State | None, old: Release | None, found: FoundBot) -> None:
    """Fill in what was found and whether it is what is known already."""
    runner, manifest = found.runner, found.manifest
    result.pids_before = result.pids_after = [process.pid for process in found.processes]
    result.found = _found_facts(found)
    result.environment = _plan_for(wanted.keep_variables, wanted.drop_variables, runner).names()
    result.files = sorted(
        path
        for path, entry in manifest.items()
        if old is None or path not in old.manifest or old.manifest[path].identity != entry.identity
    )
    same_runner = old is not None and _same_runner(old.runner, runner)
    if runner.kind == "process" and found.processes and state is not None and state.running is not None:
        newest = found.processes[-1]
        same_runner = same_runner and (newest.pid, newest.start_time) == (state.running.pid, state.running.start_time)
    described = None if state is None else (state.bot, state.unit, state.environment_file)
    same_bot = described == (wanted.bot, wanted.own_unit, wanted.own_environment_file)
    result.changed = bool(result.files) or not same_runner or not same_bot
    result.after = _described(manifest, runner)
    result.before = result.after
    if result.changed:
        result.before = _described(old.manifest, old.runner) if old else ""
    result.message = "is recorded" if not result.changed else "found as release " + (state.current if state else "0")


def _same_runner(old: Runner, new: Runner) -> bool:
    """Whether two ways to run are one. Under a unit the process does not count: systemd starts it anew."""
    same_unit = (old.kind, old.unit, old.enabled) == (new.kind, new.unit, new.enabled)
    return same_unit and (old.kind != "process" or old.process == new.process)


def _found_facts(found: FoundBot) -> dict[str, object]:
    """What a unit has to take over from the process that was found; names and numbers only."""
    facts: dict[str, object] = {"runs": found.runner.kind, "unit": found.runner.unit, "copies": len(found.processes)}
    if found.processes:
        newest = found.processes[-1]
        started = wall_start(newest.start_time)
        facts.update(
            supervisor=newest.supervisor,
            uid=newest.uid,
            gid=newest.gid,
            groups=newest.groups,
            umask=newest.umask,
            open_files=newest.limits.get("open files", []),
            # written after the process began: what runs is not what is on disk, and only the disk can be put back
            newer_than_process=sorted(
                p for p, e in found.manifest.items() if e.kind == "file" and not unchanged_since(p, started)
            ),
        )
    return facts


def _described(manifest: Mapping[str, Entry], runner: Runner) -> str:
    """A release as lines for a diff: no contents."""
    lines = [
        f"{path} {e.kind} {e.sha256[:12]}{e.target} {e.mode:04o} {e.uid}:{e.gid}"
        for path, e in sorted(manifest.items())
    ]
    return "\n".join([*lines, f"run by {runner.unit or runner.kind}{', at boot' if runner.enabled else ''}", ""])


def _adopt(store: Store, wanted: Wanted, state: State | None, found: FoundBot) -> State:
    """Make what was found the release that the next attempt is taken back to."""
    if state is None:
        state = State(wanted.bot, wanted.own_unit, wanted.own_environment_file, found.rules)
        store.save(state)  # phase `recording`: until it is left, releases on disk may be incomplete
    for data in found.contents.values():
        store.keep(data)
    store.extend_releases({path: e for path, e in found.manifest.items() if path not in state.files})
    first = state.phase == "recording" or state.current == "0"
    name = "0" if first else release_id(found.manifest, found.runner)
    store.write_release(Release(name, "found", time.time(), found.manifest, found.runner))
    state.bot, state.unit, state.environment_file = wanted.bot, wanted.own_unit, wanted.own_environment_file
    state.files, state.current, state.candidate, state.phase = found.rules, name, "", "recorded"
    if found.runner.process is not None:
        state.carried_from = name
    state.deadline, state.running = None, None
    if found.processes:
        newest = found.processes[-1]
        files = {path: found.manifest[path].identity for path, rule in found.rules.items() if rule.restart}
        state.running = Running(newest.pid, newest.start_time, boot_key(), files)
    return state


def _manage_more(store: Store, state: State, rules: Mapping[str, FileRule]) -> None:
    """Take up paths that an open attempt did not manage so far: nobody has written them yet."""
    new = {path: rule for path, rule in rules.items() if path not in state.files}
    if new:
        looks = {path: look_at(path) for path in new}
        for _, data in looks.values():
            store.keep(data)
        store.extend_releases({path: entry for path, (entry, _) in looks.items()})
        state.files.update(new)
        store.save(state)


# -- arm ----------------------------------------------------------------------------------------------------


def _plan_for(keep: Sequence[str], drop: Sequence[str], runner: Runner) -> EnvironmentPlan:
    """What becomes of the variables of the process that was found; nothing for one that was not."""
    return plan_environment(runner.process.environment if runner.process else (), keep, drop)


def _carried(store: Store, state: State) -> dict[str, str] | None:
    """Variables to carry over for an open attempt; None where a unit of the rollout has its file already."""
    current = store.release(state.current)
    if current.runner.kind == "unit" and current.runner.unit == state.unit:
        return None
    if not state.carried_from:
        return {}
    return _plan_for(state.keep_variables, state.drop_variables, store.release(state.carried_from).runner).carried


def arm(vm: Vm, bot: str, seconds: float, token: int | None = None, check: bool = False) -> Result:
    """Open an attempt: from now on files may change, and the guard takes back what is not blessed in time.

    Again within the same run it only moves the deadline. Writes the file of the carried variables, the first change.
    """
    store = vm.store(bot)
    result = Result(bot, "arm")
    if check:
        state = store.load()
        result.message = "would be armed"
        return result.of(state) if state else result
    with store.mutex():
        require_token(vm, token)
        state = store.need()
        if state.phase in INTERRUPTED_PHASES:
            raise RolloutError(
                f"{bot} is being taken back to release {state.current} ({state.note}); record it again first"
            )
        _need_room(store, state)
        renewed = state.phase in OPEN_PHASES and token is not None and token == state.token
        if not renewed:
            state.attempt += 1
            state.phase, state.candidate, state.note, state.tries = "armed", "", "", 0
        state.token = token or 0
        state.deadline, state.retry = Deadline.after(seconds), None
        with vm.mutex():  # the guard must not go to sleep between its start and our deadline
            vm.reserve_room()
            start_guard()
            store.save(state)
        if not renewed:
            vm.audit(
                "arm",
                bot,
                "ok",
                attempt=state.attempt,
                token=state.token,
                seconds=round(seconds),
                back_to=state.current,
            )
        carried = _carried(store, state)
        if carried is not None:
            result.changed = _write_environment(store, state, carried)
            plan = _plan_for(
                state.keep_variables, state.drop_variables, store.release(state.carried_from or "0").runner
            )
            result.environment = plan.names()
        return result.of(state)


def _write_environment(store: Store, state: State, carried: Mapping[str, str]) -> bool:
    """Write the carried variables, readable for root alone; whether that changed anything."""
    path, data = state.environment_file, render_environment(state.bot.name, carried)
    have, _ = look_at(path)
    if not carried and have.kind == "file":  # nothing to carry: the file is somebody's own
        return False
    want = Entry("file", sha256(data), 0o600, 0, 0, time.time_ns())
    if have.identity == want.identity:
        return False
    put_back(path, want, data)
    return True


def _need_room(store: Store, state: State) -> None:
    """Refuse to begin where files could not be put back."""
    for path in state.files:
        directory = os.path.dirname(path)
        while not os.path.isdir(directory):
            directory = os.path.dirname(directory)
        status = os.statvfs(directory)
        size = os.path.getsize(path) if os.path.isfile(path) else 0
        needed = 2 * size + BALLAST_BYTES
        if status.f_bavail * status.f_frsize < needed:
            raise RolloutError(
                f"{state.bot.name}: the disk of {directory} has {status.f_bavail * status.f_frsize // 1024} kB left, "
                f"{needed // 1024} kB are needed to change {path} and to put it back. Nothing was changed. "
                "Free some and run again"
            )


# -- switch -------------------------------------------------------------------------------------------------


def _must_be_open(state: State, token: int | None, phases: Sequence[str] = OPEN_PHASES) -> None:
    """Refuse a step of an attempt that is over, or another run's."""
    bot = state.bot.name
    if state.phase in INTERRUPTED_PHASES or state.phase == "reverted":
        back = "was taken back" if state.phase == "reverted" else "is being taken back"
        raise RolloutError(
            f"{bot} {back} to release {state.revert_to or state.current}: {state.note}. Run the rollout again"
        )
    if state.phase not in phases:
        raise RolloutError(f"{bot} is {state.phase}; this step needs it to be {' or '.join(phases)}")
    if token is not None and token != state.token:
        raise RolloutError(
            f"attempt {state.attempt} at {bot} was opened under another run's lock (token {state.token}, this run has "
            f"{token}); arm it in this run first"
        )
    if state.deadline and (state.deadline.rebooted() or state.deadline.past()):
        raise RolloutError(
            f"the deadline of attempt {state.attempt} at {bot} has passed, the guard takes it back to release "
            f"{state.current}. Run the rollout again, with a longer deadline if it was too short"
        )


def _reasons_to_restart(state: State, manifest: Mapping[str, Entry]) -> list[str]:
    """Why what runs is not what is wanted: the files as they are, once, under the unit."""
    copies = list(bot_pids(state.bot))
    unit = show_unit(state.unit)
    if not copies:
        return ["it does not run"]
    if len(copies) > 1:
        return [f"it runs {len(copies)} times (pids {', '.join(map(str, copies))})"]
    if copies != [unit.main_pid]:
        return [f"it runs outside {state.unit} (pid {copies[0]})"]
    return [f"{path} has changed since it was started" for path in _stale_files(state, copies[0], manifest)]


def _stale_files(state: State, pid: int, manifest: Mapping[str, Entry]) -> list[str]:
    """Files that a process was not started from. Of a process nobody here started only the times can tell."""
    stat = read_stat(pid)
    if stat is None:
        return sorted(manifest)
    paths = sorted(path for path, rule in state.files.items() if rule.restart and path in manifest)
    running = state.running
    if running and (running.pid, running.start_time, running.boot) == (pid, stat.start_time, boot_key()):
        return [path for path in paths if running.files.get(path) != manifest[path].identity]
    started = wall_start(stat.start_time)
    return [path for path in paths if not unchanged_since(path, started)]


def _candidate(store: Store, state: State) -> tuple[Release, dict[str, bytes]]:
    """The release that is on disk now, with its bytes."""
    looks = {path: look_at(path) for path in state.files}
    manifest = {path: entry for path, (entry, _) in looks.items()}
    runner = Runner("unit", state.unit, True)
    current = store.release(state.current)
    name = release_id(manifest, runner)
    if current.origin == "found" and release_id(current.manifest, current.runner) == name:
        name = current.id  # nothing to do: what was found is what is wanted
    return Release(name, "rollout", time.time(), manifest, runner), {e.sha256: data for e, data in looks.values()}


def switch(
    vm: Vm,
    bot: str,
    token: int | None = None,
    stop_seconds: float = STOP_SECONDS,
    check: bool = False,
    pending: bool = False,
) -> Result:
    """Have exactly one process run under the unit, started from the files as they are now.

    Restarts only where what runs is something else. `pending` tells check mode that files would change first.
    """
    store = vm.store(bot)
    result = Result(bot, "switch")
    if check:
        return _would_switch(store, result, pending)
    with store.mutex():
        require_token(vm, token)
        state = store.need()
        _must_be_open(state, token)
        candidate, contents = _candidate(store, state)
        result.pids_before = sorted(bot_pids(state.bot))
        result.reasons = _reasons_to_restart(state, candidate.manifest)
        if candidate.id not in store.release_names():
            for data in contents.values():
                store.keep(data)
            store.write_release(candidate)
        if result.reasons:
            _ready_to_start(vm, state)
            state.candidate, state.phase = candidate.id, "switching"
            state.note = "the switch was left half-way"
            store.save(state)
            result.seconds_down = _replace_process(store, state, candidate, stop_seconds)
            result.changed = True
        else:
            for unit in _units_at_boot(state):
                result.changed = enable_unit(vm, unit) or result.changed
        _now_running(state, candidate)
        state.candidate, state.note = candidate.id, ""
        state.phase = "checked" if state.phase == "checked" and not result.changed else "switched"
        if result.changed and state.deadline:  # from now on the bot is at risk, however long writing its files took
            state.deadline = Deadline.after(state.deadline.seconds)
        store.save(state)
        result.pids_after = sorted(bot_pids(state.bot))
        result.before = f"{bot}: release {state.current}\n"
        result.after = f"{bot}: release {candidate.id}\n"
        if result.changed:
            details = {"release": candidate.id, "attempt": state.attempt, "down": round(result.seconds_down, 2)}
            vm.audit("switch", bot, "ok", **details, reason="; ".join(result.reasons))
        return result.of(state)


def _would_switch(store: Store, result: Result, pending: bool) -> Result:
    """What a switch would do, as far as that can be told before files are written."""
    state = store.load()
    if state is None:
        result.changed, result.message = True, "would be put under its unit"
        return result
    manifest = {path: look_at(path)[0] for path in state.files}
    result.pids_before = result.pids_after = sorted(bot_pids(state.bot))
    result.reasons = _reasons_to_restart(state, manifest)
    if pending and not result.reasons:
        result.reasons = ["files would have changed since it was started"]
    result.changed = bool(result.reasons)
    result.message = "would be restarted: " + "; ".join(result.reasons) if result.changed else "would go on running"
    return result.of(state)


def _ready_to_start(vm: Vm, state: State) -> None:
    """Find out what can be found out before the old process is stopped."""
    reload_units(vm)
    unit = show_unit(state.unit)
    if unit.load != "loaded":
        raise RolloutError(
            f"{state.unit} cannot be started ({unit.load}{': ' + unit.load_error if unit.load_error else ''}). "
            f"{state.bot.name} was not touched. `systemd-analyze verify {state.unit}` says more"
        )
    compiles = "import sys; compile(open(sys.argv[1], 'rb').read(), sys.argv[1], 'exec')"
    problem = _as_the_bot(state.bot, state.bot.python, compiles, state.bot.script_path)
    if problem:
        raise RolloutError(
            f"{state.bot.python} cannot compile {state.bot.script_path}: {problem}. {state.bot.name} was not touched"
        )
    _can_write_again(state.bot, "was not touched")


def _can_write_again(bot: Bot, outcome: str) -> None:
    """Refuse to stop a bot that could not open its log when it is started again; the error says `outcome` of it."""
    logs: set[str] = set()
    for pid in bot_pids(bot):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has just ended by itself
            logs.update(filter(os.path.isfile, open_for_writing(pid, streams=False)))
    opens = "import sys; [open(path, 'ab').close() for path in sys.argv[1:]]"
    problem = _as_the_bot(bot, sys.executable, opens, *sorted(logs)) if logs else ""
    if problem:
        raise RolloutError(
            f"{bot.name} writes to files that {bot.user} could not open anew: {problem}. Nobody could start it again, "
            f"so it {outcome}. Make them writable and run this again"
        )


def _as_the_bot(bot: Bot, python: str, code: str, *arguments: str) -> str:
    """Run some Python as the bot's user; returns why it failed, or nothing."""
    done = run_command(["runuser", "-u", bot.user, "--", python, "-I", "-c", code, *arguments], timeout=30)
    said = done.stderr.decode("utf-8", "replace").strip().splitlines()
    return (said[-1] if said else f"exit status {done.returncode}") if done.returncode != 0 else ""


def _units_at_boot(state: State) -> list[str]:
    """Units a boot has to start: the bot's, and the targets its release brings along."""
    targets = [path for path in state.files if path.endswith(".target") and os.path.isfile(path)]
    return [*map(os.path.basename, targets), state.unit]


def _replace_process(store: Store, state: State, candidate: Release, stop_seconds: float) -> float:
    """Stop whatever runs, prove that it is gone, start the unit; returns the seconds between."""
    current = store.release(state.current)
    units = [state.unit]
    if current.runner.unit not in ("", state.unit):
        disable_unit(store.vm, current.runner.unit)
        units.append(current.runner.unit)
    for unit in _units_at_boot(state):
        enable_unit(store.vm, unit)
    begun = time.monotonic()
    stop_all(state.bot, units, stop_seconds)
    start_unit(state.bot, state.unit)
    return time.monotonic() - begun


def _now_running(state: State, release: Release) -> None:
    """Note which process runs, and from which files."""
    unit = show_unit(state.unit)
    stat = read_stat(unit.main_pid)
    if stat is None:
        raise RolloutError(f"{state.bot.name} ended right after its start: {unit.end_described()}")
    files = {path: release.manifest[path].identity for path, rule in state.files.items() if rule.restart}
    state.running = Running(unit.main_pid, stat.start_time, boot_key(), files, unit.restarts)


# -- start-up check -----------------------------------------------------------------------------------------

CONNECT_GRACE = 5.0
# systemd may start a killed bot again once; the hold begins anew then. The second time is the release's fault.
RESTARTS_ALLOWED = 1


@dataclass(frozen=True)
class Proof:
    """What the start-up check asks for. ``log`` is read from ``offset`` of the file that had ``inode``."""

    hold: float = 30.0
    open_files: int = 0
    ports: Sequence[int] = HTTPS_PORTS
    log: str = ""
    inode: int = 0
    offset: int = 0
    ready: str = "webex-pool ready "


class CheckFailedError(RolloutError):
    """The start-up check did not pass; ``result`` says which part."""

    def __init__(self, message: str, result: Result) -> None:
        """Keep what was found."""
        super().__init__(message)
        self.result = result


@dataclass(frozen=True)
class Finding:
    """One part of the check."""

    name: str
    ok: bool
    detail: str


def check_start(vm: Vm, bot: str, proof: Proof, token: int | None = None, check: bool = False) -> Result:
    """Prove that the new process stays: the same one over the hold, alone, with its limits, connected, logging.

    Judged by pid, start time and restart count; `active` is also what systemd says of a bot that dies every 20 s.
    A failed check ends the attempt: the guard takes it back at its next tick, if nobody does before.
    """
    store = vm.store(bot)
    result = Result(bot, "check")
    if check:
        state = store.load()
        result.message = "would be checked"
        return result.of(state) if state else result
    with store.mutex():
        require_token(vm, token)
        state = store.need()
        _must_be_ready_for_check(state, token, proof)
        expected = _expected_environment(store, state)
    findings = _watch(state, proof, expected)
    result.checks = [asdict(finding) for finding in findings]
    failed = [finding for finding in findings if not finding.ok]
    with store.mutex():
        now = store.need()
        if (now.attempt, now.phase) != (state.attempt, state.phase):
            _must_be_open(now, token)  # says who took it back
            raise RolloutError(f"{bot}: attempt {state.attempt} is over (now {now.attempt}, {now.phase})")
        _conclude_check(store, now, result, failed)
        if failed:
            said = "; ".join(f"{finding.name}: {finding.detail}" for finding in failed)
            raise CheckFailedError(f"{bot} did not pass its start-up check: {said}", result)
        return result


def _must_be_ready_for_check(state: State, token: int | None, proof: Proof) -> None:
    """Refuse a check that has nothing to look at, or that the deadline would cut off."""
    if state.phase == "blessed":
        return
    _must_be_open(state, token, ("switched", "checked"))
    if state.deadline and state.deadline.remaining() < proof.hold + CONNECT_GRACE:
        raise RolloutError(
            f"the deadline of {state.bot.name} is {state.deadline.remaining():.0f} s away, the check holds for "
            f"{proof.hold:.0f} s; arm it again with more time"
        )


def _conclude_check(store: Store, state: State, result: Result, failed: Sequence[Finding]) -> None:
    """Write down how a check went."""
    unit = show_unit(state.unit)
    result.pids_before = result.pids_after = [unit.main_pid] if unit.main_pid else []
    if state.phase == "blessed":
        result.of(state)
        return
    if failed:
        state.phase, state.note = "failed", "start-up check: " + "; ".join(f"{f.name}: {f.detail}" for f in failed)
    else:
        _now_running(state, store.release(state.candidate))
        state.phase = "checked"
    store.save(state)
    names = ",".join(finding.name for finding in failed)
    result.of(state)
    store.vm.audit(
        "check",
        state.bot.name,
        "failed" if failed else "ok",
        release=state.candidate,
        attempt=state.attempt,
        failed=names,
    )


def _expected_environment(store: Store, state: State) -> dict[str, str]:
    """Variables the process must have got; none where somebody has edited the file since."""
    if not state.carried_from:
        return {}
    plan = _plan_for(state.keep_variables, state.drop_variables, store.release(state.carried_from).runner)
    have, data = look_at(state.environment_file)
    return plan.carried if have.kind == "file" and data == render_environment(state.bot.name, plan.carried) else {}


def _watch(state: State, proof: Proof, expected: Mapping[str, str]) -> list[Finding]:
    """Watch a bot over the hold and look at everything at its end."""
    stays, unit = _hold(state, proof.hold)
    if not stays.ok:
        return [stays]
    pid = unit.main_pid
    wait_until(lambda: _connections(pid, proof.ports) > 0 and _said_ready(pid, proof), CONNECT_GRACE)
    findings = [
        stays,
        _find_alone(state.bot, pid),
        _find_limit(pid, proof.open_files),
        _find_connection(pid, proof.ports),
    ]
    if expected:
        findings.append(_find_environment(pid, expected))
    if proof.log:
        ok = _said_ready(pid, proof)
        findings.append(
            Finding("ready line", ok, f"`{proof.ready.strip()} pid={pid}` {'is' if ok else 'is not'} in {proof.log}")
        )
    stat = read_stat(pid)
    if stat is None or show_unit(state.unit).main_pid != pid:
        return [
            Finding(
                "stays up", False, f"pid {pid} ended at the end of the hold; {show_unit(state.unit).end_described()}"
            )
        ]
    return findings


def _hold(state: State, seconds: float) -> tuple[Finding, Unit]:
    """Wait until one process has stayed for the hold; one restart begins it anew."""
    running = state.running
    pid, before = (running.pid, running.restarts) if running else (0, 0)
    since, limit = time.monotonic(), time.monotonic() + 2 * seconds + 60
    others = 0
    while True:
        unit = show_unit(state.unit)
        if unit.over or unit.crashed:
            return Finding("stays up", False, unit.end_described()), unit
        if unit.main_pid and unit.main_pid != pid:
            others += 1
            pid, since = unit.main_pid, time.monotonic()
        restarts = max(others, unit.restarts - before)
        if restarts > RESTARTS_ALLOWED:
            return Finding("stays up", False, f"restarted {restarts} times in the hold; {unit.end_described()}"), unit
        if unit.main_pid and time.monotonic() - since >= seconds:
            again = f", restarted once before ({unit.restarts})" if restarts else ""
            return Finding("stays up", True, f"pid {pid} for {seconds:.0f} s{again}"), unit
        if time.monotonic() > limit:
            return Finding("stays up", False, f"no process stayed for {seconds:.0f} s; {unit.end_described()}"), unit
        time.sleep(0.25)


def _find_alone(bot: Bot, pid: int) -> Finding:
    copies = sorted(bot_pids(bot))
    return Finding("one process", copies == [pid], f"pids {', '.join(map(str, copies)) or 'none'}, main process {pid}")


def _find_limit(pid: int, wanted: int) -> Finding:
    """Open files; where systemd itself may not have as many, its own limit is all there is."""
    soft, hard = read_limits(pid)["open files"]
    allowed = min(wanted, allowed_open_files())
    ok = soft == "unlimited" or int(soft) >= allowed
    clamped = f", of {wanted} wanted this machine allows {allowed}" if allowed < wanted else f", wanted {wanted}"
    return Finding("open files", ok, f"{soft} (hard {hard}){clamped}")


def allowed_open_files() -> int:
    """The highest limit of open files that a unit can get here: the kernel's, or PID 1's where it may not raise it."""
    highest = int(Path("/proc/sys/fs/nr_open").read_text())
    sys_resource = 24
    if not int(_status_fields(1)["CapEff"], 16) >> sys_resource & 1:
        hard = read_limits(1)["open files"][1]
        highest = highest if hard == "unlimited" else min(highest, int(hard))
    return highest


def _find_connection(pid: int, ports: Sequence[int]) -> Finding:
    ok = _connections(pid, ports) > 0
    said = "/".join(map(str, sorted({*ports, *_proxy_ports(pid)})))
    return Finding("connection", ok, f"{'an' if ok else 'no'} established connection to port {said}")


def _proxy_ports(pid: int) -> set[int]:
    """Ports of the proxies in a process's environment: behind one there is no connection to the real port."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        environment = read_nul_list(f"/proc/{pid}/environ")
        matches = (re.match(r"^(?:https?|all)_proxy=.*?:(\d+)/?$", entry, re.IGNORECASE) for entry in environment)
        return {int(match.group(1)) for match in matches if match}
    return set()


def _connections(pid: int, ports: Sequence[int]) -> int:
    """How many established TCP connections a process has to one of the ports (or to its proxy's)."""
    wanted = {*ports, *_proxy_ports(pid)}
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


def _find_environment(pid: int, expected: Mapping[str, str]) -> Finding:
    missing = missing_variables(pid, expected)
    detail = f"not as carried over: {', '.join(missing)}" if missing else f"{len(expected)} variables carried over"
    return Finding("environment", not missing, detail)


def _said_ready(pid: int, proof: Proof) -> bool:
    """Whether the process has written its ready line since the cursor, also across a rotation of the log."""
    if not proof.log:
        return True
    pattern = re.compile(re.escape(proof.ready.strip()).encode() + rb"\s+pid=%d\b" % pid)
    for path in (proof.log, proof.log + ".1"):
        try:
            with open(path, "rb") as file:
                if os.fstat(file.fileno()).st_ino == proof.inode:
                    file.seek(proof.offset)
                elif path != proof.log:
                    continue  # an older file
                if pattern.search(file.read()):
                    return True
        except FileNotFoundError:
            continue
    return False


# -- bless --------------------------------------------------------------------------------------------------


def bless(
    vm: Vm,
    bot: str,
    token: int | None = None,
    keep: int = KEEP_RELEASES,
    probation: float = 0.0,
    check: bool = False,
) -> Result:
    """Let the release stay: it passed its check, and the process that did still runs, alone.

    For `probation` seconds the guard still takes it back if its unit ends as failed.
    """
    store = vm.store(bot)
    result = Result(bot, "bless")
    if check:
        state = store.load()
        result.message = "would be blessed"
        return result.of(state) if state else result
    with store.mutex():
        require_token(vm, token)
        state = store.need()
        if state.phase != "blessed":
            _must_be_open(state, token, ("checked",))
            _must_run_as_checked(state)
            result.changed = state.candidate != state.current
            if result.changed:
                state.previous, state.current = state.current, state.candidate
                state.probation = Deadline.after(probation)
            state.phase, state.candidate, state.deadline, state.note = "blessed", "", None, ""
            store.save(state)
            store.prune(state, keep)
            vm.audit("bless", bot, "ok", release=state.current, attempt=state.attempt, previous=state.previous)
    rest_guard(vm)
    result.pids_before = result.pids_after = sorted(bot_pids(state.bot))
    return result.of(state)


def _must_run_as_checked(state: State) -> None:
    """Refuse to bless another process than the one that was checked."""
    copies = sorted(bot_pids(state.bot))
    running = state.running
    if running is None or copies != [running.pid] or not alive(running.pid, running.start_time):
        checked = running.pid if running else "none"
        now = ", ".join(map(str, copies)) or "none"
        raise RolloutError(
            f"{state.bot.name} is not the process that was checked (pid {checked}, now {now}). "
            "Check it again before it is blessed"
        )


# -- revert -------------------------------------------------------------------------------------------------


@dataclass
class RevertPlan:
    """What has to be done to be back at a release."""

    target: Release
    restore: dict[str, bytes] = field(default_factory=dict)  # path -> bytes to put there
    displaced: dict[str, bytes] = field(default_factory=dict)  # path -> bytes there now that no release has
    kept_shared: list[str] = field(default_factory=list)
    process_stays: bool = False
    unit_stays: bool = False

    @property
    def empty(self) -> bool:
        """Whether everything is as the release wants it."""
        return not self.restore and self.process_stays and self.unit_stays


def revert(
    vm: Vm,
    bot: str,
    to: str = "previous",
    reason: str = "asked for",
    force: bool = False,
    token: int | None = None,
    check: bool = False,
) -> Result:
    """Take a bot back to `previous`, to ``0`` (as found), or to a named release, and have it run, once.

    Back at it already, this does nothing. A file whose content no release has was edited by somebody: nothing is done
    then, unless `force` is given; its bytes are kept either way.
    """
    store = vm.store(bot)
    if check:
        state = store.load()
        if state is None:
            return Result(bot, "revert", message="never recorded, so there is nothing to take back")
        plan = _plan_revert(store, state, store.release(_revert_target(store, state, to)), force)
        result = Result(bot, "revert", changed=not plan.empty, files=sorted(plan.restore), kept_shared=plan.kept_shared)
        return result.of(state)
    with store.mutex():
        require_token(vm, token)
        state = store.need()
        # Files that this very run wrote after the guard had taken its attempt back are no one else's
        force = force or (token is not None and token == state.token and state.phase == "reverted")
        result = _revert(store, state, _revert_target(store, state, to), reason, force)
    rest_guard(vm)
    return result


def _revert_target(store: Store, state: State, to: str) -> str:
    """Resolve the name of a release to go back to."""
    if to == "previous":
        if state.phase != "blessed":
            return state.revert_to if state.phase == "reverting" else state.current
        if not state.previous:
            raise RolloutError(
                f"{state.bot.name} runs release {state.current}, and there is none before it; name one (`--to 0`)"
            )
        return state.previous
    matches = [name for name in store.release_names() if name == to or (len(to) >= 4 and name.startswith(to))]
    if len(matches) != 1:
        known = ", ".join(store.release_names())
        raise RolloutError(
            f"{state.bot.name} has {'no' if not matches else 'more than one'} release {to!r} (there are: {known})"
        )
    return matches[0]


def _plan_revert(store: Store, state: State, target: Release, force: bool) -> RevertPlan:
    """Compare what is with what the release wants. Refuses to overwrite what nobody here has written."""
    plan = RevertPlan(target)
    final, edited = {}, []
    for path, want in sorted(target.manifest.items()):
        have, data = look_at(path)
        final[path] = have
        if have.identity == want.identity:
            continue
        rule = state.files.get(path, FileRule())
        if rule.shared and store.needed_by_others(path, have):
            plan.kept_shared.append(path)
            del final[path]  # a process is not ended for a file that stays as it is
            continue
        final[path] = want
        plan.restore[path] = store.bytes_of(want)
        if not _is_ours(store, path, have, rule):
            plan.displaced[path] = data
            if not (force or state.phase == "armed" or path in state.restoring):
                edited.append(path)
    if edited:
        raise RolloutError(
            f"{state.bot.name} is not taken back to release {target.id}: {', '.join(edited)} was edited by somebody "
            "since the rollout wrote it. Nothing was changed. Undo that edit, or give it up with "
            f"`webex-rollout revert {state.bot.name} --force` (its bytes are kept on the machine)"
        )
    _plan_process(state, plan, final)
    return plan


def _is_ours(store: Store, path: str, have: Entry, rule: FileRule) -> bool:
    """Whether overwriting loses nothing: some release has this content, or there is none."""
    if have.kind == "absent" or have.content in store.known_contents(path):
        return True
    return rule.shared and store.put_there(path, have)


def _plan_process(state: State, plan: RevertPlan, final: Mapping[str, Entry]) -> None:
    """Whether the process, and the units, are what the release wants already."""
    runner = plan.target.runner
    own = show_unit(state.unit)
    copies = list(bot_pids(state.bot))
    if runner.kind == "unit":
        unit = own if runner.unit == state.unit else show_unit(runner.unit)
        alone = copies == [unit.main_pid]
        plan.unit_stays = unit.enabled == runner.enabled and (unit is own or (own.over and not own.enabled))
    else:
        alone = len(copies) == 1 and copies != [own.main_pid] if runner.kind == "process" else not copies
        plan.unit_stays = own.over and not own.enabled
    stale = _stale_files(state, copies[0], final) if len(copies) == 1 else []
    plan.process_stays = alone and not stale


def _revert(store: Store, state: State, target: str, reason: str, force: bool = False) -> Result:
    """Go back, with the mutex held. Killed on the way, it leaves the phase `reverting`, and the guard goes on."""
    bot = state.bot.name
    result = Result(bot, "revert", pids_before=sorted(bot_pids(state.bot)), reasons=[reason])
    result.before = f"{bot}: pids {result.pids_before}\n"
    try:
        plan = _plan_revert(store, state, store.release(target), force)
        pending = state.pending
        if not plan.empty:
            _must_be_startable(state, plan, bool(result.pids_before))
            _mark_reverting(store, state, target, reason, plan.restore)
            # Once more: of bots that leave a shared file side by side, the last to be marked sees that nobody needs it
            plan = _plan_revert(store, state, plan.target, force)
            for path, data in plan.displaced.items():
                store.vm.audit("displace", bot, "ok", path=path, kept=str(store.displace(path, data)))
            result.seconds_down = _go_back(store, state, plan)
            result.changed = True
        if result.changed or pending:
            with store.vm.mutex():
                for path, entry in plan.target.manifest.items():
                    clear_away(path, entry)
            _mark_reverted(store, state, target, reason)
            down = round(result.seconds_down, 2)
            store.vm.audit("revert", bot, "ok", release=target, attempt=state.attempt, down=down, reason=reason)
    except (RolloutError, OSError, KeyError) as error:
        _note_failure(store, state, error)
        raise
    result.files, result.kept_shared = sorted(plan.restore), plan.kept_shared
    result.pids_after = sorted(bot_pids(state.bot))
    result.after = f"{bot}: pids {result.pids_after}\n"
    result.message = f"back at release {target}"
    return result.of(state)


def _must_be_startable(state: State, plan: RevertPlan, runs: bool) -> None:
    """Refuse to end a running process for one that cannot be started."""
    if not runs or plan.process_stays or plan.target.runner.kind == "none":
        return
    process = plan.target.runner.process if plan.target.runner.kind == "process" else None
    python = os.path.join(process.cwd, _executable(process)) if process else state.bot.python
    if not os.access(python, os.X_OK):
        raise RolloutError(
            f"{state.bot.name} is not taken back to release {plan.target.id}: {python} is not there to run it. "
            "It goes on as it runs now. Put that back and run this again"
        )
    _can_write_again(state.bot, f"goes on as it runs now, not taken back to release {plan.target.id}")


def _mark_reverting(store: Store, state: State, target: str, reason: str, paths: Iterable[str]) -> None:
    """Write down that the bot is on its way back, and whose files are given up; have the guard see to it."""
    given_up = {*state.restoring, *paths, *(state.files if state.phase == "armed" else ())}
    state.phase, state.revert_to, state.note, state.restoring = "reverting", target, reason, sorted(given_up)
    with store.vm.mutex():
        with contextlib.suppress(RolloutError):  # without a guard the way back is still worth walking
            start_guard()
        store.save(state)


def _forget_soak(store: Store, target: str) -> None:
    """What the log said of a release that was taken back says nothing of its next attempt; the target's own stays."""
    path = store.path / "soak.json"
    damaged_or_none = contextlib.suppress(FileNotFoundError, ValueError)  # who needs it will say so
    with flock(store.path / "soak.lock", f"a look at {store.bot}'s log", 60), damaged_or_none:
        if json.loads(path.read_bytes()).get("release") != target:
            path.unlink()


def _mark_reverted(store: Store, state: State, target: str, reason: str) -> None:
    """Write down that the bot is back."""
    _forget_soak(store, target)
    if state.previous == target:
        state.previous = ""
    state.phase, state.current, state.candidate, state.revert_to = "reverted", target, "", ""
    state.note, state.restoring, state.deadline, state.retry, state.tries = reason, [], None, None, 0
    store.save(state)


def _go_back(store: Store, state: State, plan: RevertPlan) -> float:
    """Put units, files and the process back; returns the seconds without a process."""
    runner = plan.target.runner
    to_own_unit = runner.kind == "unit" and runner.unit == state.unit
    for unit in _units_to_leave_boot(plan, "" if to_own_unit and runner.enabled else state.unit):
        disable_unit(store.vm, unit)
    begun = time.monotonic()
    if not plan.process_stays:
        units = [state.unit] + ([runner.unit] if runner.kind == "unit" and not to_own_unit else [])
        stop_all(state.bot, units, STOP_SECONDS)
    for path, data in plan.restore.items():
        with store.vm.mutex():  # a shared one may be put back by two bots at once
            put_back(path, plan.target.manifest[path], data)
    if runner.kind == "process":  # needs nothing of systemd, so it comes first
        up = begun if plan.process_stays else _start_runner(store, state, plan.target)
        reload_units(store.vm)
        return up - begun
    reload_units(store.vm)
    if runner.kind == "unit" and runner.enabled:
        enable_unit(store.vm, runner.unit)
    return 0.0 if plan.process_stays else _start_runner(store, state, plan.target) - begun


def _units_to_leave_boot(plan: RevertPlan, own: str) -> list[str]:
    """Units that a boot must not start any more: the bot's own, and those whose files are removed. Disabled after the
    removal they would leave their links behind."""
    removed = [path for path in plan.restore if plan.target.manifest[path].kind == "absent"]
    pattern = re.compile(r"/systemd/system/[^/@]+\.(service|target|timer|socket)$")
    return ([own] if own else []) + [os.path.basename(path) for path in removed if pattern.search(path)]


def _start_runner(store: Store, state: State, release: Release) -> float:
    """Start what a release runs as, and note it; returns when it was up."""
    files = {path: look_at(path)[0].identity for path, rule in state.files.items() if rule.restart}
    state.running = None
    if release.runner.kind == "none":
        return time.monotonic()
    if release.runner.kind == "process":
        pid, up = start_found(store, release.id)
        restarts = 0
    else:
        unit = start_unit(state.bot, release.runner.unit)
        pid, up, restarts = unit.main_pid, time.monotonic(), unit.restarts
    stat = read_stat(pid)
    if stat is not None:
        state.running = Running(pid, stat.start_time, boot_key(), files, restarts)
    return up


# -- guard --------------------------------------------------------------------------------------------------

RETRY_SECONDS = 10.0
RETRY_SECONDS_AT_MOST = 600.0
# Every start of a bot may register a device with Webex, whose number is limited: stop trying before none is left.
TRIES_AT_MOST = 8


def _note_failure(store: Store, state: State, error: Exception) -> None:
    """Write down that the way back failed, and when to try again."""
    state.tries += 1
    state.note = str(error)
    state.retry = Deadline.after(min(RETRY_SECONDS * 2 ** (state.tries - 1), RETRY_SECONDS_AT_MOST))
    store.vm.audit("revert", state.bot.name, "failed", tries=state.tries, error=str(error))
    with contextlib.suppress(RolloutError, OSError):
        store.save(state)


def _due(state: State) -> str:
    """Why a bot has to be taken back now; empty if it has not."""
    if state.phase == "blessed":
        return fallen(state)
    if state.phase in OPEN_PHASES:
        if state.deadline is None or state.deadline.rebooted():
            return "the machine was booted again before it was blessed"
        return f"not blessed within {state.deadline.seconds:.0f} s" if state.deadline.past() else ""
    if state.phase in INTERRUPTED_PHASES:
        waiting = state.retry is not None and not state.retry.rebooted() and not state.retry.past()
        return "" if waiting or state.tries >= TRIES_AT_MOST else state.note or "left half-way"
    return ""


def guard(vm: Vm) -> list[str]:
    """Take back every attempt that is due, and start what a reboot took. Returns what is wrong, a line a bot.

    All that is due is marked before the first is taken back: a shared file is given up only by those who leave it.
    """
    problems: dict[str, str] = {}
    for step in (_mark_due, _take_back, _restart_lost):
        for name in vm.bot_names():
            if name not in problems:
                _guarded(vm, name, step, problems)
    with contextlib.suppress(BusyError):
        rest_guard(vm)
    return [f"{name}: {problem}" for name, problem in problems.items()]


def _guarded(vm: Vm, name: str, step: Callable[[Store, State], None], problems: dict[str, str]) -> None:
    """Do one step for one bot; whatever goes wrong with it must not keep the others from theirs."""
    try:
        store = vm.store(name)
        with store.mutex(wait=0):
            state = store.load()
            if state is not None and state.phase != "recording":
                step(store, state)
    except BusyError:
        pass  # somebody acts on it right now; the next tick is seconds away
    except RolloutError as error:
        problems[name] = str(error)
    except Exception as error:  # the guard has to get to the next bot, whatever this is
        problems[name] = f"{type(error).__name__}: {error}"


def _mark_due(store: Store, state: State) -> None:
    """Write down that a bot has to be taken back."""
    reason = _due(state)
    if reason and state.phase != "reverting":
        store.vm.audit("guard", state.bot.name, "due", phase=state.phase, attempt=state.attempt, reason=reason)
        back_to = state.previous if state.phase == "blessed" else state.current
        _mark_reverting(store, state, back_to, reason, ())
    if not reason and state.phase in INTERRUPTED_PHASES and state.tries >= TRIES_AT_MOST:
        raise RolloutError(
            f"given up after {state.tries} tries: {state.note}. When that is mended: "
            f"`webex-rollout revert {state.bot.name}`"
        )


def _take_back(store: Store, state: State) -> None:
    """Take back a bot that is marked, and whose next try is due."""
    if state.phase == "reverting" and _due(state):
        _revert(store, state, state.revert_to or state.current, state.note)


def _restart_lost(store: Store, state: State) -> None:
    """Start a process as found that a reboot took while its bot waited for its turn."""
    if not state.watched or state.deadline is None:
        return
    if state.deadline.past():
        state.deadline = None
    elif not state.deadline.rebooted() or bot_pids(state.bot):
        return
    else:
        left = state.deadline.remaining()
        release = store.release(state.current)
        _start_runner(store, state, release)
        state.deadline = Deadline.after(left)
        store.vm.audit("guard", state.bot.name, "started", release=release.id, reason="a reboot took it")
    store.save(state)


# -- status -------------------------------------------------------------------------------------------------


def bot_status(vm: Vm, name: str) -> dict[str, Any]:
    """One bot as it is, against how it should be; a damaged state is shown, not raised."""
    try:
        store = vm.store(name)
        state = store.need()
        copies = sorted(bot_pids(state.bot))
        unit = show_unit(state.unit)
        release = store.release(state.candidate or state.current)
        looks = {path: look_at(path)[0] for path in release.manifest}
        main = unit.main_pid if unit.main_pid in copies else (copies[0] if len(copies) == 1 else 0)
        return {
            **asdict(Result(name, "status", pids_after=copies).of(state)),
            "unit": {**asdict(unit), "enabled": unit.enabled},
            "main_pid": main,
            "strays": [pid for pid in copies if pid != main],
            "differs_from_release": _edited(store, state, release, looks),
            "newer_than_process": _stale_files(state, main, looks) if main else [],
            "releases": store.release_names(),
            "note": state.note,
            "tries": state.tries,
            "open_files": _open_files(main),
            "connections": _connections(main, HTTPS_PORTS) if main else 0,
            "soak": _soak_described(store),
            "problem": "",
        }
    except (RolloutError, OSError) as error:
        return {"bot": name, "problem": str(error)}


def _open_files(pid: int) -> str:
    """How many files a process has open, of how many that it may."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        if pid:
            return f"{len(os.listdir(f'/proc/{pid}/fd'))}/{read_limits(pid)['open files'][0]}"
    return "-"


def _soak_described(store: Store) -> str:
    """How the soak stands at its last look (bot_soak.py keeps it); empty where there is none."""
    try:
        soak = json.loads((store.path / "soak.json").read_bytes())
        since = soak["own"]["since"]
        counts = (
            f"{since['incidents']} failed in {since['pool']['requests']} requests" if since else "not looked at yet"
        )
        decision = soak["decision"] or {}
        hand = f", {decision['outcome']} by {decision['who']}" if decision else ""
        return f"{soak['outcome'] or 'extend'} after {soak['elapsed'] / 60:.0f} min, {counts}{hand}"
    except FileNotFoundError:
        return ""
    except (OSError, ValueError, KeyError, TypeError):
        return "damaged, the next run of rollout.yml says what to do"


def _edited(store: Store, state: State, release: Release, looks: Mapping[str, Entry]) -> list[str]:
    """Files that are not what the release has. One shared with a bot whose rollout is further on is no edit."""
    differing = [path for path, entry in looks.items() if entry.content != release.manifest[path].content]
    shared = {path for path, rule in state.files.items() if rule.shared}
    return sorted(path for path in differing if path not in shared or not store.put_there(path, looks[path]))


def status(vm: Vm, bots: Sequence[str] = ()) -> dict[str, Any]:
    """The machine's lock, guard, bots and latest audit lines."""
    try:
        lock = read_lock(vm)
        lock_shown: dict[str, Any] = {**asdict(lock), "held": lock.held, "described": lock.described(), "problem": ""}
    except RolloutError as error:
        lock_shown = {"held": None, "described": f"unknown: {error}", "problem": str(error)}
    timer = show_unit(GUARD_TIMER)
    return {
        "lock": lock_shown,
        "guard": {"active": timer.active == "active", "enabled": timer.enabled, "needed_by": guard_needed(vm)},
        "bots": [bot_status(vm, name) for name in (bots or vm.bot_names())],
        "audit": vm.audit_tail(10),
    }


def status_problems(shown: Mapping[str, Any]) -> list[str]:
    """What an operator should look at."""
    problems = []
    if shown["guard"]["needed_by"] and not shown["guard"]["active"]:
        needed = ", ".join(shown["guard"]["needed_by"])
        problems.append(f"the guard sleeps though {needed} needs it: `systemctl enable --now {GUARD_TIMER}`")
    if shown["lock"]["problem"]:
        problems.append(f"{shown['lock']['problem']}; `webex-rollout unlock --repair`")
    for bot in shown["bots"]:
        name = bot["bot"]
        if bot["problem"]:
            problems.append(f"{name}: {bot['problem']}")
            continue
        if bot["strays"]:
            problems.append(
                f"{name}: runs more than once, pids {', '.join(map(str, bot['strays']))} are strays; end them"
            )
        if not bot["main_pid"] and bot["phase"] in ("blessed", "switched", "checked"):
            problems.append(f"{name}: does not run; `journalctl -u {bot['unit']['name']}`")
        if bot["differs_from_release"] and bot["phase"] not in ("armed", *INTERRUPTED_PHASES):
            problems.append(f"{name}: edited since: {', '.join(bot['differs_from_release'])}")
        if bot["tries"]:
            problems.append(f"{name}: the way back failed {bot['tries']} times: {bot['note']}")
    return problems


def print_status(shown: Mapping[str, Any]) -> None:
    """For people."""
    row = "{:<12} {:<10} {:<14} {:<14} {:<9} {:<11} {:<6} {:<26} {}"
    print(row.format("bot", "phase", "release", "previous", "pid", "open files", "to 443", "deadline", "soak"))
    for bot in shown["bots"]:
        if bot["problem"]:
            print(row.format(bot["bot"], *"???????", ""))
            continue
        release = f"{bot['release']} > {bot['candidate']}" if bot["candidate"] else bot["release"]
        left = (
            f"{bot['deadline']} ({bot['seconds_left']:.0f} s left)"
            if bot["deadline"] and bot["phase"] != "recorded"
            else "-"
        )
        now = (bot["main_pid"] or "-", bot["open_files"], bot["connections"], left, bot["soak"] or "-")
        print(row.format(bot["bot"], bot["phase"], release, bot["previous"] or "-", *now))
    guard_state = "awake" if shown["guard"]["active"] else "asleep"
    print(f"lock: {shown['lock']['described']}\nguard: {guard_state}")
    for problem in status_problems(shown):
        print(f"PROBLEM {problem}")
    for bot in shown["bots"]:
        if bot.get("phase") == "reverted":
            print(f"{bot['bot']} was taken back to release {bot['release']}: {bot['note']}")
    for line in shown["audit"]:
        print(f"  {line}")


# ----------------------------------------------------------------------------------------------------------
# Command line
# ----------------------------------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="webex-rollout", description="Adopt, switch, check, bless and revert Webex bots."
    )
    parser.add_argument("--state", default=STATE_DIR, help="directory of the state (default: %(default)s)")
    parser.add_argument("--version", action="version", version=str(STATE_VERSION))
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, text: str, bot: bool = True) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        if bot:
            sub.add_argument("bot")
            sub.add_argument("--token", type=int, help="fencing token of the lock this acts under")
        sub.add_argument("--json", action="store_true", help="print the result as JSON")
        return sub

    sub = command(
        "status", "show bots, lock, guard and the latest audit lines; exit 1 if something is wrong", bot=False
    )
    sub.add_argument("bot", nargs="*")
    sub = command("revert", "take a bot back to a release and have it run, once")
    sub.add_argument("--to", default="previous", help="`previous`, `0` (as found) or a release (default: %(default)s)")
    sub.add_argument("--force", action="store_true", help="give up edits made since; their bytes are kept")
    sub.add_argument("--reason", default="asked for by hand")
    command("guard", "take back what was not blessed in time (run by the timer)", bot=False)
    sub = command("record", "write down what a bot is now: the way back")
    for name in ("home", "script", "python", "user"):
        sub.add_argument(f"--{name}", required=True)
    sub.add_argument("--file", action="append", default=[], help="a path the release consists of")
    sub.add_argument("--shared-file", action="append", default=[], help="the same, shared by the bots of this machine")
    sub.add_argument("--take-over", action="store_true", help="replace a unit of another name")
    sub = command("arm", "open an attempt that the guard takes back unless it is blessed in time")
    sub.add_argument("--seconds", type=float, default=600)
    command("switch", "have exactly one process run under the unit, from the files as they are")
    sub = command("check", "prove that the new process stays")
    sub.add_argument("--hold", type=float, default=Proof.hold, help="seconds (default: %(default)s)")
    sub.add_argument("--open-files", type=int, default=0)
    sub = command("bless", "let the release stay")
    sub.add_argument("--keep", type=int, default=KEEP_RELEASES)
    sub.add_argument("--probation", type=float, default=0.0, help="seconds in which a failed unit is taken back")
    sub = command("lock", "take the machine's lock by hand, or hold it on", bot=False)
    sub.add_argument("--seconds", type=float, default=LOCK_SECONDS)
    sub = command("unlock", "release the machine's lock by hand", bot=False)
    sub.add_argument("--repair", action="store_true", help="replace a damaged lock.json")
    sub = commands.add_parser("run-found")  # what `systemd-run` is given; not for people
    sub.add_argument("bot")
    sub.add_argument("release")
    return parser


def _act(vm: Vm, given: argparse.Namespace) -> Result:
    """Run the actions on one bot."""
    name = given.command
    if name == "record":
        files = {path: FileRule() for path in given.file}
        files.update({path: FileRule(shared=True) for path in given.shared_file})
        bot = Bot(given.bot, given.home, given.script, given.python, given.user)
        return record(vm, Wanted(bot, files, take_over=given.take_over), given.token)
    if name == "arm":
        return arm(vm, given.bot, given.seconds, given.token)
    if name == "switch":
        return switch(vm, given.bot, given.token)
    if name == "check":
        return check_start(vm, given.bot, Proof(hold=given.hold, open_files=given.open_files), given.token)
    if name == "bless":
        return bless(vm, given.bot, given.token, given.keep, given.probation)
    return revert(vm, given.bot, given.to, given.reason, given.force, given.token)


def _run(vm: Vm, given: argparse.Namespace) -> int:
    """Run one command; returns the exit status."""
    if given.command == "run-found":
        process = vm.store(given.bot).release(given.release).runner.process
        if process is None:
            raise RolloutError(f"release {given.release} of {given.bot} was not run by hand")
        run_found(process)
    if given.command == "status":
        shown = status(vm, given.bot)
        print(json.dumps(shown, indent=1)) if given.json else print_status(shown)
        return 1 if status_problems(shown) else 0
    if given.command == "guard":
        vm.who = "guard"
        problems = guard(vm)
        for problem in problems:
            print(problem, file=sys.stderr)
        return 1 if problems else 0
    if given.command == "lock":
        got = take_lock(vm, Holder(vm.who, socket.gethostname()), given.seconds)
        print(json.dumps(asdict(got.lock)) if given.json else got.lock.described())
        return 0 if got.got else 1
    if given.command == "unlock":
        lock = repair_lock(vm) if given.repair else release_lock(vm, 0, force=True).lock
        print(json.dumps(asdict(lock)) if given.json else lock.described())
        return 0
    result = _act(vm, given)
    if given.json:
        print(json.dumps(asdict(result), indent=1))
    else:
        verb = "changed" if result.changed else "unchanged"
        print(f"{result.bot}: {verb}, {result.phase}, release {result.release} {result.message}".rstrip())
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program."""
    given = _parser().parse_args(arguments)
    vm = Vm(given.state)
    vm.program = os.path.abspath(sys.argv[0])
    if os.geteuid() != 0:
        print("webex-rollout: this needs root (sudo webex-rollout …)", file=sys.stderr)
        return 1
    try:
        return _run(vm, given)
    except CheckFailedError as error:
        for finding in error.result.checks:
            print(f"{'ok  ' if finding['ok'] else 'FAIL'} {finding['name']}: {finding['detail']}", file=sys.stderr)
        print(f"webex-rollout: {error}", file=sys.stderr)
    except RolloutError as error:
        print(f"webex-rollout: {error}", file=sys.stderr)
    except OSError as error:
        print(f"webex-rollout: {error.filename or 'system'}: {error.strerror}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
