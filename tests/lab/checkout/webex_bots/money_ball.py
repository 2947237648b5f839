#!/usr/bin/env python3
"""Money Ball - numbers about the team's work: how many cases, how fast, who is busy.

Needs the SOAR team's package on PYTHONPATH (playbook minutes are part of the cost).
"""

import sys
from pathlib import Path
PROJECT_ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(PROJECT_ROOT))

import logging
from logging.handlers import RotatingFileHandler

logs = PROJECT_ROOT / 'logs'
logs.mkdir(exist_ok=True)
logging.basicConfig(level=logging.INFO,
                    format='%(asctime)s - %(filename)s:%(lineno)d - %(levelname)s - %(message)s',
                    handlers=[RotatingFileHandler(logs / 'money_ball.log', maxBytes=10 * 1024 * 1024, backupCount=5)])
logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
logger = logging.getLogger(__name__)

from collections import Counter
from statistics import mean

from soar_playbooks import all_playbooks
from webex_bot.models.command import Command
from webex_bot.models.response import response_from_adaptive_card
from webex_bot.webex_bot import WebexBot
from webexpythonsdk.models.cards import AdaptiveCard, Fact, FactSet, TextBlock
from webexteamssdk import WebexTeamsAPI

from my_config import get_config
from src.components.incidents import load_incidents, mean_time_to_close_hours
from src.utils.enhanced_websocket_client import patch_websocket_client
from src.utils.logging_utils import log_activity

CONFIG = get_config()

MINUTES_PER_MANUAL_CASE = 95

webex_api = WebexTeamsAPI(
    access_token=CONFIG.webex_bot_access_token_money_ball,
    single_request_timeout=120,  # reports touch big rooms
    wait_on_rate_limit=True,
)


def open_cases_per_owner():
    """Number of open cases per owner, busiest first."""
    return Counter(i.owner for i in load_incidents() if i.is_open).most_common()


def automation_savings_hours():
    """Hours saved by playbooks over the closed cases, at one playbook per case."""
    closed = [i for i in load_incidents() if not i.is_open]
    saved_minutes = MINUTES_PER_MANUAL_CASE - mean(p.minutes for p in all_playbooks())
    return len(closed) * saved_minutes / 60


class Metrics(Command):
    def __init__(self):
        super().__init__(command_keyword="metrics", help_message="This month in numbers 📈")

    @log_activity("money_ball")
    def execute(self, message, attachment_actions, activity):
        incidents = load_incidents()
        facts = [
            Fact(title="cases", value=str(len(incidents))),
            Fact(title="open", value=str(sum(i.is_open for i in incidents))),
            Fact(title="mean time to close", value=f"{mean_time_to_close_hours():.1f} h"),
            Fact(title="saved by playbooks", value=f"{automation_savings_hours():.0f} h"),
        ]
        card = AdaptiveCard(body=[TextBlock("Metrics of the month"), FactSet(facts=facts)])
        return response_from_adaptive_card(card)


class Workload(Command):
    def __init__(self):
        super().__init__(command_keyword="workload", help_message="Who is busy 🏋️")

    @log_activity("money_ball")
    def execute(self, message, attachment_actions, activity):
        members = {m.personEmail for m in webex_api.memberships.list(roomId=attachment_actions.roomId)}
        lines = ["**Workload**"]
        for owner, count in open_cases_per_owner():
            here = " (here)" if f"{owner}@example.com" in members else ""
            lines.append(f"- {owner}: {count} open{here}")
        return "\n".join(lines)


class Chatter(Command):
    """How much was said in this room lately: the last 50 messages, by person."""

    def __init__(self):
        super().__init__(command_keyword="chatter", help_message="Who talks most 🗣️")

    @log_activity("money_ball")
    def execute(self, message, attachment_actions, activity):
        room = webex_api.rooms.get(attachment_actions.roomId)
        kwargs = {} if room.type == "direct" else {"mentionedPeople": "me"}
        page = webex_api.messages.list(roomId=attachment_actions.roomId, max=50, **kwargs)
        by_person = Counter(m.personEmail for m, _ in zip(page, range(50)))
        return "**Chatter**\n" + "\n".join(f"- {email}: {count}" for email, count in by_person.most_common(5))


def main():
    patch_websocket_client()
    bot = WebexBot(CONFIG.webex_bot_access_token_money_ball, approved_domains=["example.com"], bot_name="Money Ball")
    for command in [Metrics(), Workload(), Chatter()]:
        bot.add_command(command)
    logger.info("Money Ball: %d playbooks known", len(all_playbooks()))
    bot.run()


if __name__ == '__main__':
    main()
