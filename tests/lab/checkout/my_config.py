"""Settings of the IR bots. Secrets come from the environment of the shell that starts a bot, never from a file."""

import os
from dataclasses import dataclass, field


def _env(name: str) -> str:
    return os.environ.get(name, "")


@dataclass(frozen=True)
class Config:
    """One instance, made by get_config()."""

    team_name: str = "METCIRT"
    my_web_domain: str = "example.com"

    webex_bot_access_token_jarvis: str = field(default_factory=lambda: _env("WEBEX_BOT_ACCESS_TOKEN_JARVIS"), repr=False)
    webex_bot_access_token_tars: str = field(default_factory=lambda: _env("WEBEX_BOT_ACCESS_TOKEN_TARS"), repr=False)
    webex_bot_access_token_toodles: str = field(default_factory=lambda: _env("WEBEX_BOT_ACCESS_TOKEN_TOODLES"), repr=False)
    webex_bot_access_token_barnacles: str = field(
        default_factory=lambda: _env("WEBEX_BOT_ACCESS_TOKEN_BARNACLES"), repr=False
    )
    webex_bot_access_token_money_ball: str = field(
        default_factory=lambda: _env("WEBEX_BOT_ACCESS_TOKEN_MONEY_BALL"), repr=False
    )
    webex_bot_access_token_msoar: str = field(default_factory=lambda: _env("WEBEX_BOT_ACCESS_TOKEN_MSOAR"), repr=False)

    webex_room_id_war_room: str = field(default_factory=lambda: _env("WEBEX_ROOM_ID_WAR_ROOM"))
    webex_room_id_outreach: str = field(default_factory=lambda: _env("WEBEX_ROOM_ID_OUTREACH"))


_config = None


def get_config() -> Config:
    """The settings, read once per process."""
    global _config
    if _config is None:
        _config = Config()
    return _config
