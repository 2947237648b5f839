"""The unit's confinement: how exposed systemd finds it, and that the bots work in full."""

from __future__ import annotations

import re

from tests.integration.test_rollout import QUICK
from tests.lab.lab import Lab
from tests.lab.paths import BOTS
from tests.lab.playbooks import run_playbook
from tests.lab.run import wait_for
from tests.lab.webex.driver import Pattern

STRICT_AT_MOST = 3.0


def exposure(lab: Lab) -> float:
    """`systemd-analyze security`'s figure for jarvis's unit: 0 is best, 10 worst."""
    said = lab.machine.execute(["systemd-analyze", "security", "--no-pager", "webex-bot@jarvis.service"], check=False)
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", said.stdout)
    assert found, said.stdout[-500:] + said.stderr
    return float(found[1])


def test_strict_is_confined_and_all_six_bots_work(lab: Lab) -> None:
    lab.network.forget_idle_after(3600)
    lab.webex.start(Pattern(burst=2, gap=4.0))
    run = run_playbook(lab, extra={**QUICK, "bot_hardening": "strict"})
    assert run.rc == 0, run.output
    assert exposure(lab) <= STRICT_AT_MOST
    lab.webex.stop()
    lab.webex.wait_settled(timeout=60, lost_after=20)
    lab.webex.reset()
    lab.webex.start(Pattern(burst=5, gap=4.0, bursts=3))
    wait_for(lambda: not lab.webex.books().driving, "the end of the bursts", timeout=60, pause=0.5)
    lab.webex.wait_settled(timeout=90, lost_after=40)
    books = lab.webex.books(lost_after=40).bots
    assert {bot: (page.total.answered, page.total.answered_twice) for bot, page in books.items()} == dict.fromkeys(
        BOTS, (15, 0)
    )
