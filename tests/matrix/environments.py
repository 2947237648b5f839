"""A controller's virtual environment for each ansible-core, with a Python that it runs on, kept in the user's cache."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.lab.paths import CACHE, PROJECT

CORES = {
    "2.17": ((3, 11), (3, 12)),
    "2.18": ((3, 11), (3, 13)),
    "2.19": ((3, 11), (3, 13)),
    "2.20": ((3, 12), (3, 14)),
    "2.21": ((3, 12), (3, 14)),
}
"""What a rollout takes, with the oldest and the newest Python that both it and this project run on."""
Version = tuple[int, int]


class MissingError(Exception):
    """What this machine lacks for a cell."""


@dataclass(frozen=True)
class Environment:
    """A virtual environment; `ansible` is the whole version of its ansible-core."""

    bin: Path
    python: str
    ansible: str


def pythons() -> dict[Version, str]:
    """Every Python 3.11 or newer that can make a virtual environment: this one, PATH's, pyenv's and uv's."""
    names = [sys.executable, *(shutil.which(f"python3.{minor}") or "" for minor in range(11, 15))]
    for root in (os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv", Path.home() / ".local/share/uv/python"):
        names += map(str, sorted([*Path(root).glob("versions/*/bin/python3"), *Path(root).glob("*/bin/python3")]))
    found: dict[Version, str] = {}
    for name in filter(None, names):
        code = "import sys, venv, ensurepip; print(*sys.version_info[:2])"
        asked = subprocess.run([name, "-c", code], capture_output=True, text=True, check=False)
        if asked.returncode == 0:  # pyenv's shims fail for a version that is not chosen
            major, minor = map(int, asked.stdout.split())
            found.setdefault((major, minor), name)
    return {version: found[version] for version in sorted(found) if version >= (3, 11)}


def choose(core: str, have: dict[Version, str], *, newest: bool) -> str:
    """The oldest or newest Python of those that an ansible-core runs on.

    :raises MissingError: when there is none.
    """
    low, high = CORES[core]
    fitting = [name for version, name in have.items() if low <= version <= high]
    if not fitting:
        raise MissingError(f"no Python {low[0]}.{low[1]} to {high[0]}.{high[1]} (pyenv, uv or Debian have it)")
    return fitting[-1 if newest else 0]


def prepare(core: str, python: str) -> Environment:
    """Make the environment, or take the one that was made before.

    :raises MissingError: when its packages cannot be had.
    """
    wanted = [f"ansible-core=={core}.*", *_pinned()]
    version = _output([python, "-c", "import platform; print(platform.python_version())"])
    place = CACHE / "matrix" / f"core-{core}-python-{version}"
    installed = place / ".installed"
    if not installed.exists() or installed.read_text().splitlines() != wanted:
        shutil.rmtree(place, ignore_errors=True)
        place.parent.mkdir(parents=True, exist_ok=True)
        _output([python, "-m", "venv", str(place)])
        _output([str(place / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted])
        installed.write_text("\n".join(wanted) + "\n")
    code = "import ansible.release; print(ansible.release.__version__)"
    return Environment(place / "bin", version, _output([str(place / "bin/python"), "-c", code]))


def _pinned() -> list[str]:
    """What a controller needs besides ansible-core, as it is pinned."""
    direct = set(re.findall(r"^([a-z][\w-]*)", (PROJECT / "requirements.in").read_text(), re.M)) - {"ansible-core"}
    lines = (PROJECT / "requirements.txt").read_text().splitlines()
    return [line.split()[0] for line in lines if line.partition("==")[0] in direct]


def _output(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise MissingError(f"`{' '.join(command[:4])} …` failed: {done.stderr.strip()[-500:]}")
    return done.stdout.strip()
