"""What is broken, and how: faults of the controller, the way to the VM, the VM and the bot itself.

Each is real: a SIGKILL, packets that go nowhere, a power cut, a disk without room, a process that dies.
"""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.lab.lab import Lab
from tests.lab.paths import VM_CHECKOUT
from tests.lab.run import run

SITE_PACKAGES = f"{VM_CHECKOUT}/.venv/lib/python3.11/site-packages"

CANARY, FLEET = "Stage canary", "Stage fleet"
"""Plays."""

MOMENTS = {
    "armed": "Record the bot and arm the guard",
    "module in place": "Copy the pool module into the checkout",
    "patched": "Route the bot's clients through the pool",
    "unit installed": "Install the bot's drop-in",
    "switched": "Switch the bot to its unit",
    "in its check": "Check the bot's start and confirm its release",
    "confirmed": "Check the bot's start and confirm its release",
}
"""Phases of a stage, each by the task at whose end it begins; one of MIDST is a task that is at work."""

MIDST = ("in its check",)

WRITES = (
    ("Preflight", "Look at the VM's bots"),
    (CANARY, "Stop if a bot was lost"),
    (CANARY, "Install the VM's program"),
    (CANARY, "Install the units of guard and watch"),
    (CANARY, "Start the watch's timer"),
    (CANARY, "Acquire the VM's lock"),
    (CANARY, "Open a session with the new limit"),
    (CANARY, "Install the unit template and the target for all bots"),
)
"""Further tasks, by play, after which something is written to the VM's disk."""


@dataclass(frozen=True)
class Fault:
    """`strike` breaks something, in the middle of a run or before it; `mend` repairs it, for the run after."""

    name: str
    strike: Callable[[Lab], None]
    mend: Callable[[Lab], None] = lambda lab: None
    loses_processes: bool = False
    """Whether every process of the VM is gone with it."""
    ends: str = ""
    """What the first bot has to be when it was left alone; empty where old and new will do."""
    takes: float = 0.0
    """Seconds more than the guard's deadline until it is that."""
    leaves: tuple[str, ...] = ()
    """Files that it puts on the VM itself."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the first run."""


def controller(lab: Lab) -> list[int]:
    """The ansible-playbook processes at work on a lab, workers included."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if any(part.endswith(b"ansible-playbook") for part in arguments[:2]) and lab.inventory.encode() in arguments:
            found.append(int(entry.name))
    return found


def kill_controller(lab: Lab) -> None:
    """SIGKILL for the playbook and its workers; what runs on the VM just now runs on."""
    for pid in controller(lab):
        os.kill(pid, signal.SIGKILL)


def cut_connection(lab: Lab) -> None:
    """From now on no byte gets from the controller to the VM or back, without notice to either."""
    os.kill(lab.daemons["forward"].pid, signal.SIGSTOP)


def mend_connection(lab: Lab) -> None:
    os.kill(lab.daemons["forward"].pid, signal.SIGCONT)


def fill_disk(lab: Lab) -> None:
    """The VM's disk shrinks to what is on it: every further write fails with ENOSPC."""
    scratch = lab.machine.directory / "scratch"
    status = os.statvfs(scratch)
    used = (status.f_blocks - status.f_bfree) * status.f_frsize
    run(["mount", "-o", f"remount,size={used + 4096}", scratch])


def give_room(lab: Lab) -> None:
    run(["mount", "-o", "remount,size=4g", lab.machine.directory / "scratch"])


def under_systemd(code: str) -> Callable[[Lab], None]:
    """Code that each bot's Python runs at start, but only as a unit's main process: the release alone is broken.

    In a .pth file: a sitecustomize of the distribution's own hides every other one.
    """

    def strike(lab: Lab) -> None:
        text = f"import os\nif os.environ.get('SYSTEMD_EXEC_PID') == str(os.getpid()):\n    {code}\n"
        lab.machine.execute(["sh", "-c", f"cat > {SITE_PACKAGES}/broken_release.py"], stdin=text)
        lab.machine.execute(["sh", "-c", f"echo import broken_release > {SITE_PACKAGES}/broken_release.pth"])

    return strike


def without_broken_release(lab: Lab) -> None:
    lab.machine.execute(["sh", "-c", f"rm -f {SITE_PACKAGES}/broken_release.*"])


def crash_after(seconds: float) -> Callable[[Lab], None]:
    return under_systemd(
        f"import threading; t = threading.Timer({seconds}, os._exit, (1,)); t.daemon = True; t.start()"
    )


def invalid_unit(lab: Lab) -> None:
    """Somebody's drop-in that leaves the unit without a command. A word that it does not know systemd only ignores."""
    directory = "/etc/systemd/system/webex-bot@jarvis.service.d"
    lab.machine.execute(["mkdir", "-p", directory])
    lab.machine.execute(["sh", "-c", f"printf '[Service]\\nExecStart=\\n' > {directory}/90-local.conf"])


def valid_unit(lab: Lab) -> None:
    lab.machine.execute(["rm", "-f", "/etc/systemd/system/webex-bot@jarvis.service.d/90-local.conf"])
    lab.machine.execute(["systemctl", "daemon-reload"])


def hide_venv(lab: Lab) -> None:
    lab.machine.execute(["mv", f"{VM_CHECKOUT}/.venv", f"{VM_CHECKOUT}/.venv.away"])


def find_venv(lab: Lab) -> None:
    lab.machine.execute(["mv", f"{VM_CHECKOUT}/.venv.away", f"{VM_CHECKOUT}/.venv"])


CLOCK_BACK = 600  # s
PRELOADED = "/usr/local/lib/clock_back.so"
CLOCK_SUDOERS, CLOCK_ENVIRONMENT = "/etc/sudoers.d/clock", "/etc/clock.env"
CLOCK_FILES = tuple(path.lstrip("/") for path in (PRELOADED, CLOCK_SUDOERS, CLOCK_ENVIRONMENT))


def set_clock_back(lab: Lab) -> None:
    """For all that systemd and sudo start on the VM from now on: guard, modules, bots. The time since boot goes on.

    A container cannot set its clock without setting everybody's, so a library stands between programs and it.
    """
    if shutil.which("cc") is None:
        run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", "gcc", "libc6-dev"], timeout=600)
    source = Path(__file__).with_name("clock_back.c")
    into = lab.machine.root / PRELOADED.lstrip("/")
    run(["cc", "-O2", "-shared", "-fPIC", f"-DCLOCK_BACK={CLOCK_BACK}", source, "-o", into])
    lab.machine.execute(["sh", "-c", f"echo LD_PRELOAD={PRELOADED} > {CLOCK_ENVIRONMENT}"])
    lab.machine.execute(["sh", "-c", f"echo 'Defaults env_file={CLOCK_ENVIRONMENT}' > {CLOCK_SUDOERS}"])
    lab.machine.execute(["systemctl", "set-environment", f"LD_PRELOAD={PRELOADED}"])
    for started_by in (["sudo"], ["systemd-run", "--quiet", "--pipe", "--wait"]):
        shown, now = lab.machine.execute([*started_by, "date", "+%s"]).stdout, time.time()
        if abs(now - CLOCK_BACK - float(shown)) > 10:
            raise RuntimeError(f"what {started_by[0]} starts on the VM shows {shown.strip()}, it is {now:.0f}")


def set_clock_right(lab: Lab) -> None:
    lab.machine.execute(["systemctl", "unset-environment", "LD_PRELOAD"])
    lab.machine.execute(["rm", "-f", CLOCK_SUDOERS, CLOCK_ENVIRONMENT])


def set_clock_back_and_kill_controller(lab: Lab) -> None:
    set_clock_back(lab)
    kill_controller(lab)


LOGS = f"{VM_CHECKOUT}/logs"
# Read-only before it is there: units have mounts of their own, to which a later change of one would not spread.
LOGS_READ_ONLY = (
    f"mkdir -p /run/read-only && mount --bind {LOGS} /run/read-only && mount -o remount,bind,ro /run/read-only"
    f" && mount --bind /run/read-only {LOGS}"
)
# Lazily: whoever has a file open on it would keep it.
LOGS_WRITABLE = f"umount --lazy {LOGS}"


def logs_read_only(lab: Lab) -> None:
    """The file system that the logs are on: who has one open writes on, nobody opens one for writing any more."""
    lab.machine.execute(["sh", "-c", LOGS_READ_ONLY])


def logs_writable(lab: Lab) -> None:
    lab.machine.execute(["sh", "-c", LOGS_WRITABLE])


def logs_read_only_at_start(lab: Lab) -> None:
    """Read-only from when jarvis's new process exists, which waits for it before it opens its log, for 20 s."""
    flag = "/run/read-only.done"
    under_systemd(f"import time\n    while not os.path.exists({flag!r}): time.sleep(0.02)")(lab)
    main_pid = "systemctl show --property=MainPID --value webex-bot@jarvis.service"
    wait = f'until [ "$({main_pid})" -gt 0 ]; do sleep 0.02; done'
    script = f"{wait}; {LOGS_READ_ONLY}; touch {flag}; sleep 20; {LOGS_WRITABLE}"
    lab.machine.execute(["systemd-run", "--quiet", "--collect", "sh", "-c", script])


def kill_new_process(lab: Lab) -> None:
    """kill -9 for the bot's new process, a second into its hold. systemd starts it once more."""

    def later() -> None:
        time.sleep(1)
        lab.machine.execute(["systemctl", "kill", "-s", "KILL", "webex-bot@jarvis.service"], check=False)

    threading.Thread(target=later, daemon=True).start()


PYTHON_OF_POOL = (
    "import sys, importlib.abc; "
    "sys.meta_path.insert(0, type('F', (importlib.abc.MetaPathFinder,), {'find_spec': lambda s, n, p=None, t=None: "
    "(_ for _ in ()).throw(RuntimeError('broken module')) if n.endswith('webex_pool_config') else None})())"
)

CONTROLLER_KILLED = Fault("controller killed", kill_controller)
DISK_FULL = Fault("disk full", fill_disk, give_room)
MIDWAY = (
    CONTROLLER_KILLED,
    Fault("connection cut", cut_connection, mend_connection),
    Fault("VM loses power", lambda lab: lab.reboot_hard(), loses_processes=True),
    DISK_FULL,
)
"""Strike at every moment of MOMENTS."""

CLOCK_AND_KILL = Fault(
    "clock set back, controller killed", set_clock_back_and_kill_controller, set_clock_right, leaves=CLOCK_FILES
)

AT_A_MOMENT = (
    (Fault("new process killed", kill_new_process, ends="new"), "switched"),
    (
        Fault("venv vanishes", hide_venv, find_venv, ends="old", leaves=(f"{VM_CHECKOUT}/.venv".lstrip("/"),)),
        "unit installed",
    ),
    (Fault("log directory read-only", logs_read_only, logs_writable, ends="old"), "unit installed"),
    (Fault("log directory read-only", logs_read_only, logs_writable, ends="new"), "confirmed"),
    (Fault("clock set back", set_clock_back, set_clock_right, ends="new"), "armed"),
    (CLOCK_AND_KILL, "patched"),
    (CLOCK_AND_KILL, "switched"),
)

SLOW_LOOP = 5 * (20 + 10)
"""Seconds after which a unit has failed whose process dies 20 s after each start."""

BROKEN_RELEASE = (
    Fault("release crashes at once", under_systemd("os._exit(1)"), without_broken_release, ends="old"),
    Fault("release crashes after 3 s", crash_after(3), without_broken_release, ends="old"),
    Fault(
        "release crashes after 20 s, under watch",
        crash_after(20),
        without_broken_release,
        ends="old",
        settings={"rollout_soak_min": 120},
    ),
    Fault(
        "release crashes after 20 s, unseen",
        crash_after(20),
        without_broken_release,
        ends="old",
        takes=SLOW_LOOP,
        settings={"rollout_soak_min": 3600, "rollout_soak_max": 7200, "rollout_wait": 0},
    ),
    Fault(
        "release hangs at start", under_systemd("import time; time.sleep(10**6)"), without_broken_release, ends="old"
    ),
    Fault("release exits with 0", under_systemd("os._exit(0)"), without_broken_release, ends="old"),
    Fault("pool module raises on import", under_systemd(PYTHON_OF_POOL), without_broken_release, ends="old"),
    Fault("unit is invalid", invalid_unit, valid_unit, ends="old"),
    Fault("log directory read-only at start", logs_read_only_at_start, without_broken_release, ends="old"),
)
"""There before the rollout begins; the bots found must run on as they were."""
