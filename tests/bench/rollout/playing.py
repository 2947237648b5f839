"""Playbooks as an operator, or a timer, runs them: each run makes its own connections."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.rollout.figures import Took
from tests.bench.rollout.meter import Meter
from tests.lab.paths import PROJECT

HOLDS = {"rollout_settle": 10, "rollout_soak_min": 5, "rollout_fleet_soak": 5}
"""What a rollout waits for on purpose, in each batch. A soak counts from the switch, so these end while bots settle."""
SETTINGS = {**HOLDS, "rollout_wait": 120, "rollout_min_requests": 1, "rollout_beta": 1}
BATCHES = 2
HELD = (1 + BATCHES) * HOLDS["rollout_settle"]
"""Seconds of a whole rollout."""


@dataclass
class Verbs:
    """What is measured of the project itself, for one inventory."""

    inventory: str
    meter: Meter
    size: str = ""
    """Before each name, in a part that has several sizes."""
    first: Took = field(init=False)
    second: Took = field(init=False)
    check: Took = field(init=False)
    status: Took = field(init=False)
    back: Took = field(init=False)

    def __post_init__(self) -> None:
        self.first = Took(f"{self.size}first rollout", HELD)
        self.second = Took(f"{self.size}second run")
        self.check = Took(f"{self.size}second run, --check")
        self.status = Took(f"{self.size}status")
        self.back = Took(f"{self.size}rollback of all")

    @property
    def all(self) -> list[Took]:
        """In the order of a table."""
        return [self.first, self.second, self.check, self.status, self.back]

    def roll_out(self) -> None:
        """A first rollout."""
        self._play(self.first, "rollout.yml")

    def look(self) -> None:
        """What leaves everything as it is."""
        self._play(self.second, "rollout.yml")
        self._play(self.check, "rollout.yml", "--check")
        self._play(self.status, "playbooks/status.yml")

    def roll_back(self) -> None:
        """Back to what was found."""
        self._play(self.back, "playbooks/rollback.yml", "-e", "rollout_to=0")

    def _play(self, took: Took, playbook: str, *options: str) -> None:
        with tempfile.TemporaryDirectory(prefix="wbr-") as sockets:
            environment = {**os.environ, **self.meter.environment, "ANSIBLE_SSH_CONTROL_PATH_DIR": sockets}
            try:
                self.meter.measure(took, lambda: play(self.inventory, playbook, options, environment))
            finally:
                for path in Path(sockets).iterdir():
                    subprocess.run(
                        ["ssh", "-o", f"ControlPath={path}", "-O", "exit", "any"], capture_output=True, check=False
                    )


def play(inventory: str, playbook: str, options: tuple[str, ...], environment: Mapping[str, str]) -> None:
    """Run a playbook to a good end.

    :raises SystemExit: it ended otherwise.
    """
    command = [Path(sys.executable).with_name("ansible-playbook"), "-i", inventory, playbook, *options]
    done = subprocess.run(
        [*command, "-e", json.dumps(SETTINGS)],
        cwd=PROJECT,
        env=dict(environment),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{playbook} ended with {done.returncode}:\n{done.stdout[-4000:]}{done.stderr[-2000:]}")
