"""A machine in a directory: a checkout with a bot that really runs, unit files, and a small service manager.

Everything is real but systemd itself: processes, signals, files, the program. `FakeSystemd` starts and stops real
processes as the unit files below its directory say.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from ansible.module_utils.webex_rollout import cli, processes
from ansible.module_utils.webex_rollout.clock import Timing
from ansible.module_utils.webex_rollout.files import unchanged_since
from ansible.module_utils.webex_rollout.processes import Bot, bot_pids
from ansible.module_utils.webex_rollout.procfs import all_pids, read_stat
from ansible.module_utils.webex_rollout.state import FileRule
from ansible.module_utils.webex_rollout.steps.arm import arm
from ansible.module_utils.webex_rollout.steps.check import Proof, check_start
from ansible.module_utils.webex_rollout.steps.confirm import confirm
from ansible.module_utils.webex_rollout.steps.record import Wanted, record
from ansible.module_utils.webex_rollout.steps.step import Result
from ansible.module_utils.webex_rollout.steps.switch import switch
from ansible.module_utils.webex_rollout.store import Vm
from ansible.module_utils.webex_rollout.system import run_command

from plugin_utils.program import build

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import pytest

SCRIPT = """\
import os, socket, sys, time
held = None
if os.environ.get("BOT_PORT"):
    held = socket.create_connection(("127.0.0.1", int(os.environ["BOT_PORT"])))
with open("logs/jarvis.log", "a") as log:
    log.write(f"started {VERSION} {os.getpid()}\\n")
    log.write(f"... - INFO - webex-pool ready pid={os.getpid()} session=api\\n")
if os.environ.get("BOT_ENDS"):
    sys.exit(3)
time.sleep(300)
"""
OLD = "VERSION = 'old'\n" + SCRIPT
NEW = "VERSION = 'new'\n" + SCRIPT
TEMPLATE = "[Service]\nType=exec\n[Install]\nWantedBy=webex-bots.target\n"
DROP_IN = """\
[Service]
WorkingDirectory={home}
EnvironmentFile={env}
ExecStart={python} webex_bots/{bot}.py
"""


def everywhere(monkeypatch: pytest.MonkeyPatch, name: str, value: object) -> None:
    """Replace a function of the program in every room that uses it."""
    package = cli.__name__.rpartition(".")[0]
    rooms = [room for path, room in sys.modules.items() if path.startswith(package + ".") and hasattr(room, name)]
    assert rooms, name
    for room in rooms:
        monkeypatch.setattr(room, name, value)


class FakeSystemd:
    """Answers what the program asks of `systemctl` and `runuser`; its memory is a directory, so it outlives a fork."""

    def __init__(self, units: Path, memory: Path) -> None:
        self.units = units
        self.memory = memory
        self.unset: set[str] = set()  # variables that units start without
        self.refuse: set[str] = set()  # "start webex-bot@jarvis.service": fails with an error
        memory.mkdir(parents=True)

    def __call__(
        self,
        argv: Sequence[str],
        timeout: float | None = 120,
        stdin: bytes | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess:
        if argv[0] != "systemctl":  # what is run as the bot's user
            return run_command(argv, timeout, stdin, environment)
        verb, *rest = argv[1:]
        name = next((word for word in rest if not word.startswith("-")), "")
        if verb == "show" and not name:  # the manager itself
            return subprocess.CompletedProcess(argv, 0, _default_limits().encode(), b"")
        if f"{verb} {name}".strip() in self.refuse:
            return subprocess.CompletedProcess(argv, 1, b"", f"Job for {name} failed".encode())
        if verb == "stop" and not self.running(name) and "LoadState=loaded" not in self._show(name, []):
            return subprocess.CompletedProcess(argv, 5, b"", f"Unit {name} not loaded.".encode())
        method: Callable[[str, Sequence[str]], str] = getattr(self, "_" + verb.replace("-", "_"))
        return subprocess.CompletedProcess(argv, 0, method(name, rest).encode(), b"")

    # -- memory -------------------------------------------------------------------------------------------

    def read(self, name: str) -> dict:
        with contextlib.suppress(FileNotFoundError):
            return json.loads((self.memory / name).read_text())
        return {"pid": 0, "start": 0, "enabled": False, "restarts": 0, "ended": "inactive"}

    def write(self, name: str, **changes: object) -> None:
        temporary = self.memory / f".{name}.{os.getpid()}"
        temporary.write_text(json.dumps({**self.read(name), **changes}))
        temporary.replace(self.memory / name)

    def files(self, name: str) -> list[Path]:
        template = name.split("@")[0] + "@.service" if "@" in name else name
        found = [self.units / template, *sorted((self.units / f"{name}.d").glob("*.conf"))]
        return [path for path in found if path.exists()]

    def running(self, name: str) -> int:
        seen = self.read(name)
        stat = read_stat(seen["pid"]) if seen["pid"] else None
        return seen["pid"] if stat and stat.start_time == seen["start"] and stat.state not in "ZX" else 0

    # -- verbs --------------------------------------------------------------------------------------------

    def _show(self, name: str, rest: Sequence[str]) -> str:
        seen, pid = self.read(name), self.running(name)
        timer = name.endswith((".timer", ".target"))
        active = "active" if pid or (timer and seen.get("on")) else seen["ended"]
        if seen["pid"] and not pid and not timer:
            active = "failed" if seen["ended"] == "inactive" else seen["ended"]
        loaded = timer or bool(self.files(name))
        texts = [path.read_text() for path in self.files(name)]
        # A drop-in that takes the command away, or a template without the drop-in that gives it one
        bad = not timer and any("ExecStart" not in text for text in texts[1:] or texts)
        return (
            f"LoadState={'bad-setting' if bad else 'loaded' if loaded else 'not-found'}\nActiveState={active}\n"
            f"SubState={'running' if pid else 'dead'}\nUnitFileState={'enabled' if seen['enabled'] else 'disabled'}\n"
            f"MainPID={pid}\nNRestarts={seen['restarts']}\nResult={seen.get('result', 'success')}\n"
            "ExecMainCode=1\nExecMainStatus=0\n"
        )

    def _start(self, name: str, rest: Sequence[str]) -> str:
        if not self.running(name):
            lines = [line for p in self.files(name) for line in p.read_text().splitlines()]
            settings = dict(line.split("=", 1) for line in lines if "=" in line and line[0] != "#")
            environment = {"PATH": os.environ["PATH"]}
            with contextlib.suppress(FileNotFoundError):
                text = Path(settings["EnvironmentFile"].lstrip("-")).read_text("utf-8")
                for key, value in re.findall(r'^(\w+)="((?:[^"\\]|\\.)*)"$', text, re.MULTILINE | re.DOTALL):
                    environment[key] = re.sub(r"\\(.)", r"\1", value)
            for key in self.unset:
                environment.pop(key, None)
            process = subprocess.Popen(
                command_of(settings["ExecStart"], environment),
                cwd=settings["WorkingDirectory"].replace("%%", "%"),
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                preexec_fn=lambda: _become_unit(settings),
            )
            stat = read_stat(process.pid)
            assert stat is not None
            self.write(name, pid=process.pid, start=stat.start_time, ended="inactive")
        return ""

    def restart_behind(self, name: str) -> None:
        """What systemd does by itself when a process was killed."""
        restarts = self.read(name)["restarts"] + 1
        pid = self.running(name)
        if pid:
            self.write(name, ended="activating")  # until the next one runs
            os.kill(pid, signal.SIGKILL)
            while self.running(name):
                time.sleep(0.005)
        self._start(name, [])
        self.write(name, restarts=restarts)

    def _stop(self, name: str, rest: Sequence[str]) -> str:
        pid = self.running(name)
        if pid:
            os.kill(pid, signal.SIGTERM)
            os.kill(pid, signal.SIGCONT)  # as systemd does: a stopped one would never end
            while self.running(name):
                time.sleep(0.005)
        self.write(name, pid=0, ended="inactive")
        return ""

    def _restart(self, name: str, rest: Sequence[str]) -> str:
        self._stop(name, rest)
        self.write(name, restarts=0)
        return self._start(name, rest)

    def _enable(self, name: str, rest: Sequence[str]) -> str:
        self.write(name, enabled=True, **({"on": True} if "--now" in rest else {}))
        return ""

    def _disable(self, name: str, rest: Sequence[str]) -> str:
        self.write(name, enabled=False, **({"on": False, "ended": "inactive"} if "--now" in rest else {}))
        return ""

    def _daemon_reload(self, name: str, rest: Sequence[str]) -> str:
        return ""

    def _reset_failed(self, name: str, rest: Sequence[str]) -> str:
        self.write(name, restarts=0)
        return ""


def command_of(text: str, environment: Mapping[str, str]) -> list[str]:
    """A command line as systemd reads it (systemd.service(5), "Command lines"), variables filled in."""
    words = []
    for quoted, plain in re.findall(r'"((?:[^"\\]|\\.)*)"|(\S+)', text):
        word = re.sub(r"\\(.)", r"\1", quoted) if quoted or not plain else plain
        hidden = re.fullmatch(r"\$\{(\w+)\}", word)
        words.append(environment[hidden[1]] if hidden else word.replace("$$", "$").replace("%%", "%"))
    return words


# Bytes; a unit that sets none has those of the service manager, here of the tests.
LIMITS = {"LimitCORE": resource.RLIMIT_CORE, "LimitSTACK": resource.RLIMIT_STACK, "LimitFSIZE": resource.RLIMIT_FSIZE}


def _default_limits() -> str:
    """As `systemctl show --property=DefaultLimitCORE,DefaultLimitCORESoft` says them."""
    lines = []
    for directive, kind in LIMITS.items():
        soft, hard = ("infinity" if value < 0 else str(value) for value in resource.getrlimit(kind))
        name = directive.replace("Limit", "DefaultLimit")
        lines += [f"{name}={hard}", f"{name}Soft={soft}"]
    return "\n".join(lines)


def _become_unit(settings: Mapping[str, str]) -> None:
    """What systemd does to a process of a unit before it runs the program."""
    os.umask(int(settings.get("UMask", "0022"), 8))
    if "Nice" in settings:
        os.setpriority(os.PRIO_PROCESS, 0, int(settings["Nice"]))
    if settings.get("CPUSchedulingPolicy") == "batch":
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    if "CPUAffinity" in settings:
        os.sched_setaffinity(0, map(int, settings["CPUAffinity"].split()))
    if "OOMScoreAdjust" in settings:
        Path("/proc/self/oom_score_adj").write_text(settings["OOMScoreAdjust"])
    for directive, kind in LIMITS.items():
        if directive in settings:
            values = settings[directive].split(":")
            soft, hard = (-1 if value == "infinity" else int(value) for value in (values[0], values[-1]))
            resource.setrlimit(kind, (soft, hard))


class Machine:
    """Directories, one or more bots, and the service manager."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.home = root / "IR"
        self.units = root / "etc/systemd/system"
        self.env_dir = root / "etc/webex-bots"
        self.state = root / "state"
        for directory in (
            self.home / "webex_bots",
            self.home / "logs",
            self.home / "src/utils",
            self.units,
            self.env_dir,
        ):
            directory.mkdir(parents=True)
        self.systemd = FakeSystemd(self.units, root / "systemd")
        self.python = sys.executable
        self.pool = self.home / "src/utils/webex_pool_config.py"
        self.bin = root / "bin"
        self.bin.mkdir()
        scope = self.bin / "systemd-run"
        scope.write_text('#!/bin/sh\nwhile [ "$1" != -- ]; do shift; done\nshift\nexec "$@"\n')
        scope.chmod(0o755)
        self.webex = socket.create_server(("127.0.0.1", 0), backlog=64)  # never accepts: the kernel connects them
        self.port = self.webex.getsockname()[1]
        self.timing = Timing(found_settle=0.1, connect=0.2)
        self.program = root / "webex-rollout"
        self.program.write_bytes(build())
        self.undo: list[Callable[[], None]] = []
        self.add_bot("jarvis")

    def add_bot(self, name: str) -> Bot:
        self.script(name).write_text(OLD)
        return self.bot(name)

    def bot(self, name: str = "jarvis") -> Bot:
        return Bot(name, str(self.home), f"webex_bots/{name}.py", self.python, "root")

    def script(self, name: str = "jarvis") -> Path:
        return self.home / f"webex_bots/{name}.py"

    def drop_in(self, name: str = "jarvis") -> Path:
        return self.units / f"webex-bot@{name}.service.d/10-bot.conf"

    def env_file(self, name: str = "jarvis") -> Path:
        return self.env_dir / f"{name}.env"

    @property
    def proof(self) -> Proof:
        """A start-up check that takes a fifth of a second."""
        return Proof(settle=0.2, ports=(self.port,))

    @property
    def vm(self) -> Vm:
        vm = Vm(str(self.state), "tester@here", self.timing)
        vm.program = str(self.program)
        return vm

    def wanted(self, name: str = "jarvis", **changes: object) -> Wanted:
        files = {
            str(self.script(name)): FileRule(),
            str(self.drop_in(name)): FileRule(),
            str(self.pool): FileRule(shared=True),
            str(self.units / "webex-bot@.service"): FileRule(shared=True),
            str(self.units / "webex-bots.target"): FileRule(shared=True, restart=False),
        }
        return Wanted(self.bot(name), files, **changes)

    def nohup(self, name: str = "jarvis", env: dict[str, str] | None = None, cwd: Path | None = None) -> int:
        """Start a bot as the operator does; returns once it runs."""
        pid = self.start("nohup", self.python, f"webex_bots/{name}.py", cwd=cwd, env=env)
        self.wait_for(lambda: cwd is not None or pid in bot_pids(self.bot(name)))
        return pid

    def deploy(self, name: str = "jarvis", version: str = NEW) -> None:
        """What the rollout's roles write between `arm` and `switch`."""
        drop_in = DROP_IN.format(home=self.home, env=self.env_file(name), python=self.python, bot=name)
        self.drop_in(name).parent.mkdir(exist_ok=True)
        for path, text in (
            (self.script(name), version),
            (self.pool, "POOL = 50\n"),
            (self.units / "webex-bot@.service", TEMPLATE),
            (self.units / "webex-bots.target", "[Unit]\n"),
            (self.drop_in(name), drop_in),
        ):
            if not path.exists() or path.read_text() != text:
                path.write_text(text)

    def start(self, *argv: str, cwd: Path | None = None, env: dict[str, str] | None = None) -> int:
        """Start anything from a shell that is gone when this returns."""
        found = subprocess.run(
            ["sh", "-c", '"$@" > /dev/null 2>&1 < /dev/null & echo $!', "sh", *argv],
            cwd=cwd or self.home,
            env={
                "PATH": os.environ["PATH"],
                "WEBEX_TOKEN": "s3cret $pecial",
                "SSH_CLIENT": "x",
                "BOT_PORT": str(self.port),
                **(env or {}),
            },
            stdout=subprocess.PIPE,
            check=True,
            # As a login shell has it, also where the tests themselves run under nohup.
            preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
        )
        return int(found.stdout)

    def in_unit(self, unit: str) -> None:
        """Have the process of a fake unit look as if it lived in the unit's cgroup."""
        pid = self.systemd.running(unit)
        real = processes.unit_of
        processes.unit_of = lambda asked: (unit, False) if asked == pid else real(asked)
        self.undo.append(lambda: setattr(processes, "unit_of", real))

    def age(self, path: str) -> None:
        """Wait until a file's last change is more than a second ago, the resolution that times are trusted to."""
        self.wait_for(lambda: unchanged_since(os.lstat(path).st_ctime, time.time() - 0.1))

    def log(self, name: str = "jarvis") -> str:
        path = self.home / f"logs/{name}.log"
        return path.read_text() if path.exists() else ""

    def pids(self, name: str = "jarvis") -> list[int]:
        return sorted(bot_pids(self.bot(name)))

    def tree(self) -> dict[str, tuple]:
        """Every file a rollout may touch: content, mode, owner and time."""
        found = {}
        for base in (self.home, self.units, self.env_dir):
            for path in sorted(base.rglob("*")):
                if "logs" not in path.parts and "__pycache__" not in path.parts:
                    status = path.lstat()
                    content = path.read_bytes() if path.is_file() else b"dir"
                    mtime = status.st_mtime_ns if path.is_file() else 0
                    found[str(path)] = (content, status.st_mode, status.st_uid, status.st_gid, mtime)
        return found

    @staticmethod
    def wait_for(condition: Callable[[], bool], seconds: float = 10) -> None:
        until = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < until, "waited in vain"
            time.sleep(0.005)

    def close(self) -> None:
        """End every process that lives in this machine's directory."""
        for pid in all_pids():
            with contextlib.suppress(OSError):
                if str(Path(f"/proc/{pid}/cwd").readlink()).startswith(str(self.root)):
                    os.kill(pid, signal.SIGKILL)
        self.webex.close()
        for undo in self.undo:
            undo()
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def forward(
    machine: Machine,
    bot: str = "jarvis",
    token: int | None = None,
    version: str = NEW,
    keep: int = 5,
    probation: float = 0.0,
) -> Result:
    """Roll out to one bot: record, arm, write, switch, check, confirm. Returns what the switch said."""
    vm = machine.vm
    record(vm, machine.wanted(bot), token)
    arm(vm, bot, 600, token)
    machine.deploy(bot, version)
    switched = switch(vm, bot, token)
    check_start(vm, bot, machine.proof, token)
    confirm(vm, bot, token, keep, probation)
    return switched
