# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers for `webex_files`: a list of files compared, checked and written."""

from __future__ import annotations

import base64
import os
import re
import shutil
import stat
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..become import Account, account_for
from ..disk import sha256
from ..entries import Entry
from ..errors import RolloutError
from ..files import Files
from ..sources import compile_problem
from ..system import run_command
from ..tree import must_be_roots
from ..words import printable

UNITS = "/etc/systemd/system/"
# Root's alone; a trial of units in it is nobody else's to change.
TRIALS = "/run"


@dataclass(frozen=True)
class Wanted:
    """One path, and what it has to be."""

    path: str
    state: str
    mode: int
    data: bytes
    compile_with: str
    of_checkout: bool


@dataclass(frozen=True)
class Change:
    """A path that differs, with what it is now."""

    wanted: Wanted
    what: str  # written, made or removed
    before: bytes


class Writer:
    """Compares a list of files with what is there, checks it, and writes it."""

    def __init__(self, home: str, user: str) -> None:
        """Find out who acts on the checkout; without one, root writes files of its own."""
        self.home = home
        self.account: Account | None = account_for(user, home) if home else None
        self.files = Files(user, home, self.account)

    def changes(self, wanted: list[Wanted]) -> list[Change]:
        """What differs from what is wanted.

        :raises RolloutError: when a path is not where it may be written, or is something else than a file.
        """
        for item in wanted:
            if not item.of_checkout:
                must_be_roots(item.path)
        trees = {item.path for item in wanted if not item.of_checkout and _is_directory(item.path)}
        looks = self.files.look_at_all(
            [item.path for item in wanted if item.state != "directory" and item.path not in trees]
        )
        found = []
        for item in wanted:
            entry, before = looks.get(item.path, (Entry("absent"), b""))
            if item.state == "directory":
                if not _has_mode(item.path, item.mode):
                    found.append(Change(item, "made", b""))
            elif item.path in trees:
                if item.state == "present":
                    raise RolloutError(f"{item.path} is a directory, and a file belongs there. Move it out of the way")
                found.append(Change(item, "removed", b""))
            elif item.state == "absent":
                if entry.kind != "absent":
                    found.append(Change(item, "removed", before))
            elif entry.identity != self.entry(item).identity:
                found.append(Change(item, "written", before))
        return found

    def entry(self, item: Wanted) -> Entry:
        """A file as it is wanted."""
        uid, gid = (self.account.uid, self.account.gid) if item.of_checkout and self.account else (0, 0)
        return Entry("file", sha256(item.data), item.mode, uid, gid, time.time_ns())

    def compiled(self, changes: list[Change]) -> None:
        """Refuse a source that its interpreter does not compile.

        :raises RolloutError: naming it.
        """
        for change in changes:
            item = change.wanted
            if change.what == "written" and item.compile_with:
                problem = compile_problem(item.compile_with, item.path, item.data, account=self.account)
                if problem:
                    raise RolloutError(f"{item.compile_with} does not compile {item.path}: {problem}")

    def write(self, change: Change) -> None:
        """Make a path what it has to be."""
        item = change.wanted
        if change.what == "made":
            _make_directory(item.path, item.mode)
        elif change.what == "written":
            self.files.put_back(item.path, self.entry(item), item.data)
        elif _is_directory(item.path) and not item.of_checkout:
            shutil.rmtree(item.path)
        else:
            self.files.put_back(item.path, Entry("absent"), b"")


def _is_directory(path: str) -> bool:
    """Whether there is a directory, and no link to one."""
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def _has_mode(path: str, mode: int) -> bool:
    """Whether there is a directory of root's with these permissions.

    :raises RolloutError: when there is something else.
    """
    try:
        status = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    if not stat.S_ISDIR(status.st_mode):
        raise RolloutError(f"{path} is no directory, and has to be one. Move it out of the way")
    return (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) == (mode, 0, 0)


def _make_directory(path: str, mode: int) -> None:
    """A directory of root's; missing ones above it are for all to look into."""
    directory = Path(path)
    if not directory.parent.is_dir():
        _make_directory(str(directory.parent), 0o755)
    directory.mkdir(mode=0o700, exist_ok=True)
    os.chown(directory, 0, 0)
    directory.chmod(mode)


def verify_units(names: list[str], wanted: list[Wanted]) -> None:
    """Have systemd judge units on a copy that lies before the machine's own in its search path.

    :raises RolloutError: with what it says.
    """
    with tempfile.TemporaryDirectory(prefix="webex-files-", dir=TRIALS) as trial:
        for item in wanted:
            if item.state == "present" and item.path.startswith(UNITS):
                copy = Path(trial, item.path[len(UNITS) :])
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_bytes(item.data)
        environment = {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C", "SYSTEMD_UNIT_PATH": f"{trial}:"}
        done = run_command(["systemd-analyze", "verify", "--man=no", *names], environment=environment)
        said = done.stderr.decode("utf-8", "replace").replace(f"{trial}/", UNITS).strip()
    if done.returncode != 0:
        raise RolloutError(f"systemd does not accept {', '.join(names)}: {said or f'exit code {done.returncode}'}")


def _all_wanted(given: dict[str, Any]) -> list[Wanted]:
    """The list as it was given.

    :raises RolloutError: for a path or a mode that is none, a path named twice, a directory of the bots' user.
    """
    found: dict[str, Wanted] = {}
    for item in given["files"]:
        path, state = item["path"], item["state"]
        if not path.startswith("/") or os.path.normpath(path) != path or "\0" in path:
            raise RolloutError(f"{path!r} cannot be written: give an absolute path without `..`")
        if path in found:
            raise RolloutError(f"{path} is named twice")
        mode = item["mode"] or ("0755" if state == "directory" else "0644")
        if not re.fullmatch(r"0?[0-7]{3}", mode):
            raise RolloutError(f"{path}: {mode!r} is no mode; give three octal digits, in quotes")
        of_checkout = bool(given["home"]) and path.startswith(given["home"].rstrip("/") + "/")
        if state == "directory" and of_checkout:
            raise RolloutError(f"{path}: directories of a checkout are made with the files in them")
        if state == "present" and path not in given["contents"]:
            raise RolloutError(f"{path} has no content")
        if item["compile_with"] and not of_checkout:
            raise RolloutError(f"{path}: only a file of the checkout is compiled, for it is done by the bots' user")
        data = base64.b64decode(given["contents"].get(path, ""))
        found[path] = Wanted(path, state, int(mode, 8), data, item["compile_with"] or "", of_checkout)
    return list(found.values())


def _act(given: dict[str, Any], check: bool) -> list[dict[str, Any]]:
    """Compare, check, write; what differed.

    :raises RolloutError: when something cannot be, or was not accepted; then nothing was written.
    """
    wanted = _all_wanted(given)
    writer = Writer(given["home"], given["user"])
    try:
        changes = writer.changes(wanted)
        writer.compiled(changes)
        if given["verify"] and changes and not check:
            verify_units(given["verify"], wanted)
    except RolloutError as error:
        raise RolloutError(f"{error}. Nothing was written") from None
    if not check:
        for change in changes:
            writer.write(change)
    return [_described(change, given["diff_limit"]) for change in changes]


def _described(change: Change, limit: int) -> dict[str, Any]:
    """A change as the action takes it; the old content is for a diff that it makes."""
    told: dict[str, Any] = {"path": change.wanted.path, "change": change.what}
    if len(change.before) <= limit:
        told["before"] = base64.b64encode(change.before).decode("ascii")
    return told


def answer(given: dict[str, Any], check: bool) -> dict[str, Any]:
    """Compare the files, and write what differs."""
    try:
        files = _act(given, check)
    except RolloutError as error:
        return {"failed": True, "msg": printable(str(error))}
    except OSError as error:
        problem = f"cannot write {error.filename or 'a file'}: {error.strerror}"
        return {"failed": True, "msg": printable(problem)}
    return {"changed": bool(files), "files": files}
