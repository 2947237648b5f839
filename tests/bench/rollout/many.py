"""The same for bots on several VMs beside each other: each VM is a lab of its own, with the lab's six bots."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.bench.rollout.figures import Must, show
from tests.bench.rollout.meter import Meter
from tests.bench.rollout.playing import Verbs
from tests.lab.errors import LabError
from tests.lab.lab import Lab
from tests.lab.paths import BOTS
from tests.lab.run import wait_for

VMS = (1, 4, 16)
MOST = {4: 2.0, 16: 6.0}
"""What is wanted at most of a second run, by the number of VMs, as a multiple of the same for one."""
STARTING = 2
"""Labs that start side by side; a core each."""


def measure(rounds: int, sizes: Sequence[int]) -> bool:
    """Measure and print; whether what is wanted holds."""
    with _labs(max(sizes)) as labs:
        all_verbs = {size: _verbs(labs[:size]) for size in sorted(sizes)}
        *smaller, largest = all_verbs.values()
        for _ in range(rounds):
            for verbs in smaller:
                _connected(labs)
                verbs.roll_out()
                verbs.roll_back()
            # The looks of all sizes at one time, in turn, while all bots have their releases.
            _connected(labs)
            largest.roll_out()
            for verbs in all_verbs.values():
                verbs.look()
            largest.roll_back()
    one = all_verbs.get(1)
    musts = [
        Must(f"a second run on {size} VMs takes that on one", verbs.second.wall, one.second.wall, MOST[size])
        for size, verbs in all_verbs.items()
        if one and size in MOST
    ]
    bots = ", ".join(f"{size * len(BOTS)} on {size}" for size in all_verbs)
    return show(f"Bots on VMs: {bots}", [took for verbs in all_verbs.values() for took in verbs.all], musts)


@contextmanager
def _labs(number: int) -> Iterator[list[Lab]]:
    """Labs with running bots."""
    labs = [Lab(f"bench_many_{each}") for each in range(1, number + 1)]
    with ExitStack() as stack, ThreadPoolExecutor(STARTING) as pool:
        for lab in labs:
            stack.callback(lab.down)
        list(pool.map(_up, labs))
        list(pool.map(lambda lab: lab.start_bots(), labs))
        yield labs


def _up(lab: Lab) -> None:
    try:
        lab.up(owned=True)
    except LabError:  # on a machine this full, one VM in many does not boot
        lab.up(owned=True)


def _connected(labs: Sequence[Lab]) -> None:
    for lab in labs:
        wait_for(lambda lab=lab: lab.webex.wait_connected(BOTS, timeout=5), "the bots' connections", timeout=300)


def _verbs(labs: Sequence[Lab]) -> Verbs:
    inventory = labs[0].directory / f"many_{len(labs)}.yml"
    inventory.write_text(yaml.safe_dump(_inventory(labs)))
    size = f"{len(labs) * len(BOTS)} on {len(labs)}: "
    return Verbs(str(inventory), Meter(labs, labs[0].directory / "calls"), size)


def _inventory(labs: Sequence[Lab]) -> dict[str, Any]:
    """One inventory for several labs: the first VM's first bot is the canary, for all."""
    hosts = {f"{bot}_{number}": _bot(lab, bot) for number, lab in enumerate(labs, 1) for bot in BOTS}
    canary, *fleet = hosts
    children = {"canary": {"hosts": {canary: hosts[canary]}}, "fleet": {"hosts": {bot: hosts[bot] for bot in fleet}}}
    return {"bots": {"children": children}}


def _bot(lab: Lab, bot: str) -> dict[str, Any]:
    variables = yaml.safe_load((Path(lab.inventory) / "group_vars/bots.yml").read_text())
    return {**variables, "bot_script": f"webex_bots/{bot}.py", "bot_log": f"logs/{bot}.log"}
