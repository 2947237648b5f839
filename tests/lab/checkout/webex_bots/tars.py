#!/usr/bin/env python3
"""
TARS: on-call and announcements bot of the incident response team.

Commands: oncall, handover, announce, ping
"""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import logging
from logging.handlers import RotatingFileHandler

ROOT_DIR = Path(__file__).parent.parent
(ROOT_DIR / 'logs').mkdir(exist_ok=True)

logging.basicConfig(
    level=logging.INFO,
    format='%(asctime)s - %(filename)s:%(lineno)d - %(levelname)s - %(message)s',
    handlers=[
        RotatingFileHandler(ROOT_DIR / 'logs' / 'tars.log', maxBytes=10 * 1024 * 1024, backupCount=5),
        logging.StreamHandler(),
    ],
)
logging.getLogger('urllib3').setLevel(logging.ERROR)
logger = logging.getLogger('tars')

from datetime import date, timedelta

from webex_bot.models.command import Command
from webex_bot.models.response import Response
from webex_bot.webex_bot import WebexBot
from webexteamssdk import WebexTeamsAPI

from my_config import get_config
from src.components.incidents import load_incidents
from src.components.oncall import on_call_person
from src.components.war_room import announce
from src.utils.enhanced_websocket_client import patch_websocket_client
from src.utils.logging_utils import log_activity
from src.utils.messages import bullet_list, text_after

CONFIG = get_config()
TOKEN = CONFIG.webex_bot_access_token_tars

HONESTY_SETTING = 90  # percent

webex_api = WebexTeamsAPI(access_token=TOKEN)


class OnCall(Command):
    """Who is on call this week and next."""

    def __init__(self):
        super().__init__(command_keyword='oncall', help_message='Who is on call 📟')

    @log_activity('tars')
    def execute(self, message, attachment_actions, activity):
        now = on_call_person()
        then = on_call_person(date.today() + timedelta(days=7))
        return (
            f"On call: **{now['name']}** ({now['email']}, {now['phone']})  \n"
            f"next week: {then['name']}"
        )


class Handover(Command):
    """Shift handover: the open incidents with their owners, addressed to whoever asked."""

    def __init__(self):
        super().__init__(command_keyword='handover', help_message='Shift handover 🤝')

    @log_activity('tars')
    def execute(self, message, attachment_actions, activity):
        asker = webex_api.people.get(attachment_actions.personId)
        rows = [
            f"#{i.id} {i.title}: {i.phase}, {i.owner}"
            for i in load_incidents()
            if i.is_open and i.severity >= 2
        ]
        response = Response()
        response.markdown = bullet_list(f"Handover for {asker.displayName}", rows or ["nothing open"])
        return response


class Announce(Command):
    """Post to the war room: `announce <text>`."""

    def __init__(self):
        super().__init__(command_keyword='announce', help_message='Announce in the war room 📣')

    @log_activity('tars')
    def execute(self, message, attachment_actions, activity):
        text = text_after('announce', message)
        if not text:
            return 'Announce what?'
        who = activity['actor'].get('displayName', 'somebody')
        if announce(f"**{who}** (via TARS): {text}"):
            return 'Announced in the war room.'
        return 'The war room could not be reached.'


class Ping(Command):
    """Cheapest possible sign of life; the shift lead's dashboard sends it every few minutes."""

    def __init__(self):
        super().__init__(command_keyword='ping', help_message='Sign of life 🏓')

    @log_activity('tars')
    def execute(self, message, attachment_actions, activity):
        rooms = list(webex_api.rooms.list(type='group', max=5))
        return f"pong - honesty {HONESTY_SETTING} %, {len(rooms)} rooms in sight"


def build_bot():
    return WebexBot(TOKEN,  # positional, as in webex_bot's README
                    approved_domains=['example.com'],
                    # allow_bot_to_bot=True,   # no: TARS and CASE talked to each other for a whole night
                    bot_name='TARS',
                    bot_help_subtitle='Humor setting at 75 %',
                    include_demo_commands=False)


def main():
    patch_websocket_client()
    bot = build_bot()
    bot.add_command(OnCall())
    bot.add_command(Handover())
    bot.add_command(Announce())
    bot.add_command(Ping())
    logger.info('TARS is up')
    bot.run()


if __name__ == '__main__':
    main()
