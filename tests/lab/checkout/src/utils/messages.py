"""Texts shared by the bots."""

import random

THINKING_MESSAGES = (
    "Consulting the archives",
    "Asking the SIEM nicely",
    "Correlating",
    "Following the packets",
    "Reading the runbook",
)


def thinking_message() -> str:
    """Something to show while a slow command runs."""
    return f"_{random.choice(THINKING_MESSAGES)} …_"


def text_after(keyword: str, message: str) -> str:
    """What follows the command's keyword.

    webex_bot cuts the keyword off only where the message begins with it. In a group room it begins with the bot's name,
    and the name stays: WebexBot.__init__ empties bot_display_name after get_me_info() has set it.
    """
    _, found, rest = message.lower().partition(keyword)
    return message[len(message) - len(rest) :].strip() if found else message.strip()


def bullet_list(title: str, items) -> str:
    """A markdown list under a bold title."""
    lines = [f"**{title}**"]
    lines += [f"- {item}" for item in items]
    return "\n".join(lines)
