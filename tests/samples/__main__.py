"""Makes what the README shows of a real run: its excerpts, and the report's pictures. python -m tests.samples, as root.

A lab is rolled out with a soak of seconds by the README's own commands. The pictures are taken by Chromium.
"""

from __future__ import annotations

import base64
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

from tests.lab.lab import Lab, temporary
from tests.lab.paths import PROJECT
from tests.lab.webex.driver import Pattern
from tests.report_browser.chromium import browser
from tests.samples.excerpts import SAMPLES, excerpt, replace

PICTURES = PROJECT / "docs" / "pictures"
SIZE = (1000, 590)
SETTINGS = {
    "rollout_settle": 5,
    "rollout_soak_min": 20,
    "rollout_fleet_soak": 10,
    "rollout_min_requests": 20,
    "rollout_beta": 1,
    "rollout_wait": 300,
}


def play(lab: Lab, command: str, reports: str) -> str:
    """Run one of the README's commands against the lab; returns what it printed."""
    program, *words = command.split()
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(Path.home()), "LANG": "C.UTF-8"}
    done = subprocess.run(
        [Path(sys.executable).with_name(program), "-i", lab.inventory, *words],
        cwd=PROJECT,
        env={**environment, "ROLLOUT_REPORT_DIRECTORY": reports},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{command} ended with {done.returncode}:\n{done.stdout[-3000:]}{done.stderr[-1000:]}")
    return done.stdout.replace(reports, "reports")


def photograph(report: Path) -> None:
    """The upper part of a report's page."""
    width, height = SIZE
    clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
    with browser() as running:
        page = running.page()
        page.call("Emulation.setScrollbarsHidden", hidden=True)
        page.show(report, width, height)
        answer = page.call("Page.captureScreenshot", clip=clip)
    (PICTURES / "report.png").write_bytes(base64.b64decode(answer["data"]))


def main() -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # takes the lab down
    with tempfile.TemporaryDirectory(prefix="wbr-samples-") as reports, temporary("samples") as lab:
        variables = Path(lab.inventory, "group_vars", "bots.yml")
        variables.write_text(yaml.safe_dump(yaml.safe_load(variables.read_text()) | SETTINGS))
        lab.start_bots()
        lab.webex.start(Pattern(burst=2, gap=4.0))
        printed = {}
        for sample in SAMPLES:
            if sample.name == "status":
                play(lab, "ansible-playbook rollout.yml", reports)
            print(f"$ {sample.command}", file=sys.stderr, flush=True)
            printed[sample.name] = play(lab, sample.command, reports)
        newest = max(Path(reports).glob("*/index.html"), key=lambda path: path.parent.name)
        photograph(newest)
    for sample in SAMPLES:
        replace(PROJECT / "README.md", sample.name, excerpt(sample, printed[sample.name]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
