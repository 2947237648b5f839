"""Five days of the bots' logs as they were found: 1,338 lines with "Read timed out" in all, 686 of them in jarvis.log.

A failed call is one record of many lines, three of which carry the text (the message and two chained exceptions), or a
single line where the bot's code caught the exception itself. Failures come in groups: messages that arrive together
after a quiet time all meet forgotten connections, and time out together a minute later.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from tests.lab.paths import BOTS, CHECKOUT, VM_CHECKOUT
from tests.lab.webex.ids import to_rest_id, uuid_source

END = datetime(2025, 11, 21, 15, 34, 12, 408_000)
"""The last record: a broken connection in jarvis.log."""

LENGTH = timedelta(days=4, hours=20, minutes=28)
"""From the first time-out, which is also the first record of jarvis.log, to END."""

LAST_TIMEOUT_BEFORE_END = timedelta(minutes=9)
ROTATED_BYTES = 10 * 1024 * 1024
WORKING_HOURS = range(7, 20)

TIMED_OUT = "HTTPSConnectionPool(host='webexapis.com', port=443): Read timed out. (read timeout=60)"
BROKEN = "('Connection aborted.', RemoteDisconnected('Remote end closed connection without response'))"


@dataclass(frozen=True)
class Plan:
    """What a bot's log holds: failed calls with and without a traceback, broken connections, answered messages.

    `verbose` is False for a bot that logs from WARNING up.
    """

    traced: int
    bare: int
    broken: int
    messages: int
    verbose: bool = True

    @property
    def lines(self) -> int:
        """What `grep -c "Read timed out"` counts."""
        return 3 * self.traced + self.bare


PLANS = {
    "jarvis": Plan(traced=228, bare=2, broken=17, messages=900),
    "tars": Plan(traced=57, bare=1, broken=6, messages=310),
    "toodles": Plan(traced=47, bare=0, broken=5, messages=280),
    "barnacles": Plan(traced=43, bare=0, broken=4, messages=260, verbose=False),
    "money_ball": Plan(traced=39, bare=0, broken=2, messages=190),
    "msoar": Plan(traced=31, bare=0, broken=3, messages=150),
}

_BARE = {
    "jarvis": ("webex_bots/jarvis.py", "WARNING", "Could not fetch room title: "),
    "tars": ("src/components/war_room.py", "ERROR", "Announcement failed: "),
}
"""Where a bot's own code logs a failed call in one line."""

_SITE = f"{VM_CHECKOUT}/.venv/lib/python3.11/site-packages"
_LIB = "/usr/lib/python3.11"

Frame = tuple[str, int, str, str]


def write(logs: Path, bots: Sequence[str] = BOTS, end: datetime = END) -> None:
    """Write `<bot>.log` for each bot, and a rotated `jarvis.log.1` without time-outs, into the directory `logs`.

    The same arguments give the same bytes. `end` is in the VM's local time. Raises KeyError for a bot without a plan.
    """
    for bot in bots:
        writer = _Writer(bot, random.Random(f"history of {bot}"))
        (logs / f"{bot}.log").write_text("".join(writer.log(PLANS[bot], end)))
        if bot == "jarvis":
            (logs / f"{bot}.log.1").write_text("".join(writer.rotated(end - LENGTH)))


class _Writer:
    """The records of one bot."""

    def __init__(self, bot: str, rng: random.Random) -> None:
        self._bot, self._rng, self._new_key = bot, rng, uuid_source(rng)
        self._failed = (
            f"enhanced_websocket_client.py:{_line_of('src/utils/enhanced_websocket_client.py', 'Error proc')}"
        )
        self._timeout_traces = [_timeout_trace(call) for call in (_GET, _GET, _GET, _CREATE)]
        self._broken_trace = _broken_trace(_GET)

    def log(self, plan: Plan, end: datetime) -> list[str]:
        """The records up to `end`, in order of time."""
        start = end - LENGTH
        if self._bot != "jarvis":
            # The dates that were found are jarvis's; he began to fail first and failed last.
            start += timedelta(hours=self._rng.uniform(1, 20))
            end -= timedelta(hours=self._rng.uniform(0.5, 4))
        records = [*self._timeouts(plan, start, end - LAST_TIMEOUT_BEFORE_END), *self._disconnects(plan, start, end)]
        for when in self._working_times(plan.messages, start, end):
            records += self._message(when, plan.verbose)
        return [_stamp(when) + text for when, text in sorted(records, key=lambda record: record[0])]

    def rotated(self, end: datetime) -> Iterator[str]:
        """Ordinary records before `end`, as many as fit into a rotated file."""
        size, records = 0, []
        when = end
        while True:
            when -= timedelta(seconds=self._rng.uniform(20, 900))
            message = [_stamp(at) + text for at, text in self._message(when, True)]
            size += sum(len(record.encode()) for record in message)
            if size > ROTATED_BYTES:
                return iter(record for message in reversed(records) for record in message)
            records.append(message)

    def _timeouts(self, plan: Plan, first: datetime, last: datetime) -> Iterator[tuple[datetime, str]]:
        """Failed calls, in groups of up to six, the first at `first` and the last at `last`."""
        count = plan.traced + plan.bare
        bare = set(self._rng.sample(range(1, count - 1), plan.bare))
        for number, when in enumerate(self._group_times(count, first, last)):
            yield when, self._bare_timeout() if number in bare else self._traced_timeout()

    def _group_times(self, count: int, first: datetime, last: datetime) -> list[datetime]:
        times = [first, last]
        while len(times) < count:
            group = min(self._rng.choice((1, 1, 2, 3, 4, 6)), count - len(times))
            (start,) = self._working_times(1, first, last - timedelta(seconds=10))
            times += [start + timedelta(seconds=self._rng.uniform(0, 2.5)) for _ in range(group)]
        return sorted(times)

    def _traced_timeout(self) -> str:
        trace = self._rng.choice(self._timeout_traces)
        return f" - {self._failed} - ERROR - Error processing message: {TIMED_OUT}\n{trace}"

    def _bare_timeout(self) -> str:
        path, level, text = _BARE[self._bot]
        return f" - {Path(path).name}:{_line_of(path, text)} - {level} - {text}{TIMED_OUT}\n"

    def _disconnects(self, plan: Plan, start: datetime, end: datetime) -> Iterator[tuple[datetime, str]]:
        for when in [*self._working_times(plan.broken - 1, start, end), end]:
            yield when, f" - {self._failed} - ERROR - Error processing message: {BROKEN}\n{self._broken_trace}"

    def _working_times(self, count: int, start: datetime, end: datetime) -> list[datetime]:
        """Moments between two dates, most of them in working hours."""
        times: list[datetime] = []
        while len(times) < count:
            when = start + self._rng.random() * (end - start)
            if when.hour in WORKING_HOURS or self._rng.random() < 0.1:
                times.append(when)
        return sorted(times)

    def _message(self, when: datetime, verbose: bool) -> list[tuple[datetime, str]]:
        """What webex_bot logs about one message that is answered, and about seeing its own answer."""
        number = self._rng.randrange(200)
        email = f"employee{number}@example.com"
        own = f" - webex_bot.py:212 - WARNING - Message is from myself ({self._bot}@webex.bot), ignoring.\n"
        records = [(when + timedelta(seconds=0.9), own)]
        if not verbose:
            return records
        key, room = self._new_key(), self._new_key()
        pushed = f" - webex_websocket_client.py:87 - INFO - msg['data'] = {_activity(key, room, email)}\n"
        fetched = f" - webex_bot.py:222 - INFO - Message from {email}: Webex Message:\n{_body(key, room, email)}\n"
        found = " - webex_bot.py:240 - INFO - New user_command: status\n"
        thread = f" - webex_bot.py:336 - INFO - Using thread id={key}\n"
        steps = ((0.0, pushed), (0.21, fetched), (0.22, found), (0.61, thread))
        return [*((when + timedelta(seconds=after), text) for after, text in steps), *records]


def _stamp(when: datetime) -> str:
    """The time as the bots' formatter writes it."""
    return f"{when:%Y-%m-%d %H:%M:%S},{when.microsecond // 1000:03d}"


def _line_of(path: str, text: str) -> int:
    """The line of the checkout's file that logs `text`, so that old and new records look alike."""
    lines = (CHECKOUT / path).read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if text in line and "log" in line)


def _activity(key: str, room: str, email: str) -> dict[str, object]:
    return {
        "eventType": "conversation.activity",
        "activity": {
            "id": key,
            "objectType": "activity",
            "verb": "post",
            "actor": {"objectType": "person", "emailAddress": email, "type": "PERSON"},
            "target": {
                "id": room,
                "objectType": "conversation",
                "url": f"https://conv-a.wbx2.com/conversation/api/v1/conversations/{room}",
                "tags": [],
            },
            "object": {"objectType": "comment"},
        },
    }


def _body(key: str, room: str, email: str) -> str:
    return (
        "{\n"
        f'  "id": "{to_rest_id("MESSAGE", key)}",\n'
        f'  "roomId": "{to_rest_id("ROOM", room)}",\n'
        '  "roomType": "group",\n'
        f'  "personEmail": "{email}",\n'
        '  "text": "status"\n'
        "}"
    )


_GET: tuple[Frame, ...] = (
    (
        f"{_SITE}/webex_bot/websockets/webex_websocket_client.py",
        94,
        "_process_incoming_websocket_message",
        "webex_message = self.teams.messages.get(message_base_64_id)",
    ),
    (f"{_SITE}/webexpythonsdk/api/messages.py", 339, "get", 'json_data = self._session.get(API_ENDPOINT + "/" + id)'),
    (f"{_SITE}/webexpythonsdk/restsession.py", 392, "get", 'response = self.request("GET", url, erc, **kwargs)'),
)
"""Fetching the incoming message."""

_CREATE: tuple[Frame, ...] = (
    (
        f"{_SITE}/webex_bot/webex_bot.py",
        404,
        "send_message_to_room_or_person",
        "self.teams.messages.create(roomId=room_id, markdown=reply, parentId=conv_target_id)",
    ),
    (f"{_SITE}/webexpythonsdk/api/messages.py", 301, "create", "json_data = self._session.post("),
    (f"{_SITE}/webexpythonsdk/restsession.py", 467, "post", "response = self.request("),
)
"""Posting the answer."""

_SEND: tuple[Frame, ...] = (
    (f"{_SITE}/requests/sessions.py", 589, "request", "resp = self.send(prep, **send_kwargs)"),
    (f"{_SITE}/requests/sessions.py", 703, "send", "r = adapter.send(request, **kwargs)"),
)

_READ_STATUS: tuple[Frame, ...] = (
    (f"{_SITE}/urllib3/connectionpool.py", 534, "_make_request", "response = conn.getresponse()"),
    (f"{_SITE}/urllib3/connection.py", 565, "getresponse", "httplib_response = super().getresponse()"),
    (f"{_LIB}/http/client.py", 1374, "getresponse", "response.begin()"),
    (f"{_LIB}/http/client.py", 318, "begin", "version, status, reason = self._read_status()"),
)

_RETRY: tuple[Frame, ...] = (
    (f"{_SITE}/requests/adapters.py", 644, "send", "resp = conn.urlopen("),
    (f"{_SITE}/urllib3/connectionpool.py", 841, "urlopen", "retries = retries.increment("),
    (f"{_SITE}/urllib3/util/retry.py", 474, "increment", "raise reraise(type(error), error, _stacktrace)"),
)


def _frames(frames: Sequence[Frame]) -> str:
    return "".join(f'  File "{path}", line {line}, in {name}\n    {code}\n' for path, line, name, code in frames)


def _chain(*parts: tuple[Sequence[Frame], str]) -> str:
    """Chained tracebacks, each with the line of its exception."""
    joint = "\nDuring handling of the above exception, another exception occurred:\n\n"
    return joint.join(f"Traceback (most recent call last):\n{_frames(frames)}{error}\n" for frames, error in parts)


def _caller(call: Sequence[Frame]) -> tuple[Frame, ...]:
    wrapper = f"{VM_CHECKOUT}/src/utils/enhanced_websocket_client.py"
    line = _line_of("src/utils/enhanced_websocket_client.py", "Error proc") - 3
    return ((wrapper, line, "process_and_log", "process(self, msg)"), *call, *_SEND)


def _timeout_trace(call: Sequence[Frame]) -> str:
    ssl_read = (f"{_LIB}/ssl.py", 1134, "read", "return self._sslobj.read(len, buffer)")
    raised = (f"{_SITE}/urllib3/connectionpool.py", 367, "_raise_timeout", "raise ReadTimeoutError(")
    send = (f"{_SITE}/requests/adapters.py", 690, "send", "raise ReadTimeout(e, request=request)")
    return _chain(
        ((*_READ_STATUS, ssl_read), "TimeoutError: The read operation timed out"),
        ((*_RETRY, raised), f"urllib3.exceptions.ReadTimeoutError: {TIMED_OUT}"),
        ((*_caller(call), send), f"requests.exceptions.ReadTimeout: {TIMED_OUT}"),
    )


def _broken_trace(call: Sequence[Frame]) -> str:
    read = (f"{_LIB}/http/client.py", 287, "_read_status", "raise RemoteDisconnected(")
    send = (f"{_SITE}/requests/adapters.py", 659, "send", "raise ConnectionError(err, request=request)")
    return _chain(
        (
            (*_READ_STATUS, read),
            "http.client.RemoteDisconnected: Remote end closed connection without response",
        ),
        ((*_RETRY, *_READ_STATUS, read), f"urllib3.exceptions.ProtocolError: {BROKEN}"),
        ((*_caller(call), send), f"requests.exceptions.ConnectionError: {BROKEN}"),
    )
