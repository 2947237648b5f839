"""What the employees write to each bot, and how to tell the answer.

`{n}` in any of its texts is a running number. `expect` is text that the right answer contains, and nothing else the bot
posts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Ask:
    """One thing to ask of a bot: a message, or with `inputs` a click on a card that the bot is given as posted."""

    text: str
    expect: str
    inputs: dict[str, Any] = field(default_factory=dict)
    direct_only: bool = False


ASKS: dict[str, tuple[Ask, ...]] = {
    "jarvis": (
        Ask("status", "Status for"),
        Ask("hello", "at your service"),
        Ask("hunt 203.0.113.{n}", "Hunt result for"),
        Ask("members", "Members of this space"),
        Ask("case 71210", "Case 71210:"),
    ),
    "tars": (
        Ask("oncall", "On call:"),
        Ask("handover", "Handover for"),
        Ask("ping", "pong"),
        Ask("announce shift {n} begins", "Announced in the war room"),
    ),
    "toodles": (
        Ask("tickets", "Open tickets"),
        Ask("todo", "To-do list of"),
        Ask("todo call back case {n}", "Added to-do"),
        # Text of the card's field: its heading is in the answer to the click, too.
        Ask("approve", "Why is this needed?"),
        # Its answer comes outside of any thread, so the number tells whose it is.
        Ask("", "recorded: lab run {n}.", inputs={"callback_keyword": "approve_submit", "reason": "lab run {n}."}),
    ),
    "barnacles": (
        Ask("outreach", "Outreach, as seen from"),
        Ask("me", "noted for the security team", direct_only=True),
        Ask("nope", "noted for the security team", direct_only=True),
        Ask("ask ada.abbott0@example.com 712{n}", "Question about case"),
    ),
    "money_ball": (
        Ask("metrics", "Metrics of the month"),
        Ask("workload", "**Workload**"),
        Ask("chatter", "**Chatter**"),
    ),
    "msoar": (
        Ask("playbooks", "**Playbooks**"),
        Ask("run phish-triage mail-{n}", "Triage a reported mail"),
        Ask("run isolate-host lt-{n}", "waits for approval"),
    ),
}

FALLBACK = (Ask("help", "This bot requires a client which can render cards"),)
"""For bots other than the six: webex_bot's own help card."""
