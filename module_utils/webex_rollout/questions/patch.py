# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers for `client_patch`: sources of a checkout read, compiled and written, as the bots' user."""

from __future__ import annotations

import base64
import os
import time
from dataclasses import replace
from typing import Any

from ..ahead import read_ahead
from ..become import Account, account_for, as_account
from ..disk import sha256
from ..entries import Entry
from ..errors import RolloutError
from ..files import Files
from ..imports import import_problem
from ..sources import compile_problem
from ..tree import real_places
from ..words import printable


class _Sources:
    """Sources of a checkout, read and written by the one whose they are."""

    def __init__(self, home: str, user: str) -> None:
        """Find out who acts."""
        self.home = home
        self.account: Account = account_for(user, home)
        self.files = Files(user, home, self.account)

    def read(self, paths: list[str], script: str) -> dict[str, bytes]:
        """Those of some paths that exist.

        :raises RolloutError: when the script is no file of the checkout, or a file of it cannot be read.
        """
        places = as_account(self.account, real_places, self.home, paths, os.path.normpath(script))
        looks = self.files.look_at_all(places.values())
        return {path: looks[real][1] for path, real in places.items() if looks[real][0].kind == "file"}

    def read_ahead(self, asked: dict[str, Any], script: str) -> tuple[dict[str, bytes], list[str]]:
        """The script and what it needs, as `ahead.read_ahead` finds it, and all paths that were looked for.

        :raises RolloutError: when the script is no file of the checkout, or a file of it cannot be read.
        """
        given = self.home, os.path.normpath(script), list(asked["directories"])
        found, tried = as_account(self.account, read_ahead, *given)
        return found, tried

    def is_as_known(self, known: dict[str, list[str]], script: str) -> bool:
        """Whether each path holds one of the contents that are given as hashes; an empty one is no file at all."""
        contents = self.read(list(known), script)
        return all(
            sha256(contents[path]) in hashes if path in contents else "" in hashes for path, hashes in known.items()
        )

    def compile_all(self, python: str, sources: dict[str, bytes]) -> dict[str, str]:
        """What the interpreter reports, by path, of each source that it does not compile.

        :raises RolloutError: when the interpreter cannot be run.
        """
        problems = {
            path: compile_problem(python, path, source, account=self.account)
            for path, source in sorted(sources.items())
        }
        return {path: problem for path, problem in problems.items() if problem}

    def write_all(
        self, sources: dict[str, bytes], expected: dict[str, str], backup: bool, check: bool
    ) -> list[dict[str, Any]]:
        """Replace sources, each where the checkout's own links lead, with owner and mode kept.

        :raises RolloutError: when one is not what was read, before any is written.
        """
        places = as_account(self.account, real_places, self.home, list(sources), "")
        looks = self.files.look_at_all(places.values())
        for path in sources:
            entry, _ = looks.get(places.get(path, ""), (Entry("absent"), b""))
            if entry.kind != "file" or entry.sha256 != expected.get(path):
                raise RolloutError(f"{path} was changed while it was being patched. Nothing was written; run again")
        written = []
        for path, source in sources.items():
            entry, before = looks[places[path]]
            told = {"path": path, "checksum": sha256(source)}
            if not check:
                if backup:
                    told["backup_file"] = self._back_up(places[path], entry, before)
                new = replace(entry, sha256=told["checksum"], mtime_ns=time.time_ns())
                self.files.put_back(places[path], new, source)
            written.append(told)
        return written

    def _back_up(self, path: str, entry: Entry, data: bytes) -> str:
        copy = f"{path}.{time.strftime('%Y-%m-%dT%H-%M-%S')}~"
        self.files.put_back(copy, entry, data)
        return copy


def _act(given: dict[str, Any], check: bool) -> dict[str, Any]:
    """Read what is asked for, or compile and write.

    :raises RolloutError: for all that cannot be done.
    """
    sources = _Sources(given["home"], given["user"])
    if given["known"] and not sources.is_as_known(given["known"], given["script"]):
        return {"changed": False, "stale": True}
    contents = sources.read(given["read"], given["script"]) if given["read"] else {}
    tried: list[str] = []
    if given["ahead"]:
        contents, tried = sources.read_ahead(given["ahead"], given["script"])
    new = {path: base64.b64decode(source) for path, source in given["write"].items()}
    errors = sources.compile_all(given["python"], new) if given["python"] else {}
    asked = given["prove"]
    problem = ""
    if asked:
        imports = [(str(name), list(path)) for name, path in asked["imports"]]
        problem = import_problem(given["python"], given["home"], asked["file"], imports, sources.account)
    files = []
    if new and not errors and not problem:
        files = sources.write_all(new, given["expected"], given["backup"], check)
    return {
        "changed": bool(files),
        "tried": tried,
        "contents": {path: base64.b64encode(data).decode("ascii") for path, data in contents.items()},
        "errors": errors,
        "problem": problem,
        "files": files,
    }


def answer(given: dict[str, Any], check: bool) -> dict[str, Any]:
    """Read what is asked for, or compile and write."""
    try:
        return _act(given, check)
    except RolloutError as error:
        return {"failed": True, "msg": printable(str(error))}
    except OSError as error:
        return {"failed": True, "msg": printable(f"{error.filename or 'a source'}: {error.strerror}")}
