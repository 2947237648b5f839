"""Logging helpers shared by the bots."""

import functools
import logging
import time

logger = logging.getLogger(__name__)


def log_activity(bot_name):
    """Decorator for Command.execute: one line per command with who asked, where, and how long it took."""

    def decorator(execute):
        @functools.wraps(execute)
        def wrapper(self, message, attachment_actions, activity):
            actor = activity["actor"].get("emailAddress", "?")
            started = time.monotonic()
            try:
                return execute(self, message, attachment_actions, activity)
            finally:
                took = time.monotonic() - started
                keyword = self.command_keyword or self.card_callback_keyword
                logger.info(f"{bot_name}: {actor} ran '{keyword}' in {took:.2f} s")

        return wrapper

    return decorator
