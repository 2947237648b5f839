"""The client patch over a whole checkout: the scripts are found by what they construct, wherever they are."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field

from .checkout import Checkout, CheckoutResult, NoClientsError, Read, SourceError, imported_sdks
from .layout import is_python
from .model import OTHER_MODULE, UNREADABLE, Finding, Result, Settings
from .names import CLIENT_NAMES, PACKAGES
from .patching import in_order
from .pool_place import POOL_FILE
from .shipping import not_shipped
from .source import Source
from .surroundings import Surroundings

_MENTIONED = re.compile(b"|".join([*(name.encode() for name in sorted(PACKAGES)), rb"webexapis\.com|ciscospark\.com"]))
Worker = Callable[[Checkout], CheckoutResult]
_HANDED_ON = re.compile(rb"^class\s+(\w+)\s*\(|\bas\s+(\w+)|^(\w+)\s*=\s*[\w.]+\s*$", re.MULTILINE)
_WORD = re.compile(rb"\w+")
_CLIENTS = {name.encode() for name in CLIENT_NAMES}
_STAR = re.compile(rb"\bimport\s+\*")
_TEST = re.compile(r"(^|/)(tests?|testing)/|(^|/)(test_[^/]*|[^/]*_test|conftest)\.pyw?$")


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
        self.mentioning = mentioning
        users = _users(own, mentioning)
        return [path for path in own if path in mentioning or path in users]

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
        skipped = [source for source in self.sources.values() if source.path in result.skipped]
        seen = seen or [item for source in skipped for item in imported_sdks(source)]
        listed = f". What there is of Webex: {'; '.join(seen)}" if seen else ""
        raise SourceError(
            f"no file constructs a Webex client that can be pooled{listed}. Is the checkout the right one (bot_home)?",
            result.findings,
        )

    def _read(self, paths: Sequence[str]) -> dict[str, bytes]:
        return {path: self.files[path] for path in paths if path in self.files}


def _users(files: Mapping[str, bytes], mentioning: Set[str]) -> set[str]:
    """Files that name a module and one of the classes that it may hand on, which may be another module's."""
    words = {path: set(_WORD.findall(raw)) for path, raw in files.items()}
    # By module, what it may hand on: a subclass, or the SDK's class under another name.
    handed: dict[bytes, set[bytes]] = {}
    users: set[str] = set()
    new = {path: _defined(files[path]) | words[path] & _CLIENTS for path in sorted(mentioning)}
    while new:
        for path, names in new.items():
            handed.setdefault(_module(path), set()).update(names)
        new = {}
        for path in files:
            modules = [module for module in handed if module in words[path] and module != _module(path)]
            everything = _STAR.search(files[path]) is not None
            names = {name for module in modules for name in handed[module] if everything or name in words[path]}
            if not names:
                continue
            users.add(path)
            for line in files[path].splitlines():
                if names & set(_WORD.findall(line)):
                    names |= _defined(line)
            if not names <= handed.get(_module(path), set()):
                new[path] = names
    return users


def _defined(source: bytes) -> set[bytes]:
    return {name for found in _HANDED_ON.finditer(source) for name in found.groups() if name}


def _module(path: str) -> bytes:
    """The last part of a module's name; a package's is that of its directory."""
    name = posixpath.splitext(posixpath.basename(path))[0]
    return (posixpath.basename(posixpath.dirname(path)) if name == "__init__" else name).encode()
