"""What a run installs on a VM for the guard to run: the program and its units, as hashes by path."""

from __future__ import annotations

import hashlib
from pathlib import Path

from module_utils.webex_rollout.paths import PROGRAM
from plugin_utils.program import digest

UNITS = Path(__file__).resolve().parents[1] / "roles" / "rollout" / "files"


def installed() -> dict[str, str]:
    """The SHA-256 of each file by its path on the VM; the program's without its first line."""
    units = sorted(path for path in UNITS.iterdir() if path.suffix in (".service", ".timer"))
    hashes = {f"/etc/systemd/system/{path.name}": hashlib.sha256(path.read_bytes()).hexdigest() for path in units}
    return {PROGRAM: digest(), **hashes}
