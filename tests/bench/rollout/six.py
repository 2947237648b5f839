"""Six bots on one VM, beside the root-cause report's manual procedure, in turn.

The manual procedure is the report's for each bot: two scp (pool module, script) and one ssh that ends the bot, starts
it under nohup and greps its log. It copies the script as it is, and the module beside the checkout, so that the rollout
after it finds what it always finds.
"""

from __future__ import annotations

import subprocess

from tests.bench.rollout.figures import Must, Took, show
from tests.bench.rollout.meter import Meter
from tests.bench.rollout.playing import Verbs
from tests.lab.lab import PORT, Lab, temporary
from tests.lab.paths import BOTS, PROJECT, VM_CHECKOUT, VM_HOME, VM_USER
from tests.lab.run import wait_for

FIRST, SECOND = 3.0, 1.0
"""What is wanted at most, as multiples of the manual procedure: a first rollout without its holds, a second run."""


def by_hand(lab: Lab) -> None:
    """The report's procedure for six bots that run under nohup."""
    copy, host = ["scp", "-P", str(PORT), *lab.ssh_options], f"{VM_USER}@{lab.address}"
    scripts = PROJECT / "tests/lab/checkout/webex_bots"
    for bot in BOTS:
        for source, target in (
            (PROJECT / "files/webex_pool_config.py", VM_HOME),
            (scripts / f"{bot}.py", f"{VM_CHECKOUT}/webex_bots"),
        ):
            subprocess.run([*copy, source, f"{host}:{target}/"], check=True)
        lines = [
            f"cd {VM_CHECKOUT}",
            f"pkill -f 'python.*[w]ebex_bots/{bot}.py'",
            *lab.bot_environment(),
            lab.start_line(bot),
            f"grep -c 'Read timed out' logs/{bot}.log || true",
        ]
        lab.shell(VM_USER, "\n".join(lines) + "\n")


def measure(rounds: int) -> bool:
    """Measure and print; whether what is wanted holds."""
    with temporary("bench_rollout") as lab:
        lab.start_bots()
        meter = Meter([lab], lab.directory / "calls")
        manual, verbs = Took("manual procedure"), Verbs(lab.inventory, meter)
        for _ in range(rounds):
            meter.measure(manual, lambda: by_hand(lab))
            wait_for(lambda: lab.webex.wait_connected(BOTS, timeout=5), "the bots' connections", timeout=120)
            verbs.roll_out()
            verbs.look()
            verbs.roll_back()
    musts = [
        Must("a first rollout without its holds takes the manual procedure", verbs.first.wall, manual.wall, FIRST),
        Must("a second run takes the manual procedure", verbs.second.wall, manual.wall, SECOND),
    ]
    return show(f"{len(BOTS)} bots on one VM", [manual, *verbs.all], musts)
