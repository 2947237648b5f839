# SPDX-License-Identifier: GPL-3.0-or-later
"""The state on disk: ``/var/lib/webex-rollout`` with ``lock.json``, ``audit.log`` and a directory a bot."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from .clock import Timing
from .disk import flock, make_directory, seal, sha256, unseal, write_whole
from .entries import Entry
from .errors import RolloutError
from .paths import PROGRAM, STATE_DIR, checked_name, checked_release
from .state import Phase, Release, State
from .system import local_user, printable, utc

RESERVE_BYTES = 1024 * 1024


class Vm:
    """The rollout's state of this machine: ``lock.json``, ``audit.log``, one directory a bot."""

    def __init__(self, state_dir: str = STATE_DIR, who: str = "", timing: Timing = Timing()) -> None:  # noqa: B008
        """`who` acts, as the audit names it."""
        self.path = Path(state_dir)
        self.who = who or local_user()
        self.timing = timing
        self.program = PROGRAM

    # -- one at a time ------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def mutex(self, wait: float | None = None) -> Iterator[None]:
        """Held while shared files, systemd's own configuration, the lock or the guard's timer change. Never ask for a
        bot's mutex while holding this one."""
        make_directory(self.path)
        with flock(self.path / "mutex", "another action on this machine", self.timing.mutex if wait is None else wait):
            yield

    # -- audit --------------------------------------------------------------------------------------------

    def audit(self, action: str, bot: str, result: str, **details: object) -> None:
        """Append one line: who did what to which bot with which result. A full disk must not stop a rollback."""
        words = [utc(time.time()), f"who={self.who}", f"action={action}", f"bot={bot or '-'}", f"result={result}"]
        words += [f"{key}={json.dumps(value) if isinstance(value, str) else value}" for key, value in details.items()]
        line = printable(" ".join(words)) + "\n"
        path = self.path / "audit.log"
        try:
            fd = os.open(str(path), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                os.write(fd, line.encode("utf-8", "replace"))
                os.fsync(fd)
            finally:
                os.close(fd)
        except OSError as error:
            print(f"webex-rollout: cannot write {path} ({error.strerror}): {line}", file=sys.stderr, end="")

    def audit_tail(self, lines: int) -> list[str]:
        """The last lines of the audit."""
        try:
            return (self.path / "audit.log").read_text("utf-8", "replace").splitlines()[-lines:]
        except FileNotFoundError:
            return []

    # -- room on the disk ---------------------------------------------------------------------------------

    def reserve_room(self) -> None:
        """Reserve blocks, so that a rollback can still be written down when the disk is full."""
        with contextlib.suppress(FileNotFoundError):
            (self.path / "ballast").unlink()  # its name in version 0.1.0
        reserve = self.path / "reserve"
        if reserve.exists() and reserve.stat().st_size == RESERVE_BYTES:
            return
        fd = os.open(str(reserve), os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            os.posix_fallocate(fd, 0, RESERVE_BYTES)
        except OSError as error:
            reserve.unlink()
            raise RolloutError(
                f"no room for a rollback on the disk of {self.path} ({error.strerror}); nothing was changed. "
                "Free some megabytes there and run again"
            ) from None
        finally:
            os.close(fd)

    def write(self, path: Path, content: dict[str, Any] | bytes) -> None:
        """Write a file of the state; on a full disk the reserve is given up."""
        data = content if isinstance(content, bytes) else seal(content)
        try:
            write_whole(path, data)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            with contextlib.suppress(FileNotFoundError):
                (self.path / "reserve").unlink()
            try:
                write_whole(path, data)
            except OSError as again:
                raise RolloutError(
                    f"cannot write {path}: {again.strerror}. Free some megabytes and run again"
                ) from None

    # -- bots ---------------------------------------------------------------------------------------------

    def bot_names(self) -> list[str]:
        """Every bot that was ever recorded here."""
        try:
            entries = sorted(self.path.iterdir())
        except FileNotFoundError:
            return []
        return [entry.name for entry in entries if entry.is_dir() and (entry / "state.json").exists()]

    def store(self, bot: str) -> Store:
        """One bot's part of the state.

        :raises RolloutError: when the name would not be one directory and one unit instance.
        """
        return Store(self, checked_name(bot))


class Store:
    """Reads and writes one bot's state below ``<state>/<bot>/``."""

    def __init__(self, vm: Vm, bot: str) -> None:
        """Nothing is created before something is written."""
        self.vm = vm
        self.bot = bot
        self.path = vm.path / bot

    @contextlib.contextmanager
    def mutex(self, wait: float | None = None) -> Iterator[None]:
        """Held by whoever acts on this bot."""
        make_directory(self.path)
        with flock(
            self.path / "mutex", f"another action on {self.bot}", self.vm.timing.mutex if wait is None else wait
        ):
            yield

    @property
    def soak_path(self) -> Path:
        """Where the soak of the bot's release is kept."""
        return self.path / "soak.json"

    @property
    def history_path(self) -> Path:
        """Where it is kept what the bot's log held before a release that was rolled back."""
        return self.path / "history.json"

    @contextlib.contextmanager
    def soak_mutex(self) -> Iterator[None]:
        """Held while the bot's log is looked at and the soak is written: by a run, or by the timer between two."""
        make_directory(self.path)
        with flock(self.path / "soak.lock", f"a look at {self.bot}'s log", self.vm.timing.mutex):
            yield

    def load(self) -> State | None:
        """The bot's state; None if it was never recorded."""
        path = self.path / "state.json"
        try:
            return State.load(unseal(path))
        except FileNotFoundError:
            if (self.path / "releases").exists():
                raise RolloutError(
                    f"{path} is gone while releases of {self.bot} are there; recording again would take the changed "
                    f"files for the ones that were found. Restore state.json, or move {self.path} away to start anew"
                ) from None
            return None
        except (KeyError, TypeError, ValueError) as error:
            raise RolloutError(
                f"{path} is not what this program writes ({error}); nothing was done with {self.bot}"
            ) from None

    def need(self) -> State:
        """The bot's state; an error if it was never recorded."""
        state = self.load()
        if state is None or state.phase is Phase.RECORDING:
            known = ", ".join(self.vm.bot_names()) or "none"
            raise RolloutError(f"{self.bot} was never recorded on this machine (recorded: {known}); roll it out first")
        return state

    def save(self, state: State) -> None:
        """Write the state; it is on disk when this returns."""
        make_directory(self.path)
        self.vm.write(self.path / "state.json", asdict(state))

    # -- releases -----------------------------------------------------------------------------------------

    def release_path(self, release: str) -> Path:
        """The directory of a release."""
        return self.path / "releases" / checked_release(release)

    def release(self, release: str) -> Release:
        """Read a release."""
        path = self.release_path(release) / "release.json"
        try:
            return Release.load(unseal(path))
        except FileNotFoundError:
            known = ", ".join(self.release_names()) or "none"
            raise RolloutError(f"{self.bot} has no release {release!r} on this machine (there are: {known})") from None
        except (KeyError, TypeError, ValueError) as error:
            raise RolloutError(f"{path} is not what this program writes ({error})") from None

    def release_names(self) -> list[str]:
        """Releases that are kept."""
        try:
            paths = list((self.path / "releases").iterdir())
        except FileNotFoundError:
            return []
        return sorted(path.name for path in paths if (path / "release.json").exists())

    def write_release(self, release: Release) -> None:
        """Write a release's description; its bytes must have been kept before."""
        directory = self.release_path(release.id)
        make_directory(directory)
        self.vm.write(directory / "release.json", asdict(release))

    def keep(self, data: bytes) -> str:
        """Keep bytes under their hash."""
        digest = sha256(data)
        path = self.path / "blobs" / digest
        if not path.exists():
            make_directory(path.parent)
            self.vm.write(path, data)
        return digest

    def back_up(self, path: str, data: bytes) -> Path:
        """Keep bytes that no release has before they are overwritten, under a name that says whose they are."""
        directory = self.path / "backups"
        place = directory / f"{sha256(data)[:12]}-{os.path.basename(path)}"
        if not place.exists():
            make_directory(directory)
            self.vm.write(place, data)
        return place

    def bytes_of(self, entry: Entry) -> bytes:
        """The bytes of a file's entry."""
        if entry.kind != "file":
            return b""
        path = self.path / "blobs" / entry.sha256
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise RolloutError(
                f"{path} is missing: {self.bot} cannot be rolled back to the release it belongs to"
            ) from None
        if sha256(data) != entry.sha256:
            raise RolloutError(f"{path} is damaged: {self.bot} cannot be rolled back to the release it belongs to")
        return data

    def prune(self, state: State, keep: int) -> None:
        """Remove the oldest releases beyond `keep`, never one that a bot could be rolled back to."""
        wanted = {"0", state.current, state.previous, state.candidate, state.carried_from}
        releases = sorted((self.release(name) for name in self.release_names()), key=lambda release: release.created)
        spare = [release.id for release in releases if release.id not in wanted]
        for name in spare[: max(0, len(releases) - keep)]:
            (self.release_path(name) / "release.json").unlink()  # first: from now on it is no release any more
            shutil.rmtree(str(self.release_path(name)))
        used = {entry.sha256 for name in self.release_names() for entry in self.release(name).manifest.values()}
        for blob in list((self.path / "blobs").iterdir()):
            if blob.name not in used:
                blob.unlink()

    def known_contents(self, path: str) -> set[str]:
        """Contents that a path has in this bot's releases."""
        contents = set()
        for name in self.release_names():
            with contextlib.suppress(RolloutError):  # pruned at this moment, or damaged
                manifest = self.release(name).manifest
                if path in manifest:
                    contents.add(manifest[path].content)
        return contents

    def extend_releases(self, manifest: Mapping[str, Entry]) -> None:
        """Take new paths up into every release: as long as nobody managed them, they were what they are now."""
        for name in self.release_names():
            release = self.release(name)
            missing = {path: entry for path, entry in manifest.items() if path not in release.manifest}
            if missing:
                self.write_release(replace(release, manifest={**release.manifest, **missing}))
