"""As another local user: keeps a process alive that is called like jarvis; whoever ends it finds a new one."""

import os
import time
from contextlib import suppress
from pathlib import Path

home = Path.home()
(home / "respawn").mkdir(exist_ok=True)
(home / "respawn/sitecustomize.py").write_text("import time\ntime.sleep(600)\n")


def alive() -> bool:
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if b"jarvis.py" in (process / "cmdline").read_bytes() and process.stat().st_uid == os.getuid():
                return True
    return False


while True:
    child = os.fork()
    if child == 0:
        os.setsid()
        if os.fork():
            os._exit(0)  # so that its parent is init, and nobody is seen to restart it
        script = "/home/vinay/pub/IR/webex_bots/jarvis.py"
        os.execve("/usr/bin/python3", ["python3", script], {"PYTHONPATH": f"{home}/respawn"})
    os.waitpid(child, 0)
    time.sleep(0.05)
    while alive():
        time.sleep(0.01)
