"""Made-up accounts to act as: `pwd` knows them while a test runs, the machine does not. Needs root."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pytest

NAMES = {"botuser": 4242, "otheruser": 4243, "thirduser": 4244}


@dataclass(frozen=True)
class People:
    """Three users with a home each, below a directory that all of them may walk through."""

    base: Path

    @property
    def home(self) -> Path:
        """The bots' user's home, and the checkout in these tests."""
        return self.base / "botuser"

    def give(self, path: Path, name: str = "botuser") -> None:
        """Give a path, and all below it, to somebody."""
        for where, directories, files in os.walk(path):
            for entry in [".", *directories, *files]:
                os.chown(Path(where, entry), NAMES[name], NAMES[name], follow_symlinks=False)
        os.chown(path, NAMES[name], NAMES[name], follow_symlinks=False)

    def start(
        self,
        name: str,
        argv: Sequence[str],
        cwd: Path | None = None,
        executable: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start something as somebody, in a session of its own."""
        return subprocess.Popen(
            list(argv),
            executable=executable,
            cwd=cwd or self.base / name,
            env={"PATH": "/usr/bin:/bin", **(env or {})},
            user=NAMES[name],
            group=NAMES[name],
            extra_groups=[],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )

    def run(self, name: str, line: str) -> None:
        """Run a line of shell as somebody, in his home."""
        done = self.start(name, ["sh", "-ec", line])
        assert done.wait() == 0, line


def make_people(monkeypatch: pytest.MonkeyPatch) -> People:
    """The accounts, until the test is over; the caller removes `base`."""
    base = Path(tempfile.mkdtemp(prefix="people-"))
    base.chmod(0o755)
    by_name, by_uid = pwd.getpwnam, pwd.getpwuid
    entries = {
        name: pwd.struct_passwd((name, "x", uid, uid, "", f"{base}/{name}", "/bin/sh")) for name, uid in NAMES.items()
    }
    uids = {entry.pw_uid: entry for entry in entries.values()}
    monkeypatch.setattr(pwd, "getpwnam", lambda name: entries.get(name) or by_name(name))
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: uids.get(uid) or by_uid(uid))
    people = People(base)
    for name in NAMES:
        (base / name).mkdir()
        people.give(base / name, name)
    return people


def remove(people: People) -> None:
    """Take the homes away."""
    shutil.rmtree(people.base, ignore_errors=True)
