"""The environments a bot's pool module meets, as virtual environments made once and kept in the user's cache."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "webex-bot-rollout" / "pool"


@dataclass(frozen=True)
class Environment:
    """What is installed, by exact version, and on which Python (a path; this one if None).

    `forced` is installed last and against what the packages ask of each other: webexteamssdk 1.7 insists on
    PyJWT 1.7.1 and webexpythonsdk on another, and webexpythonsdk on requests 2.32, while bots have both SDKs, or old
    requests.
    """

    name: str
    pins: tuple[str, ...]
    forced: tuple[str, ...] = ()
    python: Path | None = None

    def interpreter(self) -> Path:
        """The environment's Python; the environment is made if it is not there, by one process at a time."""
        base = self.python or Path(sys.executable)
        version = subprocess.run([base, "-VV"], capture_output=True, text=True, check=True).stdout
        digest = hashlib.sha256("\n".join([version, *self.pins, "", *self.forced]).encode()).hexdigest()[:16]
        target = CACHE / f"{self.name}-{digest}"
        CACHE.mkdir(parents=True, exist_ok=True)
        with _locked(CACHE / f"{target.name}.lock"):
            if not (target / "complete").exists():
                shutil.rmtree(target, ignore_errors=True)
                self._make(base, target)
                (target / "complete").touch()
        return target / "bin" / "python"

    def _make(self, base: Path, target: Path) -> None:
        _run([base, "-m", "venv", target])
        install = [target / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
        _run([*install, *self.pins, "pytest"])
        if self.forced:
            _run([*install, "--no-deps", "--upgrade", *self.forced])


def _run(argv: Iterable[str | Path]) -> None:
    words = [str(word) for word in argv]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)} failed: {(done.stderr or done.stdout).strip()[-1500:]}")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


# The kinds that few bots use.
OTHERS = ("ciscosparkapi==0.10.1", "webexteamsbot==0.1.4.2", "wxc_sdk==1.41.0")
# What requests 2.22 asks for.
OLD_REQUESTS = ("requests==2.22.0", "urllib3==1.25.2", "chardet==3.0.4", "idna==2.8")
# The two ends of what bots run on today's Python: the oldest requests and urllib3 that are supported, and today's.
OLDEST = Environment(
    "oldest",
    pins=("webex_bot==1.0.8", "future==1.0.0", *OTHERS),
    forced=("webexteamssdk==1.7", *OLD_REQUESTS),
)
NEWEST = Environment(
    "newest",
    pins=("webex_bot==1.3.1", "requests==2.34.2", "urllib3==2.8.0", "future==1.0.0", *OTHERS),
    forced=("webexteamssdk==1.7",),
)
