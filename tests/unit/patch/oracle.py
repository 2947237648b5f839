"""CPython's own symbol table as the judge of the scope analysis."""

from __future__ import annotations

import symtable
from collections.abc import Iterator
from dataclasses import dataclass

import libcst as cst
from libcst.metadata import CodeRange, MetadataWrapper, PositionProvider

from plugin_utils.client_patch import names, reader, scopes
from plugin_utils.client_patch.tree import identifier

COMPREHENSIONS = {"listcomp", "setcomp", "dictcomp", "genexpr"}
# Names of scopes without a name, here and in CPython.
ANONYMOUS = ("", "lambda")

CONSTANTS = {"True", "False", "None"}


@dataclass
class Disagreement:
    """A use of a name that the analysis looks up elsewhere than Python does."""

    name: str
    line: str
    ours: str
    pythons: str


@dataclass
class Comparison:
    uses: int
    # Uses in scopes that could not be paired off, such as lambdas in decorators.
    unpaired: int
    disagreements: list[Disagreement]


class _Recorder:
    """Keeps the scopes that a walk makes: their children in order, and the line that each begins on."""

    def __init__(self, module: cst.Module) -> None:
        self.children: dict[int, list[scopes.Scope]] = {}
        self.kept: list[scopes.Scope] = []
        self.comprehensions: dict[int, cst.BaseComp] = {}
        self.ranges = MetadataWrapper(module, unsafe_skip_copy=True).resolve(PositionProvider)

    def scope(self, kind: str, parent: scopes.Scope | None) -> scopes.Scope:
        made = scopes.Scope(kind, parent)
        self.kept.append(made)
        self.children.setdefault(id(parent), []).append(made)
        return made

    def comprehension(self, walk: reader.Reader, node: cst.BaseComp) -> None:
        read_comprehension(walk, node)
        # Those inside have another parent, or, in the first iterable, were made before.
        self.comprehensions[id(self.children[id(walk.scope)][-1])] = node

    def line(self, scope: scopes.Scope, program: scopes.Program) -> int:
        """As CPython counts: a function begins at `def`, a generator that is a call's only argument at the bracket."""
        node = self.comprehensions.get(id(scope)) or (scope.root.owner if scope.root is not None else None)
        if node is None:
            return 0
        where: CodeRange = self.ranges[node.name if isinstance(node, (cst.FunctionDef, cst.ClassDef)) else node]
        if isinstance(node, cst.GeneratorExp) and not node.lpar:
            call = program.parent(program.parent(node))
            return self.ranges[call.func].end.line if isinstance(call, cst.Call) else where.start.line
        return where.start.line


read_comprehension = reader.Reader.comprehension


def _theirs(table: symtable.SymbolTable) -> tuple[str, str]:
    if table.get_type() != "function":
        return str(table.get_type()), table.get_name()
    return ("comprehension", "") if table.get_name() in COMPREHENSIONS else ("function", table.get_name())


def _ours_named(scope: scopes.Scope) -> tuple[str, str]:
    if scope.kind == "comprehension":
        return "comprehension", ""
    owner = scope.root.owner if scope.root is not None else None
    named = isinstance(owner, (cst.FunctionDef, cst.ClassDef))
    return scope.kind, identifier(owner.name.value) if named else "lambda"


def _pairs(
    recorder: _Recorder, program: scopes.Program, scope: scopes.Scope, table: symtable.SymbolTable
) -> Iterator[tuple[scopes.Scope, symtable.SymbolTable]]:
    """Scopes with their tables; where these do not match by kind and name they are left out with all in them."""
    yield scope, table
    # CPython goes through `else` before `except`, and through defaults before decorators; a lambda in a default stands
    # after its function's line and is still seen first. Sorted by line, and each kind for itself, the orders agree.
    theirs = sorted(table.get_children(), key=lambda child: child.get_lineno())
    ours = sorted(recorder.children.get(id(scope), []), key=lambda child: recorder.line(child, program))
    for anonymous in (False, True):
        our_part = [item for item in ours if (_ours_named(item)[1] in ANONYMOUS) is anonymous]
        their_part = [item for item in theirs if (_theirs(item)[1] in ANONYMOUS) is anonymous]
        if [_ours_named(item) for item in our_part] == [_theirs(item) for item in their_part]:
            for our_child, their_child in zip(our_part, their_part, strict=True):
                yield from _pairs(recorder, program, our_child, their_child)


def compare(text: str) -> Comparison:
    """Looks every use of a name up in both.

    :raises SyntaxError: if this Python does not know the program's syntax.
    """
    table = symtable.symtable(text, "<program>", "exec")
    module = cst.parse_module(text)
    recorder = _Recorder(module)
    reader.Scope = recorder.scope  # type: ignore[assignment, misc]
    reader.Reader.comprehension = lambda walk, node: recorder.comprehension(walk, node)  # type: ignore[method-assign]
    try:
        program = reader.read_program(module)
    finally:
        reader.Scope = scopes.Scope  # type: ignore[misc]
        reader.Reader.comprehension = read_comprehension  # type: ignore[method-assign]
    tables = {id(scope): found for scope, found in _pairs(recorder, program, program.scope, table)}
    result = Comparison(0, 0, [])
    for name, uses in program.uses.items():
        if name in CONSTANTS or _is_mangled(name):
            continue
        for use in uses:
            result.uses += 1
            found = tables.get(id(use.scope))
            if found is None:
                result.unpaired += 1
                continue
            ours, pythons = _ours(name, use.scope), _pythons(name, use.scope, found, tables)
            if ours != pythons:
                line = cst.Module(body=[]).code_for_node(program.parent(use.node) or use.node)
                result.disagreements.append(Disagreement(name, line[:80], ours, pythons))
    return result


def _is_mangled(name: str) -> bool:
    """Private to a class: Python knows it under another name there."""
    return name.startswith("__") and not name.endswith("__")


def _describe(scope: scopes.Scope | None) -> str:
    return "global" if scope is None or scope.kind == "module" else f"{scope.kind} {id(scope)}"


def _ours(name: str, scope: scopes.Scope) -> str:
    return _describe(next(names.lookup(name, scope), None))


def _pythons(
    name: str, scope: scopes.Scope, table: symtable.SymbolTable, tables: dict[int, symtable.SymbolTable]
) -> str:
    if name not in table.get_identifiers():
        return "not a name there"
    symbol = table.lookup(name)
    if scope.kind == "module" or symbol.is_declared_global():
        return "global"
    # In this order: symtable takes a function named `top` for the module, and its locals for global as well.
    if symbol.is_local():
        return _describe(scope)
    if symbol.is_global():
        return "global"
    outer = scope.parent
    while outer is not None:
        found = tables[id(outer)]
        known = outer.kind in ("function", "comprehension") and name in found.get_identifiers()
        if known and found.lookup(name).is_local():
            return _describe(outer)
        outer = outer.parent
    return "global"
