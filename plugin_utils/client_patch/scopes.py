"""What is known of a program's names: its scopes, blocks, bindings and uses of names.

LibCST's own ``ScopeProvider`` takes three times as long as parsing, and merges all bindings of a name whatever their
order. The patch asks about a handful of names in a file, but must know which of several bindings a use sees: hence a
walk of our own (:mod:`.reader`) that keeps the order and the branches, and leaves the meaning of names to
:mod:`.names`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import libcst as cst


class Block:
    """A list of statements: a body, a branch, a handler. Identity matters, so no equality."""

    __slots__ = ("branch", "index", "inline", "owner", "parent", "scope", "statements")

    def __init__(
        self,
        scope: Scope,
        statements: list[cst.CSTNode],
        parent: Block | None = None,
        index: int = 0,
        owner: cst.CSTNode | None = None,
        branch: str = "body",
        inline: bool = False,
    ) -> None:
        self.scope = scope
        self.statements = statements
        self.parent = parent
        # The statement of the parent block that this block is a part of.
        self.index = index
        self.owner = owner
        self.branch = branch
        # On the line of its compound statement (`if x: return`): no line can be added to it.
        self.inline = inline

    def ancestors(self) -> Iterator[Block]:
        """This block and those around it, innermost first, across function boundaries."""
        block: Block | None = self
        while block is not None:
            yield block
            block = block.parent

    def is_within(self, other: Block) -> bool:
        """Whether this block is the other or lies in it."""
        return any(block is other for block in self.ancestors())


@dataclass(frozen=True)
class Site:
    """Where something stands: the statement (and the part of a `;` line) of a block, and its turn in the walk."""

    block: Block
    index: int
    part: int
    order: int


@dataclass
class Binding:
    """A place that gives a name a value."""

    name: str
    site: Site
    # An import: its dotted name. Else empty.
    imported: str = ""
    # An assignment of one expression to one name, or the class or function.
    value: cst.CSTNode | None = None
    scope: Scope | None = None
    # Bound from another scope (`global x`), at a time that the text does not show.
    elsewhere: bool = False


@dataclass
class NameUse:
    """A name that is read."""

    node: cst.Name
    scope: Scope
    site: Site
    fstring: bool


class Scope:
    """A Python scope (module, function, class, comprehension, type parameters)."""

    __slots__ = ("bindings", "globals", "kind", "nonlocals", "parent", "root", "stars")

    def __init__(self, kind: str, parent: Scope | None) -> None:
        self.kind = kind
        self.parent = parent
        self.bindings: dict[str, list[Binding]] = {}
        self.globals: set[str] = set()
        self.nonlocals: set[str] = set()
        # `from x import *`: bindings of `*` to the modules.
        self.stars: list[Binding] = []
        self.root: Block | None = None

    @property
    def module(self) -> Scope:
        """The scope of the whole file."""
        scope = self
        while scope.parent is not None:
            scope = scope.parent
        return scope

    @property
    def flow(self) -> Scope:
        """The scope whose code runs when this one's does: comprehensions run on the spot."""
        scope = self
        while scope.kind in ("comprehension", "type parameters") and scope.parent is not None:
            scope = scope.parent
        return scope


@dataclass(frozen=True)
class PathCandidate:
    """A statement that may change `sys.path`: what is changed, by which values, and whether they come first.

    `removes` if it may take directories off; `target` is what an assignment assigns to, which may take some off too.
    `hook` if it changes how Python imports instead.
    """

    base: cst.CSTNode
    values: tuple[cst.CSTNode, ...]
    front: bool
    scope: Scope
    site: Site
    removes: bool = False
    target: cst.CSTNode | None = None
    # The method that is called; empty for an assignment.
    method: str = ""
    hook: bool = False


@dataclass
class Program:
    """Everything the walk found."""

    scope: Scope
    block: Block
    uses: dict[str, list[NameUse]] = field(default_factory=dict)
    bindings: list[Binding] = field(default_factory=list)
    parents: dict[int, cst.CSTNode] = field(default_factory=dict)
    # Modules that it imports, or may import, and where: `from a import b` may mean the module a.b.
    imported: list[tuple[str, Site]] = field(default_factory=list)
    # Import statements and statements that touch sys.path, by block.
    imports_at: dict[int, list[Site]] = field(default_factory=dict)
    paths_at: dict[int, list[Site]] = field(default_factory=dict)
    # Those statements that may take directories off it.
    removed_at: dict[int, list[Site]] = field(default_factory=dict)
    path_candidates: list[PathCandidate] = field(default_factory=list)
    # Those of them that do change it.
    paths: list[PathCandidate] = field(default_factory=list)
    from_imports: list[tuple[cst.ImportFrom, str, Site]] = field(default_factory=list)
    # Calls that fetch a module or class by a string.
    dynamic: list[tuple[cst.Call, Site, str]] = field(default_factory=list)

    @property
    def imports(self) -> list[str]:
        """The modules that it imports, or may import."""
        return [module for module, _ in self.imported]

    def parent(self, node: cst.CSTNode) -> cst.CSTNode | None:
        """The node that holds this one; None for a statement list itself."""
        return self.parents.get(id(node))
