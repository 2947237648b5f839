"""As another local user: a program whose path is longer than a page, and that sleeps."""

import os
from pathlib import Path

os.chdir(Path.home())
for _ in range(20):
    Path("d" * 250).mkdir(exist_ok=True)
    os.chdir("d" * 250)
sleep = Path("sleep")
sleep.write_bytes(Path("/usr/bin/sleep").read_bytes())
sleep.chmod(0o755)
os.execv("./sleep", ["sleep", "600"])
