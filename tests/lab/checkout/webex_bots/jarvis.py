#!/usr/bin/env python3
"""Jarvis - the SOC's assistant.

Answers the questions an analyst asks twenty times a shift: is the space set up, what is open, what do we know about
this indicator, who else is in this room.

Start:  nohup .venv/bin/python webex_bots/jarvis.py > /dev/null 2>&1 &
"""

import sys
from pathlib import Path

# Project root first, so that src/ and my_config win over anything installed
ROOT_DIR = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT_DIR))

import json
import logging
import logging.handlers
import re
from datetime import datetime

LOG_DIR = ROOT_DIR / "logs"
LOG_DIR.mkdir(exist_ok=True)

_handler = logging.handlers.RotatingFileHandler(
    LOG_DIR / "jarvis.log", maxBytes=10 * 1024 * 1024, backupCount=5, encoding="utf-8"
)
_handler.setFormatter(logging.Formatter("%(asctime)s - %(filename)s:%(lineno)d - %(levelname)s - %(message)s"))
logging.basicConfig(level=logging.INFO, handlers=[_handler])
logging.getLogger("urllib3").setLevel(logging.ERROR)
logging.getLogger("webexteamssdk.restsession").setLevel(logging.WARNING)

logger = logging.getLogger(__name__)

from webex_bot.formatting import quote_warning
from webex_bot.models.command import Command
from webex_bot.webex_bot import WebexBot
from webexteamssdk import WebexTeamsAPI

from my_config import get_config
from src.components.incidents import find_incident, load_incidents, open_by_severity
from src.utils.enhanced_websocket_client import patch_websocket_client
from src.utils.logging_utils import log_activity
from src.utils.messages import bullet_list

CONFIG = get_config()
BOT_NAME = "Jarvis"
SEVERITY_NAMES = {4: "critical", 3: "high", 2: "medium", 1: "low"}
INDICATORS_FILE = ROOT_DIR / "data" / "indicators.json"
INDICATOR_PATTERN = re.compile(r"(?:\d{1,3}\.){3}\d{1,3}|[a-z0-9-]+(?:\.[a-z0-9-]+)+", re.IGNORECASE)
MAX_MEMBERS_SHOWN = 10

# The SDK's client for everything that is not an answer: rooms, members, people
webex_api = WebexTeamsAPI(access_token=CONFIG.webex_bot_access_token_jarvis)


class Hello(Command):
    """Greets by name, and so proves that the bot, its token and the people API are all alive."""

    def __init__(self):
        super().__init__(command_keyword="hello", help_message="Say hello 👋")

    @log_activity(BOT_NAME)
    def execute(self, message, attachment_actions, activity):
        person = webex_api.people.get(attachment_actions.personId)
        return f"Hello {person.firstName}! {BOT_NAME} at your service. Type **help** for what I can do."


class Status(Command):
    """Open incidents by severity, for the space the question was asked in."""

    def __init__(self):
        super().__init__(command_keyword="status", help_message="Open incidents 📊")

    @log_activity(BOT_NAME)
    def execute(self, message, attachment_actions, activity):
        room_title = self._room_title(attachment_actions.roomId)
        counts = open_by_severity()
        lines = [f"{SEVERITY_NAMES[s]}: {counts[s]}" for s in sorted(SEVERITY_NAMES, reverse=True)]
        newest = next((i for i in load_incidents() if i.is_open), None)
        if newest is not None:
            lines.append(f"newest: #{newest.id} {newest.title} ({newest.owner})")
        return bullet_list(f"Status for {room_title} at {datetime.now():%H:%M}", lines)

    @staticmethod
    def _room_title(room_id):
        try:
            return webex_api.rooms.get(room_id).title
        except Exception as e:  # a status without the room's name is better than none
            logger.warning(f"Could not fetch room title: {e}")
            return "this space"


class Case(Command):
    """One incident in detail: `case 71234`."""

    def __init__(self):
        super().__init__(command_keyword="case", help_message="Details of an incident 🔍")

    @log_activity(BOT_NAME)
    def execute(self, message, attachment_actions, activity):
        digits = re.search(r"\d+", message)
        if digits is None:
            return quote_warning("Which one? Try **case 71234**.")
        incident = find_incident(int(digits.group()))
        if incident is None:
            return quote_warning(f"I know of no case {digits.group()}.")
        return bullet_list(
            f"Case {incident.id}: {incident.title}",
            [
                f"severity: {SEVERITY_NAMES[incident.severity]}",
                f"phase: {incident.phase}",
                f"owner: {incident.owner}",
                f"hosts: {', '.join(incident.hosts)}",
                f"opened: {incident.opened:%Y-%m-%d %H:%M}",
            ],
        )


class Hunt(Command):
    """What the last feed said about an address or a domain: `hunt 203.0.113.17`."""

    def __init__(self):
        super().__init__(command_keyword="hunt", help_message="Look up an indicator 🎯")

    @log_activity(BOT_NAME)
    def execute(self, message, attachment_actions, activity):
        match = INDICATOR_PATTERN.search(message)
        if match is None:
            return quote_warning("Give me an address or a domain, e.g. **hunt 203.0.113.17**.")
        indicator = match.group().lower()
        known = json.loads(INDICATORS_FILE.read_text()).get(indicator)
        if known is None:
            return f"Hunt result for `{indicator}`: never seen."
        tags = ", ".join(known["tags"]) or "no tags"
        return f"Hunt result for `{indicator}`: **{known['verdict']}**, {tags}, seen {known['seen']} times."


class Members(Command):
    """Who is in this space; asked at the start of every bridge."""

    def __init__(self):
        super().__init__(command_keyword="members", help_message="Who is in this space 👥")

    @log_activity(BOT_NAME)
    def execute(self, message, attachment_actions, activity):
        names = sorted(
            m.personDisplayName
            for m in webex_api.memberships.list(roomId=attachment_actions.roomId)
            if not m.personEmail.endswith("@webex.bot")
        )
        shown = names[:MAX_MEMBERS_SHOWN]
        if len(names) > len(shown):
            shown.append(f"… and {len(names) - MAX_MEMBERS_SHOWN} more")
        return bullet_list(f"Members of this space ({len(names)})", shown)


def bot_factory():
    """The bot with its settings; commands are added in main()."""
    return WebexBot(
        CONFIG.webex_bot_access_token_jarvis,
        approved_domains=[CONFIG.my_web_domain],  # employees only
        # rooms are open: the SOC's spaces come and go daily
        bot_name=BOT_NAME,
        bot_help_subtitle="Your friendly SOC assistant",
        threads=True,  # keep busy spaces readable
    )


def main():
    logger.info(f"Starting {BOT_NAME}")
    patch_websocket_client()
    bot = bot_factory()
    for command in (Hello(), Status(), Case(), Hunt(), Members()):
        bot.add_command(command)
    bot.run()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        logger.info("Stopped from the keyboard")
    except Exception as e:
        logger.critical(f"{BOT_NAME} died: {e}", exc_info=True)
        raise
