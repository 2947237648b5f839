"""An SDK that a program can do without: the import of the pool must not ask for more than the import of the SDK does.

It goes into the `else` of that `try`, so that it runs only where the SDK is there and its own failure is not taken for
the SDK's. Where the handler puts a class in the SDK's place, the pool's function gets a stand-in as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import libcst as cst

from .editor import Editor
from .names import PACKAGES, ClientClass
from .scopes import Binding, Block, Site
from .source import Source, top_level
from .survey import ClientCall, Survey
from .templates import NAMES, Wrappers
from .tree import dotted, nodes_within

_CAUGHT = frozenset({"ImportError", "ModuleNotFoundError", "Exception", "BaseException"})
STAND_IN = "def {function}(client, **settings):"
STAND_IN_BODY = "return client"


@dataclass
class _Guard:
    """A `try` (or a block) around an SDK's import, and what the pool's import there has to serve."""

    block: Block
    # The statement of the block that imports the SDK.
    index: int
    functions: set[str] = field(default_factory=set)
    # Handlers that put something in the SDK's place, with the functions that need a stand-in there.
    stand_ins: dict[int, tuple[Block, set[str]]] = field(default_factory=dict)


class Guards:
    """The imports and stand-ins for clients of optional SDKs."""

    def __init__(self, source: Source, survey: Survey, wrappers: Wrappers, editor: Editor) -> None:
        self.source = source
        self.survey = survey
        self.wrappers = wrappers
        self.editor = editor
        self.found: dict[int, _Guard] = {}

    def around(self, call: ClientCall, last_change: int) -> tuple[Binding, list[Block]] | None:
        """The import of a call's SDK that a guard can stand around, with the handlers that need a stand-in.

        :param last_change: the statement of the file behind which the pool's import has to stand; -1 if none.
        :return: None where the SDK is not optional.
        """
        _, live = self.survey.resolver.live(call.use.node.value, call.use.scope, call.use.site)
        good = [binding for binding in live if self._is_sdk(binding)]
        blocks = {id(binding.site.block): binding for binding in good}
        if len(blocks) != 1 or any(binding.elsewhere for binding in live):
            return None
        binding = good[-1]
        block = binding.site.block
        if top_level(binding.site) <= last_change:
            return None
        others = [item for item in live if item not in good and self.survey.resolver.binding(item)]
        if block.scope is not block.scope.module or not is_optional(block) or call.site.block.is_within(block):
            return None
        handlers = [item.site.block for item in others if item.site.block.owner is block.owner]
        if len(handlers) != len(others) or any(item.inline or item.branch == "else" for item in handlers):
            return None
        if isinstance(block.owner, cst.Try) and block.owner.orelse is not None and _else(block.owner) is None:
            # `else: …` on one line takes no second one.
            return None
        return binding, handlers

    def take(self, call: ClientCall, function: str, last_change: int) -> None:
        """Serve a call whose SDK is optional; parameters as for `around`."""
        found = self.around(call, last_change)
        if found is None:
            return
        binding, handlers = found
        guard = self.found.setdefault(id(binding.site.block), _Guard(binding.site.block, binding.site.index))
        guard.functions.add(function)
        for handler in handlers:
            guard.stand_ins.setdefault(id(handler), (handler, set()))[1].add(function)

    def _is_sdk(self, binding: Binding) -> bool:
        if binding.imported.partition(".")[0] in PACKAGES:
            return True
        return any(isinstance(item, ClientClass) for item in self.survey.resolver.binding(binding))

    def insert(self) -> None:
        """Add all imports and stand-ins to the editor."""
        for guard in self.found.values():
            line = self.wrappers.import_line.replace(NAMES, ", ".join(sorted(guard.functions)))
            for handler, functions in guard.stand_ins.values():
                self._stand_in(handler, sorted(functions))
            if isinstance(guard.block.owner, cst.Try):
                self._in_else(guard.block, guard.block.owner, line)
            else:
                self._behind(guard.block, guard.index, [line])

    def _stand_in(self, handler: Block, functions: Sequence[str]) -> None:
        unit = self.source.module.default_indent
        lines = [text for name in functions for text in (STAND_IN.format(function=name), unit + STAND_IN_BODY)]
        self._behind(handler, len(handler.statements) - 1, ["", *lines])

    def _in_else(self, block: Block, owner: cst.Try, line: str) -> None:
        other = _else(owner)
        if other is not None:
            first = other.body.body[0]
            start, _ = self.source.span(first, Site(block, block.index, 0, 0))
            start = self.source.line_start(start)
            self.editor.insert(start, self.source.indentation(start) + line + self.source.newline(start))
            return
        last = owner.handlers[-1].body.body[-1]
        start, _ = self.source.span(owner, Site(block, block.index, 0, 0))
        indent = self.source.indentation(start)
        inner = indent + self.source.module.default_indent
        self._insert_behind(last, block, [f"{indent}else:", f"{inner}{line}"])

    def _behind(self, block: Block, index: int, lines: Sequence[str]) -> None:
        node = block.statements[index]
        start, _ = self.source.span(node, Site(block, index, 0, 0))
        indent = self.source.indentation(start)
        self._insert_behind(node, block, [indent + text if text else "" for text in lines])

    def _insert_behind(self, node: cst.CSTNode, block: Block, lines: Sequence[str]) -> None:
        """Whole lines behind a statement, and behind comments that still belong to it."""
        source = self.source
        start, end = source.span(node, Site(block, block.index, 0, 0))
        last = max(end - 1, start)
        newline = source.newline(last)
        offset = source.next_line(last)
        indent = source.indentation(start)
        while offset < len(source.text):
            space = source.indentation(offset)
            if len(space) < len(indent) or not source.text.startswith(b"#", offset + len(space)):
                break
            offset = source.next_line(offset)
        if offset == source.line_end(last):
            # The last line of the file, and it has no line break.
            self.editor.insert(offset, "".join(newline + text for text in lines))
        else:
            self.editor.insert(offset, "".join(text + newline for text in lines))


def is_optional(block: Block) -> bool:
    """Whether the statements of a block may fail to import, or not run, and the program goes on without them."""
    owner = block.owner
    if isinstance(owner, cst.Try) and block.branch == "try":
        handlers = [handler for handler in owner.handlers if catches_import_error(handler)]
        return bool(handlers) and not all(_ends(handler) for handler in handlers)
    if isinstance(owner, cst.With):
        calls = [item.item for item in owner.items if isinstance(item.item, cst.Call)]
        names = {dotted(arg.value) for call in calls for arg in call.args}
        return any(dotted(call.func).endswith("suppress") for call in calls) and bool(names & _CAUGHT)
    return isinstance(owner, cst.If) and bool(block.statements) and not block.inline


def catches_import_error(handler: cst.ExceptHandler) -> bool:
    """Whether a handler is met when a module is missing."""
    if handler.type is None:
        return True
    return any(isinstance(node, cst.Name) and node.value in _CAUGHT for node in nodes_within(handler.type, cst.Name))


def _ends(handler: cst.ExceptHandler) -> bool:
    """Whether the program, or the function, ends with the handler."""
    last = handler.body.body[-1]
    if isinstance(last, cst.SimpleStatementLine):
        last = last.body[-1]
    if isinstance(last, (cst.Raise, cst.Return)):
        return True
    called = dotted(last.value.func) if isinstance(last, cst.Expr) and isinstance(last.value, cst.Call) else ""
    return called.rpartition(".")[2] in ("exit", "quit", "_exit", "abort")


def _else(owner: cst.Try) -> cst.Else | None:
    """An `else` with lines of its own."""
    other = owner.orelse
    return other if other is not None and isinstance(other.body, cst.IndentedBlock) else None


def is_stand_in(binding: Binding) -> bool:
    """Whether a function is one that `Guards` put into a handler."""
    node = binding.value
    if not isinstance(node, cst.FunctionDef) or not binding.site.block.branch.startswith("except"):
        return False
    return [param.name.value for param in node.params.params] == ["client"] and node.params.star_kwarg is not None
