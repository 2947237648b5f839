"""Labs for the tests: started pristine, taken down whatever happens, with what the tests ask of a VM."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.lab.image import layers
from tests.lab.lab import Lab, temporary
from tests.lab.paths import BOTS, VM_CHECKOUT, VM_USER

# What a machine writes while nobody changes anything: its logs and its own bookkeeping.
RESTLESS = (
    "var/log/",
    "var/lib/systemd/",
    "var/cache/",
    "var/backups/",
    "run/",
    "tmp/",
    "etc/.updated",
    "var/.updated",
    "root/.ansible/",
    # What a killed run of Ansible had just sent.
    f"home/{VM_USER}/.ansible/",
    "home/deploy/.ansible/",
    # At each start of a bot its SDK asks git for a version, which refreshes the index.
    f"{VM_CHECKOUT}/.git/index".lstrip("/"),
)


@dataclass(frozen=True)
class Process:
    """A running copy of a bot: `start` is its start time in clock ticks, `unit` its control group's unit or empty."""

    pid: int
    start: int
    unit: str


def processes(lab: Lab) -> dict[str, list[Process]]:
    """Every process on the VM that runs a bot's script with a Python, by bot."""
    script = """
for d in /proc/[0-9]*; do
  line=$(tr '\\0' ' ' < $d/cmdline 2>/dev/null)
  echo "$line" | grep -qE '^[^ ]*python[0-9.]* [^ ]*webex_bots/[a-z_]+[.]py' || continue
  unit=$(grep -o 'webex-bot@[a-z_]*[.]service' $d/cgroup | head -1)
  echo "${d#/proc/} $(cut -d' ' -f22 $d/stat) $unit- $line"
done
"""
    found: dict[str, list[Process]] = {bot: [] for bot in BOTS}
    for line in lab.machine.execute(["sh", "-s"], stdin=script).stdout.splitlines():
        pid, start, unit, arguments = line.split(" ", 3)
        bot = arguments.rsplit("webex_bots/", 1)[1].split(".py", 1)[0]
        found[bot].append(Process(int(pid), int(start), unit.rstrip("-")))
    return found


def units(lab: Lab) -> str:
    """Unit files and what of them runs, but for the sessions by which one got in."""
    kinds = "--no-legend --plain --type=service,timer,target"
    command = f"systemctl list-unit-files {kinds}; systemctl list-units --state=running,waiting,failed {kinds}"
    shown = lab.machine.execute(["sh", "-c", command]).stdout
    return "\n".join(line for line in shown.splitlines() if not line.startswith(("ssh", "user", "systemd-")))


def written(lab: Lab) -> dict[str, str]:
    """Every file that differs from the image, with a digest of its type, owner, mode and content.

    The VM's disk is an overlay, so this is all that was ever changed, wherever.
    """
    upper = lab.machine.directory / "scratch" / "upper"
    changes = {}
    for path in upper.rglob("*"):
        name = str(path.relative_to(upper))
        if path.is_dir() or name.startswith(RESTLESS) or name.startswith(f"{VM_CHECKOUT}/logs/".lstrip("/")):
            continue
        if "/__pycache__/" in name:
            continue
        changes[name] = digest(path)
    return changes


def in_image(name: str) -> str | None:
    """What the image has there, as `written` has it: an overlay keeps a file that was restored byte for byte."""
    base, content = layers(lambda _: None)
    found = [layer / name for layer in (content, base) if os.path.lexists(layer / name)]
    return digest(found[0]) if found else None


def digest(path: Path) -> str:
    status = path.lstat()
    content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
    return f"{status.st_mode:o} {status.st_uid}:{status.st_gid} {hashlib.sha256(content).hexdigest()[:16]}"


@pytest.fixture
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """A pristine lab with the six bots running under nohup, for one test."""
    with temporary(f"t{abs(hash(request.node.nodeid)) % 10**8}") as fresh:
        fresh.start_bots()
        yield fresh


@pytest.fixture(scope="module")
def shared_lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """A lab for the tests of one module, which go on where the one before stopped."""
    with temporary(f"m{abs(hash(request.node.nodeid)) % 10**8}") as fresh:
        fresh.start_bots()
        yield fresh
