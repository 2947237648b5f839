"""As the bots' user: ends jarvis again and again until his unit has failed, or is gone."""

import os
import signal
import subprocess
import time
from contextlib import suppress


def shown(key: str) -> str:
    command = ["systemctl", "show", "-p", key, "--value", "webex-bot@jarvis.service"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


for _ in range(600):
    if shown("ActiveState") == "failed" or shown("LoadState") == "not-found":
        break
    pid = shown("MainPID")
    if pid not in ("", "0"):
        with suppress(ProcessLookupError, PermissionError):
            os.kill(int(pid), signal.SIGSEGV)
    time.sleep(0.2)
