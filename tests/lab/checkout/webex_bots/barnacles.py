#!/usr/bin/python3
"""Barnacles: asks employees about suspicious logons ("was that you?") and collects what they say."""

import sys
import os

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import logging
import logging.handlers

BASE_DIR = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
os.makedirs(os.path.join(BASE_DIR, "logs"), exist_ok=True)
log_handler = logging.handlers.RotatingFileHandler(
    os.path.join(BASE_DIR, "logs", "barnacles.log"), maxBytes=10485760, backupCount=5
)
log_handler.setFormatter(
    logging.Formatter("%(asctime)s - %(filename)s:%(lineno)d - %(levelname)s - %(message)s")
)
# Employees' answers are personal data: nothing below WARNING goes to the file.
logging.basicConfig(level=logging.WARNING, handlers=[log_handler])
log = logging.getLogger("barnacles")

import threading
import time

from webex_bot.models.command import Command
from webex_bot.webex_bot import WebexBot
from webexteamssdk import WebexTeamsAPI

from my_config import get_config
from src.utils.enhanced_websocket_client import patch_websocket_client
from src.utils.messages import bullet_list, text_after

config = get_config()
bot_token = config.webex_bot_access_token_barnacles
webex_api = WebexTeamsAPI(bot_token)

ANSWER_DEADLINE_HOURS = 24


class OutreachBook:
    """Who was asked what, and what they said. One instance, used by all executor threads."""

    def __init__(self):
        self._lock = threading.Lock()
        self._asked = {}
        self._answers = {}

    def asked(self, email, case):
        with self._lock:
            self._asked[email] = (case, time.time())

    def answered(self, email, text):
        """The case the answer belongs to; None if this person was never asked."""
        with self._lock:
            case, _ = self._asked.get(email, (None, 0))
            self._answers[email] = text
            return case

    def overdue(self):
        deadline = time.time() - ANSWER_DEADLINE_HOURS * 3600
        with self._lock:
            return sorted(e for e, (_, when) in self._asked.items() if when < deadline and e not in self._answers)

    def counts(self):
        with self._lock:
            return len(self._asked), len(self._answers)


book = OutreachBook()


class Ask(Command):
    """`ask <email> <case>`: send the question to an employee."""

    def __init__(self):
        super().__init__(command_keyword="ask", help_message="Ask an employee 🦀")

    def execute(self, message, attachment_actions, activity):
        words = text_after("ask", message).split()
        if len(words) != 2 or "@" not in words[0]:
            return "Like this: **ask** someone@example.com 71234"
        email, case = words
        webex_api.messages.create(
            toPersonEmail=email,
            markdown=f"Hello! Case {case}: we saw an unusual logon with your account. Was that you? "
            "Answer **me** or **nope**.",
        )
        book.asked(email, case)
        return f"Question about case {case} sent to {email}."


class ItWasMe(Command):
    """The employee's answer. Goes to the outreach room under Toodles' name: Barnacles is not a member there."""

    def __init__(self, keyword, meaning):
        self._meaning = meaning
        super().__init__(command_keyword=keyword, exact_command_keyword_match=True)

    def execute(self, message, attachment_actions, activity):
        email = activity["actor"]["emailAddress"]
        case = book.answered(email, self._meaning)
        self._tell_outreach_room(email, case)
        # No thread here: employees do not find threads on their phones.
        webex_api.messages.create(
            roomId=attachment_actions.roomId,
            markdown=f"Thank you, noted for the security team: {self._meaning}.",
        )

    def _tell_outreach_room(self, email, case):
        if not config.webex_room_id_outreach:
            return
        try:
            WebexTeamsAPI(access_token=config.webex_bot_access_token_toodles).messages.create(
                roomId=config.webex_room_id_outreach, text=f"{email} on case {case}: {self._meaning}"
            )
        except Exception:
            log.exception("Outreach room not told of %s", email)


class Outreach(Command):
    """Numbers for the shift lead."""

    def __init__(self):
        super().__init__(command_keyword="outreach", help_message="Outreach so far 📬")

    def execute(self, message, attachment_actions, activity):
        asked, answered = book.counts()
        title = webex_api.rooms.get(attachment_actions.roomId).title
        rows = [f"asked: {asked}", f"answered: {answered}", f"overdue: {len(book.overdue())}"]
        return bullet_list(f"Outreach, as seen from {title}", rows)


def main():
    patch_websocket_client()
    bot = WebexBot(
        bot_token,
        bot_name="Barnacles",
        bot_help_subtitle="Was that you?",
        approved_domains=["example.com"],
        log_level="WARNING",  # else webex_bot sets the root logger back to INFO
    )
    bot.add_command(Ask())
    bot.add_command(ItWasMe("me", "it was the employee"))
    bot.add_command(ItWasMe("nope", "it was NOT the employee"))
    bot.add_command(Outreach())
    log.warning("Barnacles started")
    bot.run()


if __name__ == "__main__":
    main()
