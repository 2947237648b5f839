"""`make outages`: what the VM makes of bad releases, dead bots, other hands and outages: python -m tests.chaos.outages.

One lab, three acts: a canary that fails beside five bots that do not; six canaries, each struck in another way; then no
Webex for all six. Prints a row for each: what happened, what was told, which release runs, seconds without a websocket.
Ends with 1 if any row is not as it must be.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import yaml

from tests.chaos.scenario import pristine
from tests.integration.conftest import processes
from tests.integration.test_rollout import QUICK
from tests.lab.errors import LabError
from tests.lab.lab import Lab
from tests.lab.paths import BOTS, VM_CHECKOUT, VM_USER
from tests.lab.playbooks import run_playbook
from tests.lab.run import run, wait_for
from tests.lab.webex.faults import Fault

# Long soaks: whatever is to happen does so meanwhile.
SOAK = {**QUICK, "rollout_soak_min": 3600, "rollout_soak_max": 7200, "rollout_wait": 0}
BACK_WITHIN = 60.0


@dataclass
class Row:
    """What became of one bot."""

    what: str
    bot: str
    wanted: str
    """`old`, `new`, or `there`: which release has to run, `there` for either."""
    told: list[str] = field(default_factory=list)
    release: str = ""
    copies: int = 0
    down: float = 0.0
    most_down: float = float("inf")
    needs: Sequence[str] = ()
    """Events that have to be told."""
    never: Sequence[str] = ()

    @property
    def problems(self) -> list[str]:
        kinds = [event.partition(":")[0] for event in self.told]
        found = [f"{kind} was not told" for kind in self.needs if kind not in kinds]
        found += [f"{kind} was told" for kind in self.never if kind in kinds]
        if self.copies != 1:
            found.append(f"{self.copies} copies run")
        if self.wanted not in ("there", self.release):
            found.append(f"the {self.release} release runs")
        if self.down > self.most_down:
            found.append(f"down for longer than {self.most_down:.0f} s")
        return found

    def shown(self) -> str:
        told = "; ".join(dict.fromkeys(self.told)) or "nothing"
        verdict = "good" if not self.problems else "BAD: " + ", ".join(self.problems)
        return f"{self.what} | {self.bot} | {told} | {self.release} | {self.copies} | {self.down:.1f} | {verdict}"


def told(lab: Lab, since: float) -> list[tuple[str, str]]:
    """Events of the VM's journal since a moment (epoch): the bot, and kind with text."""
    lines = lab.machine.execute(
        ["journalctl", "-t", "webex-rollout", "-o", "json", "--since", f"@{since:.0f}"], check=False
    ).stdout.splitlines()
    found = []
    for line in lines:
        with suppress(ValueError):
            event = json.loads(line)
            if event.get("WEBEX_EVENT"):
                text = str(event.get("MESSAGE"))[:160]
                found.append((str(event.get("WEBEX_BOT", "")), f"{event['WEBEX_EVENT']}: {text}"))
    return found


def phase(lab: Lab, bot: str) -> str:
    """Where a bot's rollout stands."""
    text = lab.machine.execute(["cat", f"/var/lib/webex-rollout/{bot}/state.json"], check=False).stdout
    return str(json.loads(text)["content"]["phase"]) if text else "none"


def look(lab: Lab, row: Row, since: float) -> Row:
    """Fill in what became of a bot."""
    page = lab.webex.books()
    row.told = [event for bot, event in told(lab, since) if bot in (row.bot, "")]
    row.release = "new" if phase(lab, row.bot) == "confirmed" else "old"
    row.copies = len(processes(lab)[row.bot])
    row.down = page.bots[row.bot].down_time(since, page.now)
    return row


def rollout(lab: Lab, *bots: str, **more: Any) -> None:
    """Have these bots soak."""
    done = run_playbook(lab, limit=",".join(bots) if bots else None, extra={**SOAK, **more})
    if done.rc != 0:
        raise LabError(f"the rollout ended with {done.rc}: {done.output[-3000:]}")


def as_user(lab: Lab, script: str) -> None:
    lab.machine.execute(["runuser", "-u", VM_USER, "--", "sh", "-c", script])


# --- a canary that fails ----------------------------------------------------------------------------------------------


def raises(lab: Lab, bot: str) -> None:
    """Each command of the release raises TypeError."""
    script = f"{VM_CHECKOUT}/webex_bots/{bot}.py"
    as_user(lab, f"sed -i 's/def execute(self, message, attachment_actions, activity)/def execute(self)/' {script}")


def refuses(lab: Lab, bot: str) -> None:
    """Whatever the release asks for is answered with 502."""
    lab.webex.add_fault(Fault(bot=bot, kind="status", status=502))


def bad_releases(lab: Lab) -> list[Row]:
    """A canary beside five bots as they were; each time another one, for a bot's log keeps what went wrong before."""
    rows = []
    for what, bot, before, after in (
        ("TypeError on each message", BOTS[0], raises, None),
        ("502 for each call", BOTS[1], None, refuses),
    ):
        with_canaries(lab, bot)
        if before:
            before(lab, bot)
        rollout(lab, bot)
        since = lab.webex.books().now
        if after:
            after(lab, bot)
        with suppress(LabError):
            wait_for(partial(is_back, lab, bot), "the rollback", timeout=400, pause=3)
        lab.webex.clear_faults()
        lab.webex.wait_connected((bot,), timeout=60)
        rows.append(look(lab, Row(what, bot, "old", needs=("roll_back",)), since))
        print(rows[-1].shown(), flush=True)
        if rows[-1].release == "new":
            run_playbook(lab, "playbooks/rollback.yml", limit=bot, extra={"rollout_to": "0"})
        as_user(lab, f"git -C {VM_CHECKOUT} checkout -q webex_bots/{bot}.py")
    return rows


def is_back(lab: Lab, bot: str) -> bool:
    """Whether the VM has rolled a bot back."""
    return phase(lab, bot) == "rolled_back"


def with_canaries(lab: Lab, *bots: str) -> None:
    """Have these be the canaries, and the others the fleet."""
    groups = {"canary": bots, "fleet": tuple(bot for bot in BOTS if bot not in bots)}
    children = {group: {"hosts": dict.fromkeys(members)} for group, members in groups.items()}
    (lab.directory / "inventory" / "hosts.yml").write_text(yaml.safe_dump({"bots": {"children": children}}))


# --- six canaries, each struck in another way -------------------------------------------------------------------------


def _kill(number: int) -> Callable[[Lab, str], None]:
    def strike(lab: Lab, bot: str) -> None:
        unit = f"webex-bot@{bot}.service"
        lab.machine.execute(["systemctl", "kill", "--kill-whom=main", f"--signal={number}", unit])

    return strike


def _checkout(lab: Lab, bot: str) -> None:
    as_user(lab, f"git -C {VM_CHECKOUT} checkout -q webex_bots/{bot}.py")
    lab.machine.execute(["systemctl", "restart", f"webex-bot@{bot}.service"])


def _restart_script(lab: Lab, bot: str) -> None:
    """The team's own way to deploy: the patch goes, the bot is ended, and started under nohup."""
    script = [f"cd {VM_CHECKOUT}", f"git restore webex_bots/{bot}.py", f"pkill -f 'python.*webex_bots/{bot}.py'"]
    start = f"nohup env PYTHONPATH={VM_CHECKOUT}/shared_libs .venv/bin/python webex_bots/{bot}.py > /dev/null 2>&1 &"
    lab.shell(VM_USER, "\n".join([*script, "sleep 2", *lab.bot_environment(), start]) + "\n")


def _never_answered(lab: Lab, bot: str) -> None:
    lab.webex.add_fault(Fault(bot=bot, kind="hang"))


STRIKES: tuple[tuple[str, Callable[[Lab, str], None], str, tuple[str, ...], float], ...] = (
    ("ends with 0 (SIGINT)", _kill(2), "new", (), 30),
    ("killed", _kill(9), "new", (), 30),
    ("stopped (SIGSTOP)", _kill(19), "new", ("stalled",), float("inf")),
    ("no call is answered", _never_answered, "old", ("roll_back",), float("inf")),
    ("git checkout and restart", _checkout, "new", ("drift",), 30),
    ("restart script: restore, pkill, nohup", _restart_script, "new", ("drift",), 60),
)
"""What happens to each bot in turn, which release has to run then, what has to be told, seconds down at most."""


def struck(lab: Lab, seconds: float) -> list[Row]:
    """Six canaries, all struck at once, and left alone for a while."""
    with_canaries(lab, *BOTS)
    rollout(lab)
    since = lab.webex.books().now
    for bot, (_, strike, *_rest) in zip(BOTS, STRIKES, strict=True):
        strike(lab, bot)
    time.sleep(seconds)
    lab.webex.clear_faults()
    lab.webex.wait_connected(timeout=60)
    rows = []
    for bot, (what, _, wanted, needs, down) in zip(BOTS, STRIKES, strict=True):
        never = () if wanted == "old" else ("roll_back",)
        rows.append(look(lab, Row(what, bot, wanted, needs=needs, never=never, most_down=down), since))
        print(rows[-1].shown(), flush=True)
    return rows


# --- no Webex ---------------------------------------------------------------------------------------------------------


def _reject(lab: Lab) -> None:
    rule = ["add", "rule", "ip", "filter", "cut", "tcp", "dport", "443", "reject", "with", "tcp", "reset"]
    run(["ip", "netns", "exec", lab.network.gateway, "nft", *rule])


def _no_dns(lab: Lab) -> None:
    lab.machine.execute(["sh", "-c", "cp /etc/hosts /etc/hosts.kept; sed -i '/webex/d;/wbx2/d' /etc/hosts"])
    _reject(lab)  # what is connected would go on otherwise, as if nothing were


def _dns(lab: Lab) -> None:
    lab.machine.execute(["sh", "-c", "mv /etc/hosts.kept /etc/hosts"])
    lab.network.mend()


OUTAGES: dict[str, tuple[Callable[[Lab], None], Callable[[Lab], None]]] = {
    "drop": (lambda lab: lab.network.cut(), lambda lab: lab.network.mend()),
    "reject": (_reject, lambda lab: lab.network.mend()),
    "DNS": (_no_dns, _dns),
}


def outages(lab: Lab, lengths: Sequence[float]) -> list[Row]:
    """Webex is away for all bots that are there, in each way, for each length; then each must be back in a minute."""
    rows = []
    for seconds in lengths:
        for way, (begin, end) in OUTAGES.items():
            lab.webex.wait_connected(timeout=120)
            before = {bot: phase(lab, bot) for bot in BOTS}
            since = lab.webex.books().now
            begin(lab)
            time.sleep(seconds)
            end(lab)
            back = lab.webex.wait_connected(timeout=BACK_WITHIN)
            time.sleep(0 if back else 60)
            for bot in BOTS:
                wanted = "new" if before[bot] == "confirmed" else "old"
                # A look every 30 s that needs two of three: what is shorter than that nobody need be told of.
                needs = ("outage_begun",) if seconds >= 120 else ()
                row = Row(f"no Webex for {seconds:.0f} s by {way}", bot, wanted, needs=needs, never=("roll_back",))
                row.most_down = seconds + BACK_WITHIN
                rows.append(look(lab, row, since))
                print(rows[-1].shown(), flush=True)
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.outages", description=__doc__)
    parser.add_argument("--acts", default="releases,struck,outages", help="which, by comma")
    parser.add_argument("--lengths", default="30,300", help="seconds of the outages, by comma")
    parser.add_argument("--left-alone", type=float, default=900, help="seconds that the struck bots are left alone")
    options = parser.parse_args()
    acts = options.acts.split(",")
    print("what happened | bot | told | release | copies | seconds down | as it must be", flush=True)
    rows: list[Row] = []
    with pristine("outages") as lab:
        if "releases" in acts:
            rows += bad_releases(lab)
        if "struck" in acts:
            rows += struck(lab, options.left_alone)
        if "outages" in acts:
            if "struck" in acts:
                rollout(lab)  # heals what the strikes have left
            else:
                rollout(lab, rollout_verdict="promote")
            rows += outages(lab, [float(each) for each in options.lengths.split(",")])
    bad = sum(bool(row.problems) for row in rows)
    print(f"\n{len(rows)} rows, {bad} of them not as they must be")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
