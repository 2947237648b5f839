"""Measures what is done to labs: the clock, processors on both sides, calls over ssh, bytes on the wire."""

from __future__ import annotations

import json
import os
import resource
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.bench.rollout.figures import Reading, Took
from tests.lab.lab import Lab
from tests.lab.run import run

COUNTING_SSH = Path(__file__).with_name("counting_ssh")
"""Stands in for ssh: notes what kind of command it is asked for, and becomes ssh."""
CALLS = "BENCH_SSH_CALLS"
_TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Meter:
    """Measures for a part of the bench; `calls` is a file of its own."""

    labs: Sequence[Lab]
    calls: Path

    @property
    def environment(self) -> dict[str, str]:
        """What makes ansible-playbook be counted."""
        return {"ANSIBLE_SSH_EXECUTABLE": str(COUNTING_SSH), CALLS: str(self.calls)}

    def measure(self, took: Took, action: Callable[[], object]) -> None:
        """Do something, and note what it took."""
        self.calls.write_text("")
        vms, sent, used, begun = self._vms(), self._sent(), _children(), time.monotonic()
        action()
        wall = time.monotonic() - begun
        calls = Counter(self.calls.read_text().split())
        took.readings.append(
            Reading(
                wall=wall,
                controller=_children() - used,
                vms=self._vms() - vms,
                modules=calls["module"],
                questions=calls["question"],
                others=calls["other"],
                sent=self._sent() - sent,
            )
        )

    def _sent(self) -> int:
        """Bytes that the VMs' loopback interfaces have carried: the way to sshd, and nothing else's."""
        total = 0
        for lab in self.labs:
            shown = run(["ip", "-n", lab.network.vm, "-s", "-j", "link", "show", "dev", "lo"]).stdout
            total += json.loads(shown)[0]["stats64"]["rx"]["bytes"]
        return total

    def _vms(self) -> float:
        """Seconds of processor that all processes of the VMs have used so far.

        What has ended is in the figures of whoever waited for it, up to the VM's own first process.
        """
        spaces = {_space(lab.machine.leader) for lab in self.labs}
        ticks = 0
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and _space(int(entry.name)) in spaces:
                with suppress(OSError):
                    fields = (entry / "stat").read_text().rpartition(")")[2].split()
                    ticks += sum(map(int, fields[11:15]))
        return ticks / _TICK


def _space(pid: int) -> str:
    """A process's world of pids; empty of one that is gone."""
    try:
        return str(Path(f"/proc/{pid}/ns/pid").readlink())
    except OSError:
        return ""


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
