"""Routes the clients of one source through the pool."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Set

import libcst as cst

from .bare import bare_requests
from .editor import Editor
from .model import (
    FOREIGN_WRAPPER,
    PER_CALL,
    SETTING,
    TIMEOUT,
    Construction,
    Finding,
    NoClientError,
    PatchError,
    Result,
    Settings,
)
from .names import API
from .placement import ImportPlacer
from .scopes import Block
from .source import Source
from .survey import ClientCall, Known, PlacedCall, PoolCall, Survey
from .templates import Wrappers
from .tree import code_of, dotted, nodes_within

TIMEOUT_ARGUMENT = "single_request_timeout"
NO_CLIENT = "constructs no Webex client that can be pooled"
# The pool functions' positional arguments after the client, and the defaults of what the templates set.
POOL_POSITIONS = {"pool_connections": 1, "pool_maxsize": 2, "max_retries": 3}
POOL_DEFAULTS = {"pool_connections": "50", "pool_maxsize": "50", "max_retries": "3", "request_timeout": "120"}

_NOT_LITERAL = object()
_DIRECTIVE = re.compile(r"#\s*(type:|noqa|nosec|pylint:|pyright:|mypy:|pragma:|nosemgrep|NOSONAR)")
# Functions that chat bots' frameworks call for each message, by their usual names.
_HANDLER_NAME = re.compile(r"(pre_|post_)?execute$|on_\w+$|handle(_\w+)?$|\w+_(handler|callback)$|do_(GET|POST)$")
_CALLED_ONCE = frozenset(
    {"cache", "lru_cache", "cached_property", "fixture", "staticmethod", "classmethod", "on_event"}
)


class Patcher:
    """One patch of one source."""

    def __init__(self, source: Source, settings: Settings, known: Known | None = None) -> None:
        self.source = source
        self.wrappers = Wrappers.from_settings(settings)
        self.survey = Survey(source, self.wrappers, known or Known())
        self.editor = Editor(source)

    def run(self) -> Result:
        """The patched source.

        :raises NoClientError: if there is nothing to patch. :raises PatchError: if it cannot be patched.
        """
        source, survey = self.source, self.survey
        survey.findings += bare_requests(source)
        if not survey.constructions:
            raise NoClientError(NO_CLIENT, in_order(survey.findings))
        source.check_round_trip()
        self.editor.protected = multi_line_strings(source, survey.constructions)
        updated = {key for key, pool in survey.pool_calls.items() if self._update(pool)}
        constructions = [self._construction(call, updated) for call in survey.constructions]
        ImportPlacer(source, survey, self.wrappers, self.editor).place(
            call for call in survey.constructions if call.pool is None
        )
        raw = source.encode(self.editor.result()) if self.editor.edits else source.raw
        for call in survey.constructions:
            self._report_anew(call)
        findings = in_order(survey.findings)
        return Result(raw, raw != source.raw, constructions, findings)

    def _construction(self, call: ClientCall, updated: Set[int]) -> Construction:
        source = self.source
        edited = self._raise_timeout(call)
        if call.pool is None:
            wrapper = self.wrappers.for_kind(call.client.kind)
            if call.use.fstring:
                self.editor.wrap(call.start, call.end, wrapper.one_line)
            else:
                self.editor.wrap(call.start, call.end, wrapper, _comment_behind(source, call))
            action = "wrapped"
        else:
            action = "updated" if edited or id(call.pool.node) in updated else "unchanged"
        return self.survey.described(call, action)

    def _report_anew(self, call: ClientCall) -> None:
        """A client that is made in a handler lives for one message; the pool's connections outlive it."""
        function = handler_around(call.site.block)
        if function is None or _outlives(self.survey.program.parent(call.node)):
            return
        self.survey.report(
            call.start,
            PER_CALL,
            f"{call.client.name} is made anew in every run of {function}(); the pool keeps its connections for the "
            "next, but to make it once, outside, is cheaper",
        )

    # -- single_request_timeout

    def _raise_timeout(self, call: ClientCall) -> bool:
        """Adds the timeout or raises it; returns whether that was an edit."""
        if call.client.kind != API or call.client.timeout_position is None:
            # webex_bot makes its own client, and one SDK has no such argument: the pool's functions set the timeouts.
            return False
        report = self.survey.report
        wanted = self.wrappers.request_timeout
        if not call.takes_timeout:
            name = code_of(call.node.func)
            report(call.start, TIMEOUT, f"{name} has arguments of its own; {TIMEOUT_ARGUMENT} is left as it is")
            return False
        given, hidden = argument(call.node, TIMEOUT_ARGUMENT, call.client.timeout_position)
        if given is None:
            if hidden or not self._can_add(call.node):
                report(call.start, TIMEOUT, f"{TIMEOUT_ARGUMENT} may come in by * or **; left as it is")
                return False
            self._add_arguments(call, [f"{TIMEOUT_ARGUMENT}={wanted}"])
            return True
        value = _literal(given.value)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            report(call.start, TIMEOUT, f"{TIMEOUT_ARGUMENT} is {code_of(given.value)}, not a number; left as it is")
            return False
        if value >= wanted:
            return False
        self._replace(given.value, call, str(wanted))
        return True

    # -- the settings of a pool call that is there

    def _update(self, pool: PoolCall) -> bool:
        """Sets those settings that differ; returns whether any did."""
        report = self.survey.report
        if pool.module != self.wrappers.pool_module:
            origin = f"comes from {pool.module}" if pool.module else "is a function of this file"
            expected = self.wrappers.pool_module
            report(pool.start, FOREIGN_WRAPPER, f"{pool.function} {origin}, not from {expected}; left as it is")
            return False
        options = self.wrappers.named(pool.function).options
        given = {name: argument(pool.node, name, POOL_POSITIONS.get(name)) for name in options}
        if any(arg is None and hidden for arg, hidden in given.values()):
            report(pool.start, SETTING, "settings may come in by * or **; those not seen here are left as they are")
        missing = [
            f"{name}={wanted}"
            for name, wanted in options.items()
            if given[name] == (None, False) and POOL_DEFAULTS.get(name) != wanted
        ]
        self._add_arguments(pool, missing)
        replaced = [name for name, wanted in options.items() if self._set_option(pool, name, wanted)]
        return bool(missing or replaced)

    def _set_option(self, pool: PoolCall, name: str, wanted: str) -> bool:
        """Replaces a value that differs from the wanted one; returns whether it did."""
        given, _ = argument(pool.node, name, POOL_POSITIONS.get(name))
        if given is None:
            return False
        value, text = _literal(given.value), code_of(given.value)
        if text == wanted or (value is not _NOT_LITERAL and value == _literal_text(wanted)):
            return False
        if value is _NOT_LITERAL:
            self.survey.report(pool.start, SETTING, f"{name} is {text}, not a literal; left as it is")
            return False
        self._replace(given.value, pool, wanted)
        return True

    # -- edits inside a call

    def _replace(self, node: cst.CSTNode, call: PlacedCall, text: str) -> None:
        start, end = self.source.span(node, call.site)
        self.editor.replace(start, end, text)

    @staticmethod
    def _can_add(node: cst.Call) -> bool:
        """A generator without parentheses of its own must stay the only argument."""
        return not any(isinstance(arg.value, cst.GeneratorExp) and not arg.value.lpar for arg in node.args)

    def _add_arguments(self, call: PlacedCall, texts: list[str]) -> None:
        """Adds keyword arguments behind the last one; on lines of their own if that has one."""
        source, editor, node = self.source, self.editor, call.node
        if not texts:
            return
        if not node.args:
            _, name_end = source.span(node.func, call.site)
            editor.insert(_behind(source, name_end, b"("), ", ".join(texts))
            return
        last = node.args[-1]
        start, end = source.span(last, call.site)
        comma = isinstance(last.comma, cst.Comma)
        behind = _behind(source, end, b",") if comma else end
        has_own_line = not source.text[source.line_start(start) : start].strip()
        line_end = source.line_end(behind)
        if has_own_line and line_end < call.end:
            if not comma:
                editor.insert(end, ",")
            new_line = source.newline(behind) + source.indentation(start)
            editor.insert(line_end, new_line + f",{new_line}".join(texts) + ("," if comma else ""))
        elif comma:
            editor.insert(behind, "".join(f" {text}," for text in texts))
        else:
            editor.insert(end, "".join(f", {text}" for text in texts))


def in_order(findings: Iterable[Finding]) -> list[Finding]:
    """Each finding once, by its place."""
    return sorted(dict.fromkeys(findings), key=lambda item: (item.path, item.line, item.column))


def handler_around(block: Block) -> str | None:
    """The function around a block that some framework calls, again and again; None if that is not known of it."""
    for outer in block.ancestors():
        node = outer.owner
        if not isinstance(node, cst.FunctionDef) or outer is not outer.scope.root:
            continue
        decorators = {
            dotted(item.decorator.func if isinstance(item.decorator, cst.Call) else item.decorator)
            for item in node.decorators
        }
        if {name.rpartition(".")[2] for name in decorators} & _CALLED_ONCE:
            return None
        routes = [name for name in decorators if "." in name]
        names = [param.name.value for param in node.params.params]
        if routes or _HANDLER_NAME.match(node.name.value) or names == ["event", "context"]:
            return node.name.value
    return None


def _outlives(parent: cst.CSTNode | None) -> bool:
    """Whether a new client is kept beyond the function: returned, or put into an attribute."""
    if isinstance(parent, cst.Assign):
        return not all(isinstance(item.target, cst.Name) for item in parent.targets)
    return isinstance(parent, (cst.Return, cst.Yield))


def _comment_behind(source: Source, call: PlacedCall) -> str:
    """The comment behind a call if it is about the call's last line, with the space before it.

    It is about an argument if that line has one and the call begins on another; a directive for a tool always is.
    """
    rest = source.slice(call.end, source.line_end(call.end))
    if not rest.strip().startswith("#"):
        return ""
    last_line = source.slice(source.line_start(call.end), call.end)
    about_argument = source.line_start(call.end) > call.start and last_line.strip() not in (")", "),")
    return rest if about_argument or _DIRECTIVE.match(rest.strip()) else ""


def _behind(source: Source, offset: int, mark: bytes) -> int:
    """Behind the next such mark, with nothing but white space, comments and closing parentheses before it."""
    found = re.compile(rb"(?:\s|\\|\)|#[^\r\n]*)*" + re.escape(mark)).match(source.text, offset)
    if found is None:
        raise PatchError(f"no {mark.decode()} where one was parsed", *source.position(offset))
    return found.end()


def multi_line_strings(source: Source, calls: Iterable[PlacedCall]) -> list[tuple[int, int]]:
    """Strings inside the given calls that span lines: their text must not be indented with the code."""
    found = []
    for call in calls:
        for node in nodes_within(call.node, cst.SimpleString, cst.FormattedString):
            start, end = source.span(node, call.site)
            if source.line_end(start) < end:
                found.append((start, end))
    return found


def _literal_text(text: str) -> object:
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return _NOT_LITERAL


def _literal(node: cst.CSTNode) -> object:
    return _literal_text(code_of(node))


def argument(node: cst.Call, name: str, position: int | None) -> tuple[cst.Arg | None, bool]:
    """The argument of that name or at that position; and whether it may hide in a * or ** argument."""
    positional = 0
    hidden = starred = False
    for arg in node.args:
        if arg.star == "**":
            hidden = True
        elif arg.star == "*":
            starred = True
            hidden = hidden or position is not None
        elif arg.keyword is not None:
            if arg.keyword.value == name:
                return arg, False
        else:
            if positional == position and not starred:
                return arg, False
            positional += 1
    return None, hidden


def patch(raw: bytes, settings: Settings, path: str = "<source>") -> Result:
    """Patches one file on its own.

    :raises PatchError: if it does not parse or cannot be patched. :raises NoClientError: if it constructs no client.
    """
    return Patcher(Source(raw, path), settings).run()
