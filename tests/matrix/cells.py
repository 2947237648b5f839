"""One cell: a VM with one release of Debian, rolled out, verified and rolled back by one ansible-core."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.lab.lab import Lab, temporary
from tests.lab.paths import BOTS, PROJECT
from tests.lab.webex.driver import Pattern
from tests.matrix.environments import CORES, Environment, MissingError, choose, prepare, pythons

STEPS = ("first rollout", "second run", "verify", "rollback")
WHO = BOTS[:3]
"""A canary and a fleet of two; more would take longer and show nothing of a version."""
# What a rollout waits for is as short as it can be; what is done and looked at is the same.
SETTINGS = {
    "rollout_settle": 5,
    "rollout_soak_min": 10,
    "rollout_fleet_soak": 5,
    "rollout_min_requests": 1,
    "rollout_beta": 1,
    "rollout_wait": 300,
}
PRODUCT = (
    *("action_plugins", "callback_plugins", "filter_plugins", "library", "module_utils", "plugin_utils", "files"),
    *("playbooks", "roles", "rollout.yml", "ansible.cfg", "requirements.in", "requirements.txt"),
    *("tests/verify", "tests/lab"),
)
"""What a cell's result depends on."""


class FailedError(Exception):
    """Why a step of a cell failed, in a line."""


@dataclass
class Cell:
    """A cell and what came out: seconds by step, in the order of STEPS, up to the one that failed."""

    suite: str
    core: str
    tree: str
    ansible: str = ""
    python: str = ""
    vm: str = ""
    seconds: dict[str, float] = field(default_factory=dict)
    problem: str = "not run"

    @property
    def name(self) -> str:
        return f"{self.suite}-{self.core}"

    @property
    def passed(self) -> bool:
        return not self.problem


def tree() -> str:
    """A hash of all that a cell's result depends on."""
    listed = subprocess.run(["git", "ls-files", *PRODUCT], cwd=PROJECT, capture_output=True, text=True, check=True)
    digest = hashlib.sha256()
    for name in listed.stdout.splitlines():
        path = PROJECT / name
        content = str(path.readlink()).encode() if path.is_symlink() else path.read_bytes()
        digest.update(f"{name}\0{hashlib.sha256(content).hexdigest()}\0".encode())
    return digest.hexdigest()[:12]


def load(directory: Path, suite: str, core: str, now: str) -> Cell:
    """A cell as an earlier run of the same tree left it, or one that has not run."""
    try:
        cell = Cell(**json.loads((directory / f"{suite}-{core}.json").read_text()))
    except FileNotFoundError:
        return Cell(suite, core, now)
    return cell if cell.tree == now else Cell(suite, core, now)


def run(cell: Cell, directory: Path) -> None:
    """Run a cell in a lab of its own; its output goes beside its result. What fails is the cell's `problem`."""
    directory.mkdir(parents=True, exist_ok=True)
    cell.seconds, log = {}, directory / f"{cell.name}.log"
    log.unlink(missing_ok=True)
    try:
        # Debian's older release goes with the oldest Python of the controller, the newer one with the newest.
        environment = prepare(cell.core, choose(cell.core, pythons(), newest=cell.suite != "bookworm"))
        cell.ansible, cell.python = environment.ansible, environment.python
        with temporary(f"matrix_{cell.name}".replace("-", "_").replace(".", "_"), suite=cell.suite) as lab:
            _steps(cell, lab, environment, log)
        cell.problem = ""
    except (FailedError, MissingError) as problem:
        cell.problem = str(problem)
    partial = directory / f"{cell.name}.partial"
    partial.write_text(json.dumps(asdict(cell), indent=1))
    partial.rename(directory / f"{cell.name}.json")


def _steps(cell: Cell, lab: Lab, environment: Environment, log: Path) -> None:
    groups = {"canary": WHO[:1], "fleet": WHO[1:]}
    children = {name: {"hosts": dict.fromkeys(bots)} for name, bots in groups.items()}
    Path(lab.inventory, "hosts.yml").write_text(json.dumps({"bots": {"children": children}}))
    lab.start_bots(WHO)
    systemd = lab.machine.execute(["systemctl", "--version"]).stdout.split()[1]
    python = lab.machine.execute(["python3", "--version"]).stdout.split()[1]
    cell.vm = f"systemd {systemd}, Python {python}"
    lab.webex.start(Pattern(burst=2, gap=4.0, bots=WHO))
    ansible = [environment.bin / "ansible-playbook", "-i", lab.inventory, "-e", json.dumps(SETTINGS)]
    suite = [environment.bin / "python", "-m", "pytest", "tests/verify", "-q", "-p", "no:cacheprovider"]
    suite += ["--hosts=ansible://bots", f"--ansible-inventory={lab.inventory}"]

    def second() -> None:
        output = _call([*ansible, "rollout.yml"], environment, log)
        changed = re.findall(r"^(\w+) +: ok=.*changed=[1-9]", output, re.M)
        if changed:
            raise FailedError(f"changed something on {', '.join(changed)}")

    def back() -> None:
        _call([*ansible, "playbooks/rollback.yml", "-e", "rollout_to=0"], environment, log)
        if (lab.machine.root / "etc/systemd/system/webex-bot@.service").exists():
            raise FailedError("left the unit behind")
        if not lab.webex.wait_connected(WHO, timeout=60):
            raise FailedError("left a bot that does not connect")

    actions: tuple[Callable[[], object], ...] = (
        lambda: _call([*ansible, "rollout.yml"], environment, log),
        second,
        lambda: _call(suite, environment, log),
        back,
    )
    for step, action in zip(STEPS, actions, strict=True):
        begun = time.monotonic()
        try:
            action()
        except FailedError as problem:
            raise FailedError(f"{step}: {problem}") from None
        cell.seconds[step] = round(time.monotonic() - begun, 1)


def _call(command: list[str | Path], environment: Environment, log: Path) -> str:
    """A command as an operator calls it, with the cell's ansible-core first in the path."""
    with tempfile.TemporaryDirectory(prefix="wbr-matrix-") as reports, log.open("a+", encoding="utf-8") as out:
        variables = {
            **os.environ,
            "PATH": f"{environment.bin}:{os.environ['PATH']}",
            "ROLLOUT_REPORT_DIRECTORY": reports,
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_DEPRECATION_WARNINGS": "1",
        }
        out.write(f"$ {' '.join(map(str, command))}\n")
        out.flush()
        begun = out.tell()
        done = subprocess.run(
            list(map(str, command)), cwd=PROJECT, env=variables, stdout=out, stderr=subprocess.STDOUT, check=False
        )
        out.seek(begun)
        output = out.read()
    if done.returncode:
        raise FailedError(f"ended with {done.returncode}; see {log.relative_to(PROJECT)}")
    return output


def all_cells(directory: Path, suites: list[str], cores: list[str] | None = None) -> list[Cell]:
    """The cells of this tree, with what is known of each."""
    now = tree()
    return [load(directory, suite, core, now) for core in cores or CORES for suite in suites]
