"""A Python source file whose bytes can be addressed: decoded, parsed, with places of the nodes of its tree."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from bisect import bisect_right
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from itertools import accumulate

import libcst as cst
from libcst.metadata import ByteSpanPositionProvider, CodeSpan, MetadataWrapper

from .model import PatchError
from .reader import read_program
from .scopes import Program, Site

_FORM_FEED = re.compile(r"^[ \t]*\f[ \t\f]*", re.MULTILINE)
BOM = b"\xef\xbb\xbf"


class Source:
    """A parsed file. Offsets count bytes of its text in UTF-8, without a byte order mark.

    :raises PatchError: if the file cannot be decoded or parsed.
    """

    def __init__(self, raw: bytes, path: str = "<source>", package: str = "") -> None:
        self.raw = raw
        self.path = path
        self.package = package
        self.bom = BOM if raw.startswith(BOM) else b""
        body = raw[len(self.bom) :]
        try:
            self.encoding, _ = tokenize.detect_encoding(io.BytesIO(body).readline)
            decoded = body.decode(self.encoding)
        except UnicodeDecodeError as error:
            line, column = body.count(b"\n", 0, error.start) + 1, error.start - body.rfind(b"\n", 0, error.start)
            raise PatchError(f"cannot be decoded as {error.encoding}: {error.reason}", line, column) from error
        except (SyntaxError, LookupError) as error:
            raise PatchError(f"cannot be decoded: {error}", 1, 1) from error
        self.text = decoded.encode("utf-8")
        self._parsed, self.module = _parse(decoded)
        try:
            self.program: Program = read_program(self.module, package)
        except RecursionError as error:
            raise PatchError("is nested too deeply to be analysed") from error
        self._spans: dict[int, Mapping[cst.CSTNode, CodeSpan]] = {}

    def encode(self, text: str) -> bytes:
        """New text in the file's own encoding.

        :raises PatchError: if that encoding lacks one of its characters.
        """
        try:
            return self.bom + text.encode(self.encoding)
        except UnicodeEncodeError as error:
            raise PatchError(f"the template's text cannot be written in {self.encoding}: {error}") from error

    # -- lines

    @cached_property
    def line_starts(self) -> list[int]:
        r"""Lines as Python sees them: ended by \n, \r\n or \r, and by nothing else."""
        starts = [0]
        for line in self.text.splitlines(keepends=True):
            starts.append(starts[-1] + len(line))
        return starts

    def slice(self, start: int, end: int) -> str:
        """The text between two byte offsets."""
        return self.text[start:end].decode("utf-8")

    def position(self, offset: int) -> tuple[int, int]:
        """Line and column, both from 1, the column in characters."""
        line = bisect_right(self.line_starts, offset)
        return line, len(self.slice(self.line_starts[line - 1], offset)) + 1

    def line_start(self, offset: int) -> int:
        """The beginning of the line at the offset."""
        return self.line_starts[bisect_right(self.line_starts, offset) - 1]

    def next_line(self, offset: int) -> int:
        """The beginning of the line after the one at the offset; the end of the text after the last."""
        following = bisect_right(self.line_starts, offset)
        return self.line_starts[following] if following < len(self.line_starts) else len(self.text)

    def line_end(self, offset: int) -> int:
        """The end of the line's text, before its line break."""
        start, end = self.line_start(offset), self.next_line(offset)
        return start + len(self.text[start:end].rstrip(b"\r\n"))

    def newline(self, offset: int) -> str:
        """The line break at the end of this line; the file's usual one if it has none."""
        return self.slice(self.line_end(offset), self.next_line(offset)) or self.module.default_newline

    def indentation(self, offset: int) -> str:
        """The white space at the beginning of the line."""
        start = self.line_start(offset)
        line = self.text[start : self.line_end(offset)]
        # A form feed begins the line's white space anew.
        return line[: len(line) - len(line.lstrip(b" \t\f"))].rpartition(b"\f")[2].decode("ascii")

    # -- nodes

    @cached_property
    def _codes(self) -> list[bytes]:
        """The text before the first top-level statement, that of each statement, and that after the last.

        A statement's text begins with the white space and comments before it.
        """
        code = self.module.code_for_node
        header = "".join(code(line) for line in self.module.header)
        footer = "".join(code(line) for line in self.module.footer)
        return [text.encode("utf-8") for text in (header, *(code(item) for item in self.module.body), footer)]

    @cached_property
    def _offsets(self) -> list[int]:
        """Where each top-level statement begins."""
        return list(accumulate(len(code) for code in self._codes[:-1]))

    def check_round_trip(self) -> None:
        """Places are only as good as the tree: it must give back exactly the text it was made from.

        :raises PatchError: if it does not.
        """
        text = b"".join(self._codes)
        # LibCST ends every statement with a line break, also the last one of a file that has none.
        parsed = self._parsed.encode("utf-8")
        if parsed != text and parsed != text.removesuffix(self.module.default_newline.encode()):
            raise PatchError("LibCST does not reproduce this file exactly, so it cannot be edited safely")

    def span(self, node: cst.CSTNode, site: Site) -> tuple[int, int]:
        """Start and end of a node without its own parentheses, decorators and comments."""
        index = top_level(site)
        if index not in self._spans:
            # Places of all nodes cost more than parsing: only those of the top-level statements that are asked for.
            part = self.module.with_changes(
                body=[self.module.body[index]], header=[], footer=[], has_trailing_newline=True
            )
            self._spans[index] = MetadataWrapper(part, unsafe_skip_copy=True).resolve(ByteSpanPositionProvider)
        span = self._spans[index][node]
        start = self._offsets[index] + span.start
        return start, start + span.length


def top_level(site: Site) -> int:
    """The index of the top-level statement that a site lies in."""
    block, index = site.block, site.index
    while block.parent is not None:
        block, index = block.parent, block.index
    return index


def _explained(text: str, error: cst.ParserSyntaxError) -> tuple[str, int, int]:
    """Reason, line and column of a syntax error.

    LibCST's reason is a list of the tokens it could have gone on with, and its tokenizer's place is always 1:1.
    Python's own is better, if it stumbles over the same place and not over syntax newer than itself.
    """
    line, column = error.editor_line, error.editor_column
    try:
        ast.parse(text)
    except SyntaxError as known:
        if (line, column) == (1, 1) or abs((known.lineno or 0) - line) <= 1:
            return known.msg, known.lineno or line, known.offset or column
    except (ValueError, RecursionError, MemoryError):
        pass
    return error.message.partition(", expected")[0].partition(": expected")[0].splitlines()[0], line, column


def _parse(text: str) -> tuple[str, cst.Module]:
    """The tree, and the text that it is of: all places in it are those of the given one."""
    try:
        return text, cst.parse_module(text)
    except cst.ParserSyntaxError as error:
        # For Python a form feed begins a line's indentation anew, for LibCST it is a part of it.
        lines = _FORM_FEED.sub(lambda found: found[0].replace("\f", "\n"), text)
        if lines != text:
            with suppress(PatchError):
                return _parse(lines)
        reason, line, column = _explained(text, error)
        raise PatchError(f"cannot be parsed as Python: {reason}", line, column) from error
    except RecursionError as error:
        raise PatchError("is nested too deeply to be parsed") from error
