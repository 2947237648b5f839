#!/usr/bin/env python3
"""mSOAR: runs SOAR playbooks from chat, with a second pair of eyes where the playbook asks for it."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import logging
import logging.handlers

LOG_FILE = Path(__file__).parent.parent / "logs" / "msoar.log"
LOG_FILE.parent.mkdir(exist_ok=True)
rotating = logging.handlers.RotatingFileHandler(LOG_FILE, maxBytes=10 * 1024 * 1024, backupCount=5)
rotating.setFormatter(logging.Formatter("%(asctime)s - %(filename)s:%(lineno)d - %(levelname)s - %(message)s"))
logging.getLogger().addHandler(rotating)
logging.getLogger().setLevel(logging.INFO)
logging.getLogger("urllib3").setLevel(logging.ERROR)
log = logging.getLogger("msoar")

import itertools
import threading

# Shared with the automation hosts, comes from PYTHONPATH
from soar_playbooks import all_playbooks, find_playbook
from webex_bot.exceptions import BotException
from webex_bot.models.command import Command
from webex_bot.webex_bot import WebexBot

from my_config import get_config
from src.utils.enhanced_websocket_client import patch_websocket_client
from src.utils.logging_utils import log_activity
from src.utils.messages import bullet_list, text_after

CONFIG = get_config()

patch_websocket_client()
bot = WebexBot(teams_bot_token=CONFIG.webex_bot_access_token_msoar)
bot.approved_domains = [CONFIG.my_web_domain]
bot.help_command.bot_name = "mSOAR"
bot.help_command.bot_help_subtitle = "Playbooks at your fingertips"


class RunQueue:
    """Playbook runs asked for, by number. Runs that need approval wait for somebody other than the asker."""

    def __init__(self):
        self._lock = threading.Lock()
        self._numbers = itertools.count(1001)
        self._waiting = {}

    def submit(self, playbook, target, asker):
        with self._lock:
            number = next(self._numbers)
            if playbook.approval:
                self._waiting[number] = (playbook, target, asker)
            return number

    def approve(self, number, approver):
        """The approved (playbook, target). Raises BotException, whose text goes to the user."""
        with self._lock:
            if number not in self._waiting:
                raise BotException(f"no run {number}", f"No run {number} is waiting.")
            playbook, target, asker = self._waiting[number]
            if asker == approver:
                raise BotException(f"{approver} on own run {number}", "A second person must approve.")
            del self._waiting[number]
            return playbook, target


queue = RunQueue()


class Playbooks(Command):
    def __init__(self):
        super().__init__(command_keyword="playbooks", help_message="List playbooks 📚")

    @log_activity("msoar")
    def execute(self, message, attachment_actions, activity):
        rows = [f"`{p.name}`: {p.title}{' 🔒' if p.approval else ''}" for p in all_playbooks()]
        return bullet_list("Playbooks", rows)


class Run(Command):
    """`run <playbook> <target>`"""

    def __init__(self):
        super().__init__(command_keyword="run", help_message="Run a playbook ▶️")

    @log_activity("msoar")
    def execute(self, message, attachment_actions, activity):
        words = text_after("run", message).split()
        if len(words) != 2:
            raise BotException(f"bad run: {message!r}", "Like this: **run** isolate-host lt-123")
        playbook = find_playbook(words[0])
        if playbook is None:
            raise BotException(f"unknown playbook {words[0]!r}", f"There is no playbook {words[0]}.")
        asker = bot.teams.people.get(attachment_actions.personId)
        number = queue.submit(playbook, words[1], asker.emails[0])
        log.info("run %d: %s on %s for %s", number, playbook.name, words[1], asker.emails[0])
        if playbook.approval:
            return f"Run {number}: {playbook.title} on {words[1]} waits for approval."
        return f"Run {number}: {playbook.title} on {words[1]} started, about {playbook.minutes} minutes."


class Sign(Command):
    """`sign <number>`: approve somebody else's run."""

    def __init__(self):
        super().__init__(command_keyword="sign", help_message="Approve a waiting playbook 🔏")

    @log_activity("msoar")
    def execute(self, message, attachment_actions, activity):
        digits = text_after("sign", message)
        if not digits.isdigit():
            raise BotException(f"bad sign: {message!r}", "Which run? Like this: **sign** 1001")
        playbook, target = queue.approve(int(digits), activity["actor"]["emailAddress"])
        room = bot.teams.rooms.get(attachment_actions.roomId)
        return f"Run {digits} approved in {room.title}: {playbook.title} on {target} started."


def main():
    bot.add_command(Playbooks())
    bot.add_command(Run())
    bot.add_command(Sign())
    log.info("mSOAR runs as %s", bot.bot_email)
    bot.run()


if __name__ == "__main__":
    main()
