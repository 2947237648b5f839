"""Places the import of the pool's functions where it works.

It stands after the last import, and after the last change of `sys.path`, that the file has at that level before the
first use: the pool module lies in the checkout, which most bots put on their path themselves. The level is where the
client's class is imported: what works for the SDK inside a function works for the pool there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import libcst as cst

from .editor import Editor
from .guards import Guards, is_optional, is_stand_in
from .model import PatchError
from .paths import note_site
from .scopes import Block, Scope, Site
from .source import Source
from .survey import ClientCall, Survey
from .templates import NAMES, Wrappers
from .tree import dotted

# The statement of a block, and the part of a `;` line.
Place = tuple[int, int]


@dataclass
class _Need:
    """A construction that needs a function of the pool, and where that is to be imported for it."""

    call: ClientCall
    function: str
    # None where the import goes into the guard of an optional SDK.
    block: Block | None
    limit: Place = (0, 0)


@dataclass
class _Group:
    """The uses that one import serves."""

    block: Block
    functions: set[str] = field(default_factory=set)
    # The import must stand before all of these.
    limits: list[Place] = field(default_factory=list)


class ImportPlacer:
    """Adds to an editor the imports that newly wrapped constructions need."""

    def __init__(self, source: Source, survey: Survey, wrappers: Wrappers, editor: Editor) -> None:
        self.source = source
        self.program = source.program
        self.survey = survey
        self.wrappers = wrappers
        self.editor = editor
        # Changes of the path that the import must come behind.
        self.paths_at = (
            {key: list(sites) for key, sites in self.program.paths_at.items()} if wrappers.needs_path else {}
        )
        # What may take the pool module's directory off the path, or keep it from being found: it must come before.
        self.removed_at = {key: list(sites) for key, sites in self.program.removed_at.items()}
        for item in survey.known.barring.of(self.program):
            note_site(self.removed_at, item.site)
            if item.barrier.adds and wrappers.needs_path:
                note_site(self.paths_at, item.site)

    def place(self, calls: Iterable[ClientCall]) -> None:
        """Add the imports for these calls.

        :raises PatchError: if a function's name is taken.
        """
        guards = Guards(self.source, self.survey, self.wrappers, self.editor)
        needs: list[_Need] = []
        for call in calls:
            function = self.wrappers.for_kind(call.client.kind).function
            if self._is_imported(function, call):
                continue
            self._check_free(function)
            guarded = guards.around(call, self._last_change()) is not None
            needs.append(_Need(call, function, None) if guarded else _Need(call, function, *self._level(call)))
        self._part(needs)
        groups: dict[int, _Group] = {}
        for need in needs:
            if need.block is None:
                guards.take(need.call, need.function, self._last_change())
                continue
            group = groups.setdefault(id(need.block), _Group(need.block))
            group.functions.add(need.function)
            group.limits.append(need.limit)
        # First: an `else` has to follow its `try`, and what stands behind that comes after it.
        guards.insert()
        for group in groups.values():
            self._insert(group)

    def _part(self, needs: Sequence[_Need]) -> None:
        """Import a name in a function itself where another import there hides the one outside."""
        local = {(id(need.block.scope), need.function) for need in needs if need.block is not None}
        parted = True
        while parted:
            parted = False
            for need in needs:
                outer = need.block.scope if need.block is not None else self.program.scope
                if not any(
                    (id(scope), need.function) in local or need.function in scope.bindings
                    for scope in _functions_between(need.call.site.block.scope, outer)
                ):
                    continue
                block = need.call.site.block
                while block.parent is not None and self._is_unfit(block, ()):
                    block = block.parent
                need.block, need.limit = block, _project(need.call.site, block)
                local.add((id(block.scope), need.function))
                parted = True

    def _is_imported(self, function: str, call: ClientCall) -> bool:
        resolver, site = self.survey.resolver, call.site
        if f"{self.wrappers.pool_module}.{function}" not in resolver.name(function, site.block.scope, site):
            return False
        where, live = resolver.live(function, site.block.scope, site)
        if where.kind != "function" or where is not site.block.scope.flow:
            return True
        # An import in another branch of the same function may not have run.
        return any(not item.imported or site.block.is_within(item.site.block) for item in live)

    def _check_free(self, function: str) -> None:
        for binding in self.program.bindings:
            of_a_pool = binding.imported.rpartition(".")[2] == function
            if binding.name == function and not of_a_pool and not is_stand_in(binding):
                start, _ = self._span(binding.site.block, binding.site.index)
                line, column = self.source.position(start)
                raise PatchError(
                    f"{function} is the name of something else here, so the pool's function cannot be imported under "
                    "it; rename it, or put the pool module's version in its place",
                    line,
                    column,
                )

    # -- the level

    def _level(self, call: ClientCall) -> tuple[Block, Place]:
        """The block to import in, and the place in it before which the import must stand."""
        use = call.use
        _, live = self.survey.resolver.live(use.node.value, use.scope, use.site)
        sites = [binding.site for binding in live]
        block = call.site.block if sites else self.program.block
        for site in sites:
            block = _common(block, site.block)
        while block.parent is not None and self._is_unfit(block, sites):
            block = block.parent
        for inner in _blocks_between(call.site.block, block):
            if inner.statements and self._paths_before(inner, _project(call.site, inner)):
                return inner, _project(call.site, inner)
        limit = _project(call.site, block)
        if not _is_deferred(call.site.block, block):
            return block, limit
        # A function is called after its SDK is imported, however late in the file that is.
        imported = max((_project(site, block)[0] + 1 for site in sites), default=0)
        limit = max(limit, (imported, 0))
        late = _function_body(call.site.block, block)
        if late is not None and self.paths_at and not self._paths_before(block, limit):
            # The path is set somewhere else, before the function is called: only there does the import work.
            return late, _project(call.site, late)
        return block, limit

    def _is_unfit(self, block: Block, sites: Sequence[Site]) -> bool:
        """Not in a class body; nor in a `try`, whose handler would hide that the pool is missing.

        Unless the SDK is imported there, and the program goes on without it: then it must do without the pool as well.
        """
        if block.scope.kind == "class" or not block.statements:
            return True
        if is_optional(block) and any(site.block is block for site in sites):
            return False
        return isinstance(block.owner, (cst.Try, cst.TryStar)) and not self.paths_at.get(id(block))

    def _last_change(self) -> int:
        """The statement of the file that last changes the path; -1 if none does."""
        return max((index for index, _ in _places(self.paths_at, self.program.block)), default=-1)

    def _paths_before(self, block: Block, limit: Place) -> bool:
        return any(place < limit for place in _places(self.paths_at, block))

    # -- the place

    def _insert(self, group: _Group) -> None:
        block = group.block
        limit = min(group.limits)
        # Behind the changes of the path that it needs, before those that take away what it needs.
        needed = max((place for place in _places(self.paths_at, block) if place < limit), default=(-1, 0))
        limit = min([limit, *(place for place in _places(self.removed_at, block) if place > needed)])
        line = self.wrappers.import_line.replace(NAMES, ", ".join(sorted(group.functions)))
        places = _places(self.program.imports_at, block) + _places(self.paths_at, block)
        before = [place for place in places if place < limit]
        index, part = limit
        if block.inline or any(place[0] == index for place in before):
            self._insert_inline(block, index, part, line)
            return
        anchor = max(before)[0] if before else self._preamble(block, index)
        if anchor < 0:
            start = self.source.line_start(self._statement_start(block, 0))
            text = self.source.indentation(start) + line + self.source.newline(start)
            self.editor.insert(start, text)
            return
        start, end = self._span(block, anchor)
        last = max(end - 1, start)
        indent = self.source.indentation(self._statement_start(block, anchor))
        newline = self.source.newline(last)
        following = self._behind_comments(self.source.next_line(last), indent)
        if following == self.source.line_end(last):
            # The last line of the file, and it has no line break.
            self.editor.insert(following, newline + indent + line)
        else:
            self.editor.insert(following, indent + line + newline)

    def _behind_comments(self, offset: int, indent: str) -> int:
        """Comments that are indented deeper than the statement above still belong to it."""
        source = self.source
        while offset < len(source.text):
            space = source.indentation(offset)
            if len(space) <= len(indent) or not source.text.startswith(b"#", offset + len(space)):
                break
            offset = source.next_line(offset)
        return offset

    def _insert_inline(self, block: Block, index: int, part: int, line: str) -> None:
        """On a line of several statements: in front of the one with the use."""
        statement = block.statements[index]
        node = statement.body[part] if isinstance(statement, cst.SimpleStatementLine) else statement
        start, _ = self.source.span(node, Site(block, index, part, 0))
        self.editor.insert(start, f"{line}; ")

    def _preamble(self, block: Block, limit: int) -> int:
        """The last statement that must stay first: docstring, `from __future__`; -1 if there is none."""
        last = -1
        for number, statement in enumerate(block.statements[:limit]):
            first = statement.body[0] if isinstance(statement, cst.SimpleStatementLine) else None
            future = isinstance(first, cst.ImportFrom) and dotted(first.module) == "__future__"
            docstring = (
                number == 0
                and isinstance(first, cst.Expr)
                and isinstance(first.value, (cst.SimpleString, cst.ConcatenatedString))
            )
            if not future and not docstring:
                break
            last = number
        return last

    def _span(self, block: Block, index: int) -> tuple[int, int]:
        return self.source.span(block.statements[index], Site(block, index, 0, 0))

    def _statement_start(self, block: Block, index: int) -> int:
        """Where a statement's first line begins to be its own, decorators included."""
        statement = block.statements[index]
        decorators = statement.decorators if isinstance(statement, (cst.FunctionDef, cst.ClassDef)) else ()
        node = decorators[0] if decorators else statement
        return self.source.span(node, Site(block, index, 0, 0))[0]


def _places(table: Mapping[int, list[Site]], block: Block) -> list[Place]:
    return [(site.index, site.part) for site in table.get(id(block), ())]


def _project(site: Site, block: Block) -> Place:
    """The statement of ``block`` in which a site lies."""
    where, index, part = site.block, site.index, site.part
    while where is not block and where.parent is not None:
        where, index, part = where.parent, where.index, 0
    return index, part


def _common(left: Block, right: Block) -> Block:
    """The innermost block around both."""
    return next(block for block in left.ancestors() if right.is_within(block))


def _blocks_between(inner: Block, outer: Block) -> Iterator[Block]:
    """The blocks from ``inner`` out to ``outer``, that one excluded."""
    for block in inner.ancestors():
        if block is outer:
            return
        yield block


def _functions_between(inner: Scope, outer: Scope) -> Iterator[Scope]:
    """The functions' scopes from ``inner`` out to ``outer``, that one excluded."""
    scope: Scope | None = inner
    while scope is not None and scope is not outer:
        if scope.kind == "function":
            yield scope
        scope = scope.parent


def _is_deferred(inner: Block, outer: Block) -> bool:
    """True if the code of ``inner`` does not run when that of ``outer`` does: a function lies between."""
    return any(
        block.scope.kind == "function" and block.scope is not outer.scope for block in _blocks_between(inner, outer)
    )


def _function_body(inner: Block, outer: Block) -> Block | None:
    """The body of the innermost `def` between the blocks."""
    for block in _blocks_between(inner, outer):
        if isinstance(block.owner, cst.FunctionDef) and block is block.scope.root:
            return block
    return None
