"""Nobody is connected from a canary's confirmation on: the VM judges and acts by itself, and the next run goes on."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

from tests.chaos.canaries import clean_up, raises
from tests.chaos.faults import kill_controller
from tests.chaos.rows import SOAK, Row, is_back, look, with_canaries
from tests.lab.lab import Lab
from tests.lab.paths import BOTS
from tests.lab.playbooks import run_playbook
from tests.lab.run import wait_for

# The run would have waited for the verdict, had it lived.
WAITS = {**SOAK, "rollout_soak_min": 60, "rollout_wait": 900}


def soak_of(lab: Lab, bot: str) -> dict[str, Any]:
    text = lab.machine.execute(["cat", f"/var/lib/webex-rollout/{bot}/soak.json"], check=False).stdout
    return dict(json.loads(text)["content"]) if text else {}


def alone(lab: Lab) -> list[Row]:
    """A bad canary, a good one, and the run that finds it promoted."""
    bad, good = BOTS[:2]
    with_canaries(lab, bad)
    raises(lab, bad)
    rows = [_left(lab, "TypeError on each message", bad, "old", ("roll_back",), partial(is_back, lab, bad))]
    clean_up(lab, bad)

    with_canaries(lab, good)
    promoted = lambda: soak_of(lab, good).get("verdict") == "promote"  # noqa: E731
    rows.append(_left(lab, "a good one", good, "new", ("verdict",), promoted))
    since = lab.webex.books().now
    run = run_playbook(lab, extra=WAITS)
    for bot in BOTS:
        what = f"the next run (it ended with {run.rc})"
        rows.append(look(lab, Row(what, bot, "new", never=("roll_back",), most_down=60), since))
        rows[-1].found = [] if run.rc == 0 else [f"the run ended with {run.rc}"]
        print(rows[-1].shown(), flush=True)
    return rows


def _left(lab: Lab, what: str, bot: str, wanted: str, needs: tuple[str, ...], ended: Callable[[], bool]) -> Row:
    """Roll a canary out, end the controller, and wait for the VM; counts the looks that it took."""
    since = lab.webex.books().now
    looks: dict[float, str] = {}
    gone = False

    def on_event(event: dict[str, Any]) -> bool:
        nonlocal gone
        if event["event"] == "runner_on_ok" and event["event_data"]["task"].endswith(
            "Check the bot's start and confirm its release"
        ):
            gone = True
            kill_controller(lab)
        return True

    def over() -> bool:
        soak = soak_of(lab, bot)
        if soak:
            looks[soak["clock"]["since_boot"]] = soak["verdict"]
        return ended()

    run_playbook(lab, limit=bot, extra=WAITS, on_event=on_event)
    wait_for(over, f"{wanted} release of {bot}, without anybody", timeout=600, pause=2)
    lab.webex.wait_connected((bot,), timeout=60)
    said = f"nobody is connected: {what} ({len(looks)} looks)"
    row = look(lab, Row(said, bot, wanted, needs=needs, most_down=60), since)
    row.found = [] if gone else ["the run was not killed"]
    print(row.shown(), flush=True)
    return row
