"""What the bots need on top of webex_bot's websocket client.

webex_bot hands every websocket message to asyncio's default executor and never looks at the outcome. An exception
there ends up, if at all, as "Future exception was never retrieved" minutes later, and a message that hangs is not
visible anywhere. patch_websocket_client() cures that, for every client of the process:

* failures are in the bot's log, with the traceback, at the moment they happen;
* a watchdog thread names messages that take too long;
* acknowledgements go through the event loop: webex_bot sends them from the worker threads, and two at once now and then
  break the TLS connection ("Fatal error on SSL protocol ... deque index out of range").

Usage, once per process and before the bot runs:

    patch_websocket_client()
    bot = WebexBot(...)
    bot.run()

What it does not do: retry. A message that is not acknowledged is delivered again after the next reconnect.
"""

import asyncio
import functools
import json
import logging
import threading
import time

from webex_bot.websockets.webex_websocket_client import WebexWebsocketClient

logger = logging.getLogger(__name__)

SLOW_MESSAGE_SECONDS = 90
WATCHDOG_INTERVAL_SECONDS = 30
ACK_SECONDS = 30


class _InProgress:
    """The messages being processed right now: which thread, which activity, since when."""

    def __init__(self):
        self._lock = threading.Lock()
        self._started = {}

    def enter(self, activity_id):
        with self._lock:
            self._started[threading.get_ident()] = (activity_id, time.monotonic())

    def leave(self):
        with self._lock:
            self._started.pop(threading.get_ident(), None)

    def older_than(self, seconds):
        """(activity id, age in seconds) of each message in progress for longer, oldest first."""
        now = time.monotonic()
        with self._lock:
            ages = [(activity_id, now - since) for activity_id, since in self._started.values()]
        return sorted((a for a in ages if a[1] > seconds), key=lambda a: -a[1])

    def __len__(self):
        with self._lock:
            return len(self._started)


_in_progress = _InProgress()


def _activity_of(msg):
    """The activity of a websocket message; other events (buffer state, typing, presence) have none."""
    return msg.get("data", {}).get("activity") or {}


def _logging_failures(process):
    """Wrap WebexWebsocketClient._process_incoming_websocket_message: log what fails, never raise.

    Raising would gain nothing, the executor's future is thrown away. The text of the record is what the weekly report
    greps for; leave it as it is.
    """

    @functools.wraps(process)
    def process_and_log(self, msg):
        activity = _activity_of(msg)
        if activity:
            _in_progress.enter(activity.get("id"))
        try:
            process(self, msg)
        # Not BaseException: SystemExit is how WebexWebsocketClient.stop() ends the loop.
        except Exception as e:
            logger.error(f"Error processing message: {e}", exc_info=True)
        finally:
            _in_progress.leave()

    return process_and_log


def _ack_in_loop(self, message_id):
    """Acknowledge from a worker thread, but on the thread that owns the websocket. Raises what send() raises."""
    ack = json.dumps({"type": "ack", "messageId": message_id})
    asyncio.run_coroutine_threadsafe(self.websocket.send(ack), self.websocket.loop).result(ACK_SECONDS)


def _watch():
    while True:
        time.sleep(WATCHDOG_INTERVAL_SECONDS)
        slow = _in_progress.older_than(SLOW_MESSAGE_SECONDS)
        if slow:
            activity_id, age = slow[0]
            logger.warning(
                f"{len(slow)} of {len(_in_progress)} messages in progress for more than {SLOW_MESSAGE_SECONDS} s, "
                f"the oldest is {activity_id}, {age:.0f} s"
            )


def patch_websocket_client():
    """Log failures and slow messages of every WebexBot of this process. Calling it again changes nothing."""
    process = WebexWebsocketClient._process_incoming_websocket_message
    if getattr(process, "logs_failures", False):
        return
    wrapped = _logging_failures(process)
    wrapped.logs_failures = True
    WebexWebsocketClient._process_incoming_websocket_message = wrapped
    WebexWebsocketClient._ack_message = _ack_in_loop
    threading.Thread(target=_watch, name="message-watchdog", daemon=True).start()
