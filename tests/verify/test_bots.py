"""What a rollout promises, looked at from outside: processes, sockets, files and logs of the VM.

Needs nothing of the project on the VM, trusts none of its state, changes nothing there, and fits any inventory.
"""

from __future__ import annotations

import hashlib
import re
import shlex
import time

import pytest
from testinfra.host import Host

from plugin_utils.client_patch import patch
from tests.verify.conftest import Bot, Look
from tests.verify.inventory import PROJECT
from tests.verify.sockets import bare_sockets, sockets

CRON = "/etc/crontab /etc/cron.d /var/spool/cron /etc/rc.local"
UNITS = "/etc/systemd /run/systemd/system /lib/systemd/system /home/*/.config/systemd /root/.config/systemd"


def copies(vm: Host, bot: Bot) -> list[int]:
    """Pids of the processes that run the bot's script with a Python, whoever started them."""
    pids = []
    for line in vm.check_output("ps -eo pid=,args=").splitlines():
        pid, *words = line.split()
        is_python = bool(words) and re.fullmatch(r"python[\d.]*", words[0].rsplit("/", 1)[-1])
        if is_python and any(word in (bot.script, bot.settings["bot_script"]) for word in words[1:]):
            pids.append(int(pid))
    return pids


def started_at(vm: Host, bot: Bot, plus: int) -> str:
    """When the unit's main process started, `plus` seconds, in the VM's local time, as the bots' logs write it."""
    stamp = vm.check_output("TZ=UTC systemctl show --property=ExecMainStartTimestamp --value %s", bot.unit)
    return vm.check_output("date --date=%s '+%%Y-%%m-%%d %%H:%%M:%%S'", f"{stamp} + {plus} seconds")


def log_since_start(vm: Host, bot: Bot, pattern: str, plus: int = 0) -> list[str]:
    """Lines with a fixed string among the bot's log records since its process started, rotated files included."""
    files = " ".join(shlex.quote(f"{bot.log}{suffix}") for suffix in (".2", ".1", ""))
    start = shlex.quote(started_at(vm, bot, plus))
    command = (
        f"for f in {files}; do [ ! -e $f ] || cat $f; done"
        f" | awk -v s={start} '/^[0-9][0-9][0-9][0-9]-/ {{on = substr($0, 1, 19) >= s}} on'"
        f" | grep -a -F -- {shlex.quote(pattern)} || true"
    )
    return vm.check_output("sh -c %s", command).splitlines()


@pytest.mark.unit
def test_unit_is_active_and_enabled(vm: Host, bot: Bot, first_look: Look) -> None:
    unit = vm.service(bot.unit)
    assert unit.is_running, f"{bot.unit} is not active: {vm.run('systemctl status --no-pager %s', bot.unit).stdout}"
    assert unit.is_enabled, f"{bot.unit} will not start at boot: systemctl enable {bot.unit}"
    assert first_look.pid > 0


@pytest.mark.process
def test_exactly_one_copy_runs_and_it_is_the_units(vm: Host, bot: Bot, first_look: Look) -> None:
    running = copies(vm, bot)
    assert running == [first_look.pid], f"copies of {bot.name}: {running}; its unit's main process: {first_look.pid}"
    groups = vm.file(f"/proc/{first_look.pid}/cgroup").content_string
    assert bot.unit in groups, f"pid {first_look.pid} is not in the unit's control group"


@pytest.mark.process
def test_nothing_else_starts_the_script(vm: Host, bot: Bot) -> None:
    script = re.escape(bot.settings["bot_script"].rsplit("/", 1)[-1])
    pattern = f"^[^#]*(^|[[:space:]/'\"]){script}([[:space:]'\";&]|$)"
    found = vm.run(f"grep -rEIsn -e {shlex.quote(pattern)} {CRON} {UNITS}").stdout.splitlines()
    others = [line for line in found if f"/{bot.unit}.d/" not in line]
    assert others == [], f"also started by: {'; '.join(others)}"


@pytest.mark.limit
def test_open_file_limit_is_in_force(vm: Host, bot: Bot, first_look: Look) -> None:
    def limits(pid: int) -> list[int]:
        line = re.search(r"^Max open files\s+(\d+)\s+(\d+)", vm.file(f"/proc/{pid}/limits").content_string, re.M)
        assert line is not None
        return [int(number) for number in line.groups()]

    soft, _ = limits(first_look.pid)
    # The kernel's ceiling: PID 1 can give no more than it has where it may not raise its own limit.
    nr_open = int(vm.file("/proc/sys/fs/nr_open").content_string)
    can_raise = int(re.search(r"CapEff:\s*(\w+)", vm.file("/proc/1/status").content_string)[1], 16) >> 24 & 1  # type: ignore[index]
    ceiling = nr_open if can_raise else min(nr_open, limits(1)[1])
    wanted = min(bot.settings["webex_open_files"], ceiling)
    assert soft == wanted, f"{bot.name} may open {soft} files; {wanted} are wanted, and the kernel allows them"
    assert soft > bot.connections, f"{bot.name} may open {soft} files, and its pools {bot.connections} connections"


@pytest.mark.source
def test_pool_module_is_the_projects(vm: Host, bot: Bot) -> None:
    ours = hashlib.sha256((PROJECT / "files" / "webex_pool_config.py").read_bytes()).hexdigest()
    _, module = bot.pool_module(vm)
    assert vm.file(module).sha256sum == ours, f"{module} is not files/webex_pool_config.py"


@pytest.mark.source
def test_script_is_patched_and_compiles(vm: Host, bot: Bot) -> None:
    name, _ = bot.pool_module(vm)
    again = patch(vm.file(bot.script).content, bot.patch(name), bot.script)
    left = [f"{found.name} in line {found.line}" for found in again.constructions if found.action != "unchanged"]
    assert left == [], f"clients without the pool, or with other settings: {left}"
    check = "import sys; compile(open(sys.argv[1], 'rb').read(), sys.argv[1], 'exec')"
    compiled = vm.run("%s -I -B -c %s %s", bot.settings["bot_python"], check, bot.script)
    assert compiled.rc == 0, compiled.stderr


@pytest.mark.session
def test_sessions_say_that_they_are_configured(vm: Host, bot: Bot, first_look: Look) -> None:
    ready = [line for line in log_since_start(vm, bot, "webex-pool ready ") if f"pid={first_look.pid} " in line]
    sessions = {match[1] for line in ready if (match := re.search(r"session=(\S+)", line))}
    assert {"bot.teams", "bot.session"} <= sessions, f"configured sessions of pid {first_look.pid}: {sorted(sessions)}"
    wanted = f"pool_maxsize={bot.settings['webex_pool_maxsize']} "
    assert all(wanted in line for line in ready)


@pytest.mark.connection
def test_connections_carry_a_keepalive_timer(vm: Host, bot: Bot, first_look: Look) -> None:
    bare = bare_sockets(vm, first_look.pid)
    assert len(bare) <= 1, f"connections without a timer: {bare}"
    mine = sockets(vm, first_look.pid)
    if len(mine) <= 1:
        pytest.skip(f"{bot.name} has no pooled connection open now; send it a message and look again")
    assert any("timer:(keepalive," in line for line in mine), mine


@pytest.mark.connection
def test_connections_stay_below_the_limit(vm: Host, bot: Bot, first_look: Look) -> None:
    count = len(sockets(vm, first_look.pid))
    assert 1 <= count <= bot.connections + 1, (
        f"{count} connections to port 443; the websocket and the pools allow {bot.connections + 1}"
    )


@pytest.mark.log
def test_no_timeout_since_the_switch(vm: Host, bot: Bot) -> None:
    # systemd gives whole seconds, and the process before may have logged in that one; a new one cannot time out yet.
    lines = log_since_start(vm, bot, "Read timed out", plus=1)
    assert lines == [], f"{len(lines)} time-outs in {bot.log} since the switch, the first: {lines[0]}"


@pytest.mark.unit
def test_stays_up(vm: Host, bot: Bot, first_look: Look) -> None:
    """The same process over the hold: `active` is also what a unit in a restart loop is most of the time."""
    time.sleep(max(0.0, first_look.at + bot.settings["rollout_settle"] - time.monotonic()))
    now = Look.take(vm, bot)
    said = f"{bot.name} was started again meanwhile: pid {first_look.pid}, now {now.pid}; {now.restarts} restarts"
    assert (now.pid, now.restarts) == (first_look.pid, first_look.restarts), said
