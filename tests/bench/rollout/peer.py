"""A second run beside pyinfra's, with the same copies, limits and units of six bots on one VM, in turn.

What pyinfra is to see to is taken from a VM after a rollout, so that neither has anything to do. It looks at less: at
no process, no log, no evidence and no environment.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.bench.rollout.figures import Must, Took, show
from tests.bench.rollout.meter import Meter
from tests.bench.rollout.playing import Verbs
from tests.lab.lab import PORT, Lab, temporary
from tests.lab.paths import BOTS, CACHE, VM_CHECKOUT, VM_USER
from tests.lab.run import run

MOST = 1.5
"""What is wanted at most of a second run, as a multiple of pyinfra's."""
REQUIREMENTS = Path(__file__).with_name("requirements-pyinfra.txt")
MODULE = f"{VM_CHECKOUT}/src/utils/webex_pool_config.py"
UNITS = "/etc/systemd/system"


def measure(rounds: int) -> bool:
    """Measure and print; whether what is wanted holds."""
    pyinfra = _installed()
    with temporary("bench_peer") as lab:
        lab.start_bots()
        meter = Meter([lab], lab.directory / "calls")
        verbs = Verbs(lab.inventory, meter)
        verbs.roll_out()
        peer = Peer(pyinfra, lab)
        peer.prove()
        nothing = Took("pyinfra, nothing to do")
        for _ in range(rounds):
            meter.measure(nothing, peer.run)
            verbs.look()
    must = Must("a second run takes pyinfra's", verbs.second.wall, nothing.wall, MOST)
    version = run([pyinfra, "--version"]).stdout.strip()
    return show(f"{len(BOTS)} bots on one VM, beside {version}", [nothing, verbs.second], [must])


class Peer:
    """pyinfra with the work of a rollout, on a VM that has been rolled out."""

    def __init__(self, program: Path, lab: Lab) -> None:
        self._program, self._lab = program, lab
        self._directory = lab.directory / "same_work"
        self._directory.mkdir()
        self._inventory = self._directory / "inventory.py"
        self._work = self._directory / "work.json"
        way = {
            "ssh_port": PORT,
            "ssh_user": lab.accounts.operator,
            "ssh_key": str(lab.key),
            "ssh_known_hosts_file": str(lab.known_hosts),
            "_sudo": True,
        }
        self._inventory.write_text(f"hosts = {[(lab.address, way)]!r}\n")
        units = [f"webex-bot@{bot}.service" for bot in BOTS]
        self._work.write_text(json.dumps({"files": self._taken(), "units": units}))

    def run(self) -> str:
        """Do the work, and return what pyinfra says.

        :raises SystemExit: it did not end well.
        """
        command = [self._program, self._inventory, Path(__file__).with_name("same_work.py"), "--yes"]
        environment = {**os.environ, "BENCH_SAME_WORK": str(self._work)}
        done = subprocess.run(
            command, cwd=self._directory, env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SystemExit(f"pyinfra ended with {done.returncode}:\n{(done.stdout + done.stderr)[-4000:]}")
        return done.stdout + done.stderr

    def prove(self) -> None:
        """See it do its work: a file that is taken away is there again, byte for byte.

        :raises SystemExit: it is not; what it takes to do nothing would then be no figure.
        """
        there = self._lab.machine.root / MODULE.lstrip("/")
        before = there.read_bytes()
        self._lab.machine.execute(["rm", MODULE])
        self.run()
        if not there.is_file() or there.read_bytes() != before:
            raise SystemExit(f"pyinfra did not put {MODULE} back")

    def _taken(self) -> list[dict[str, str]]:
        paths = [MODULE, *(f"{VM_CHECKOUT}/webex_bots/{bot}.py" for bot in BOTS)]
        paths += ["/etc/security/limits.d/60-webex-bots.conf", f"{UNITS}/webex-bot@.service"]
        paths += [f"{UNITS}/webex-bots.target", *(f"{UNITS}/webex-bot@{bot}.service.d/10-bot.conf" for bot in BOTS)]
        return [self._take(path, number) for number, path in enumerate(paths)]

    def _take(self, path: str, number: int) -> dict[str, str]:
        source, copy = self._lab.machine.root / path.lstrip("/"), self._directory / str(number)
        shutil.copy(source, copy)
        user = VM_USER if path.startswith(VM_CHECKOUT) else "root"
        return {"src": str(copy), "dest": path, "user": user, "mode": f"{source.stat().st_mode & 0o7777:o}"}


def _installed() -> Path:
    """pyinfra's program, installed once for these requirements."""
    venv = CACHE / "pyinfra"
    stamp, program = venv / "requirements.txt", venv / "bin" / "pyinfra"
    wanted = REQUIREMENTS.read_text()
    if not stamp.is_file() or stamp.read_text() != wanted:
        shutil.rmtree(venv, ignore_errors=True)
        run([sys.executable, "-m", "venv", venv])
        run([venv / "bin" / "pip", "install", "--quiet", "--requirement", REQUIREMENTS])
        stamp.write_text(wanted)
    return program
