"""Takes clients out of the pool again.

With the original at hand each construction is restored exactly, whatever else has changed in the file since.
Without it the pool's function is taken off and the construction stays as it now is.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import libcst as cst

from .editor import Editor, Shift
from .guards import is_stand_in
from .model import CHANGED_SINCE, FOREIGN_WRAPPER, TIMEOUT, Construction, Finding, NoClientError, Result, Settings
from .names import API
from .patching import NO_CLIENT, TIMEOUT_ARGUMENT, argument, in_order, multi_line_strings
from .source import Source
from .survey import ClientCall, Known, PlacedCall, PoolCall, Survey
from .templates import Wrappers
from .tree import code_of, nodes_within

# Wrapped constructions can lie within each other; each pass takes off the outermost.
_MAX_DEPTH = 20


@dataclass
class _OuterCall(PlacedCall):
    """An outermost construction or pool call: what a patch replaces as a whole."""

    # What it means whatever its layout, timeout and pool settings: the same before and after a patch.
    key: str
    construction: ClientCall | None
    pool: PoolCall | None


class _LayerUnpatcher:
    """Takes the outermost pool calls off one source, and restores what the original has."""

    def __init__(
        self,
        source: Source,
        survey: Survey,
        original: tuple[Source, list[_OuterCall]] | None,
    ) -> None:
        self.source = source
        self.survey = survey
        self.original = original
        self.editor = Editor(source, multi_line_strings(source, [*survey.pool_calls.values(), *survey.constructions]))
        self.actions: list[tuple[int, str]] = []
        # True if there is something to unwrap inside what was unwrapped.
        self.unfinished = False

    def run(self) -> bytes:
        calls = list(_outer_calls(self.source, self.survey))
        for call, was in zip(calls, self._originals(calls), strict=True):
            self.actions.append((call.start, self._undo(call, was)))
        return self.source.encode(self.editor.result()) if self.editor.edits else self.source.raw

    def action_around(self, call: ClientCall) -> str:
        """What became of the outermost call that a construction lies in."""
        return [action for start, action in self.actions if start <= call.start][-1]

    def _originals(self, calls: list[_OuterCall]) -> list[_OuterCall | None]:
        """For each call the original one it was made of; None where the original has none of the same meaning."""
        found: list[_OuterCall | None] = [None] * len(calls)
        if self.original is not None:
            then = self.original[1]
            matcher = difflib.SequenceMatcher(None, [item.key for item in then], [item.key for item in calls], False)
            for at_then, at_now, size in matcher.get_matching_blocks():
                found[at_now : at_now + size] = then[at_then : at_then + size]
        return found

    def _undo(self, call: _OuterCall, was: _OuterCall | None) -> str:
        if was is not None and self.original is not None:
            return self._restore(call, was, self.original[0])
        if call.pool is None:
            return "unchanged"
        report, construction = self.survey.report, call.construction
        if construction is None or not construction.enclosed or not call.pool.module:
            report(call.start, FOREIGN_WRAPPER, f"{call.pool.function} is called here by hand; left as it is")
            return "unchanged"
        given, _ = argument(construction.node, TIMEOUT_ARGUMENT, construction.client.timeout_position)
        if self.original is not None:
            report(call.start, CHANGED_SINCE, "has changed since it was patched; unwrapped, and else left as it is")
        elif given is not None and construction.client.kind == API:
            report(call.start, TIMEOUT, f"without the original, {TIMEOUT_ARGUMENT} stays as it is")
        self._unwrap(call)
        return "unwrapped"

    def _restore(self, call: _OuterCall, was: _OuterCall, original: Source) -> str:
        shift = Shift.between(original.indentation(was.start), self.source.indentation(call.start))
        strings = multi_line_strings(original, [was])
        text = Editor(original, strings).moved(was.start, was.end, shift)
        if text == self.source.slice(call.start, call.end):
            return "unchanged"
        self.editor.replace(call.start, call.end, text + self._comment_within(call))
        return "restored"

    def _comment_within(self, call: _OuterCall) -> str:
        """The comment that was taken into the pool call, which goes back behind the construction."""
        source = self.source
        if call.pool is None or not call.pool.node.args:
            return ""
        _, end = source.span(call.pool.node.args[0].value, call.site)
        inside = source.slice(end, min(source.line_end(end), call.end))
        behind = source.slice(call.end, source.line_end(call.end)).strip()
        comment = inside[1:] if inside.startswith(",") else ""
        return comment if comment.strip().startswith("#") and not behind else ""

    def _unwrap(self, call: _OuterCall) -> None:
        """Puts the pool call's first argument in the place of the call."""
        source = self.source
        self.unfinished |= any(call.start < pool.start < call.end for pool in self.survey.pool_calls.values())
        arg = _argument_with(call.node, call.construction)
        start, end = source.span(arg.value, call.site)
        hanging = Shift.between(source.indentation(start), source.indentation(call.start))
        column = call.start - source.line_start(call.start)
        text = self.editor.moved(start, end, self.editor.follow(start, end, hanging, column))
        if not isinstance(arg.value, cst.Call):
            text = f"({text})"
        self.editor.replace(call.start, call.end, text + self._comment_within(call))


def _outer_calls(source: Source, survey: Survey) -> Iterator[_OuterCall]:
    calls: list[PlacedCall] = [*survey.pool_calls.values(), *survey.constructions]
    end = 0
    for call in sorted(calls, key=lambda item: (item.start, -item.end)):
        if call.start < end:
            continue
        end = call.end
        inside = [item for item in survey.constructions if call.start <= item.start and item.end <= call.end]
        pool = survey.pool_calls.get(id(call.node))
        construction = next((item for item in inside if item is call or (pool is not None and item.pool is pool)), None)
        key = _key(source, survey, call)
        yield _OuterCall(call.node, call.site, call.start, call.end, key, construction, pool)


def _key(source: Source, survey: Survey, call: PlacedCall) -> str:
    """The text without what a patch changes, and without white space and commas outside of strings."""
    dropped: list[tuple[int, int]] = []
    for pool in survey.pool_calls.values():
        if call.start <= pool.start and pool.end <= call.end and pool.node.args:
            first, last = source.span(pool.node.args[0], pool.site)
            dropped += [(pool.start, first), (last, pool.end)]
    for item in survey.constructions:
        if call.start <= item.start and item.end <= call.end:
            given, _ = argument(item.node, TIMEOUT_ARGUMENT, item.client.timeout_position)
            if given is not None and item.client.kind == API:
                dropped.append(source.span(given, item.site))
    texts = nodes_within(call.node, cst.SimpleString, cst.FormattedStringText)
    strings = sorted(source.span(node, call.site) for node in texts)
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
    # A comment can stand in the pool call, or behind it.
    return re.sub(r"#[^\r\n]*|[\s,]+", "", kept.decode("utf-8"))


def _argument_with(node: cst.Call, construction: ClientCall | None) -> cst.Arg:
    """The argument of a pool call in which the construction lies."""
    for arg in node.args:
        if construction is not None and construction.node in nodes_within(arg.value, cst.Call):
            return arg
    return node.args[0]


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
        if any(name in source.program.uses for name in bound):
            continue
        start, end = source.span(node, site)
        line_start, line_end = source.line_start(start), source.line_end(end)
        if site.block.branch == "else" and len(site.block.statements) == 1:
            # The `else:` was made for this import.
            line_start = source.line_start(line_start - 1)
            editor.replace(line_start, source.next_line(end), "")
            continue
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
    for binding in source.program.bindings:
        # Stand-ins for functions of the pool, each behind an empty line.
        if binding.name in wrappers.functions - set(source.program.uses) and is_stand_in(binding):
            start, end = source.span(binding.value or source.module, binding.site)
            first = source.line_start(source.line_start(start) - 1)
            first = source.line_start(start) if source.slice(first, start).strip() else first
            editor.replace(first, source.next_line(max(end - 1, start)), "")
    return source.encode(editor.result()) if editor.edits else source.raw


# -- all of it


class Unpatcher:
    """Takes one source's clients out of the pool. ``original`` is the file before it was patched."""

    def __init__(
        self,
        source: Source,
        settings: Settings,
        original: Source | None = None,
        known: Known | None = None,
    ) -> None:
        self.source = source
        self.wrappers = Wrappers.from_settings(settings)
        self.known = known or Known()
        self.original = original

    def _survey(self, source: Source) -> Survey:
        return Survey(source, self.wrappers, self.known)

    def run(self) -> Result:
        """The source without the patch.

        :raises NoClientError: if the file constructs no client.
        """
        source, original = self.source, None
        if self.original is not None:
            original = (self.original, list(_outer_calls(self.original, self._survey(self.original))))
        constructions: list[Construction] = []
        findings: list[Finding] = []
        for depth in range(_MAX_DEPTH):
            survey = self._survey(source)
            if depth == 0 and not survey.constructions:
                raise NoClientError(NO_CLIENT, in_order(survey.findings))
            source.check_round_trip()
            step = _LayerUnpatcher(source, survey, original)
            raw = step.run()
            if depth == 0:
                constructions = [survey.described(call, step.action_around(call)) for call in survey.constructions]
            findings += survey.findings
            source = Source(raw, source.path, source.package) if raw != source.raw else source
            if not step.unfinished:
                break
        raw = _remove_imports(source, self.wrappers, self.original)
        return Result(raw, raw != self.source.raw, constructions, in_order(findings))


def unpatch(raw: bytes, settings: Settings, original: bytes | None = None, path: str = "<source>") -> Result:
    """Takes one file's clients out of the pool again.

    :param original: the file before it was patched; without it timeouts that were added or raised stay.
    :raises PatchError: if one of the two does not parse. :raises NoClientError: if it constructs no client.
    """
    before = Source(original, path) if original is not None else None
    return Unpatcher(Source(raw, path), settings, before).run()
