"""The Debian packages that the lab needs on this machine; what is missing is installed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from tests.lab.errors import LabError
from tests.lab.paths import VM_ZONE
from tests.lab.run import run

_NEEDED = {
    "systemd-nspawn": "systemd-container",
    "mmdebstrap": "mmdebstrap",
    "nft": "nftables",
    "ip": "iproute2",
    "ss": "iproute2",
    "ssh": "openssh-client",
    "nsenter": "util-linux",
    "git": "git",
}


def ensure(say: Callable[[str], None]) -> None:
    """Install what is missing; raise a LabError that names it where that cannot be done."""
    if os.geteuid() != 0:
        raise LabError("the lab makes namespaces and mounts and boots a systemd: run it as root (sudo make …)")
    missing = sorted({package for command, package in _NEEDED.items() if shutil.which(command) is None})
    if not Path("/usr/share/keyrings/debian-archive-keyring.gpg").exists():
        missing.append("debian-archive-keyring")
    if not Path("/usr/share/zoneinfo", VM_ZONE).exists():
        missing.append("tzdata")
    if not missing:
        return
    if shutil.which("apt-get") is None:
        raise LabError(
            f"the lab needs {', '.join(missing)} (names of Debian packages) and finds no apt-get to install them"
        )
    say(f"installing {', '.join(missing)}")
    run(["apt-get", "update", "-qq"])
    run(
        [
            "env",
            "DEBIAN_FRONTEND=noninteractive",
            "apt-get",
            "install",
            "-y",
            "-qq",
            "--no-install-recommends",
            *missing,
        ],
        timeout=1200,
    )
