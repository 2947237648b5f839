#!/usr/bin/env python3
"""Toodles: tickets, approvals and to-dos of the IR team.

The approval flow is a card: `approve` shows it, its button comes back as a card action.
"""
import sys
from pathlib import Path

ROOT_DIR = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT_DIR))

import logging
import os
from logging.handlers import RotatingFileHandler

LOG_FORMAT = "%(asctime)s - %(filename)s:%(lineno)d - %(levelname)s - %(message)s"


def configure_logging():
    log_dir = ROOT_DIR / "logs"
    log_dir.mkdir(exist_ok=True)
    handler = RotatingFileHandler(log_dir / "toodles.log", maxBytes=10 * 1024 * 1024, backupCount=5)
    handler.setFormatter(logging.Formatter(LOG_FORMAT))
    root = logging.getLogger()
    root.setLevel(logging.INFO)
    root.addHandler(handler)


configure_logging()
logger = logging.getLogger(__name__)

from my_config import get_config

CONFIG = get_config()

import itertools
import threading

from webexpythonsdk import WebexAPI
from webexpythonsdk.models.cards import AdaptiveCard, Column, ColumnSet, FontWeight, Text, TextBlock
from webexpythonsdk.models.cards.actions import Submit

DEBUG = os.environ.get("TOODLES_DEBUG") == "1"
if DEBUG:
    logging.getLogger().setLevel(logging.DEBUG)

from webex_bot.models.command import Command
from webex_bot.models.response import response_from_adaptive_card
from webex_bot.webex_bot import WebexBot

from src.components.incidents import load_incidents
from src.utils.enhanced_websocket_client import patch_websocket_client
from src.utils.logging_utils import log_activity
from src.utils.messages import bullet_list, text_after

# 180 s: listing the messages of the big spaces takes Webex more than a minute
webex = WebexAPI(access_token=CONFIG.webex_bot_access_token_toodles, single_request_timeout=180)


class TodoList:
    """Open items per room, in memory: they are meant to be gone after a restart."""

    def __init__(self):
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._items = {}

    def add(self, room_id, text):
        with self._lock:
            number = next(self._numbers)
            self._items.setdefault(room_id, {})[number] = text
            return number

    def items(self, room_id):
        with self._lock:
            return [f"{number}: {text}" for number, text in self._items.get(room_id, {}).items()]


todo_list = TodoList()


class Tickets(Command):
    """The asker's open tickets. Posted into the thread by the SDK client, so that the card stays the only reply."""

    def __init__(self):
        super().__init__(command_keyword="tickets", help_message="My open tickets 🎫")

    @log_activity("toodles")
    def execute(self, message, attachment_actions, activity):
        rows = [f"#{i.id} {i.title} (sev {i.severity})" for i in load_incidents() if i.is_open][:5]
        webex.messages.create(
            roomId=attachment_actions.roomId,
            parentId=activity["id"],
            markdown=bullet_list("Open tickets", rows),
        )


class Todo(Command):
    """`todo` lists, `todo <text>` adds."""

    def __init__(self):
        super().__init__(command_keyword="todo", help_message="To-do list of this space ✅")

    @log_activity("toodles")
    def execute(self, message, attachment_actions, activity):
        text = text_after("todo", message)
        room_id = attachment_actions.roomId
        if text:
            number = todo_list.add(room_id, text)
            return f"Added to-do {number}: {text}"
        title = webex.rooms.get(room_id).title
        return bullet_list(f"To-do list of {title}", todo_list.items(room_id) or ["nothing to do"])


class Approve(Command):
    """Shows the approval card."""

    def __init__(self):
        super().__init__(
            command_keyword="approve",
            help_message="Ask for an approval 🖊️",
            chained_commands=[ApproveSubmit()],
        )

    @log_activity("toodles")
    def execute(self, message, attachment_actions, activity):
        heading = TextBlock("Approval request", weight=FontWeight.BOLDER, wrap=True)
        reason = Text(id="reason", placeholder="Why is this needed?", maxLength=200)
        card = AdaptiveCard(
            body=[ColumnSet(columns=[Column(items=[heading, reason], width=2)])],
            actions=[Submit(title="Submit", data={"callback_keyword": "approve_submit"})],
        )
        return response_from_adaptive_card(card)


class ApproveSubmit(Command):
    """What the card's button triggers."""

    def __init__(self):
        super().__init__(card_callback_keyword="approve_submit", delete_previous_message=True)

    @log_activity("toodles")
    def execute(self, message, attachment_actions, activity):
        reason = attachment_actions.inputs.get("reason") or "no reason given"
        person = webex.people.get(attachment_actions.personId)
        logger.info(f"Approval requested by {person.emails[0]}: {reason}")
        return f"Approval request of {person.displayName} recorded: {reason}"


def main():
    patch_websocket_client()
    bot = WebexBot(
        teams_bot_token=CONFIG.webex_bot_access_token_toodles,
        bot_name="Toodles",
        bot_help_subtitle="Tickets, to-dos, approvals",
        approved_domains=[CONFIG.my_web_domain],
    )
    bot.add_command(Tickets())
    bot.add_command(Todo())
    bot.add_command(Approve())
    logger.info("Toodles is listening")
    bot.run()


if __name__ == "__main__":
    main()
