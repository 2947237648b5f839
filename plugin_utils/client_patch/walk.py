"""The walk over a program's tree: where it stands, and what a name is bound to there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import libcst as cst

from .scopes import Binding, Block, PathCandidate, Program, Scope, Site
from .tree import child_fields, identifier


class Walk:
    """One pass over the tree in the order in which a program runs it; :mod:`.reader` knows the kinds of node."""

    def __init__(self, module: cst.Module, scope: Scope, package: str) -> None:
        self.scope = scope
        self.block = Block(self.scope, list(module.body))
        self.scope.root = self.block
        self.program = Program(self.scope, self.block)
        self.package = package
        self.index = 0
        self.part = 0
        self.order = 0
        self.fstring = 0
        # What is done with a node, by its type; with one of any other type, its children are visited.
        self.handlers: dict[type, Callable[[Any], None]] = {}

    # -- walking

    def visit(self, node: cst.CSTNode) -> None:
        """Do with a node what its handler does, or visit its children."""
        handler = self.handlers.get(type(node))
        if handler is not None:
            handler(node)
        else:
            self.children(node)

    def children(self, node: cst.CSTNode) -> None:
        """Visit every part of a node that can hold an expression."""
        parents = self.program.parents
        for name in child_fields(type(node)):
            value = getattr(node, name)
            if isinstance(value, cst.CSTNode):
                parents[id(value)] = node
                self.visit(value)
            elif value and isinstance(value, (list, tuple)):
                for item in value:
                    parents[id(item)] = node
                    self.visit(item)

    def child(self, parent: cst.CSTNode, node: cst.CSTNode | None) -> None:
        """Visit one part of a node, if it is there."""
        if node is not None:
            self.program.parents[id(node)] = parent
            self.visit(node)

    def site(self) -> Site:
        """Where the walk stands, with the next turn."""
        self.order += 1
        return Site(self.block, self.index, self.part, self.order)

    def body(
        self,
        owner: cst.CSTNode,
        body: cst.BaseSuite,
        branch: str,
        scope: Scope | None = None,
        parameters: Sequence[cst.Param] = (),
    ) -> None:
        """The statements of a compound statement's suite, as a block of their own."""
        saved = self.block, self.index, self.part, self.scope
        inline = isinstance(body, cst.SimpleStatementSuite)
        self.block = Block(scope or self.scope, list(body.body), self.block, self.index, owner, branch, inline)
        self.index = self.part = 0
        if scope is not None:
            scope.root = self.block
            self.scope = scope
        for parameter in parameters:
            self.bind(parameter.name.value)
        self.statements(body)
        self.block, self.index, self.part, self.scope = saved

    def statements(self, body: cst.Module | cst.BaseSuite) -> None:
        """Visit the statements of the present block."""
        for self.index, statement in enumerate(body.body):
            self.part = 0
            self.program.parents[id(statement)] = body
            self.visit(statement)

    def statement_line(self, node: cst.SimpleStatementLine) -> None:
        """Visit the parts of a `;` line."""
        for self.part, statement in enumerate(node.body):
            self.program.parents[id(statement)] = node
            self.visit(statement)

    # -- bindings

    def bind(self, name: str, imported: str = "", value: cst.CSTNode | None = None, scope: Scope | None = None) -> None:
        """Record a binding, in the scope that `global` and `nonlocal` send it to."""
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
            if isinstance(whole, (cst.Name, cst.Attribute)):
                self.may_touch_path(whole, [value] if value is not None else [], True, target=target)
            self.visit(target)

    def may_touch_path(
        self,
        base: cst.CSTNode,
        values: Sequence[cst.CSTNode],
        front: bool,
        removes: bool = False,
        target: cst.CSTNode | None = None,
        method: str = "",
    ) -> None:
        """Remember the statement as one that changes `sys.path` if `base` means that."""
        found = PathCandidate(base, tuple(values), front, self.scope, self.site(), removes, target, method)
        self.program.path_candidates.append(found)

    def note_import(self) -> None:
        """Remembers the statement as an import of its block, and `try:`/`if` around it as one of the outer block."""
        site = Site(self.block, self.index, self.part, self.order)
        for block in self.block.ancestors():
            self.program.imports_at.setdefault(id(block), []).append(site)
            if block is block.scope.root or not isinstance(block.owner, (cst.Try, cst.TryStar, cst.If)):
                break
            site = Site(block.parent or block, block.index, 0, self.order)
