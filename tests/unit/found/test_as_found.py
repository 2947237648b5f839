"""Whatever a process was started as: its unit runs it so, a rollback starts it so again, or preflight refuses it."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import subprocess
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import pytest
from ansible.module_utils.webex_rollout import paths
from ansible.module_utils.webex_rollout.processes import bot_pids
from ansible.module_utils.webex_rollout.procfs import read_nul_list, status_fields
from ansible.module_utils.webex_rollout.state import FileRule
from ansible.module_utils.webex_rollout.steps.arm import arm
from ansible.module_utils.webex_rollout.steps.check import check_start
from ansible.module_utils.webex_rollout.steps.record import Wanted, record
from ansible.module_utils.webex_rollout.steps.roll_back import roll_back
from ansible.module_utils.webex_rollout.steps.switch import switch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from filter_plugins.webex_rollout import FilterModule
from plugin_utils.settings import PROJECT
from tests.unit.found.conftest import Preflight
from tests.unit.rollout.machine import Machine, everywhere

if TYPE_CHECKING:
    from collections.abc import Iterator

SCRIPT = """\
import os, socket, sys, time
held = socket.create_connection(("127.0.0.1", int(os.environ["BOT_PORT"])))
log = open({log!r}, "a")
print("started", os.getpid(), file=log, flush=True)
time.sleep(300)
"""


LIMITS = {
    "Max core file size": resource.RLIMIT_CORE,
    "Max stack size": resource.RLIMIT_STACK,
    "Max file size": resource.RLIMIT_FSIZE,
}


@dataclass(frozen=True)
class Start:
    """How somebody starts the bot."""

    options: tuple[str, ...]
    launcher: str
    arguments: tuple[str, ...]
    directory: str
    umask: int
    nice: int
    batch: bool
    output: str
    errors: str
    input: str
    processors: bool
    oom: int
    limits: tuple[tuple[str, tuple[int, int]], ...]
    environment: tuple[tuple[str, str], ...]


words = st.text(st.sampled_from("abcz09 _-'\"\\$%{}#;&=/ü\n"), max_size=8) | st.sampled_from(
    ["--read-only", "--token", "--space", "emea", "%i", "${HOME}", "$$", "*", "~", "-p"]
)
starts = st.builds(
    Start,
    options=st.lists(st.sampled_from(["-u", "-B", "-O", "-Xdev", "-uB", "-Wignore"]), max_size=2).map(tuple),
    launcher=st.sampled_from(["script", "absolute", "module", "run.py", "code"]),
    arguments=st.lists(words, max_size=3).map(tuple),
    directory=st.sampled_from(["", "webex_bots", "odd dir 100%"]),
    umask=st.sampled_from([0o022, 0o007, 0o077, 0o002]),
    nice=st.integers(0, 6),
    batch=st.booleans(),
    output=st.sampled_from(["null", "file", "log", "pipe", "closed"]),
    errors=st.sampled_from(["null", "same", "file"]),
    input=st.sampled_from(["null", "null", "file"]),
    processors=st.booleans(),
    oom=st.sampled_from([0, 0, 300]),
    limits=st.dictionaries(
        st.sampled_from(["Max core file size", "Max stack size", "Max file size"]),
        st.sampled_from([(1 << 24, 1 << 25), (1 << 25, 1 << 25)]),
        max_size=2,
    ).map(lambda found: tuple(found.items())),
    environment=st.dictionaries(st.sampled_from(["ROOM", "HTTPS_X", "_odd", "TZ"]), words, max_size=2).map(
        lambda found: tuple(found.items())
    ),
)


@contextlib.contextmanager
def machines() -> Iterator[Machine]:
    """A machine for one example; a fixture would serve all of them."""
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        made = Machine(Path(directory))
        everywhere(patch, "run_command", made.systemd)
        patch.setenv("PATH", f"{made.bin}:{os.environ['PATH']}")
        patch.setattr(paths, "ENVIRONMENT_DIR", str(made.env_dir))
        try:
            yield made
        finally:
            made.close()


def start(machine: Machine, how: Start) -> int:
    """Start the bot that way, out of a shell that is gone."""
    home = machine.home
    machine.script().write_text(SCRIPT.format(log=str(home / "logs/jarvis.log")))
    (home / "webex_bots/__init__.py").touch()
    (home / "run.py").write_text(f"import runpy\nrunpy.run_path({str(machine.script())!r}, run_name='__main__')\n")
    cwd = home / how.directory
    cwd.mkdir(exist_ok=True)
    called = os.path.relpath(machine.script(), cwd)
    what = {
        "script": [called],
        "absolute": [str(machine.script())],
        "module": ["-m", "webex_bots.jarvis"],
        "run.py": [os.path.relpath(home / "run.py", cwd), "jarvis"],
        "code": ["-c", f"import runpy; runpy.run_path({called!r})"],
    }[how.launcher]
    outputs: dict[str, Any] = {"null": "/dev/null", "file": home / "out.txt", "log": home / "logs/jarvis.log"}
    outputs |= {"closed": "/dev/null", "err": home / "err.txt"}

    def opened(name: str) -> int:
        return os.open(outputs[name], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    stdout = os.pipe()[1] if how.output == "pipe" else opened(how.output)
    stderr = subprocess.STDOUT if how.errors == "same" else opened("err" if how.errors == "file" else "null")

    def become() -> None:
        os.umask(how.umask)
        os.nice(how.nice)
        if how.batch:
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
        if how.processors:
            os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
        Path("/proc/self/oom_score_adj").write_text(str(how.oom))
        for name, values in how.limits:
            resource.setrlimit(LIMITS[name], values)
        if how.output == "closed":
            os.close(1)

    pid, given = machine.root / "pid", "/dev/null" if how.input == "null" else machine.python
    subprocess.run(
        ["sh", "-c", f'"$@" < {given} & echo $! > {pid}', "sh", machine.python, *how.options, *what, *how.arguments],
        cwd=cwd,
        stdout=stdout,
        stderr=stderr,
        start_new_session=True,
        preexec_fn=become,
        check=True,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(home),
            "BOT_PORT": str(machine.port),
            "PWD": str(cwd),
            **dict(how.environment),
        },
    )
    return int(pid.read_text())


def shown(pid: int) -> dict[str, Any]:
    """Everything of a process that a rollout has to leave as it is."""
    status, base = status_fields(pid), Path(f"/proc/{pid}")

    def stream(number: int) -> str:
        try:
            target = str((base / f"fd/{number}").readlink())
        except FileNotFoundError:
            return "/dev/null"
        return target if target.startswith("/") else "/dev/null"

    environment = read_nul_list(f"/proc/{pid}/environ")
    return {
        "command": read_nul_list(f"/proc/{pid}/cmdline"),
        "directory": str((base / "cwd").readlink()),
        "umask": status["Umask"],
        "nice": os.getpriority(os.PRIO_PROCESS, pid),
        "policy": os.sched_getscheduler(pid),
        "processors": sorted(os.sched_getaffinity(pid)),
        "OOM score": (base / "oom_score_adj").read_text(),
        "groups": {status["Gid"].split()[0], *status["Groups"].split()},
        "limits": re.findall(rf"^({'|'.join(LIMITS)})\s+(\S+)\s+(\S+)", (base / "limits").read_text(), re.MULTILINE),
        "input": stream(0),
        "output": stream(1),
        "errors": stream(2),
        "environment": {e for e in environment if not e.startswith(("PWD=", "WEBEX_BOT_ARGUMENT_", "PATH="))},
    }


def drop_in(facts: dict[str, Any], machine: Machine) -> str:
    """The drop-in as the role writes it."""
    environment = jinja2.Environment(trim_blocks=True, undefined=jinja2.StrictUndefined)
    environment.filters.update(FilterModule().filters())
    text = (PROJECT / "roles/bot_service/templates/bot.conf.j2").read_text()
    return environment.from_string(text).render(
        ansible_managed="managed",
        bot_user="root",
        bot_hardening="off",
        bot_environment_file=str(machine.env_file()),
        rollout_bot={"facts": facts, "open_files_allowed": 1024},
    )


@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate],  # an example takes seconds, shrinking it minutes
)
@given(how=starts)
def test_a_process_is_adopted_and_rolled_back_to_itself_or_refused(how: Start) -> None:
    with machines() as machine:
        pid = start(machine, how)
        machine.wait_for(lambda: "started" in machine.log())
        preflight = Preflight(machine)
        before = shown(pid)
        untouched = preflight.nothing_happened()
        refused = preflight.look(keep=("PYTHONPATH",))
        if refused:
            assert untouched()
            assert all("jarvis" in problem for problem in refused)
            odd = any("\n" in arg for arg in how.arguments) or how.output == "pipe"
            assert odd, (how, refused)
            return
        assert preflight.pids == [pid]
        roll_out(machine, preflight)
        (pid,) = pids(machine)
        after = shown(pid)
        differs = {key for key in before if before[key] != after[key]}
        told = {"outputs": {"output", "errors"}}
        rows = {word for what in preflight.fates() for word in told.get(what, {what})}
        assert differs <= rows, (how, [(before[key], after[key]) for key in differs])
        assert differs <= {"output", "input"}, (how, [(before[key], after[key]) for key in differs])
        roll_back(machine.vm, "jarvis", "0")
        (pid,) = pids(machine)
        again = shown(pid)
        # What reads from a file has read it: the plan has said so.
        back = {key for key in before if before[key] != again[key]} - ({"input"} & rows)
        assert not back, (how, [(before[key], again[key]) for key in back])


def roll_out(machine: Machine, preflight: Preflight) -> None:
    """What the roles do with what preflight has found."""
    bot = preflight.facts["bot"]
    wanted = machine.wanted()
    found = replace(machine.bot(), python=bot["python"], commands=bot["commands"])
    files = {**wanted.files, str(machine.drop_in()): FileRule()}
    record(machine.vm, Wanted(found, files, keep_variables=["PYTHONPATH"]))
    arm(machine.vm, "jarvis", 600)
    source = machine.script().read_text()
    machine.deploy(version=source + "# another release\n")
    machine.drop_in().write_text(drop_in(preflight.facts, machine))
    assert re.search("^LimitNOFILE=1024$", machine.drop_in().read_text(), re.MULTILINE)
    switch(machine.vm, "jarvis")
    check_start(machine.vm, "jarvis", machine.proof)


def pids(machine: Machine) -> list[int]:
    """What runs, as the bot was recorded."""
    return list(bot_pids(machine.vm.store("jarvis").need().bot))
