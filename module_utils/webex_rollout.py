#!/usr/bin/env python3
"""Adopt, switch, check, bless and revert Webex bots on the machine they run on.

Installed as ``/usr/local/sbin/webex-rollout``, and imported under the same text by the modules of the
rollout, so that a playbook, an operator and the guard act through one implementation.
Standard library only, Python 3.8 or later.
"""

# Paths of other processes and of unit files are kept as the strings they are; pathlib would tidy them.
# ruff: noqa: PTH113, PTH115, PTH116, PTH118, PTH119, PTH202, PTH208

from __future__ import annotations

import datetime
import os
import pwd
import re
import shlex
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

# ----------------------------------------------------------------------------------------------------------
# The machine: where things are, and how it is asked. Tests put a directory of their own under `root`.
# ----------------------------------------------------------------------------------------------------------


class RolloutError(Exception):
    """Something the operator has to know: what, which bot or file, why, and what to do next."""


def run_command(argv: Sequence[str], timeout: float = 120) -> subprocess.CompletedProcess:
    """Run a command without a shell; its exit status is the caller's to judge. Never given secrets as arguments."""
    return subprocess.run(list(argv), stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout, check=False)


@dataclass(frozen=True)
class Bot:
    """One bot: its script inside a checkout, and the Python that runs it."""

    name: str
    home: str
    script: str
    python: str
    user: str

    @property
    def script_path(self) -> str:
        """The script, with every symbolic link resolved; the file need not exist."""
        return os.path.realpath(os.path.join(self.home, self.script))


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
    r"^(ssh|sshd|cron|crond|atd|anacron|rsh|telnet|getty|serial-getty|console-getty|container-getty|user)\b.*\.service$"
)


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
class _Stat:
    """The few fields of /proc/<pid>/stat that matter here."""

    pid: int
    comm: str
    state: str
    ppid: int
    session: int
    start_time: int


def read_stat(pid: int) -> _Stat | None:
    """Parse /proc/<pid>/stat; None when there is no such process (any more)."""
    try:
        raw = Path(f"/proc/{pid}/stat").read_bytes().decode("utf-8", "replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # comm may hold spaces and parentheses: the fields begin after the last one
    head, _, tail = raw.rpartition(")")
    fields = tail.split()
    return _Stat(pid, head.split("(", 1)[1], fields[0], int(fields[1]), int(fields[3]), int(fields[19]))


def all_pids() -> list[int]:
    """Process ids of the moment."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def boot_time() -> int:
    """Seconds since the epoch at which the kernel says it was booted."""
    for line in Path("/proc/stat").read_text().splitlines():
        if line.startswith("btime "):
            return int(line.split()[1])
    raise RolloutError("/proc/stat has no btime line: cannot tell when processes were started")


def read_nul_list(path: str) -> list[str]:
    """A NUL-separated list of /proc, undecodable bytes kept as surrogates."""
    raw = Path(path).read_bytes()
    return [os.fsdecode(part) for part in raw.rstrip(b"\0").split(b"\0")] if raw else []


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


def _ancestors(pid: int) -> Iterator[_Stat]:
    """Parents of a process, nearest first, without PID 1."""
    stat = read_stat(pid)
    while stat and stat.ppid > 1:
        stat = read_stat(stat.ppid)
        if stat:
            yield stat


def _interactive_shell(stat: _Stat) -> bool:
    """A login or terminal shell: it has no script to go on with when the bot ends."""
    try:
        argv = read_nul_list(f"/proc/{stat.pid}/cmdline")
    except (FileNotFoundError, ProcessLookupError):
        return True
    name = os.path.basename(argv[0].lstrip("-")) if argv else ""
    is_shell = name in {"sh", "bash", "dash", "zsh", "ksh", "fish"}
    return is_shell and all(re.match(r"^(-[^-c]*|--login)$", arg) for arg in argv[1:])


def keeper_of(pid: int) -> dict[str, object] | None:
    """A living parent that may start the bot again when it ends (a restart loop, supervisord), as pid and name."""
    parent = next(_ancestors(pid), None)
    if parent is None or _interactive_shell(parent):
        return None
    if parent.comm.startswith(("sshd", "tmux", "screen", "SCREEN", "login", "systemd", "cron", "atd")):
        return None
    return {"pid": parent.pid, "name": parent.comm}


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


def open_for_writing(pid: int) -> list[str]:
    """Regular files the process holds open for writing: its logs, for a bot."""
    found = set()
    base = f"/proc/{pid}"
    for fd in os.listdir(base + "/fd"):
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
        started = boot_time() + before.start_time // os.sysconf("SC_CLK_TCK")
        process = Process(
            pid=pid,
            ppid=before.ppid,
            start_time=before.start_time,
            started=utc(started),
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


def utc(seconds: float) -> str:
    """A time as people and sort(1) read it, in UTC."""
    return datetime.datetime.fromtimestamp(int(seconds), datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


# ----------------------------------------------------------------------------------------------------------
# Other starters: units, cron lines and start-up scripts that would start the same script a second time.
# ----------------------------------------------------------------------------------------------------------

UNIT_DIRECTORIES = (
    "etc/systemd/system",
    "run/systemd/system",
    "run/systemd/transient",
    "usr/local/lib/systemd/system",
    "usr/lib/systemd/system",
    "lib/systemd/system",
    "etc/systemd/user",
    "run/systemd/user",
    "usr/lib/systemd/user",
)
USER_UNIT_DIRECTORIES = (".config/systemd/user", ".local/share/systemd/user")
CRON_WITH_USER = ("etc/crontab", "etc/anacrontab", "etc/cron.d")
CRON_SPOOLS = ("var/spool/cron/crontabs", "var/spool/cron")
START_SCRIPTS = ("etc/rc.local", "etc/cron.hourly", "etc/cron.daily", "etc/cron.weekly", "etc/cron.monthly")
SUPERVISOR_CONFIGS = ("etc/supervisor/conf.d", "etc/supervisord.d", "etc/supervisord.conf")
SHELL_NAMES = {"sh", "bash", "dash", "zsh", "ksh"}
SHELL_BREAKS = set(";&|()\n{}")
SCRIPT_SIZE_LIMIT = 256 * 1024


@dataclass
class Starter:
    """A place that would start a bot's script: kind ``unit``, ``user unit``, ``cron``, ``script`` or ``supervisor``.

    ``certain`` is False where the line names the script through something only its shell can resolve.
    """

    kind: str
    file: str
    line: int
    what: str
    certain: bool


@dataclass
class StarterSearch:
    """Where to look, and for which bot. ``root`` is the file system's root (tests use a directory of their own)."""

    bot: Bot
    root: str = "/"
    user_home: str = ""
    own_units: Sequence[str] = ("webex-bot@",)
    found: list[Starter] = field(default_factory=list)

    def path(self, relative: str) -> Path:
        """A path below the root."""
        return Path(self.root) / relative


def shell_words(text: str) -> list[str]:
    """Words and separators of a shell line. Broken quoting must not hide a starter."""
    try:
        lexer = shlex.shlex(text, posix=True, punctuation_chars=";&|()\n")
        lexer.whitespace = " \t\r"
        lexer.whitespace_split = True
        lexer.commenters = "#"
        return list(lexer)
    except ValueError:
        return text.split()


def _simple_commands(words: Iterable[str]) -> Iterator[list[str]]:
    """Split a word list at the shell's separators."""
    current: list[str] = []
    for word in words:
        if word and set(word) <= SHELL_BREAKS:
            if current:
                yield current
            current = []
        else:
            current.append(word)
    if current:
        yield current


def _refers(word: str, directory: str, bot: Bot) -> bool | None:
    """Whether a path names the bot's script: True, False, or None where a variable hides the answer."""
    if "$" in word or "`" in word:
        tail = word.replace("}", "/").rsplit("$", 1)[-1]
        return None if tail.endswith(os.path.basename(bot.script)) else False
    return os.path.realpath(os.path.join(directory, word)) == bot.script_path


def _python_refers(words: Sequence[str], directory: str, bot: Bot) -> bool | None:
    """Whether a Python command line starts the bot."""
    kind, target = python_target(words)
    if kind == "script":
        return _refers(target, directory, bot)
    return kind == "module" and runs_script(words, directory, bot.script_path, [bot.home])


def starts_bot(text: str, directory: str, bot: Bot, depth: int = 0) -> bool | None:
    """Whether a shell text starts the bot's script: True, False, or None for a likely yes that only a shell could tell.

    Mentioning the script (``tail``, ``cp``, ``pkill -f``) is no start; a command passed to ``sh -c`` and a shell script
    that is called are looked into.
    """
    doubt = False
    for command in _simple_commands(shell_words(text)):
        if command[0] == "cd" and len(command) > 1:
            directory = os.path.join(directory, command[1])
            continue
        for index, word in enumerate(command):
            name = os.path.basename(word)
            if PYTHON_NAME.match(name):
                answer = _python_refers(command[index:], directory, bot)
            elif index == _command_position(command):
                answer = _called(word, directory, bot, depth)
            elif depth < 3 and any(c.isspace() for c in word):
                answer = starts_bot(word, directory, bot, depth + 1)  # sh -c '…', tmux new '…'
            elif index and os.path.basename(command[index - 1]) in SHELL_NAMES:
                answer = _called(word, directory, bot, depth)  # sh start_all.sh
            else:
                continue
            if answer:
                return True
            doubt = doubt or answer is None
    return None if doubt else False


def _command_position(command: Sequence[str]) -> int:
    """Index of the word that is run, after assignments and the usual wrappers."""
    for index, word in enumerate(command):
        if re.match(r"^\w+=", word) or os.path.basename(word) in {"nohup", "exec", "env", "setsid", "time"}:
            continue
        return index
    return 0


def _called(word: str, directory: str, bot: Bot, depth: int) -> bool | None:
    """Whether running this file starts the bot: it is the script itself, or a shell script that starts it."""
    answer = _refers(word, directory, bot)
    if answer or depth >= 3:
        return answer
    path = os.path.join(directory, word)
    try:
        if not os.path.isfile(path) or os.path.getsize(path) > SCRIPT_SIZE_LIMIT:
            return answer
        raw = Path(path).read_bytes()
    except OSError:
        return answer
    first = raw.split(b"\n", 1)[0]
    if not (first.startswith(b"#!") and b"sh" in first) and not path.endswith(".sh"):
        return answer
    inside = starts_bot(os.fsdecode(raw), directory, bot, depth + 1)
    return inside if inside is not False else answer


def _files_in(path: Path) -> list[Path]:
    """The file itself, or the regular files of a directory; nothing when there is none."""
    try:
        if path.is_dir():
            return sorted(p for p in path.iterdir() if p.is_file())
        return [path] if path.is_file() else []
    except PermissionError:
        return []


def _text(path: Path) -> str:
    """A configuration file's text, or nothing where it cannot be read."""
    try:
        return os.fsdecode(path.read_bytes()) if path.stat().st_size <= SCRIPT_SIZE_LIMIT else ""
    except OSError:
        return ""


def unit_settings(text: str, section: str) -> list[tuple[int, str, str]]:
    """``(line number, key, value)`` of one section of a unit file, continuation lines joined."""
    found = []
    current, pending, start = "", "", 0
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if line.startswith(("#", ";")):
            continue
        if not pending:
            start = number
        if line.endswith("\\"):
            pending += line[:-1] + " "
            continue
        line, pending = pending + line, ""
        if line.startswith("[") and line.endswith("]"):
            current = line[1:-1]
        elif "=" in line and current == section:
            key, _, value = line.partition("=")
            found.append((start, key.strip(), value.strip()))
    return found


def _unit_files(search: StarterSearch) -> Iterator[tuple[str, Path]]:
    """Service files and their drop-ins, of the system and of users."""
    places = [("unit" if "/user" not in d else "user unit", search.path(d)) for d in UNIT_DIRECTORIES]
    if search.user_home:
        places += [("user unit", Path(search.user_home) / d) for d in USER_UNIT_DIRECTORIES]
    seen = set()
    for kind, directory in places:
        real = os.path.realpath(str(directory))
        if real in seen or not directory.is_dir():  # /lib is /usr/lib on a merged system
            continue
        seen.add(real)
        for entry in sorted(directory.iterdir()):
            if entry.name.endswith(".service") and entry.is_file():
                yield kind, entry
            elif entry.name.endswith(".service.d") and entry.is_dir():
                for conf in sorted(entry.glob("*.conf")):
                    yield kind, conf


def _unit_name(path: Path) -> str:
    """The unit a unit file or drop-in belongs to."""
    return path.name if path.name.endswith(".service") else path.parent.name[: -len(".d")]


def _search_units(search: StarterSearch) -> None:
    for kind, path in _unit_files(search):
        name = _unit_name(path)
        if any(name.startswith(own) for own in search.own_units):
            continue
        settings = unit_settings(_text(path), "Service")
        directory = next((v for _, k, v in settings if k == "WorkingDirectory"), "/").lstrip("-")
        for number, key, value in settings:
            if not key.startswith("ExecStart"):
                continue
            expand = _specifiers(search)
            answer = starts_bot(expand(value.lstrip("@-:+!")), expand(directory), search.bot)
            if answer is not False:
                search.found.append(Starter(kind, str(path), number, name, bool(answer)))


def _specifiers(search: StarterSearch) -> Callable[[str], str]:
    """Resolve the unit specifiers a template of bots would use, as for this bot."""
    values = {
        "%i": search.bot.name,
        "%I": search.bot.name,
        "%h": search.user_home or "/root",
        "%u": search.bot.user,
        "%%": "%",
        "~": search.user_home,
    }

    def expand(text: str) -> str:
        return values["~"] if text == "~" else re.sub(r"%[iIhu%]", lambda match: values[match.group()], text)

    return expand


def _cron_command(line: str, with_user: bool) -> str:
    """The command of a crontab line; empty for a comment, an assignment or nonsense."""
    line = line.strip()
    if not line or line.startswith("#") or re.match(r"^\w+\s*=", line):
        return ""
    fields = (1 if line.startswith("@") else 5) + (1 if with_user else 0)
    parts = line.split(None, fields)
    if len(parts) <= fields:
        return ""
    # cron reads a bare % as the end of the command; what follows is its standard input
    return re.split(r"(?<!\\)%", parts[fields], maxsplit=1)[0].replace("\\%", "%")


def _search_cron(search: StarterSearch) -> None:
    places = [(path, True) for place in CRON_WITH_USER for path in _files_in(search.path(place))]
    places += [(path, False) for place in CRON_SPOOLS for path in _files_in(search.path(place))]
    for path, with_user in places:
        for number, line in enumerate(_text(path).splitlines(), 1):
            command = _cron_command(line, with_user)
            answer = starts_bot(command, search.user_home or "/", search.bot) if command else False
            if answer is not False:
                search.found.append(Starter("cron", str(path), number, line.split()[0], bool(answer)))


def _search_scripts(search: StarterSearch) -> None:
    for path in (path for place in START_SCRIPTS for path in _files_in(search.path(place))):
        for number, line in enumerate(_text(path).splitlines(), 1):
            answer = starts_bot(line, "/", search.bot)
            if answer is not False:
                search.found.append(Starter("script", str(path), number, path.name, bool(answer)))


def _search_supervisors(search: StarterSearch) -> None:
    for path in (path for place in SUPERVISOR_CONFIGS for path in _files_in(search.path(place))):
        text = _text(path)
        directory = next(iter(re.findall(r"^\s*directory\s*=\s*(\S+)", text, re.MULTILINE)), "/")
        for number, line in enumerate(text.splitlines(), 1):
            key, _, value = line.partition("=")
            answer = starts_bot(value, directory, search.bot) if key.strip() == "command" else False
            if answer is not False:
                search.found.append(Starter("supervisor", str(path), number, path.name, bool(answer)))


def home_of(user: str) -> str:
    """A user's home directory, or nothing for an unknown user."""
    try:
        return pwd.getpwnam(user).pw_dir
    except KeyError:
        return ""


def find_starters(bot: Bot, root: str = "/", own_units: Sequence[str] = ("webex-bot@",)) -> list[Starter]:
    """Everything but the rollout's own units that would start the bot's script."""
    user_home = home_of(bot.user)
    search = StarterSearch(bot, root, os.path.join(root, user_home.lstrip("/")) if user_home else "", own_units)
    _search_units(search)
    _search_cron(search)
    _search_scripts(search)
    _search_supervisors(search)
    return search.found
