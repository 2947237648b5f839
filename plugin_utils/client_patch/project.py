"""The client patch over a whole checkout: the scripts are found by what they construct, wherever they are."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from .checkout import Checkout, CheckoutResult, NoClientsError, Read, SourceError
from .model import OTHER_MODULE, UNREADABLE, Finding, Result, Settings
from .names import PACKAGES
from .patching import in_order
from .pool_place import POOL_FILE
from .shipping import not_shipped
from .source import Source
from .surroundings import Surroundings

_MENTIONED = re.compile(b"|".join([*(name.encode() for name in sorted(PACKAGES)), rb"webexapis\.com|ciscospark\.com"]))
Worker = Callable[[Checkout], CheckoutResult]
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

    def candidates(self) -> list[str]:
        """Python files that mention Webex; the pool module is none of them."""
        return [
            path
            for path, raw in sorted(self.files.items())
            if path.endswith(".py") and posixpath.basename(path) != f"{POOL_FILE}.py" and _MENTIONED.search(raw)
        ]

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
