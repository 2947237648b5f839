"""`make outages`: what the VM makes of bad releases, dead bots, other hands and outages: python -m tests.chaos.outages.

One lab, several acts: canaries in trouble beside five bots as they were (`releases`, `quiet`); a bad and a good one
that nobody watches but the VM (`alone`); canaries that are struck (`struck`), or deployed over by other hands
(`hands`); no Webex as one is switched (`switch`), while all soak (`soak`), and long after (`outages`). Prints a row for
each: what happened, what was told, which release runs, seconds without a websocket. Ends with 1 if any row is not as it
must be.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from tests.chaos.alone import alone
from tests.chaos.canaries import QUIET_HARM, RELEASES, play
from tests.chaos.rows import HEADER, SOAK, Row, as_user, is_back, look, phase, rollout, with_canaries
from tests.chaos.scenario import pristine
from tests.integration.conftest import processes
from tests.lab.errors import LabError
from tests.lab.lab import Lab
from tests.lab.paths import BOTS, VM_CHECKOUT, VM_USER
from tests.lab.playbooks import run_playbook
from tests.lab.run import run, wait_for
from tests.lab.webex.faults import Fault

BACK_WITHIN = 60.0
ACTS = ("releases", "quiet", "alone", "switch", "struck", "hands", "soak", "outages")


# --- canaries, each struck in another way -------------------------------------------------------------------------


def _kill(number: int) -> Callable[[Lab, str], None]:
    def strike(lab: Lab, bot: str) -> None:
        unit = f"webex-bot@{bot}.service"
        lab.machine.execute(["systemctl", "kill", "--kill-whom=main", f"--signal={number}", unit])

    return strike


def _checkout(lab: Lab, bot: str) -> None:
    as_user(lab, f"git -C {VM_CHECKOUT} checkout -q webex_bots/{bot}.py")
    lab.machine.execute(["systemctl", "restart", f"webex-bot@{bot}.service"])


def _restart_script(tokens: bool) -> Callable[[Lab, str], None]:
    """The team's own way to deploy: the patch goes, the bot is ended, and started under nohup."""

    def strike(lab: Lab, bot: str) -> None:
        script = [f"cd {VM_CHECKOUT}", f"git restore webex_bots/{bot}.py", f"pkill -f 'python.*webex_bots/{bot}.py'"]
        environment = lab.bot_environment() if tokens else []
        lab.shell(VM_USER, "\n".join([*script, "sleep 2", *environment, lab.start_line(bot)]) + "\n")

    return strike


def _never_answered(lab: Lab, bot: str) -> None:
    """But for what a process asks as it starts: the old release, which nobody restarts, could not be there either."""
    lab.webex.add_fault(Fault(bot=bot, kind="hang", path="^/v1/messages"))


Strike = tuple[str, Callable[[Lab, str], None], str, tuple[str, ...], float]
STRIKES: tuple[Strike, ...] = (
    ("ends with 0 (SIGINT)", _kill(2), "new", (), 30),
    ("killed", _kill(9), "new", (), 30),
    ("stopped (SIGSTOP)", _kill(19), "new", ("stalled",), 90),
    ("no call is answered", _never_answered, "old", ("roll_back",), float("inf")),
)
"""What happens to each bot in turn, which release has to run then, what has to be told, seconds down at most."""
HANDS: tuple[Strike, ...] = (
    ("git checkout and restart", _checkout, "new", ("drift",), 30),
    ("restart script: restore, pkill, nohup", _restart_script(tokens=True), "new", ("drift",), 60),
    ("the same without tokens in its shell", _restart_script(tokens=False), "new", ("drift",), 60),
)
HANDS_SECONDS = 180.0


def struck(lab: Lab, strikes: Sequence[Strike], seconds: float) -> list[Row]:
    """Some canaries, all struck at once, and left alone for a while; one that is to be rolled back for as long again.

    The fewer bots are without the release, the longer it takes to tell its failures from everybody's.
    """
    bots = BOTS[: len(strikes)]
    with_canaries(lab, *bots)
    rollout(lab, *bots)
    since = lab.webex.books().now
    for bot, (_, strike, *_rest) in zip(bots, strikes, strict=True):
        strike(lab, bot)
    time.sleep(seconds)
    for bot, (_, _, wanted, *_rest) in zip(bots, strikes, strict=True):
        if wanted == "old":
            with suppress(LabError):
                wait_for(partial(is_back, lab, bot), "the rollback", timeout=seconds, pause=3)
    lab.webex.clear_faults()
    lab.webex.wait_connected(timeout=60)
    rows = []
    for bot, (what, _, wanted, needs, down) in zip(bots, strikes, strict=True):
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


def _outage_lasts(lab: Lab) -> bool:
    """Whether the VM takes Webex to be away still."""
    return (lab.machine.root / "var/lib/webex-rollout/_notify/outage.json").exists()


def outages(lab: Lab, lengths: Sequence[float], ways: Sequence[str] = tuple(OUTAGES), when: str = "") -> list[Row]:
    """Webex is away for all bots that are there, in each way, for each length; then each must be back in a minute."""
    rows = []
    for seconds in lengths:
        for way in ways:
            begin, end = OUTAGES[way]
            lab.webex.wait_connected(timeout=120)
            before = {bot: phase(lab, bot) for bot in BOTS}
            since = lab.webex.books().now
            begin(lab)
            time.sleep(seconds)
            end(lab)
            back = lab.webex.wait_connected(timeout=BACK_WITHIN)
            time.sleep(0 if back else 60)
            # Until the VM knows, another outage would be the same one.
            with suppress(LabError):
                wait_for(lambda: not _outage_lasts(lab), "the outage's end", timeout=900, pause=3)
            for bot in BOTS:
                wanted = "new" if before[bot] == "confirmed" else "old"
                # Two of three looks have to agree, every 30 s in a soak and every five minutes long after: what is
                # over before that nobody need be told of.
                needs = ("outage_begun", "outage_ended") if seconds >= (120 if when else 600) else ()
                what = f"no Webex for {seconds:.0f} s by {way}{when}"
                row = Row(what, bot, wanted, needs=needs, never=("roll_back",), most_down=seconds + BACK_WITHIN)
                rows.append(look(lab, row, since))
                print(rows[-1].shown(), flush=True)
    return rows


def in_a_switch(lab: Lab, seconds: float, ways: Sequence[str] = tuple(OUTAGES)) -> list[Row]:
    """Webex is away from right before the switch of a canary on, in each way; the same command rolls it out then."""
    return [row for bot, way in zip(BOTS, ways) for row in _in_a_switch(lab, bot, seconds, way)]


def _in_a_switch(lab: Lab, bot: str, seconds: float, way: str) -> list[Row]:
    # Of those without the release nobody starts what an outage has ended.
    lab.start_bots(tuple(each for each, running in processes(lab).items() if not running))
    with_canaries(lab, bot)
    since = lab.webex.books().now
    begin, end = OUTAGES[way]
    mending = threading.Timer(seconds, end, (lab,))
    begun = threading.Event()

    def on_event(event: dict[str, Any]) -> bool:
        here = event["event"] == "runner_on_ok" and event["event_data"]["task"].endswith("Remember where the log ends")
        if here and not begun.is_set():
            begun.set()
            begin(lab)
            mending.start()
        return True

    done = run_playbook(lab, limit=bot, extra=SOAK, on_event=on_event)
    mending.join()
    lab.webex.wait_connected((bot,), timeout=BACK_WITHIN)
    what = f"no Webex for {seconds:.0f} s by {way} from the switch on"
    first = look(lab, Row(what, bot, "new", never=("roll_back",), most_down=seconds + BACK_WITHIN), since)
    first.found = [] if done.rc == 0 else [f"the run ended with {done.rc}: {'; '.join(done.failures())}"]
    print(first.shown(), flush=True)
    since = lab.webex.books().now
    rollout(lab, bot)
    second = look(lab, Row("the same command again", bot, "new", never=("roll_back",), most_down=BACK_WITHIN), since)
    print(second.shown(), flush=True)
    return [first, second]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.outages", description=__doc__)
    parser.add_argument("--acts", default=",".join(ACTS), help="which, by comma")
    parser.add_argument("--lengths", default="30,300", help="seconds of the outages, by comma")
    parser.add_argument("--ways", default=",".join(OUTAGES), help="how Webex is away, by comma")
    parser.add_argument("--left-alone", type=float, default=900, help="seconds that the struck bots are left alone")
    parser.add_argument("--in-a-switch", type=float, default=90, help="seconds of the outage in a switch")
    options = parser.parse_args()
    acts, ways = options.acts.split(","), options.ways.split(",")
    if unknown := {*acts} - {*ACTS} | {*ways} - {*OUTAGES}:
        parser.error(f"there are no acts or ways of the name {', '.join(sorted(unknown))}")
    print(HEADER, flush=True)
    rows: list[Row] = []
    with pristine("outages") as lab:
        if "releases" in acts:
            rows += play(lab, RELEASES)
        if "quiet" in acts:
            rows += play(lab, QUIET_HARM)
        if "alone" in acts:
            rows += alone(lab)
            run_playbook(lab, "playbooks/rollback.yml", extra={"rollout_to": "0"})
        if "switch" in acts:
            rows += in_a_switch(lab, options.in_a_switch, ways)
        if "struck" in acts:
            rows += struck(lab, STRIKES, options.left_alone)
        if "hands" in acts:
            rows += struck(lab, HANDS, HANDS_SECONDS)
        if "soak" in acts:
            with_canaries(lab, *BOTS)
            rollout(lab)  # heals what the strikes have left
            rows += outages(lab, [120], ways[:1], " in a soak")
        if "outages" in acts:
            rollout(lab, rollout_verdict="promote")
            rows += outages(lab, [float(each) for each in options.lengths.split(",")], ways)
    bad = sum(bool(row.problems) for row in rows)
    print(f"\n{len(rows)} rows, {bad} of them not as they must be")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
