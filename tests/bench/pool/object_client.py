"""A real object of an SDK, configured by the pool module: python object_client.py MODULE PACKAGE; prints JSON.

Runs in a bot's environment, with Python 3.8 and what that has; nothing is sent anywhere.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import logging
import sys
import warnings
from importlib import metadata

import requests

ME = {"id": "me", "displayName": "Jarvis", "emails": ["jarvis@example.com"], "type": "bot", "avatar": "https://a/"}
# What early versions of wxc_sdk insist on.
EARLY = {"orgId": "o", "created": "2026-01-01T00:00:00Z", "lastModified": "2026-01-01T00:00:00Z", "status": "active"}
ANSWER = {**ME, **EARLY, "items": [], "name": "n", "serviceLinks": {"wdm": "https://wdm-a.wbx2.com/wdm/api/v1"}}
BOT = {"teams_bot_token": "t", "teams_bot_url": "https://h", "teams_bot_email": "jarvis@example.com"}
# By package: the module, the class, its arguments, and how to reach the client that is asked for itself.
KINDS = {
    "webexteamssdk": ("webexteamssdk", "WebexTeamsAPI", (), {"access_token": "t"}),
    "webexpythonsdk": ("webexpythonsdk", "WebexAPI", (), {"access_token": "t"}),
    "ciscosparkapi": ("ciscosparkapi", "CiscoSparkAPI", (), {"access_token": "t"}),
    "wxc_sdk": ("wxc_sdk", "WebexSimpleApi", (), {"tokens": "t"}),
    "webexteamsbot": ("webexteamsbot", "TeamsBot", ("n",), BOT),
    "webex_bot": ("webex_bot.webex_bot", "WebexBot", ("t",), {}),
}


def answered(_adapter, request, *_args, **_kwargs):  # noqa: ANN201
    """What every request is answered with."""
    response = requests.Response()
    response.status_code = 200
    response.headers["Content-Type"] = "application/json"
    response.request, response.url, response.encoding = request, request.url, "utf-8"
    response._content = json.dumps(ANSWER).encode()
    return response


def main() -> None:
    """Make, configure, ask; the SDK's own words go nowhere."""
    path, package = sys.argv[1:]
    warnings.simplefilter("ignore")
    logging.getLogger().addHandler(logging.NullHandler())
    requests.adapters.HTTPAdapter.send = answered
    told = {"version": "", "made": False, "problem": ""}
    try:
        told["version"] = metadata.version(package)
        module, name, args, kwargs = KINDS[package]
        thing = getattr(importlib.import_module(module), name)(*args, **kwargs)
        told["made"] = True
        spec = importlib.util.spec_from_file_location("webex_pool_config", path)
        pool = sys.modules["webex_pool_config"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(pool)
        is_bot = package in ("webexteamsbot", "webex_bot")
        (pool.configure_webex_bot_session if is_bot else pool.configure_webex_api_session)(thing)
        (thing.teams if is_bot else thing).people.me()
        counts = pool._evidence._counts
        if counts["unfit"] or counts["answered"] != 1 or not counts["sessions"]:
            told["problem"] = f"counted {counts}"
    except BaseException as error:  # SystemExit too
        told["problem"] = f"{type(error).__name__}: {error}"
    print(json.dumps(told))


if __name__ == "__main__":
    main()
