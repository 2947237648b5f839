"""The client patch over a checkout: a bot's script and the modules of the checkout that it imports."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace

from .barring import Barring
from .model import (
    BARE_REQUEST,
    OTHER_CLIENT,
    OTHER_MODULE,
    UNREADABLE,
    Finding,
    NoClientError,
    PatchError,
    Result,
    Settings,
)
from .names import CLIENT_NAMES, PACKAGES, ClientClass, Meanings, Resolver
from .patching import NO_CLIENT, Patcher, in_order
from .placed import SourceError, imported_pool, place, run, settings_at, shown_place
from .pool_place import POOL_FILE, PoolPlace
from .scopes import Site
from .source import Source
from .surroundings import Started, Surroundings
from .survey import Known
from .templates import MODULE, Wrappers
from .unpatching import Unpatcher

__all__ = ["Checkout", "CheckoutResult", "NoClientsError", "Read", "SourceError"]

SCRIPT = "script"
IMPORTS = "imports"

# Paths relative to the checkout in, the bytes of those that exist out.
Read = Callable[[Sequence[str]], Mapping[str, bytes]]


class NoClientsError(SourceError):
    """A script constructs no client, and neither does what it imports."""


@dataclass
class CheckoutResult:
    """What becomes of each file that is to be patched, what it was, and what else was found."""

    files: dict[str, Result] = field(default_factory=dict)
    before: dict[str, bytes] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    # Where the pool module has to be for what is patched; None where nothing imports it.
    place: PoolPlace | None = None


@dataclass
class _Module:
    source: Source
    # Its dotted name; empty for the script.
    name: str
    package: str


class Checkout:
    """A bot's script with all modules that it reaches by imports inside the checkout."""

    def __init__(
        self,
        read: Read,
        script: str,
        settings: Settings,
        search_paths: Iterable[str] = ("",),
        surroundings: Surroundings | None = None,
        sources: dict[tuple[str, str], Source] | None = None,
        started: Started | None = None,
    ) -> None:
        self.read = read
        self.script = posixpath.normpath(script)
        self.settings = settings
        self.pool_module = Wrappers.from_settings(settings).pool_module
        # Python puts the script's own directory first.
        paths = [posixpath.dirname(self.script), *search_paths, *([""] if started is not None else [])]
        self.search_paths = list(dict.fromkeys(posixpath.normpath(path) for path in paths))
        self.modules: dict[str, _Module] = {}
        self.findings: list[Finding] = []
        self._asked: set[str] = set()
        self.surroundings = surroundings
        # Where the surroundings have to be read first.
        self.started = started
        # Parsed files, by path and package: to parse is what takes time.
        self.sources = sources if sources is not None else {}

    def load(self) -> None:
        """Reads the script and follows its imports, one reading for each depth.

        :raises SourceError: if the script is missing or does not parse.
        """
        found = self.read([self.script])
        if self.script not in found:
            raise SourceError(f"{self.script} does not exist in the checkout")
        try:
            around, started = self.surroundings, self.started
            known = started.start(self.script).package if started is not None else ""
            package = around.package(self.script) if around is not None else known
            source = self._source(found[self.script], self.script, package)
        except PatchError as error:
            raise SourceError(f"{shown_place(self.script, error)}: {error.message}") from error
        self.modules[self.script] = _Module(source, "", "")
        level = [self.modules[self.script]]
        while level:
            wanted: dict[str, tuple[str, bool]] = {}
            for module in level:
                for name in self.names(module):
                    self.candidates(name, wanted)
            level = self.add(wanted, self.read(sorted(wanted)) if wanted else {})
        if self.started is not None:
            modules = {path: module.source.raw for path, module in self.modules.items()}
            self.surroundings = Surroundings.of_script(self.read, self.script, modules, self.started)

    def _source(self, raw: bytes, path: str, package: str) -> Source:
        if (path, package) not in self.sources:
            self.sources[path, package] = Source(raw, path, package)
        return self.sources[path, package]

    def names(self, module: _Module) -> list[str]:
        """Modules that a program imports, each with the packages around it, which run first."""
        names: dict[str, None] = {}
        # A relative import outside of any package leads nowhere.
        for imported in (name for name in module.source.program.imports if not name.startswith(".")):
            parts = imported.split(".")
            for depth in range(1, len(parts) + 1):
                names[".".join(parts[:depth])] = None
        return [name for name in names if name and not self.is_pool(name)]

    def is_pool(self, name: str) -> bool:
        """The pool module makes clients itself, and pools them."""
        if self.pool_module == MODULE:
            return POOL_FILE in name.split(".")
        return name == self.pool_module or name.startswith(self.pool_module + ".")

    def own(self) -> set[str]:
        """Modules of the checkout that have an SDK's name and are something else: not a copy of the SDK itself."""
        named = {module.name: path for path, module in self.modules.items() if module.name in PACKAGES}
        known = {module.name for module in self.modules.values()}
        return {
            name
            for name, path in named.items()
            if not path.endswith("/__init__.py") or not {f"{name}.api", f"{name}.webex_bot"} & known
        }

    def candidates(self, name: str, wanted: dict[str, tuple[str, bool]]) -> None:
        """Files that may hold a module: path → its name, and whether it is a package."""
        if name in self._asked:
            return
        self._asked.add(name)
        relative = name.replace(".", "/")
        for base in self.search_paths:
            for path, package in ((f"{relative}.py", False), (f"{relative}/__init__.py", True)):
                full = posixpath.normpath(posixpath.join(base, path))
                if not full.startswith("../") and full not in self.modules:
                    wanted.setdefault(full, (name, package))

    def add(self, wanted: Mapping[str, tuple[str, bool]], found: Mapping[str, bytes]) -> list[_Module]:
        """Take in the modules that were found; one that cannot be parsed becomes a finding."""
        added = []
        for path, (name, is_package) in wanted.items():
            if path not in found:
                continue
            package = name if is_package else name.rpartition(".")[0]
            try:
                source = self._source(found[path], path, package)
            except PatchError as error:
                self.findings.append(
                    Finding(path, error.line, error.column, UNREADABLE, f"{error.message}; not searched for clients")
                )
                continue
            self.modules[path] = _Module(source, name, package)
            added.append(self.modules[path])
        return added

    def exports(self) -> dict[str, Meanings]:
        """Names of the checkout's modules that mean a client class, by full dotted name."""
        exports: dict[str, Meanings] = {}
        # A copy of an SDK in the checkout is the SDK.
        modules = [item for item in self.modules.values() if item.name and item.name.split(".")[0] not in PACKAGES]
        for _ in range(len(modules) + 1):
            grown = dict(exports)
            for module in modules:
                grown.update({name: meant for name, meant in _exports(module, exports) if _leads_to_client(meant)})
            if grown == exports:
                break
            exports = grown
        # What has a client's name and is something else hides one that was imported before.
        clients = CLIENT_NAMES | {name.rpartition(".")[2] for name in exports}
        hiding = {name: meant for module in modules for name, meant in _exports(module, exports, clients)}
        return {**hiding, **exports}

    def known(self) -> Known:
        """What the modules that were read say of each other."""
        names = {module.name for module in self.modules.values()}
        programs = {module.name: module.source.program for module in self.modules.values()}
        return Known(self.exports(), names, self.own(), Barring(programs))

    def patch(self, scope: str = SCRIPT) -> CheckoutResult:
        """Patches the script, and with ``scope`` "imports" its modules; reports the clients that are left.

        :raises SourceError: if a file cannot be patched, or if there is no client at all.
        """
        self.load()
        known = self.known()
        result = CheckoutResult(findings=list(self.findings))
        settings = self.settings
        for path, module in self.modules.items():
            try:
                if path == self.script and self.surroundings is not None:
                    patched, result.place, more = place(module.source, settings, self.surroundings, known)
                    result.findings += more
                    settings = settings_at(settings, result.place, module.source)
                    # What it imports runs in the same process, and knows the module by its full name.
                    settings = replace(settings, written=settings.module)
                else:
                    patched = run(path, Patcher(module.source, settings, known))
            except NoClientError as error:
                own = path == self.script
                result.findings += [item for item in error.findings if own or item.kind in (BARE_REQUEST, OTHER_CLIENT)]
                continue
            if path == self.script or scope == IMPORTS:
                self._take(result, path, patched)
            else:
                result.findings += _left(patched)
        self._check(result, patching=True)
        return result

    def unpatch(self, originals: Read | None, scope: str = SCRIPT) -> CheckoutResult:
        """Takes the clients out of the pool again.

        ``originals`` reads the files before they were patched; without it timeouts stay as they are.

        :raises SourceError: if a file does not parse, or if there is no client at all.
        """
        self.load()
        known = self.known()
        result = CheckoutResult(findings=list(self.findings))
        paths = list(self.modules) if scope == IMPORTS else [self.script]
        before = originals(paths) if originals is not None else {}
        for path in paths:
            module = self.modules[path]
            try:
                original = Source(before[path], path, module.package) if path in before else None
            except PatchError as error:
                raise SourceError(f"{shown_place(path, error)} as it was: {error.message}") from error
            place = imported_pool(module.source) if self.pool_module == MODULE else None
            settings = settings_at(self.settings, place, module.source)
            try:
                undone = run(path, Unpatcher(module.source, settings, original, known))
            except NoClientError as error:
                result.findings += error.findings if path == self.script else []
                continue
            self._take(result, path, undone)
        self._check(result, patching=False)
        return result

    def _take(self, result: CheckoutResult, path: str, patched: Result) -> None:
        result.files[path] = patched
        result.before[path] = self.modules[path].source.raw
        result.findings += patched.findings

    def _check(self, result: CheckoutResult, patching: bool) -> None:
        """A bot without a single client is a mistake: the wrong file, or clients made where we did not look."""
        if result.files:
            return
        elsewhere = [f"{item.path}:{item.line}" for item in result.findings if item.kind == OTHER_MODULE]
        reason = f"{self.script} {NO_CLIENT}"
        if elsewhere:
            raise SourceError(
                f"{reason}, but modules that it imports do: {', '.join(elsewhere)}; "
                "set webex_patch_scope: imports to patch them too",
                result.findings,
            )
        also = ", nor does a module of the checkout that it imports" if patching else ""
        found = [item for item in in_order(result.findings) if item.kind != UNREADABLE]
        seen = [f"{item.path}:{item.line}: {item.message}" for item in found]
        seen = seen or imported_sdks(self.modules[self.script].source)
        if seen:
            raise NoClientsError(f"{reason}{also}. What it has of Webex: {'; '.join(seen)}", result.findings)
        raise NoClientsError(f"{reason}{also}; if another file is the bot's script, name that one", result.findings)


def imported_sdks(source: Source) -> list[str]:
    """The lines in which a file imports an SDK, for one that is seen to make nothing of it."""
    program = source.program
    lines: dict[int, str] = {}
    for binding in [*program.bindings, *program.scope.stars]:
        if binding.imported.partition(".")[0] in PACKAGES:
            start, _ = source.span(binding.site.block.statements[binding.site.index], binding.site)
            lines.setdefault(source.position(start)[0], binding.imported)
    seen = "is imported, and nothing that can be seen here is made of it"
    return [f"{source.path}:{line}: {name} {seen}" for line, name in sorted(lines.items())]


def _left(patched: Result) -> list[Finding]:
    """Clients of a module that stays as it is."""
    return [
        Finding(
            item.path,
            item.line,
            item.column,
            OTHER_MODULE,
            f"{item.name} is constructed in a module that the bot imports, and stays unpooled; "
            "webex_patch_scope: imports would patch it too",
        )
        for item in patched.constructions
        if item.action == "wrapped"
    ]


def _exports(
    module: _Module, known: Mapping[str, Meanings], names: Set[str] | None = None
) -> Iterator[tuple[str, Meanings]]:
    """What the names of a module (or those of the given ones that it has) mean at its end."""
    program = module.source.program
    resolver = Resolver(program, known)
    end = Site(program.block, len(program.block.statements), 0, 1 << 60)
    for name in {**program.scope.bindings, **resolver.starred}:
        if names is None or name in names:
            yield f"{module.name}.{name}", resolver.name(name, program.scope, end)


def _leads_to_client(meanings: Meanings) -> bool:
    """Whether a name means a client class, or an SDK that has one."""
    return any(
        isinstance(item, ClientClass) or (isinstance(item, str) and item.partition(".")[0] in PACKAGES)
        for item in meanings
    )
