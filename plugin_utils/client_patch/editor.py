"""Splices edits into a source. What no edit covers is copied byte for byte."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from .source import Source
from .templates import Wrapper


@dataclass(frozen=True)
class Shift:
    """How far the lines of a construction move when it moves."""

    add: str = ""
    cut: int = 0

    def apply(self, space: str) -> str:
        """The white space in front of a line that moves."""
        if self.cut:
            return space[: max(len(space) - self.cut, 0)]
        return self.add + space

    @classmethod
    def between(cls, before: str, after: str) -> Shift:
        """From one indentation to another."""
        if after.endswith(before):
            return cls(add=after[: len(after) - len(before)])
        return cls(cut=max(len(before) - len(after), 0))


@dataclass(frozen=True)
class Edit:
    """A replaced range: by new text, or by the same construction inside a wrapper, or moved."""

    start: int
    end: int
    text: str = ""
    wrapper: Wrapper | None = None
    # What stays on the construction's last line: a comment on its last argument.
    comment: str = ""


class Editor:
    """Collects edits of one source. Wrapped constructions may lie within each other, other edits within them."""

    def __init__(self, source: Source, protected: Sequence[tuple[int, int]] = ()) -> None:
        self.source = source
        # Strings that span lines: their continuation lines must not move.
        self.protected = list(protected)
        self.edits: list[Edit] = []

    def insert(self, offset: int, text: str) -> None:
        """Put a text before a byte offset."""
        self.edits.append(Edit(offset, offset, text))

    def replace(self, start: int, end: int, text: str) -> None:
        """Put a text in the place of a range of bytes."""
        self.edits.append(Edit(start, end, text))

    def wrap(self, start: int, end: int, wrapper: Wrapper, comment: str = "") -> None:
        """Put a wrapper around the construction in this range of bytes, and around the comment behind it, if given."""
        if comment and not wrapper.after.startswith(",\n"):
            comment = ""
        self.edits.append(Edit(start, end, wrapper=wrapper, comment=comment))
        if comment:
            self.replace(end, end + len(comment.encode()), "")

    def result(self) -> str:
        """The whole text with all edits."""
        return self._render(self.edits, 0, len(self.source.text), ())

    def moved(self, start: int, end: int, shift: Shift) -> str:
        """The text of a range with its lines after the first shifted."""
        return self._copy(start, end, (shift,))

    def _render(self, edits: list[Edit], start: int, end: int, shifts: Sequence[Shift]) -> str:
        """The text of a range with the given edits, all of which lie in it."""
        # Insertions come before a replacement that begins at the same place, outer ranges before those in them.
        edits = sorted(edits, key=lambda edit: (edit.start, edit.start != edit.end, -edit.end))
        parts: list[str] = []
        position = start
        while edits:
            edit = edits.pop(0)
            parts.append(self._copy(position, edit.start, shifts))
            inside = [item for item in edits if edit.start < item.end and item.end < edit.end]
            edits = [item for item in edits if item not in inside]
            if edit.wrapper is None:
                parts.append(_shift_lines(edit.text, shifts))
            else:
                parts.append(self._wrapped(edit, edit.wrapper, inside, shifts))
            position = edit.end
        parts.append(self._copy(position, end, shifts))
        return "".join(parts)

    def _wrapped(self, edit: Edit, wrapper: Wrapper, inside: list[Edit], shifts: Sequence[Shift]) -> str:
        base = _shifted(self.source.indentation(edit.start), shifts)
        newline = self.source.newline(edit.start)
        unit = self.source.module.default_indent
        before = _fit(wrapper.before, base, unit, newline)
        after = _fit(wrapper.after, base, unit, newline)
        if edit.comment:
            after = f",{edit.comment}{after[1:]}"
        *_, last = before.splitlines()
        column = len(last) if "\n" in wrapper.before else edit.start - self.source.line_start(edit.start) + len(last)
        shift = self.follow(edit.start, edit.end, Shift(add=_units(wrapper.margin, unit)), column)
        return before + self._render(inside, edit.start, edit.end, [*shifts, shift]) + after

    def follow(self, start: int, end: int, hanging: Shift, column: int) -> Shift:
        """How the lines of a call move when it begins at another column.

        Hanging lines move with the indentation, lines that are aligned with the call move with the call.
        """
        source = self.source
        first_end = source.line_end(start)
        if first_end >= end:
            return Shift()
        before = source.slice(source.line_start(start), start)
        following = source.indentation(source.next_line(start))
        if source.slice(start, first_end).partition("#")[0].rstrip().endswith("(") or len(following) <= len(before):
            return hanging
        moved = column - len(before)
        return Shift(add=" " * moved) if moved >= 0 else Shift(cut=-moved)

    def _copy(self, start: int, end: int, shifts: Sequence[Shift]) -> str:
        source = self.source
        if not shifts:
            return source.slice(start, end)
        parts: list[str] = []
        position = start
        for line in source.line_starts[bisect_right(source.line_starts, start) :]:
            if line > end or line >= len(source.text):
                break
            if any(low < line < high for low, high in self.protected):
                continue
            space = source.indentation(line)
            text_start = min(line + len(space), end)
            parts.append(source.slice(position, line))
            blank = source.line_end(line) == text_start
            parts.append(space if blank else _shifted(source.slice(line, text_start), shifts))
            position = text_start
        parts.append(source.slice(position, end))
        return "".join(parts)


def _shifted(space: str, shifts: Sequence[Shift]) -> str:
    for shift in shifts:
        space = shift.apply(space)
    return space


def _shift_lines(text: str, shifts: Sequence[Shift]) -> str:
    """Shifts the lines of an inserted text after its first."""
    first, *rest = text.splitlines(keepends=True) or [""]
    out = [first]
    for line in rest:
        body = line.lstrip(" \t")
        out.append(_shifted(line[: len(line) - len(body)], shifts) + body)
    return "".join(out)


def _units(space: str, unit: str) -> str:
    """White space of a template, which counts four spaces to the level, in the file's own."""
    return unit * (len(space) // 4) + " " * (len(space) % 4)


def _fit(text: str, base: str, unit: str, newline: str) -> str:
    """Template text in the file's own indentation and line breaks."""
    first, *rest = text.split("\n")
    out = [first]
    for line in rest:
        body = line.lstrip(" ")
        out.append(base + _units(line[: len(line) - len(body)], unit) + body)
    return newline.join(out)
