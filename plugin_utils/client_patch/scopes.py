"""Scopes, blocks, bindings and loads of a program, from one walk over its LibCST tree.

LibCST's own ``ScopeProvider`` takes three times as long as parsing, and merges all bindings of a name whatever their
order. The patch asks about a handful of names in a file, but must know which of several bindings a use sees: hence a
walk that keeps the order and the branches, and leaves the meaning of names to :mod:`.names`.
"""

from __future__ import annotations

import dataclasses
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache

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
        return any(block is other for block in self.ancestors())


@dataclass(frozen=True)
class Site:
    """Where something stands: the statement (and the part of a `;` line) of a block, and its turn in the walk."""

    block: Block
    index: int
    small: int
    order: int


@dataclass
class Binding:
    name: str
    site: Site
    # An import: its dotted name. Else empty.
    imported: str = ""
    # An assignment of one expression to one name, or the class or function.
    value: cst.CSTNode | None = None
    scope: Scope | None = None
    # Bound from another scope (`global x`), at a time that the text does not tell.
    elsewhere: bool = False


@dataclass
class Load:
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
        # Modules of `from x import *`.
        self.stars: list[str] = []
        self.root: Block | None = None

    @property
    def module(self) -> Scope:
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


@dataclass
class ImportedModule:
    """A module that the program imports (or may import: `from a import b` may mean the module a.b)."""

    name: str
    certain: bool


@dataclass
class Program:
    """Everything the walk found."""

    module: cst.Module
    scope: Scope
    block: Block
    loads: dict[str, list[Load]] = field(default_factory=dict)
    bindings: list[Binding] = field(default_factory=list)
    parents: dict[int, cst.CSTNode] = field(default_factory=dict)
    imports: list[ImportedModule] = field(default_factory=list)
    has_stars: bool = False
    # Import statements and statements that touch sys.path, by block.
    imports_at: dict[int, list[Site]] = field(default_factory=dict)
    paths_at: dict[int, list[Site]] = field(default_factory=dict)
    from_imports: list[tuple[cst.ImportFrom, str, Site]] = field(default_factory=list)
    # Calls that fetch a module or class by a string.
    dynamic: list[tuple[cst.Call, Site, str]] = field(default_factory=list)

    def parent(self, node: cst.CSTNode) -> cst.CSTNode | None:
        return self.parents.get(id(node))


_SKIPPED_FIELDS = {
    "annotation",
    "asynchronous",
    "colon",
    "comma",
    "dot",
    "equal",
    "footer",
    "header",
    "lbrace",
    "lbracket",
    "leading_lines",
    "lines_after_decorators",
    "lpar",
    "operator",
    "posonly_ind",
    "rbrace",
    "rbracket",
    "rpar",
    "semicolon",
    "trailing_comma",
    "trailing_whitespace",
}


@cache
def _child_fields(kind: type) -> tuple[str, ...]:
    """Fields of a node that can hold expressions: not whitespace, punctuation or annotations."""
    return tuple(
        item.name
        for item in dataclasses.fields(kind)
        if item.name not in _SKIPPED_FIELDS and not item.name.startswith(("whitespace", "indent"))
    )


def dotted(node: cst.CSTNode | None) -> str:
    """`a.b.c` of an Attribute chain; empty for anything else."""
    parts: list[str] = []
    while isinstance(node, cst.Attribute):
        parts.append(node.attr.value)
        node = node.value
    if not isinstance(node, cst.Name):
        return ""
    return ".".join([node.value, *reversed(parts)])


def identifier(name: str) -> str:
    """The name as Python compares it: full-width letters and the like are the same name (PEP 3131)."""
    return name if name.isascii() else unicodedata.normalize("NFKC", name)


def literal_string(node: cst.CSTNode) -> str | None:
    value = node.evaluated_value if isinstance(node, (cst.SimpleString, cst.ConcatenatedString)) else None
    return value if isinstance(value, str) else None


class _Walker:
    """One pass over the tree in the order in which a program runs it."""

    def __init__(self, module: cst.Module, package: str) -> None:
        self.scope = Scope("module", None)
        self.block = Block(self.scope, list(module.body))
        self.scope.root = self.block
        self.program = Program(module, self.scope, self.block)
        self.package = package
        self.index = 0
        self.small = 0
        self.order = 0
        self.fstring = 0
        self.handlers: dict[type, Callable[[cst.CSTNode], None]] = {
            cst.Name: self.name,
            cst.Attribute: self.attribute,
            cst.FunctionDef: self.function,
            cst.ClassDef: self.class_,
            cst.Lambda: self.lambda_,
            cst.ListComp: self.comprehension,
            cst.SetComp: self.comprehension,
            cst.GeneratorExp: self.comprehension,
            cst.DictComp: self.comprehension,
            cst.Assign: self.assign,
            cst.AnnAssign: self.annotated,
            cst.AugAssign: self.augmented,
            cst.NamedExpr: self.walrus,
            cst.Import: self.import_,
            cst.ImportFrom: self.import_from,
            cst.Global: self.global_,
            cst.Nonlocal: self.nonlocal_,
            cst.Del: self.delete,
            cst.For: self.for_,
            cst.While: self.while_,
            cst.If: self.if_,
            cst.Try: self.try_,
            cst.TryStar: self.try_,
            cst.With: self.with_,
            cst.Match: self.match,
            cst.MatchAs: self.match_name,
            cst.MatchStar: self.match_name,
            cst.MatchMapping: self.match_mapping,
            # Its key is the name of an attribute.
            cst.MatchKeywordElement: lambda node: self.child(node, node.pattern),
            cst.TypeAlias: self.type_alias,
            cst.FormattedString: self.formatted,
            cst.Call: self.call,
            cst.Arg: self.arg,
            cst.SimpleStatementLine: self.statement_line,
            cst.SimpleString: lambda node: None,
            cst.Integer: lambda node: None,
        }
        templated = getattr(cst, "TemplatedString", None)
        if templated is not None:
            self.handlers[templated] = self.formatted

    # -- walking

    def visit(self, node: cst.CSTNode) -> None:
        handler = self.handlers.get(type(node))
        if handler is not None:
            handler(node)
        else:
            self.children(node)

    def children(self, node: cst.CSTNode) -> None:
        parents = self.program.parents
        for name in _child_fields(type(node)):
            value = getattr(node, name)
            if isinstance(value, cst.CSTNode):
                parents[id(value)] = node
                self.visit(value)
            elif value and isinstance(value, (list, tuple)):
                for item in value:
                    parents[id(item)] = node
                    self.visit(item)

    def child(self, parent: cst.CSTNode, node: cst.CSTNode | None) -> None:
        if node is not None:
            self.program.parents[id(node)] = parent
            self.visit(node)

    def site(self) -> Site:
        self.order += 1
        return Site(self.block, self.index, self.small, self.order)

    def body(
        self,
        owner: cst.CSTNode,
        body: cst.BaseSuite,
        branch: str,
        scope: Scope | None = None,
        parameters: Sequence[cst.Param] = (),
    ) -> None:
        """The statements of a compound statement's suite, as a block of their own."""
        saved = self.block, self.index, self.small, self.scope
        inline = isinstance(body, cst.SimpleStatementSuite)
        self.block = Block(scope or self.scope, list(body.body), self.block, self.index, owner, branch, inline)
        self.index = self.small = 0
        if scope is not None:
            scope.root = self.block
            self.scope = scope
        for parameter in parameters:
            self.bind(parameter.name.value)
        self.statements(body)
        self.block, self.index, self.small, self.scope = saved

    def statements(self, body: cst.Module | cst.BaseSuite) -> None:
        for self.index, statement in enumerate(body.body):
            self.small = 0
            self.program.parents[id(statement)] = body
            self.visit(statement)

    def statement_line(self, node: cst.SimpleStatementLine) -> None:
        for self.small, statement in enumerate(node.body):
            self.program.parents[id(statement)] = node
            self.visit(statement)

    # -- bindings

    def bind(self, name: str, imported: str = "", value: cst.CSTNode | None = None, scope: Scope | None = None) -> None:
        name = identifier(name)
        scope = scope or self.scope
        elsewhere = False
        if name in scope.globals:
            scope, elsewhere = scope.module, True
        elif name in scope.nonlocals:
            outer = scope.parent
            while outer is not None and (outer.kind != "function" or name not in outer.bindings):
                outer = outer.parent
            scope, elsewhere = outer or scope, True
        binding = Binding(name, self.site(), imported, value, self.scope, elsewhere)
        scope.bindings.setdefault(name, []).append(binding)
        self.program.bindings.append(binding)

    def bind_target(self, target: cst.CSTNode, value: cst.CSTNode | None = None) -> None:
        """Binds the names of an assignment target; other targets are visited, since they are evaluated."""
        if isinstance(target, cst.Name):
            self.bind(target.value, value=value)
        elif isinstance(target, (cst.Tuple, cst.List)):
            values: list[cst.CSTNode | None] = [None] * len(target.elements)
            if (
                isinstance(value, (cst.Tuple, cst.List))
                and len(value.elements) == len(target.elements)
                and not any(isinstance(item, cst.StarredElement) for item in [*value.elements, *target.elements])
            ):
                values = [item.value for item in value.elements]
            for item, part in zip(target.elements, values, strict=True):
                self.bind_target(item.value, part)
        elif isinstance(target, cst.StarredElement):
            self.bind_target(target.value)
        else:
            whole = target.value if isinstance(target, cst.Subscript) else target
            if dotted(whole) == "sys.path":
                self.touch_path()
            self.visit(target)

    def touch_path(self) -> None:
        site = Site(self.block, self.index, self.small, self.order)
        for block in self.block.ancestors():
            self.program.paths_at.setdefault(id(block), []).append(site)
            if block is block.scope.root:
                break
            site = Site(block.parent or block, block.index, 0, self.order)

    def note_import(self) -> None:
        """Remembers the statement as an import of its block, and `try:`/`if` around it as one of the outer block."""
        site = Site(self.block, self.index, self.small, self.order)
        for block in self.block.ancestors():
            self.program.imports_at.setdefault(id(block), []).append(site)
            if block is block.scope.root or not isinstance(block.owner, (cst.Try, cst.TryStar, cst.If)):
                break
            site = Site(block.parent or block, block.index, 0, self.order)

    # -- expressions

    def name(self, node: cst.Name) -> None:
        load = Load(node, self.scope, self.site(), self.fstring > 0)
        self.program.loads.setdefault(identifier(node.value), []).append(load)

    def attribute(self, node: cst.Attribute) -> None:
        self.child(node, node.value)

    def arg(self, node: cst.Arg) -> None:
        self.child(node, node.value)

    def call(self, node: cst.Call) -> None:
        func = dotted(node.func)
        if func.startswith("sys.path.") or func.endswith("addsitedir"):
            self.touch_path()
        strings = [literal_string(arg.value) for arg in node.args[:2]]
        if func == "getattr" and len(strings) == 2 and strings[1]:
            self.program.dynamic.append((node, self.site(), strings[1]))
        elif func.split(".")[-1] in ("import_module", "__import__") and strings and strings[0]:
            self.program.dynamic.append((node, self.site(), strings[0]))
            self.program.imports.append(ImportedModule(strings[0], False))
        self.children(node)

    def walrus(self, node: cst.NamedExpr) -> None:
        self.child(node, node.value)
        scope = self.scope
        while scope.kind == "comprehension" and scope.parent is not None:
            scope = scope.parent
        if isinstance(node.target, cst.Name):
            self.bind(node.target.value, value=node.value, scope=scope)

    def lambda_(self, node: cst.Lambda) -> None:
        parameters = self.defaults(node.params)
        saved = self.block, self.index, self.small, self.scope
        scope = Scope("function", self.scope)
        self.block = scope.root = Block(scope, [], self.block, self.index, node, inline=True)
        self.index = self.small = 0
        self.scope = scope
        for parameter in parameters:
            self.bind(parameter.name.value)
        self.child(node, node.body)
        self.block, self.index, self.small, self.scope = saved

    def defaults(self, params: cst.Parameters) -> list[cst.Param]:
        """All parameters; their defaults are evaluated outside the function."""
        every = [*params.posonly_params, *params.params, *params.kwonly_params]
        every += [item for item in (params.star_arg, params.star_kwarg) if isinstance(item, cst.Param)]
        for param in every:
            self.child(param, param.default)
        return every

    def comprehension(self, node: cst.BaseComp) -> None:
        loop = node.for_in
        self.child(loop, loop.iter)
        scope = Scope("comprehension", self.scope)
        scope.root = self.block
        saved, self.scope = self.scope, scope
        while True:
            self.bind_target(loop.target)
            for condition in loop.ifs:
                self.child(condition, condition.test)
            if loop.inner_for_in is None:
                break
            loop = loop.inner_for_in
            self.child(loop, loop.iter)
        if isinstance(node, cst.DictComp):
            self.child(node, node.key)
            self.child(node, node.value)
        else:
            self.child(node, node.elt)
        self.scope = saved

    def formatted(self, node: cst.FormattedString) -> None:
        self.fstring += 1
        self.children(node)
        self.fstring -= 1

    # -- statements

    def assign(self, node: cst.Assign) -> None:
        self.child(node, node.value)
        for target in node.targets:
            self.bind_target(target.target, node.value)

    def annotated(self, node: cst.AnnAssign) -> None:
        self.child(node, node.value)
        # A bare `x: T` makes the name local without binding it; with no value nothing reaches the use.
        if node.value is not None or self.scope.kind != "module":
            self.bind_target(node.target, node.value)

    def augmented(self, node: cst.AugAssign) -> None:
        self.child(node, node.value)
        self.bind_target(node.target)

    def delete(self, node: cst.Del) -> None:
        target = node.target
        parts = [item.value for item in target.elements] if isinstance(target, (cst.Tuple, cst.List)) else [target]
        for part in parts:
            self.bind_target(part)

    def global_(self, node: cst.Global) -> None:
        self.scope.globals.update(identifier(item.name.value) for item in node.names)

    def nonlocal_(self, node: cst.Nonlocal) -> None:
        self.scope.nonlocals.update(identifier(item.name.value) for item in node.names)

    def import_(self, node: cst.Import) -> None:
        for alias in node.names:
            name = dotted(alias.name)
            self.program.imports.append(ImportedModule(name, True))
            if alias.asname is not None and isinstance(alias.asname.name, cst.Name):
                self.bind(alias.asname.name.value, imported=name)
            else:
                first = name.split(".")[0]
                self.bind(first, imported=first)
        self.note_import()

    def import_from(self, node: cst.ImportFrom) -> None:
        module = self.absolute(node)
        self.program.imports.append(ImportedModule(module, True))
        if isinstance(node.names, cst.ImportStar):
            self.scope.stars.append(module)
            self.program.has_stars = True
            self.site()
        else:
            for alias in node.names:
                name = alias.name.value
                bound = alias.asname.name.value if alias.asname is not None else name
                self.program.imports.append(ImportedModule(f"{module}.{name}", False))
                self.bind(bound, imported=f"{module}.{name}")
        self.program.from_imports.append((node, module, Site(self.block, self.index, self.small, self.order)))
        if module != "__future__":
            self.note_import()

    def absolute(self, node: cst.ImportFrom) -> str:
        """The module's full name; relative ones are counted from the package of this file."""
        name = dotted(node.module)
        level = len(node.relative)
        if not level:
            return name
        parts = self.package.split(".") if self.package else []
        base = parts[: len(parts) - level + 1] if level <= len(parts) else []
        return ".".join([*base, *([name] if name else [])])

    def function(self, node: cst.FunctionDef) -> None:
        for decorator in node.decorators:
            self.child(decorator, decorator.decorator)
        outer = self.scope
        self.scope = self.type_parameters(node.type_parameters)
        parameters = self.defaults(node.params)
        scope = Scope("function", self.scope)
        self.scope = outer
        self.bind(node.name.value, value=node)
        self.body(node, node.body, "body", scope, parameters)

    def type_parameters(self, node: cst.TypeParameters | None) -> Scope:
        if node is None:
            return self.scope
        scope = Scope("type parameters", self.scope)
        scope.root = self.block
        for param in node.params:
            self.bind(param.param.name.value, scope=scope)
        return scope

    def class_(self, node: cst.ClassDef) -> None:
        for decorator in node.decorators:
            self.child(decorator, decorator.decorator)
        outer, self.scope = self.scope, self.type_parameters(node.type_parameters)
        for item in [*node.bases, *node.keywords]:
            self.child(node, item)
        scope = Scope("class", self.scope)
        self.scope = outer
        self.body(node, node.body, "body", scope)
        self.bind(node.name.value, value=node)

    def for_(self, node: cst.For) -> None:
        self.child(node, node.iter)
        self.bind_target(node.target)
        self.body(node, node.body, "body")
        if node.orelse is not None:
            self.body(node, node.orelse.body, "else")

    def while_(self, node: cst.While) -> None:
        self.child(node, node.test)
        self.body(node, node.body, "body")
        if node.orelse is not None:
            self.body(node, node.orelse.body, "else")

    def if_(self, node: cst.If) -> None:
        branch: cst.If | cst.Else | None = node
        number = 0
        while isinstance(branch, cst.If):
            self.child(node, branch.test)
            self.body(node, branch.body, f"if {number}")
            branch, number = branch.orelse, number + 1
        if branch is not None:
            self.body(node, branch.body, "else")

    def try_(self, node: cst.Try | cst.TryStar) -> None:
        self.body(node, node.body, "try")
        for number, handler in enumerate(node.handlers):
            self.child(handler, handler.type)
            if handler.name is not None:
                self.bind_target(handler.name.name)
            self.body(node, handler.body, f"except {number}")
        if node.orelse is not None:
            self.body(node, node.orelse.body, "else")
        if node.finalbody is not None:
            self.body(node, node.finalbody.body, "finally")

    def with_(self, node: cst.With) -> None:
        for item in node.items:
            self.child(item, item.item)
            if item.asname is not None:
                self.bind_target(item.asname.name)
        self.body(node, node.body, "with")

    def match(self, node: cst.Match) -> None:
        self.child(node, node.subject)
        for number, case in enumerate(node.cases):
            self.child(case, case.pattern)
            self.child(case, case.guard)
            self.body(node, case.body, f"case {number}")

    def match_name(self, node: cst.MatchAs | cst.MatchStar) -> None:
        if isinstance(node, cst.MatchAs):
            self.child(node, node.pattern)
        if node.name is not None:
            self.bind(node.name.value)

    def match_mapping(self, node: cst.MatchMapping) -> None:
        for element in node.elements:
            self.child(node, element)
        if node.rest is not None:
            self.bind(node.rest.value)

    def type_alias(self, node: cst.TypeAlias) -> None:
        """`type X = …` holds a type hint, evaluated only on demand."""
        self.bind(node.name.value)


def read_program(module: cst.Module, package: str = "") -> Program:
    """Walks a parsed module. ``package`` is the dotted package of the file, against which relative imports count."""
    walker = _Walker(module, package)
    walker.statements(module)
    return walker.program
