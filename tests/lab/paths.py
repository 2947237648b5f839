"""Where the lab keeps what it makes: images in the user's cache, everything that lives in /run."""

from __future__ import annotations

import os
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
CHECKOUT = PROJECT / "tests" / "lab" / "checkout"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "webex-bot-rollout"
RUN = Path("/run/webex-bot-rollout")

BOTS = ("jarvis", "tars", "toodles", "barnacles", "money_ball", "msoar")
VM_USER = "vinay"
VM_UID = 1000
VM_HOME = "/home/vinay"
VM_CHECKOUT = "/home/vinay/pub/IR"
# A zone with daylight saving, so that time stamps of the bots' logs are not UTC by luck.
VM_ZONE = "America/New_York"
