"""Takes clients out of the pool again.

With the original at hand each construction comes back exactly as it was, whatever else has changed in the file since.
Without it the pool's function is taken off and the construction stays as it now is.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass

import libcst as cst

from .editor import Editor, Shift
from .model import CHANGED_SINCE, FOREIGN_WRAPPER, TIMEOUT, Construction, Finding, NoClientError, Result, Settings
from .names import API, Meanings
from .patching import TIMEOUT_ARGUMENT, TIMEOUT_POSITION, argument, multi_line_strings
from .scopes import Site
from .source import Source, code_of
from .survey import Call, PoolCall, Survey
from .templates import Wrappers

# Wrapped constructions can lie within each other; each pass takes off the outermost.
_MAX_DEPTH = 20


@dataclass
class _Unit:
    """An outermost construction or pool call: what a patch replaces as a whole."""

    node: cst.Call
    site: Site
    start: int
    end: int
    # What it says whatever its layout, time-out and pool settings: the same before and after a patch.
    key: str
    construction: Call | None
    pool: PoolCall | None


class _Pass:
    """One way through a source."""

    def __init__(
        self,
        source: Source,
        survey: Survey,
        original: tuple[Source, list[_Unit]] | None,
    ) -> None:
        self.source = source
        self.survey = survey
        self.original = original
        self.editor = Editor(source, multi_line_strings(source, [*survey.pool_calls.values(), *survey.constructions]))
        self.actions: list[tuple[int, str]] = []
        # True if there is something to unwrap inside what was unwrapped.
        self.unfinished = False

    def run(self) -> bytes:
        units = list(_units(self.source, self.survey))
        for unit, was in zip(units, self._originals(units), strict=True):
            self.actions.append((unit.start, self._undo(unit, was)))
        return self.source.encode(self.editor.result()) if self.editor.edits else self.source.raw

    def _originals(self, units: list[_Unit]) -> list[_Unit | None]:
        """For each unit the one it was made of; None where the original has none that says the same."""
        found: list[_Unit | None] = [None] * len(units)
        if self.original is not None:
            then = self.original[1]
            matcher = difflib.SequenceMatcher(None, [item.key for item in then], [item.key for item in units], False)
            for at_then, at_now, size in matcher.get_matching_blocks():
                found[at_now : at_now + size] = then[at_then : at_then + size]
        return found

    def _undo(self, unit: _Unit, was: _Unit | None) -> str:
        if was is not None and self.original is not None:
            return self._restore(unit, was, self.original[0])
        if unit.pool is None:
            return "unchanged"
        report, construction = self.survey.report, unit.construction
        if construction is None or not construction.enclosed or not unit.pool.module:
            report(unit.start, FOREIGN_WRAPPER, f"{unit.pool.function} is called here by hand; left as it is")
            return "unchanged"
        given, _ = argument(construction.node, TIMEOUT_ARGUMENT, TIMEOUT_POSITION)
        if self.original is not None:
            report(unit.start, CHANGED_SINCE, "has changed since it was patched; unwrapped, and else left as it is")
        elif given is not None and construction.client.kind == API:
            report(unit.start, TIMEOUT, f"without the original, {TIMEOUT_ARGUMENT} stays as it is")
        self._unwrap(unit)
        return "unwrapped"

    def _restore(self, unit: _Unit, was: _Unit, original: Source) -> str:
        shift = Shift.between(original.indentation(was.start), self.source.indentation(unit.start))
        strings = multi_line_strings(original, [was])
        text = Editor(original, strings).moved(was.start, was.end, shift)
        if text == self.source.slice(unit.start, unit.end):
            return "unchanged"
        self.editor.replace(unit.start, unit.end, text)
        return "restored"

    def _unwrap(self, unit: _Unit) -> None:
        """Puts the pool call's first argument in the place of the call."""
        source = self.source
        self.unfinished |= any(unit.start < pool.start < unit.end for pool in self.survey.pool_calls.values())
        arg = _argument_with(unit.node, unit.construction)
        start, end = source.span(arg.value, unit.site)
        hanging = Shift.between(source.indentation(start), source.indentation(unit.start))
        column = unit.start - source.line_start(unit.start)
        text = self.editor.moved(start, end, self.editor.follow(start, end, hanging, column))
        if not isinstance(arg.value, cst.Call):
            text = f"({text})"
        self.editor.replace(unit.start, unit.end, text)


def _units(source: Source, survey: Survey) -> Iterator[_Unit]:
    calls: list[Call | PoolCall] = [*survey.pool_calls.values(), *survey.constructions]
    end = 0
    for call in sorted(calls, key=lambda item: (item.start, -item.end)):
        if call.start < end:
            continue
        end = call.end
        inside = [item for item in survey.constructions if call.start <= item.start and item.end <= call.end]
        pool = survey.pool_calls.get(id(call.node))
        construction = next((item for item in inside if item is call or (pool is not None and item.pool is pool)), None)
        key = _key(source, survey, call)
        yield _Unit(call.node, call.site, call.start, call.end, key, construction, pool)


def _key(source: Source, survey: Survey, call: Call | PoolCall) -> str:
    """The text without what a patch changes, and without white space and commas outside of strings."""
    dropped: list[tuple[int, int]] = []
    for pool in survey.pool_calls.values():
        if call.start <= pool.start and pool.end <= call.end and pool.node.args:
            first, last = source.span(pool.node.args[0], pool.site)
            dropped += [(pool.start, first), (last, pool.end)]
    for item in survey.constructions:
        if call.start <= item.start and item.end <= call.end:
            given, _ = argument(item.node, TIMEOUT_ARGUMENT, TIMEOUT_POSITION)
            if given is not None and item.client.kind == API:
                dropped.append(source.span(given, item.site))
    finder = _TextFinder()
    call.node.visit(finder)
    strings = sorted(source.span(node, call.site) for node in finder.found)
    parts: list[str] = []
    position = call.start
    for start, end in [*strings, (call.end, call.end)]:
        if start >= position:
            parts.append(_squeezed(source, position, start, dropped))
            if not any(low <= start < high for low, high in dropped):
                parts.append(source.slice(start, end))
            position = end
    return "".join(parts)


def _squeezed(source: Source, start: int, end: int, dropped: list[tuple[int, int]]) -> str:
    kept = bytearray()
    for offset in range(start, end):
        if not any(low <= offset < high for low, high in dropped):
            kept.append(source.text[offset])
    return re.sub(r"[\s,]+", "", kept.decode("utf-8"))


class _TextFinder(cst.CSTVisitor):
    """Text inside string literals."""

    def __init__(self) -> None:
        self.found: list[cst.CSTNode] = []

    def visit_SimpleString(self, node: cst.SimpleString) -> None:
        self.found.append(node)

    def visit_FormattedStringText(self, node: cst.FormattedStringText) -> None:
        self.found.append(node)


def _argument_with(node: cst.Call, construction: Call | None) -> cst.Arg:
    """The argument of a pool call in which the construction lies."""
    for arg in node.args:
        finder = _NodeFinder(construction.node if construction is not None else node)
        arg.value.visit(finder)
        if finder.found:
            return arg
    return node.args[0]


class _NodeFinder(cst.CSTVisitor):
    def __init__(self, wanted: cst.CSTNode) -> None:
        self.wanted = wanted
        self.found = False

    def on_visit(self, node: cst.CSTNode) -> bool:
        self.found = self.found or node is self.wanted
        return not self.found


# -- the import


def _remove_imports(source: Source, wrappers: Wrappers, original: Source | None) -> bytes:
    """Removes imports of the pool's functions that nothing uses any more and that the original has not."""
    editor = Editor(source)
    kept = Counter(code_of(node) for node, _, _ in original.program.from_imports) if original is not None else Counter()
    for node, module, site in source.program.from_imports:
        if module != wrappers.pool_module or isinstance(node.names, cst.ImportStar):
            continue
        code = code_of(node)
        if kept[code] > 0:
            kept[code] -= 1
            continue
        bound = [code_of(item.asname.name) if item.asname else code_of(item.name) for item in node.names]
        if any(name in source.program.loads for name in bound):
            continue
        start, end = source.span(node, site)
        line_start, line_end = source.line_start(start), source.line_end(end)
        before = source.slice(line_start, start)
        after = source.slice(end, line_end)
        if not before.strip() and not after.strip():
            following = source.next_line(end)
            if following == line_end and line_start > 0:
                # The last line, without a line break: the one before it was not there either.
                line_start = source.line_end(line_start - 1)
            editor.replace(line_start, following, "")
        elif after.startswith("; "):
            editor.replace(start, end + 2, "")
    return source.encode(editor.result()) if editor.edits else source.raw


# -- all of it


class Unpatcher:
    """The way back of one source. ``original`` is the file as it was before it was patched."""

    def __init__(
        self,
        source: Source,
        settings: Settings,
        original: Source | None = None,
        exports: Mapping[str, Meanings] | None = None,
        modules: Set[str] = frozenset(),
    ) -> None:
        self.source = source
        self.wrappers = Wrappers.of(settings)
        self.exports = exports
        self.modules = modules
        self.original = original

    def _survey(self, source: Source) -> Survey:
        return Survey(source, self.wrappers, self.exports, self.modules)

    def run(self) -> Result:
        """Raises NoClientError if the file constructs no client."""
        source, original = self.source, None
        if self.original is not None:
            original = (self.original, list(_units(self.original, self._survey(self.original))))
        constructions: list[Construction] = []
        findings: list[Finding] = []
        for depth in range(_MAX_DEPTH):
            survey = self._survey(source)
            if depth == 0 and not survey.constructions:
                raise NoClientError("constructs no Webex client (WebexTeamsAPI, WebexAPI or WebexBot)")
            source.check_round_trip()
            step = _Pass(source, survey, original)
            raw = step.run()
            if depth == 0:
                constructions = _described(source, survey, step.actions)
            findings += survey.findings
            source = Source(raw, source.path, source.package) if raw != source.raw else source
            if not step.unfinished:
                break
        raw = _remove_imports(source, self.wrappers, self.original)
        findings = sorted(set(findings), key=lambda item: (item.line, item.column))
        return Result(raw, raw != self.source.raw, constructions, findings)


def _described(source: Source, survey: Survey, actions: list[tuple[int, str]]) -> list[Construction]:
    """Each construction with what became of the unit that it lies in."""
    described = []
    for call in survey.constructions:
        action = [action for start, action in actions if start <= call.start][-1]
        line, column = source.position(call.start)
        described.append(Construction(source.path, line, column, call.client.kind, call.client.name, action))
    return described


def unpatch(raw: bytes, settings: Settings, original: bytes | None = None, path: str = "<source>") -> Result:
    """Takes one file's clients out of the pool again."""
    before = Source(original, path) if original is not None else None
    return Unpatcher(Source(raw, path), settings, before).run()
