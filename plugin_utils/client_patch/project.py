"""The client patch over a whole checkout: the scripts are found by what they construct, wherever they are."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from .checkout import Checkout, CheckoutResult, NoClientsError, Read, SourceError
from .layout import is_python
from .model import OTHER_MODULE, UNREADABLE, Finding, Result, Settings
from .names import PACKAGES
from .patching import in_order
from .pool_place import POOL_FILE
from .shipping import not_shipped
from .source import Source
from .surroundings import Surroundings

_MENTIONED = re.compile(b"|".join([*(name.encode() for name in sorted(PACKAGES)), rb"webexapis\.com|ciscospark\.com"]))
Worker = Callable[[Checkout], CheckoutResult]
_HANDED_ON = re.compile(rb"^class\s+(\w+)\s*\(|\bas\s+(\w+)|^(\w+)\s*=\s*[\w.]+\s*$", re.MULTILINE)
_TEST = re.compile(r"(^|/)(tests?|testing)/|(^|/)(test_[^/]*|[^/]*_test|conftest)\.py$")


@dataclass
class ProjectResult:
    """What becomes of a checkout."""

    files: dict[str, Result] = field(default_factory=dict)
    before: dict[str, bytes] = field(default_factory=dict)
    # The pool modules' files, each with the name under which programs import it.
    modules: dict[str, str] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    # Files that are none of the bots, or could not be patched, each with the reason.
    skipped: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)


class Project:
    """All bots of a checkout, whose files are at hand."""

    def __init__(self, files: Mapping[str, bytes], settings: Settings, surroundings: Surroundings) -> None:
        self.files = files
        self.settings = settings
        self.surroundings = surroundings
        self.sources: dict[tuple[str, str], Source] = {}
        self.mentioning: set[str] = set()

    def candidates(self) -> list[str]:
        """Python files that mention Webex, or a class of a file that does; the pool module is none of them."""
        own = {
            path: raw
            for path, raw in sorted(self.files.items())
            if is_python(path, raw) and posixpath.basename(path) != f"{POOL_FILE}.py"
        }
        mentioning = {path for path, raw in own.items() if _MENTIONED.search(raw)}
        # By module, what it may hand on: a subclass, or the SDK's class under another name.
        handed = {
            posixpath.basename(path)[:-3].replace("__init__", posixpath.basename(posixpath.dirname(path))): names
            for path in sorted(mentioning)
            if (names := {name for found in _HANDED_ON.finditer(own[path]) for name in found.groups() if name})
        }
        self.mentioning = mentioning
        return [path for path, raw in own.items() if path in mentioning or _uses(raw, handed)]

    def patch(self, scripts: Sequence[str] = (), scope: str = "script") -> ProjectResult:
        """Patches the given scripts, or all that construct a client.

        :raises SourceError: if a script that was given cannot be patched, or if there is none to patch.
        """
        result = ProjectResult()
        for script in scripts or self.candidates():
            self._one(result, script, bool(scripts), lambda checkout: checkout.patch(scope))
        self._settle(result, scripts)
        return result

    def unpatch(self, originals: Read | None, scripts: Sequence[str] = (), scope: str = "script") -> ProjectResult:
        """Takes the clients out of the pool again; `originals` as for `Checkout.unpatch`.

        :raises SourceError: as `patch` does.
        """
        result = ProjectResult()
        for script in scripts or self.candidates():
            self._one(result, script, bool(scripts), lambda checkout: checkout.unpatch(originals, scope))
        self._settle(result, scripts)
        return result

    def _one(self, result: ProjectResult, script: str, named: bool, work: Worker) -> None:
        checkout = Checkout(self._read, script, self.settings, ("",), self.surroundings, self.sources)
        if not named and _TEST.search(script):
            # Mocks stand in for the clients there, and nobody waits for an answer.
            result.skipped[script] = "a test"
            return
        try:
            one = work(checkout)
        except NoClientsError as error:
            if named:
                raise
            result.findings += [item for item in error.findings if item.path == script]
            if script in self.mentioning:
                result.skipped[script] = "constructs no client that can be pooled"
            return
        except SourceError as error:
            if named:
                raise
            where = result.skipped if str(error).find("webex_patch_scope: imports") >= 0 else result.refused
            where[script] = str(error).partition("; set webex_patch_scope")[0]
            return
        result.files.update(one.files)
        result.before.update(one.before)
        result.findings += one.findings
        if one.place is not None and one.files:
            result.modules[one.place.file] = one.place.module
            for path, patched in one.files.items():
                if any(item.action != "unchanged" for item in patched.constructions):
                    result.findings += not_shipped(self.files, path, one.place.file)

    def _settle(self, result: ProjectResult, scripts: Sequence[str]) -> None:
        """Say nothing of clients in other modules that were patched themselves, and refuse a checkout without bots."""
        left = [item for item in result.findings if item.kind != OTHER_MODULE or item.path not in result.files]
        result.findings = in_order(left)
        if result.files or result.refused:
            return
        seen = [f"{item.path}:{item.line}: {item.message}" for item in result.findings if item.kind != UNREADABLE]
        listed = f". What there is of Webex: {'; '.join(seen)}" if seen else ""
        raise SourceError(
            f"no file constructs a Webex client that can be pooled{listed}. Is the checkout the right one (bot_home)?",
            result.findings,
        )

    def _read(self, paths: Sequence[str]) -> dict[str, bytes]:
        return {path: self.files[path] for path in paths if path in self.files}


def _uses(source: bytes, handed: Mapping[str, set[bytes]]) -> bool:
    """Whether a file names a module and one of the classes that it hands on."""
    words = set(re.findall(rb"\w+", source))
    return any(module.encode() in words and names & words for module, names in handed.items())
