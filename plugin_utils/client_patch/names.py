"""What an expression means: which names lead to a Webex client class, and which binding of a name a use sees."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, replace
from typing import Union

import libcst as cst

from .scopes import Binding, Block, Program, Scope, Site
from .tree import nodes_within

API = "api"
BOT = "bot"
CALLS, MAY_CALL, NEVER_CALLS = "calls", "may call", "never calls"

# Any path inside these packages that ends in one of the names: `webexteamssdk.api.WebexTeamsAPI` is the same class
# as `webexteamssdk.WebexTeamsAPI`, and webex_bot.webex_bot re-exports the SDK module it uses.
CLIENT_CLASSES: Mapping[str, Mapping[str, str]] = {
    "webexteamssdk": {"WebexTeamsAPI": API},
    "webexpythonsdk": {"WebexAPI": API},
    "ciscosparkapi": {"CiscoSparkAPI": API},
    "wxc_sdk": {"WebexSimpleApi": API},
    "webex_bot": {"WebexBot": BOT, "WebexAPI": API, "WebexTeamsAPI": API},
    "webexteamsbot": {"TeamsBot": BOT, "WebexTeamsAPI": API},
}
CLIENT_NAMES = frozenset(name for kinds in CLIENT_CLASSES.values() for name in kinds)
# Clients that talk to Webex by asyncio, which the pool does not serve: by package, their names.
ASYNC_CLASSES: Mapping[str, frozenset[str]] = {
    "wxc_sdk": frozenset({"AsWebexSimpleApi"}),
    "webexteamsasyncapi": frozenset({"WebexTeamsAsyncAPI"}),
}
ASYNC_NAMES = frozenset(name for names in ASYNC_CLASSES.values() for name in names)
PACKAGES = frozenset({*CLIENT_CLASSES, *ASYNC_CLASSES})
# Where `single_request_timeout` stands among a class's arguments; None for a class that has none.
TIMEOUT_POSITION = 2
TIMEOUT_POSITIONS: Mapping[str, int | None] = {"CiscoSparkAPI": 3, "WebexSimpleApi": None}
# Class methods of both SDKs' classes that return a new client. They take no timeout.
ALTERNATE_CONSTRUCTORS = frozenset({"from_oauth_code", "from_oauth_refresh"})


@dataclass(frozen=True)
class ClientClass:
    """A class whose instances hold Webex HTTP sessions."""

    kind: str
    name: str
    # False for a subclass with a constructor of its own: what it accepts is not known.
    takes_timeout: bool
    # The place of the time-out among the arguments; None if the class knows no such argument.
    timeout_position: int | None = TIMEOUT_POSITION
    # What a constructor of its own does about that of its base: "calls", "may call" or "never calls" it.
    base_constructor: str = CALLS


# A dotted name that came in by import, a client class, or None for anything else.
Meanings = frozenset[Union[str, ClientClass, None]]
UNKNOWN: Meanings = frozenset({None})


class Resolver:
    """Resolves expressions of one program to meanings.

    ``exports`` gives meanings of names that other modules of the checkout define, ``others`` names that a star
    import is known to bring in; both by full dotted name.
    """

    def __init__(
        self,
        program: Program,
        exports: Mapping[str, Meanings] | None = None,
        others: Set[str] = frozenset(),
        own: Set[str] = frozenset(),
    ) -> None:
        self.program = program
        self.own = own
        self.exports = exports or {}
        # By name, what the star imports bring in.
        self.starred: dict[str, list[Binding]] = {}
        for star in program.scope.stars:
            self._star(star, f"{star.imported}.", others)
        # Bindings being resolved: `x = x or y` must not go round for ever.
        self._busy: set[int] = set()

    def _star(self, star: Binding, inside: str, others: Set[str]) -> None:
        known = [name for name in (*self.exports, *others) if name.startswith(inside)]
        known += [inside + name for name in CLIENT_CLASSES.get(inside.partition(".")[0], ())]
        for full in dict.fromkeys(known):
            name = full[len(inside) :]
            if "." not in name and not name.startswith("_"):
                self.starred.setdefault(name, []).append(replace(star, name=name, imported=full))

    def imported(self, name: str) -> Meanings:
        """The meaning of something imported under its full dotted name."""
        if name in self.exports:
            return self.exports[name]
        parts = name.split(".")
        kind = CLIENT_CLASSES.get(parts[0], {}).get(parts[-1]) if parts[0] not in self.own else None
        if kind is not None and len(parts) > 1:
            position = TIMEOUT_POSITIONS.get(parts[-1], TIMEOUT_POSITION)
            return frozenset({ClientClass(kind, name, True, position)})
        return frozenset({name})

    def expression(self, node: cst.CSTNode, scope: Scope, site: Site) -> Meanings:
        """Everything that an expression may mean at a site; :data:`UNKNOWN` for what is not followed."""
        if isinstance(node, cst.Name):
            return self.name(node.value, scope, site)
        if isinstance(node, cst.Attribute):
            bases = self.expression(node.value, scope, site)
            found: set[str | ClientClass | None] = set()
            for base in bases:
                found |= self.imported(f"{base}.{node.attr.value}") if isinstance(base, str) else UNKNOWN
            return frozenset(found)
        if isinstance(node, cst.IfExp):
            return self.expression(node.body, scope, site) | self.expression(node.orelse, scope, site)
        if isinstance(node, cst.BooleanOperation):
            return self.expression(node.left, scope, site) | self.expression(node.right, scope, site)
        if isinstance(node, cst.NamedExpr):
            return self.expression(node.value, scope, site)
        return UNKNOWN

    def name(self, name: str, scope: Scope, site: Site) -> Meanings:
        """Everything that a name may mean at a site."""
        _, live = self.live(name, scope, site)
        return self._merge(live) if live else UNKNOWN

    def live(self, name: str, scope: Scope, site: Site) -> tuple[Scope, list[Binding]]:
        """The scope that gives the name its value at a site, and the bindings there that reach it."""
        module = scope.module
        starred = self.starred.get(name, [])
        for where in dict.fromkeys([*lookup(name, scope), *([module] if starred else [])]):
            bindings = where.bindings.get(name, [])
            if starred and where is module:
                bindings = sorted([*bindings, *starred], key=lambda binding: binding.site.order)
            live = reaching(bindings, where, scope, site)
            # A class body falls back to outer names, a function does not.
            if live or where.kind != "class":
                return where, live
        return module, []

    def binding(self, binding: Binding) -> Meanings:
        """What a binding gives its name; nothing while that very binding is being resolved."""
        if id(binding) in self._busy:
            return frozenset()
        self._busy.add(id(binding))
        try:
            return self._binding(binding)
        finally:
            self._busy.discard(id(binding))

    def _binding(self, binding: Binding) -> Meanings:
        if binding.imported:
            return self.imported(binding.imported)
        value, scope = binding.value, binding.scope
        if value is None or scope is None:
            return UNKNOWN
        if isinstance(value, cst.Name) and value.value == "None":
            return frozenset()
        if isinstance(value, cst.ClassDef):
            return self._class(value, scope, binding.site)
        return self.expression(value, scope, binding.site)

    def _class(self, node: cst.ClassDef, scope: Scope, site: Site) -> Meanings:
        bases = [self.expression(arg.value, scope, site) for arg in node.bases if not arg.star]
        clients = [item for base in bases for item in base if isinstance(item, ClientClass)]
        if not clients:
            return UNKNOWN
        plain = all(isinstance(item, ClientClass) and item.takes_timeout for base in bases for item in base)
        constructor = _own_constructor(node)
        called = clients[0].base_constructor if constructor is None else _calls_base(constructor)
        position = clients[0].timeout_position
        made = ClientClass(clients[0].kind, node.name.value, plain and constructor is None, position, called)
        return frozenset({made})

    def _merge(self, live: list[Binding]) -> Meanings:
        """Union of the bindings' meanings, without fallbacks for an SDK that cannot be imported."""
        meant = [(binding, self.binding(binding)) for binding in live]
        good = [binding for binding, meanings in meant if any(isinstance(item, ClientClass) for item in meanings)]
        found: set[str | ClientClass | None] = set()
        for binding, meanings in meant:
            if good and None in meanings and any(_is_fallback(binding, other) for other in good):
                continue
            found |= meanings
        return frozenset(found)


def lookup(name: str, scope: Scope) -> Iterator[Scope]:
    """The scopes that bind the name, as Python looks them up from ``scope``."""
    where: Scope | None = scope
    # Names of a class are seen by what stands in its body directly, type parameters included, and by nothing deeper.
    sees_class: Scope | None = scope
    while where is not None:
        if name in where.globals:
            where = where.module
        visible = where.kind != "class" or where is sees_class
        if visible and name in where.bindings and name not in where.nonlocals:
            yield where
        sees_class = where.parent if where is sees_class and where.kind == "type parameters" else None
        where = where.parent


def _own_constructor(node: cst.ClassDef) -> cst.FunctionDef | None:
    functions = [item for item in node.body.body if isinstance(item, cst.FunctionDef)]
    return next((item for item in functions if item.name.value in ("__init__", "__new__")), None)


def _calls_base(constructor: cst.FunctionDef) -> str:
    """Whether a constructor calls its base's: in every run, in some, or in none."""
    if any(_is_base_call(item) for item in constructor.body.body):
        return CALLS
    return MAY_CALL if any(_is_base_call(item) for item in nodes_within(constructor.body, cst.Expr)) else NEVER_CALLS


def _is_base_call(statement: cst.CSTNode) -> bool:
    """`super().__init__(…)` or `Base.__init__(self, …)` as a statement, or a value taken from one."""
    if isinstance(statement, cst.SimpleStatementLine):
        return any(_is_base_call(item) for item in statement.body)
    value = statement.value if isinstance(statement, (cst.Expr, cst.Return, cst.Assign)) else None
    called = value.func if isinstance(value, cst.Call) else None
    return isinstance(called, cst.Attribute) and called.attr.value in ("__init__", "__new__")


def _fork(left: Block, right: Block) -> tuple[Block, Block] | None:
    """The two branches of one compound statement in which the blocks stand; None if there is no such statement."""
    mine = {id(block.owner): block for block in left.ancestors() if block.owner is not None}
    for block in right.ancestors():
        if block.owner is not None and id(block.owner) in mine:
            other = mine[id(block.owner)]
            return (other, block) if other is not block else None
    return None


def _is_fallback(binding: Binding, good: Binding) -> bool:
    fork = _fork(good.site.block, binding.site.block)
    return (
        fork is not None
        and isinstance(fork[0].owner, cst.Try)
        and fork[0].branch == "try"
        and fork[1].branch.startswith("except")
    )


def _exclusive(left: Block, right: Block) -> bool:
    """True if no run passes through both blocks: two branches of one `if` or `match`."""
    fork = _fork(left, right)
    return fork is not None and isinstance(fork[0].owner, (cst.If, cst.Match))


def _loop_around(block: Block, scope: Scope) -> Block | None:
    loop = None
    for outer in block.ancestors():
        if outer.scope is not scope:
            break
        if isinstance(outer.owner, (cst.For, cst.While)) and outer.branch == "body":
            loop = outer
    return loop


def reaching(bindings: list[Binding], where: Scope, scope: Scope, site: Site) -> list[Binding]:
    """The bindings (all of one name in scope ``where``) that a use in ``scope`` at ``site`` can see.

    In the same scope the last one that certainly ran hides those before it. From inside a function the scope has
    run to its end by the usual rule of when functions are called.
    """
    live: list[Binding] = []
    if scope.flow is where.flow:
        loop = _loop_around(site.block, where)
        for binding in bindings:
            if binding.site.order >= site.order:
                if loop is not None and binding.site.block.is_within(loop):
                    live.append(binding)
            elif binding.elsewhere:
                live.append(binding)
            elif site.block.is_within(binding.site.block):
                live = [binding]
            elif not _exclusive(binding.site.block, site.block):
                live.append(binding)
        return live
    for binding in bindings:
        if binding.elsewhere or binding.site.block is not where.root:
            live.append(binding)
        else:
            live = [binding]
    return live
