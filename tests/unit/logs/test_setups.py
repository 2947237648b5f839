"""Sixteen ways in which bots set their logging up: what their logs are read as, without a word of the pool module."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from ansible.module_utils.webex_rollout.logs.cursor import look_at_all
from ansible.module_utils.webex_rollout.logs.tally import evidence

FORMAT = "%(asctime)s - %(name)s - %(levelname)s - %(message)s"
HEAD = f"""
import logging, logging.handlers, logging.config, sys, traceback
FORMAT = {FORMAT!r}
def made(kind=logging.FileHandler, **options):
    handler = kind("bot.log", **options)
    handler.setFormatter(logging.Formatter(FORMAT))
    return handler
"""
# What the bot does: it answers, is asked about time-outs, and two calls fail, one with a traceback.
BOT = """
log = logging.getLogger("jarvis")
log.info("started")
log.info("user_command: why do I see ERROR - Read timed out today?")
log.error("Could not fetch: Read timed out. (read timeout=60)")
try:
    raise TypeError("'NoneType' object is not callable")
except TypeError:
    log.exception("Error processing message")
"""
OWN = 'logger = logging.getLogger("jarvis"); logger.setLevel(logging.INFO); logger.addHandler(made())\n'
# Each with what is done before the bot, what after it, and whether its errors can stand in a file at all.
SET_UPS = {
    "root file": ("logging.basicConfig(filename='bot.log', level=logging.INFO, format=FORMAT)\n", "", True),
    "RotatingFileHandler, small": (
        "h = made(logging.handlers.RotatingFileHandler, maxBytes=300, backupCount=9)\n"
        "logging.basicConfig(level=logging.INFO, handlers=[h])\n",
        "",
        True,
    ),
    "QueueHandler": (
        "import queue; lines = queue.Queue()\n"
        "logging.basicConfig(level=logging.INFO, handlers=[logging.handlers.QueueHandler(lines)])\n"
        "listener = logging.handlers.QueueListener(lines, made()); listener.start()\n",
        "listener.stop()\n",
        True,
    ),
    "named logger with its own file": (OWN, "", True),
    "named logger with its own file, propagate off": (OWN + "logger.propagate = False\n", "", True),
    "logger webex_bot with a file": (OWN.replace("jarvis", "webex_bot"), "", False),
    "stderr only": ("logging.basicConfig(level=logging.INFO, format=FORMAT)\n", "", True),
    "nothing set up": ("", "", True),
    "root file at WARNING": (
        "logging.basicConfig(filename='bot.log', level=logging.WARNING, format=FORMAT)\n",
        "",
        True,
    ),
    "file handler at ERROR": (
        "h = made(); h.setLevel(logging.ERROR); logging.basicConfig(level=logging.INFO, handlers=[h])\n",
        "",
        True,
    ),
    "filter: own names only": (
        "h = made(); h.addFilter(logging.Filter('jarvis')); logging.basicConfig(level=logging.INFO, handlers=[h])\n",
        "",
        True,
    ),
    "dictConfig without a formatter": (
        "logging.config.dictConfig({'version': 1, 'handlers': {'f': {'class': 'logging.FileHandler', 'filename': "
        "'bot.log'}}, 'loggers': {'jarvis': {'handlers': ['f'], 'level': 'INFO'}}})\n",
        "",
        True,
    ),
    "set up a second time": (
        OWN + "logging.basicConfig(filename='bot.log', level=logging.INFO, format=FORMAT, force=True)\n",
        "",
        True,
    ),
    "lines of loguru": (OWN.replace("made()", "made_loguru()"), "", True),
    "print only": ("", "", True),
    "NullHandler on root": (
        "logging.basicConfig(level=logging.INFO, handlers=[logging.NullHandler()])\n",
        "",
        False,
    ),
}
LOGURU = """
def made_loguru():
    handler = logging.FileHandler("bot.log")
    handler.setFormatter(logging.Formatter(
        "%(asctime)s.%(msecs)03d | %(levelname)-8s | %(name)s:%(funcName)s:%(lineno)d - %(message)s",
        "%Y-%m-%d %H:%M:%S"))
    return handler
"""
PRINTING = """
print("started", flush=True)
print("user_command: why do I see ERROR - Read timed out today?", flush=True)
for error in (TimeoutError("Read timed out. (read timeout=60)"), TypeError("'NoneType' object is not callable")):
    try:
        raise error
    except Exception:
        traceback.print_exc()
"""
# No level in the file, so only the traceback counts.
WITHOUT_LEVELS = {"dictConfig without a formatter", "nothing set up"}


@pytest.mark.parametrize("name", SET_UPS)
def test_a_set_up_is_judged_right(tmp_path: Path, name: str) -> None:
    before, after, heard = SET_UPS[name]
    bot = PRINTING if name == "print only" else BOT
    redirected = tmp_path / "output.log"
    with redirected.open("wb") as stream:
        code = HEAD + LOGURU + before + bot + after
        subprocess.run([sys.executable, "-c", code], cwd=tmp_path, stdout=stream, stderr=subprocess.STDOUT, check=True)
    log = tmp_path / "bot.log" if (tmp_path / "bot.log").exists() else redirected
    look = look_at_all(str(log), rotated=True)
    seen = evidence(look.tally, dialect=look.cursor.dialect)
    if not heard:
        assert (seen["failures"], seen["errors"], seen["lines"]) == (0, 0, 0)
        return
    assert seen["error_kinds"]["TypeError"] >= 1
    failures = 0 if name in WITHOUT_LEVELS else 2 if name == "set up a second time" else 1
    assert seen["failures"] <= failures
    assert bool(seen["failures"]) == bool(failures)
    assert ("only tracebacks count" in seen["dialect"]) == (name in WITHOUT_LEVELS or name == "print only")
