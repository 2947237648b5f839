# SPDX-License-Identifier: GPL-3.0-or-later
"""Events are reported once each: to the journal at once, and to the configured webhooks when these can be reached.

Interface, as the watch uses it::

    tell(vm, Event("roll_back", "jarvis", "jarvis was rolled back to release 0: …", {"release": "0"}, key="attempt 7"))
    delivered = deliver(vm)      # at the end of each look; takes `SECONDS` at most, tries nothing before its time
    delivered.problems           # for standard error and the exit status
    notes(vm)                    # for `status`: what was given up, a line a webhook
    counts(vm)                   # for metrics: failures so far, messages that wait

`tell` may be called at every look: kind, bot and key together are the event, and one that was told is not told again.
So a key names the occasion (an attempt, the begin of an outage, a hash of the edited files), never the moment.

Webhooks are in ``/etc/webex-bots/notify.json``, root's own, 0600: ``[{"form": "webex", "url": "https://…"}]``, each
with ``events`` (kinds; all without) and ``proxy`` (a URL; none without) if wanted. A webhook's URL is a secret, and so
is a proxy's: messages name a webhook by its number and host. What is sent goes through a child that has become
`SENDER`, so that root speaks to no network, and time and memory are bounded.
"""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from . import journal
from .become import account_of, as_account
from .clock import Deadline
from .disk import flock, make_directory, sha256, unseal
from .errors import BusyError, DamagedError, RolloutError
from .journal import plain
from .paths import NOTIFY_FILE
from .store import Vm
from .system import utc
from .webhooks import Answer, Webhook, post, read_webhooks, rendered

SENDER = "nobody"
SECONDS = 30.0
EACH = 10.0
MESSAGES_AT_MOST = 100
TOLD_AT_MOST = 1000
# After so many failures in a row a webhook's messages are given up: about three and a half hours.
TRIES_AT_MOST = 12
RETRY, RETRY_AT_MOST = 30.0, 1800.0
# Kind of event, priority in the journal, and how it is called in a message.
KINDS: Mapping[str, tuple[int, str]] = {
    "verdict": (journal.NOTICE, "verdict"),
    "roll_back": (journal.ERROR, "rolled back"),
    "drift": (journal.WARNING, "drift"),
    "bot_down": (journal.ERROR, "down"),
    "stalled": (journal.ERROR, "stalled"),
    "idle": (journal.NOTICE, "nothing done"),
    "check_failed": (journal.WARNING, "check failed"),
    "outage_begun": (journal.WARNING, "Webex cannot be reached"),
    "outage_ended": (journal.NOTICE, "Webex can be reached again"),
}


@dataclass(frozen=True)
class Event:
    """Something that is reported once."""

    kind: str
    """One of `KINDS`."""
    bot: str
    """The bot's name; empty for an event of the whole VM."""
    text: str
    """One sentence for people. May hold what came from the VM's side: it is made harmless before it is sent."""
    details: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    """Names (lower case, ``_``) and numbers; ``release`` goes into the journal as ``WEBEX_RELEASE``."""
    key: str = ""
    """What makes it, with kind and bot, the same event."""

    @property
    def id(self) -> str:
        """Of the event, wherever it is told."""
        return sha256("\0".join((self.kind, self.bot, self.key)).encode("utf-8", "replace"))[:32]


@dataclass(frozen=True)
class Delivered:
    """What one call of `deliver` did: numbers of messages, and what is wrong, a line each."""

    sent: int = 0
    waiting: int = 0
    given_up: int = 0
    problems: tuple[str, ...] = ()


def tell(vm: Vm, event: Event, socket_path: str = journal.SOCKET) -> bool:
    """Report an event, unless it was told before; whether it was new.

    It is on disk, and then in the journal, when this returns. Where it cannot be written down (a full disk), it goes
    into the journal alone, and again at the next look.

    :raises ValueError: for a kind that is none.
    """
    if event.kind not in KINDS:
        raise ValueError(f"{event.kind!r} is no kind of event (there are: {', '.join(KINDS)})")
    details = dict(_detail(name, value) for name, value in list(event.details.items())[:12])
    message = {
        "id": event.id,
        "kind": event.kind,
        "title": KINDS[event.kind][1],
        "bot": plain(event.bot, 100),
        "vm": plain(socket.gethostname(), 100),
        "time": utc(time.time()),
        "text": plain(event.text),
        "details": details,
    }
    text = plain(event.text)
    try:
        with _outbox(vm) as kept:
            if event.id in kept["told"]:
                return False
            kept["told"] = [*kept["told"], event.id][-TOLD_AT_MOST:]
            messages = [*kept["messages"], {"message": message, "done": []}]
            kept["dropped"] += max(0, len(messages) - MESSAGES_AT_MOST)
            kept["messages"] = messages[-MESSAGES_AT_MOST:]
    except (RolloutError, OSError) as error:
        text = f"{text} (no webhook gets this: {plain(str(error))})"
    fields = {"WEBEX_" + name.upper(): value for name, value in details.items()}
    fields["WEBEX_BOT"] = plain(event.bot, 100)
    journal.write(text, fields, priority=KINDS[event.kind][0], kind=event.kind, path=socket_path)
    return True


def _detail(name: str, value: object) -> tuple[str, str | int | float | bool]:
    """A detail that JSON, journal and chat can have: a bounded name, a bounded number or a harmless line."""
    name = "".join(each if each.isascii() and each.isalnum() else "_" for each in name.lower())[:50].lstrip("_")
    if isinstance(value, bool) or (isinstance(value, (int, float)) and abs(value) < 2**53):
        return name or "detail", value
    return name or "detail", plain(str(value) if not isinstance(value, int) else "more than 2^53", 200)


def deliver(vm: Vm, path: str = NOTIFY_FILE, seconds: float = SECONDS) -> Delivered:
    """Send what waits to each webhook whose time has come, oldest first; a failure ends a webhook's turn.

    Never raises: the watch goes on whatever a webhook does or its configuration is, and the problem is shown. A second
    delivery at the same time does nothing. One that is killed may send one message again.
    """
    until = time.monotonic() + seconds
    try:
        webhooks = read_webhooks(path, tuple(KINDS))
        if not _path(vm).exists():
            return Delivered()
        with flock(_path(vm).parent / "delivery", "another delivery", 0):
            results = [_serve(vm, webhook, until) for webhook in webhooks]
            waiting = _tidy(vm, webhooks)
    except BusyError:
        return Delivered(waiting=counts(vm)["waiting"])
    except (RolloutError, OSError) as error:
        return Delivered(waiting=counts(vm)["waiting"], problems=(plain(str(error)),))
    sent, given_up = (sum(each) for each in zip(*results)) if results else (0, 0)
    return Delivered(sent, waiting, given_up, tuple(notes(vm)))


def _waits(entry: Mapping[str, Any], webhook: Webhook) -> bool:
    """Whether a webhook is to get a message, and has not."""
    wanted = not webhook.events or entry["message"]["kind"] in webhook.events
    return wanted and webhook.id not in entry["done"]


def _tidy(vm: Vm, webhooks: Sequence[Webhook]) -> int:
    """Forget messages that nobody waits for, and webhooks that are configured no more; how many messages are left."""
    with _outbox(vm) as kept:
        kept["messages"] = [entry for entry in kept["messages"] if any(_waits(entry, each) for each in webhooks)]
        known = {webhook.id for webhook in webhooks}
        kept["webhooks"] = {key: state for key, state in kept["webhooks"].items() if key in known}
        return len(kept["messages"])


def _serve(vm: Vm, webhook: Webhook, until: float) -> tuple[int, int]:
    """Send one webhook what waits for it; how many messages were sent, and how many given up."""
    sent = given_up = 0
    while True:
        kept = _kept(vm)
        entry = next((each for each in kept["messages"] if _waits(each, webhook)), None)
        retry = Deadline.load(kept["webhooks"].get(webhook.id, {}).get("retry"))
        left = until - time.monotonic()
        if entry is None or left < 0.5 or (retry is not None and not retry.past()):
            return sent, given_up
        answer = _sent(webhook, entry["message"], min(EACH, left))
        with _outbox(vm) as kept:  # nobody is kept waiting for a webhook: events may have been told meanwhile
            given_up += _noted(kept, webhook, entry["message"], answer)
        sent += answer.taken


def _noted(kept: dict[str, Any], webhook: Webhook, message: Mapping[str, Any], answer: Answer) -> int:
    """Write an answer down; how many messages are given up for it."""
    state = kept["webhooks"].setdefault(webhook.id, {"failures": 0, "retry": None, "note": ""})
    mine = [entry for entry in kept["messages"] if _waits(entry, webhook)]
    over = [entry for entry in mine if entry["message"]["id"] == message["id"]]
    given_up = 0
    if answer.taken:
        state.update(failures=0, retry=None, note="")
    else:
        kept["failed"] += 1
    if answer.message_refused:  # another message may be taken
        state["note"] = f"{webhook.shown} {answer.problem}; one message ({message['title']}) was given up"
        given_up = len(over)
    elif not answer.taken:
        state["failures"] = min(TRIES_AT_MOST, state["failures"] + 1)
        delay = max(min(RETRY * 2.0 ** (state["failures"] - 1), RETRY_AT_MOST), answer.wait)
        state["retry"] = asdict(Deadline.after(delay))
        over = mine if state["failures"] >= TRIES_AT_MOST else []
        given_up = len(over)
        if over:
            state["note"] = (
                f"{webhook.shown} {answer.problem}; {TRIES_AT_MOST} tries in a row failed, so what waited was given "
                f"up, and each further message is tried once. Check its URL in {NOTIFY_FILE}"
            )
    for entry in over:
        entry["done"].append(webhook.id)
    return given_up


def _sent(webhook: Webhook, message: Mapping[str, Any], seconds: float) -> Answer:
    """Send one message in a child without rights. An error's own text could hold the URL, so it is not shown."""
    body = rendered(webhook.form, message)
    try:
        got = as_account(account_of(SENDER), post, webhook.url, webhook.proxy, body, seconds, seconds=seconds + 1)
        return Answer(int(got[0]), float(got[1]), str(got[2]))
    except (RolloutError, OSError, ValueError, TypeError, IndexError):
        return Answer(0, 0.0, f"no answer within {seconds:.0f} s")


def notes(vm: Vm) -> list[str]:
    """What an operator should know of the webhooks, a line each; without a secret."""
    try:
        kept = _kept(vm)
    except (RolloutError, OSError) as error:
        return [plain(str(error))]
    lines = [state["note"] for state in kept["webhooks"].values() if state["note"]]
    if kept["dropped"] and kept["messages"]:  # over, once there is room
        lines.append(f"{kept['dropped']} messages were dropped, for more than {MESSAGES_AT_MOST} waited")
    return lines


def counts(vm: Vm) -> dict[str, int]:
    """Since the outbox was begun: ``failed`` tries and ``dropped`` messages; at this moment: messages ``waiting``."""
    try:
        kept = _kept(vm)
    except (RolloutError, OSError):
        kept = _empty()
    return {"failed": kept["failed"], "dropped": kept["dropped"], "waiting": len(kept["messages"])}


# -- the outbox ------------------------------------------------------------------------------------------------


def place(vm: Vm) -> Path:
    """Where what was told is kept; no bot's name begins with the character that this directory's does."""
    return vm.path / "_notify"


def _path(vm: Vm) -> Path:
    """The outbox."""
    return place(vm) / "outbox.json"


def _empty() -> dict[str, Any]:
    return {"told": [], "messages": [], "webhooks": {}, "failed": 0, "dropped": 0}


def _kept(vm: Vm) -> dict[str, Any]:
    """The outbox as it is; an empty one where there is none, or none that can be believed.

    :raises RolloutError: when a newer program wrote it.
    """
    with contextlib.suppress(FileNotFoundError, DamagedError):
        return {**_empty(), **unseal(_path(vm))}
    return _empty()


@contextlib.contextmanager
def _outbox(vm: Vm) -> Iterator[dict[str, Any]]:
    """The outbox, for one writer at a time; written when it was changed."""
    path = _path(vm)
    make_directory(path.parent)
    with flock(path.parent / "mutex", "another message", vm.timing.mutex):
        kept = _kept(vm)
        before = json.dumps(kept, sort_keys=True)
        yield kept
        if json.dumps(kept, sort_keys=True) != before:
            vm.write(path, kept)
