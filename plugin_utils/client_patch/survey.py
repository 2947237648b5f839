"""Finds the constructions of Webex clients in a source, the pool calls around them, and what cannot be followed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field

import libcst as cst

from .barring import Barring
from .model import AMBIGUOUS, DYNAMIC, OTHER_CLIENT, REFERENCE, SUBCLASS, UNKNOWN_ORIGIN, Construction, Finding
from .names import (
    ALTERNATE_CONSTRUCTORS,
    ASYNC_CLASSES,
    ASYNC_NAMES,
    CLIENT_NAMES,
    MAY_CALL,
    NEVER_CALLS,
    PACKAGES,
    ClientClass,
    Meanings,
    Resolver,
)
from .scopes import Binding, NameUse, Site
from .source import Source
from .templates import Wrappers
from .tree import code_of, dotted

# Calls that take a class and make nothing of it.
_HARMLESS_CALLS = frozenset({"cast", "hasattr", "isinstance", "issubclass", "print", "repr", "super", "type"})
_HANDED_ON = (cst.Return, cst.Yield, cst.Element, cst.DictElement, cst.Param, cst.Lambda)


@dataclass
class PlacedCall:
    """A call, and where it stands: its site, and its first byte and the one behind it."""

    node: cst.Call
    site: Site
    start: int
    end: int


@dataclass
class PoolCall(PlacedCall):
    """A call of one of the pool's functions."""

    function: str
    # Where the function comes from; empty if that is not by import.
    module: str


@dataclass
class ClientCall(PlacedCall):
    """A construction of a client."""

    client: ClientClass
    # The name through which the class was reached.
    use: NameUse
    # False where the constructor is known not to take a timeout.
    takes_timeout: bool
    pool: PoolCall | None = None
    # True if the construction is an argument of the pool call, false if that follows in a statement of its own.
    enclosed: bool = False


@dataclass(frozen=True)
class Known:
    """What is known of the rest of the checkout."""

    # Names of its modules that mean client classes, by full dotted name.
    exports: Mapping[str, Meanings] = field(default_factory=dict)
    # All of those modules, and those that have an SDK's name and are none.
    modules: Set[str] = frozenset()
    own: Set[str] = frozenset()
    # What keeps the pool module from being found once it has run.
    barring: Barring = field(default_factory=lambda: Barring({}))


class Survey:
    """What there is to patch in one source."""

    def __init__(
        self,
        source: Source,
        wrappers: Wrappers,
        known: Known,
    ) -> None:
        self.source = source
        self.program = source.program
        self.wrappers = wrappers
        self.known = known
        starred = {f"{wrappers.pool_module}.{function}" for function in wrappers.functions}
        self.resolver = Resolver(self.program, known.exports, starred, known.own)
        self.findings: list[Finding] = []
        self.constructions: list[ClientCall] = []
        self.pool_calls: dict[int, PoolCall] = {}
        self._seen: set[int] = set()
        for name in sorted(self._interesting()):
            for use in self.program.uses.get(name, ()):
                self._follow(use)
        self._report_dynamic()
        self.constructions.sort(key=lambda call: (call.start, -call.end))
        for call in self.constructions:
            call.pool = self._pool_call_around(call.node)
            call.enclosed = call.pool is not None
        # Needs to know which calls are arguments of pool calls.
        for call in self.constructions:
            call.pool = call.pool or self._pool_call_after(call) or self._pool_call_of_factory(call)

    def described(self, call: ClientCall, action: str) -> Construction:
        """A construction as the result shows it, with what was done with it."""
        line, column = self.source.position(call.start)
        return Construction(self.source.path, line, column, call.client.kind, call.client.name, action)

    def report(self, offset: int, kind: str, message: str) -> None:
        """Keep a finding about the text at a byte offset."""
        line, column = self.source.position(offset)
        self.findings.append(Finding(self.source.path, line, column, kind, message))

    # -- which names can lead to a client or to the pool

    def _interesting(self) -> set[str]:
        names = set(self.wrappers.functions)
        names.update(self.resolver.starred)
        derived: list[tuple[Binding, set[str]]] = []
        for binding in self.program.bindings:
            if binding.imported and self._leads_on(binding.imported):
                names.add(binding.name)
            elif binding.value is not None:
                roots = set(_roots(binding.value))
                if roots:
                    derived.append((binding, roots))
        grown = True
        while grown:
            grown = False
            for binding, roots in derived:
                if binding.name not in names and roots & names:
                    names.add(binding.name)
                    grown = True
        return names

    def _leads_on(self, imported: str) -> bool:
        """True if an imported name is, or contains, a client class or a pool function."""
        first, _, _ = imported.partition(".")
        _, _, last = imported.rpartition(".")
        inside = imported + "."
        return (
            first in PACKAGES
            or last in CLIENT_NAMES | ASYNC_NAMES
            or last in self.wrappers.functions
            or last == self.wrappers.pool_module.rpartition(".")[2]
            or self.wrappers.pool_module.startswith(inside)
            or any(name == imported or name.startswith(inside) for name in self.known.exports)
        )

    # -- from a name to a call

    def _follow(self, use: NameUse) -> None:
        """From a name upwards: `sdk`, `sdk.api`, `sdk.api.WebexTeamsAPI`, the call."""
        node: cst.CSTNode = use.node
        while True:
            meanings = self.resolver.expression(node, use.scope, use.site)
            if any(isinstance(item, ClientClass) for item in meanings):
                self._client_class(node, use)
                return
            parent = self.program.parent(node)
            if isinstance(parent, cst.Call) and parent.func is node:
                self._other_call(parent, use, meanings)
                return
            if not isinstance(parent, cst.Attribute) or parent.value is not node:
                return
            node = parent

    def _other_call(self, node: cst.Call, use: NameUse, meanings: Meanings) -> None:
        """A call of a pool function, or of a class that is named like a client and comes from elsewhere."""
        imported = sorted(item for item in meanings if isinstance(item, str))
        name = imported[0] if imported else code_of(node.func)
        module, _, last = name.rpartition(".")
        if last in self.wrappers.functions:
            start, end = self.source.span(node, use.site)
            self.pool_calls[id(node)] = PoolCall(node, use.site, start, end, last, module if imported else "")
        elif imported and last in CLIENT_NAMES and module not in self.known.modules:
            start, _ = self.source.span(node, use.site)
            self.report(start, UNKNOWN_ORIGIN, f"{last} comes from {module}, which is not known; left as it is")
        elif last in ASYNC_CLASSES.get(module.partition(".")[0], ()):
            start, _ = self.source.span(node, use.site)
            self.report(start, OTHER_CLIENT, f"{name} works with asyncio; the pool serves requests only; left as it is")

    def _client_class(self, node: cst.CSTNode, use: NameUse) -> None:
        """Something that may be a client class: called here, handed on, or only mentioned."""
        parent = self.program.parent(node)
        while isinstance(parent, (cst.IfExp, cst.BooleanOperation)) and not _is_test(node, parent):
            node, parent = parent, self.program.parent(parent)
        meanings = self.resolver.expression(node, use.scope, use.site)
        clients = sorted((item for item in meanings if isinstance(item, ClientClass)), key=lambda item: item.name)
        callee, call, alternate = node, parent, False
        if isinstance(parent, cst.Attribute) and parent.attr.value in ALTERNATE_CONSTRUCTORS:
            callee, call, alternate = parent, self.program.parent(parent), True
        if not isinstance(call, cst.Call) or call.func is not callee:
            self._reference(node, use, clients[0])
            return
        if id(call) in self._seen:
            return
        self._seen.add(id(call))
        start, end = self.source.span(call, use.site)
        if len(clients) < len(meanings) or len({item.kind for item in clients}) > 1:
            self.report(start, AMBIGUOUS, f"{clients[0].name} may be something else here; left as it is")
            return
        if use.fstring and self._shows_itself(call):
            reason = "stands in an f-string that shows its own text (`=`), which a patch would change; left as it is"
            self.report(start, REFERENCE, f"{clients[0].name} {reason}")
            return
        if clients[0].base_constructor == NEVER_CALLS:
            reason = "its own constructor never calls its base's, so there is nothing to pool; left as it is"
            self.report(start, SUBCLASS, f"{clients[0].name}: {reason}")
            return
        if clients[0].base_constructor == MAY_CALL:
            reason = "its own constructor does not always call its base's; what is there is pooled"
            self.report(start, SUBCLASS, f"{clients[0].name}: {reason}")
        takes_timeout = not alternate and all(item.takes_timeout for item in clients)
        self.constructions.append(ClientCall(call, use.site, start, end, clients[0], use, takes_timeout))

    def _shows_itself(self, node: cst.CSTNode) -> bool:
        """Whether an expression stands in an f-string as `{expression=}`."""
        outer: cst.CSTNode | None = node
        while outer is not None:
            if isinstance(outer, cst.FormattedStringExpression) and outer.equal is not None:
                return True
            outer = self.program.parent(outer)
        return False

    def _reference(self, node: cst.CSTNode, use: NameUse, client: ClientClass) -> None:
        """The class itself is handed on: what is made of it elsewhere cannot be seen here."""
        parent = self.program.parent(node)
        handed_on = isinstance(parent, _HANDED_ON)
        if isinstance(parent, cst.Arg):
            outer = self.program.parent(parent)
            keyword = parent.keyword.value if parent.keyword is not None else ""
            handed_on = isinstance(outer, cst.Call) and not (
                dotted(outer.func).rpartition(".")[2] in _HARMLESS_CALLS or keyword == "spec"
            )
        elif isinstance(parent, (cst.Assign, cst.AnnAssign)):
            targets = [item.target for item in parent.targets] if isinstance(parent, cst.Assign) else [parent.target]
            # A name of the module or of a function is followed; attributes are not.
            handed_on = use.scope.kind == "class" or not all(isinstance(item, cst.Name) for item in targets)
        if handed_on:
            start, _ = self.source.span(node, use.site)
            self.report(start, REFERENCE, f"{client.name} is handed on; clients made of it elsewhere are not pooled")

    def _report_dynamic(self) -> None:
        for node, site, text in self.program.dynamic:
            if text in CLIENT_NAMES or text.partition(".")[0] in PACKAGES:
                start, _ = self.source.span(node, site)
                self.report(start, DYNAMIC, f"{text} is fetched by its name; clients made of it are not pooled")

    # -- pooled already?

    def _pool_call_around(self, node: cst.CSTNode) -> PoolCall | None:
        """`configure(WebexTeamsAPI(…))`, also with a choice or `:=` between."""
        parent = self.program.parent(node)
        while isinstance(parent, (cst.IfExp, cst.BooleanOperation, cst.NamedExpr)) and not _is_test(node, parent):
            node, parent = parent, self.program.parent(parent)
        return self.pool_calls.get(id(self.program.parent(parent))) if isinstance(parent, cst.Arg) else None

    def _pool_call_after(self, call: ClientCall) -> PoolCall | None:
        """`api = WebexTeamsAPI(…)`, and later `configure(api)`."""
        target = _target(self.program.parent(call.node))
        name = dotted(target)
        if target is None or not name:
            return None
        for pool in sorted(self.pool_calls.values(), key=lambda item: item.site.order):
            if (
                pool.site.order > call.site.order
                and pool.site.block.scope is call.site.block.scope
                and call.site.block.is_within(pool.site.block)
                and any(dotted(arg.value) == name for arg in pool.node.args)
                and not self._assigned_between(target, call, pool)
            ):
                return pool
        return None

    def _assigned_between(self, target: cst.CSTNode, call: ClientCall, pool: PoolCall) -> bool:
        """True if the pool call sees another value of the target than the construction's."""
        if not isinstance(target, cst.Name):
            name = dotted(target)
            return any(
                call.site.order < other.site.order < pool.site.order
                and pool.site.block.is_within(other.site.block)
                and dotted(_target(self.program.parent(other.node))) == name
                for other in self.constructions
            )
        _, live = self.resolver.live(target.value, pool.site.block.scope, pool.site)
        return not any(binding.value is call.node for binding in live)

    def _pool_call_of_factory(self, call: ClientCall) -> PoolCall | None:
        """`return WebexBot(…)` in a function of which every call is an argument of a pool call."""
        root = call.site.block.scope.root
        function = root.owner if root is not None else None
        parent = self.program.parent(call.node)
        if not isinstance(parent, cst.Return) or not isinstance(function, cst.FunctionDef):
            return None
        bindings = self.program.scope.bindings.get(function.name.value, [])
        if len(bindings) != 1 or bindings[0].value is not function:
            return None
        pools = [self._pool_call_around_use(use) for use in self.program.uses.get(function.name.value, ())]
        return pools[0] if pools and all(pools) else None

    def _pool_call_around_use(self, use: NameUse) -> PoolCall | None:
        parent = self.program.parent(use.node)
        if not isinstance(parent, cst.Call) or parent.func is not use.node:
            return None
        return self._pool_call_around(parent)


def _target(node: cst.CSTNode | None) -> cst.CSTNode | None:
    """The one target of an assignment; None for anything else."""
    if isinstance(node, cst.Assign) and len(node.targets) == 1:
        return node.targets[0].target
    return node.target if isinstance(node, (cst.AnnAssign, cst.NamedExpr)) else None


def _is_test(node: cst.CSTNode, parent: cst.CSTNode) -> bool:
    """True for the condition of a choice: it is looked at, not chosen."""
    return isinstance(parent, cst.IfExp) and parent.test is node


def _roots(node: cst.CSTNode) -> Iterator[str]:
    """Names from which an alias or a class can take its meaning."""
    if isinstance(node, cst.Name):
        yield node.value
    elif isinstance(node, cst.Attribute):
        yield from _roots(node.value)
    elif isinstance(node, cst.IfExp):
        yield from _roots(node.body)
        yield from _roots(node.orelse)
    elif isinstance(node, cst.BooleanOperation):
        yield from _roots(node.left)
        yield from _roots(node.right)
    elif isinstance(node, cst.NamedExpr):
        yield from _roots(node.value)
    elif isinstance(node, cst.ClassDef):
        for arg in node.bases:
            yield from _roots(arg.value)
