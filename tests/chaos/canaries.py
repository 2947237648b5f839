"""Canaries in trouble, beside five bots as they were: releases that fail, chat that forges, threads that dead-lock."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from tests.chaos.rows import Row, as_user, is_back, look, phase, rollout, told, with_canaries
from tests.lab.errors import LabError
from tests.lab.lab import Lab
from tests.lab.paths import BOTS, VM_CHECKOUT, VM_USER
from tests.lab.playbooks import run_playbook
from tests.lab.run import wait_for
from tests.lab.webex.faults import Fault

TOKEN = secrets.token_urlsafe(48)


def _nothing(lab: Lab, bot: str) -> None:
    """Nothing has to be done."""


def _script(bot: str) -> str:
    return f"{VM_CHECKOUT}/webex_bots/{bot}.py"


def raises(lab: Lab, bot: str) -> None:
    """Each command of the release raises TypeError."""
    as_user(
        lab, f"sed -i 's/def execute(self, message, attachment_actions, activity)/def execute(self)/' {_script(bot)}"
    )


def _on_message(lab: Lab, bot: str, before: str) -> None:
    """Have a bot's every message pass an expression first."""
    line = f"    bot.on_message = lambda real=bot.on_message, **given: ({before}, real(**given))"
    as_user(lab, f"sed -i 's|^    bot[.]run()$|{line}\\n    bot.run()|' {_script(bot)}; grep -q given {_script(bot)}")


def can_lock(lab: Lab, bot: str) -> None:
    """From `lock` on, each message that the bot has fetched keeps a thread of its pool for ever."""
    waits = '__import__("threading").Event().wait()'
    _on_message(lab, bot, f'__import__("os").path.exists("/tmp/locked-{bot}") and {waits}')


def lock(lab: Lab, bot: str) -> None:
    """Dead-lock a bot's threads: it stays up and connected, its websocket is pinged, nothing is in flight."""
    lab.machine.execute(["touch", f"/tmp/locked-{bot}"])


def leaks(lab: Lab, bot: str) -> None:
    """Each message leaves twenty connections open for good."""
    connect = '__import__("socket").create_connection(("webexapis.com", 443))'
    _on_message(lab, bot, f'globals().setdefault("leaked", []).extend({connect} for _ in range(20))')


def refuses(lab: Lab, bot: str) -> None:
    """Whatever the release asks about a message is answered with 502; what a process asks as it starts is not, or the
    old release could not be there either."""
    lab.webex.add_fault(Fault(bot=bot, kind="status", status=502, path="^/v1/messages|^/conversation"))


FORGED = (
    "2026-11-27 12:00:00,000 - bot.py:1 - ERROR - HTTPSConnectionPool(host='webexapis.com', port=443): Read timed out. "
    "(read timeout=60)",
    "Error processing message: HTTPSConnectionPool(host='webexapis.com', port=443): Max retries exceeded with url: /v1",
    "webex-pool ready pid=1 session=api pool_connections=50 timeout=120 log_level=²",
    "webex-pool stats pid=1 requests=100000 retried=0 failed=0 recycled=0 open=1 new=1",
    "webex-pool stats pid=1 requests=99999999999999999999 retried=9 failed=99999 recycled=0 open=1 new=1",
    "Traceback (most recent call last):\n  File \"bot.py\", line 1, in <module>\nTypeError: forged",
    "2026-11-27 12:00:00,000 - bot.py:1 - CRITICAL - ValueError: forged",
    '{"level": "ERROR", "message": "forged", "exc_info": "ValueError: forged"}',
)  # fmt: skip
"""A line of each kind that the log is read for."""


def forges(lab: Lab, bot: str) -> None:
    """People write to the canary what logs are read for, each line thirteen times."""
    for _ in range(13):
        for line in FORGED:
            lab.webex.say(bot, line)
        time.sleep(1)  # failures within five seconds are one; so they are many


@dataclass(frozen=True)
class Case:
    """A canary, what is wrong with its release before it is rolled out, and what befalls it afterwards."""

    what: str
    before: Callable[[Lab, str], None] = _nothing
    after: Callable[[Lab, str], None] = _nothing
    wanted: str = "old"
    needs: tuple[str, ...] = ("roll_back",)
    never: tuple[str, ...] = ()
    settings: tuple[tuple[str, object], ...] = ()
    seconds: float = 400
    """For which it is waited for the rollback, or for something wrong."""


RELEASES = (
    Case("TypeError on each message", before=raises),
    Case("502 for each call about a message", after=refuses),
    Case("connections are leaked", before=leaks, settings=(("webex_open_files", 160),), seconds=900),
)
QUIET_HARM = (
    Case("chat that forges each kind of line", after=forges, wanted="new", needs=(), never=("roll_back",), seconds=120),
    Case("dead-locked threads, with a probe", before=can_lock, after=lock, settings=(("rollout_probe_token", TOKEN),)),
)


def play(lab: Lab, cases: tuple[Case, ...]) -> list[Row]:
    """Each on another canary, for a bot's log keeps what went wrong before."""
    rows = []
    lab.webex.sign_in(TOKEN)
    for case, bot in zip(cases, BOTS):
        rows.append(_played(lab, case, bot))
        print(rows[-1].shown(), flush=True)
        clean_up(lab, bot)
    return rows


def clean_up(lab: Lab, bot: str) -> None:
    """Have a bot as it was before there was a fault in it: with one it would be no control of the next one's."""
    if phase(lab, bot) == "confirmed":
        run_playbook(lab, "playbooks/rollback.yml", limit=bot, extra={"rollout_to": "0"})
    as_user(lab, f"git -C {VM_CHECKOUT} checkout -q webex_bots/{bot}.py")
    # A login keeps its limits, and root may not raise them where the sandbox takes CAP_SYS_RESOURCE from it.
    lab.machine.execute(["sh", "-c", f"kill $(pgrep -f '^sshd: {VM_USER}')"], check=False)
    run_playbook(lab, "playbooks/restart.yml", limit=bot)
    lab.webex.wait_connected((bot,), timeout=60)


def _played(lab: Lab, case: Case, bot: str) -> Row:
    with_canaries(lab, bot)
    case.before(lab, bot)
    settings = dict(case.settings)
    if "rollout_probe_token" in settings:
        settings["bot_probe"] = {"to": "{{ inventory_hostname }}@webex.bot", "seconds": 5, "every": 30}
    rollout(lab, bot, **settings)
    since = lab.webex.books().now
    case.after(lab, bot)
    with suppress(LabError):
        wait_for(partial(is_back, lab, bot), "the rollback", timeout=case.seconds, pause=3)
    lab.webex.clear_faults()
    lab.webex.wait_connected((bot,), timeout=60)
    row = look(lab, Row(case.what, bot, case.wanted, needs=case.needs, never=case.never), since)
    if any("promote" in event for who, event in told(lab, since) if who == bot and event.startswith("verdict")):
        row.never = (*row.never, "verdict")  # a promotion, while the soak has hours to go
    return row
