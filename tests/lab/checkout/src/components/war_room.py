"""Announcements to the war room. Posted by Toodles, whoever asks, because he is a moderator there."""

import logging

from webexteamssdk import WebexTeamsAPI

from my_config import get_config

CONFIG = get_config()

logger = logging.getLogger(__name__)


def announce(text: str) -> bool:
    """Post to the war room. False if there is no room or the post failed; the caller tells its user."""
    if not CONFIG.webex_room_id_war_room:
        logger.warning("WEBEX_ROOM_ID_WAR_ROOM is not set; announcement dropped")
        return False
    try:
        toodles = WebexTeamsAPI(access_token=CONFIG.webex_bot_access_token_toodles)
        toodles.messages.create(roomId=CONFIG.webex_room_id_war_room, markdown=text)
    except Exception as e:
        logger.error(f"Announcement failed: {e}")
        return False
    return True
