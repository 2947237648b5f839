"""For pyinfra: the copies, limits and units of a rollout; $BENCH_SAME_WORK is a file with what they are."""

import json
import os
from pathlib import Path

from pyinfra.operations import files, systemd

WORK = json.loads(Path(os.environ["BENCH_SAME_WORK"]).read_text())

for each in WORK["files"]:
    files.put(
        name=f"Copy {each['dest']}",
        src=each["src"],
        dest=each["dest"],
        user=each["user"],
        group=each["user"],
        mode=each["mode"],
    )
for unit in WORK["units"]:
    systemd.service(name=f"Run {unit}", service=unit, running=True, enabled=True)
