"""Routes every Webex client that a program constructs through the connection pool, and takes it back.

Pure: bytes and settings in, bytes and findings out. The tree (LibCST) only tells where things stand; the new text is
spliced into the old, so that no byte outside the replaced constructions can change.
"""

from __future__ import annotations

import ast
import io
import tokenize
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import libcst as cst
from libcst.metadata import ByteSpanPositionProvider, MetadataWrapper

from .client_patch_names import (
    ALTERNATE_CONSTRUCTORS,
    API,
    CLIENT_CLASSES,
    TIMEOUT_POSITION,
    Block,
    ClientClass,
    Load,
    Meanings,
    Program,
    Resolver,
    Site,
    dotted,
    read_program,
)

# What the role's templates are rendered with in place of the original call and of the imported names.
CONSTRUCTION = "__construction__"
NAMES = "__names__"

TIMEOUT = "single_request_timeout"
# The pool functions' own defaults, and the order of their positional arguments after the client.
POOL_DEFAULTS: Mapping[str, int] = {"pool_connections": 50, "pool_maxsize": 50, "max_retries": 3}

_HARMLESS_CALLS = {"isinstance", "issubclass", "cast", "super", "type", "repr", "print", "hasattr"}


class PatchError(Exception):
    """The source cannot be patched; says what and where. Nothing has been changed."""

    def __init__(self, message: str, line: int = 0, column: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.line = line
        self.column = column


class NoClientError(PatchError):
    """The program constructs no Webex client."""


class TemplateError(PatchError):
    """A template does not render to what is needed here."""


@dataclass(frozen=True)
class Templates:
    """The role's templates, rendered with ``CONSTRUCTION`` and ``NAMES`` as stand-ins."""

    api_client: str
    bot_client: str
    import_line: str


@dataclass(frozen=True)
class Settings:
    templates: Templates
    # Seconds; the least value of `single_request_timeout` that a patched client has.
    request_timeout: int = 120


@dataclass(frozen=True)
class Finding:
    """Something that the patch left as it is and that somebody should look at."""

    path: str
    line: int
    column: int
    kind: str
    message: str


@dataclass(frozen=True)
class Construction:
    """A client construction, and what the patch did with it: wrapped, updated, unchanged (or, back: unwrapped)."""

    path: str
    line: int
    column: int
    kind: str
    name: str
    action: str


@dataclass(frozen=True)
class Restoration:
    """A piece of patched text and what stood there before; equal where the patch left it alone."""

    kind: str
    patched: str
    original: str


@dataclass
class Result:
    source: bytes
    changed: bool
    constructions: list[Construction] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    undo: list[Restoration] = field(default_factory=list)


# -- templates


@dataclass(frozen=True)
class Wrapper:
    """A construction template, taken apart."""

    function: str
    # Text before and after the stand-in, with the lines between.
    before: str
    after: str
    # Keyword arguments in their order: name and source text of the value.
    options: Mapping[str, str]

    @cached_property
    def margin(self) -> str:
        """The white space in front of the construction, if it begins a line of the template."""
        last = self.before.rpartition("\n")[2]
        return last if "\n" in self.before and not last.strip() else ""

    @property
    def one_line(self) -> Wrapper:
        """The same on one line, for f-strings: before Python 3.12 a replacement field cannot span lines."""
        joined = [" ".join(part.split()) for part in (self.before, self.after)]
        options = ", ".join(f"{name}={value}" for name, value in self.options.items())
        if "#" in "".join(joined):
            return Wrapper(self.function, f"{self.function}(", f", {options})" if options else ")", self.options)
        before = joined[0] if joined[0].endswith("(") else joined[0] + " "
        return Wrapper(self.function, before, joined[1].replace(" )", ")"), self.options)


def read_wrapper(text: str, what: str) -> Wrapper:
    """Takes a rendered construction template apart.

    Raises TemplateError unless it is one call of a plain name whose first argument is the stand-in and whose other
    arguments are keywords: then no edit of it can lose an argument of the original call or call it twice.
    """
    text = text.strip()
    try:
        node = cst.parse_expression(text)
    except Exception as error:
        raise TemplateError(f"{what}: does not render to a Python expression: {text!r}") from error
    good = (
        isinstance(node, cst.Call)
        and isinstance(node.func, cst.Name)
        and not node.lpar
        and text.count(CONSTRUCTION) == 1
        and node.args
        and isinstance(node.args[0].value, cst.Name)
        and node.args[0].value.value == CONSTRUCTION
        and not node.args[0].star
        and all(arg.keyword is not None for arg in node.args[1:])
    )
    if not good:
        raise TemplateError(
            f"{what}: must be one call, `function({{{{ construction }}}}, name=value, …)`, with {{{{ construction }}}} "
            f"as its first argument and nowhere else; it renders to {text!r}"
        )
    code = cst.Module(body=[]).code_for_node
    before, _, after = text.partition(CONSTRUCTION)
    options = {arg.keyword.value: code(arg.value) for arg in node.args[1:]}
    return Wrapper(node.func.value, before, after, options)


def read_import(text: str) -> tuple[str, str]:
    """The import template as one line, and the module it imports from."""
    text = text.strip()
    try:
        line = cst.parse_statement(text)
    except Exception:
        line = None
    statement = line.body[0] if isinstance(line, cst.SimpleStatementLine) and len(line.body) == 1 else None
    names = (
        []
        if not isinstance(statement, cst.ImportFrom) or isinstance(statement.names, cst.ImportStar)
        else statement.names
    )
    if [dotted(item.name) for item in names] != [NAMES] or "\n" in text or statement.relative:
        raise TemplateError(
            f"import template: must be one line, `from module import {{{{ names }}}}`; it renders to {text!r}"
        )
    return text, dotted(statement.module)


@dataclass(frozen=True)
class Wrappers:
    """All that the settings say about the text to write."""

    api: Wrapper
    bot: Wrapper
    import_line: str
    pool_module: str
    request_timeout: int

    @classmethod
    def of(cls, settings: Settings) -> Wrappers:
        line, module = read_import(settings.templates.import_line)
        return cls(
            read_wrapper(settings.templates.api_client, "API client template"),
            read_wrapper(settings.templates.bot_client, "bot client template"),
            line,
            module,
            settings.request_timeout,
        )

    def named(self, function: str) -> Wrapper | None:
        return next((item for item in (self.api, self.bot) if item.function == function), None)

    def for_kind(self, kind: str) -> Wrapper:
        return self.api if kind == API else self.bot


# -- source


class Source:
    """A parsed file. All offsets are bytes of its text in UTF-8, without a byte order mark."""

    def __init__(self, raw: bytes, path: str = "<source>", package: str = "") -> None:
        self.raw = raw
        self.path = path
        self.bom = raw[:3] if raw.startswith(b"\xef\xbb\xbf") else b""
        try:
            self.encoding, _ = tokenize.detect_encoding(io.BytesIO(raw[len(self.bom) :]).readline)
            text = raw[len(self.bom) :].decode(self.encoding)
        except (SyntaxError, UnicodeDecodeError, LookupError) as error:
            raise PatchError(f"cannot be decoded: {error}", 1) from error
        self.text = text.encode("utf-8")
        self.module = _parse(text)
        try:
            self.program: Program = read_program(self.module, package)
        except RecursionError as error:
            raise PatchError("is nested too deeply to be analysed") from error
        self._spans: dict[int, Mapping[cst.CSTNode, object]] = {}

    @cached_property
    def line_starts(self) -> list[int]:
        starts = [0]
        position = 0
        for line in _lines(self.text):
            position += len(line)
            starts.append(position)
        return starts

    @cached_property
    def statement_offsets(self) -> list[int]:
        """Where each top-level statement begins, white space and comments before it included."""
        code = self.module.code_for_node
        offset = sum(len(code(line).encode()) for line in self.module.header)
        offsets = []
        for statement in self.module.body:
            offsets.append(offset)
            offset += len(code(statement).encode())
        return offsets

    def check_round_trip(self) -> None:
        """Positions are only as good as the tree: it must give back exactly the text it was made from."""
        if self.module.code.encode("utf-8") != self.text:
            raise PatchError("LibCST does not reproduce this file exactly, so it cannot be edited safely")

    def span(self, node: cst.CSTNode, site: Site) -> tuple[int, int]:
        """Start and end of a node without its own parentheses."""
        block, index = site.block, site.index
        while block.parent is not None:
            block, index = block.parent, block.index
        if index not in self._spans:
            # Positions cost more than parsing: only for the top-level statements that need them.
            part = self.module.with_changes(
                body=[self.module.body[index]], header=[], footer=[], has_trailing_newline=True
            )
            wrapper = MetadataWrapper(part, unsafe_skip_copy=True)
            self._spans[index] = wrapper.resolve(ByteSpanPositionProvider)
        span = self._spans[index][node]
        start = self.statement_offsets[index] + span.start
        return start, start + span.length

    def slice(self, start: int, end: int) -> str:
        return self.text[start:end].decode("utf-8")

    def position(self, offset: int) -> tuple[int, int]:
        """Line and column, both from 1, the column in characters."""
        line = bisect_right(self.line_starts, offset)
        start = self.line_starts[line - 1]
        return line, len(self.slice(start, offset)) + 1

    def line_start(self, offset: int) -> int:
        return self.line_starts[bisect_right(self.line_starts, offset) - 1]

    def line_end(self, offset: int) -> int:
        """The end of the line's text, before its line break."""
        following = bisect_right(self.line_starts, offset)
        end = self.line_starts[following] if following < len(self.line_starts) else len(self.text)
        start = self.line_starts[following - 1]
        return start + len(self.text[start:end].rstrip(b"\r\n"))

    def indentation(self, offset: int) -> str:
        """The white space at the beginning of the line."""
        start = self.line_start(offset)
        line = self.text[start : self.line_end(offset)]
        return line[: len(line) - len(line.lstrip(b" \t\f"))].decode("ascii").replace("\f", "")

    def newline(self, offset: int) -> str:
        """The line break in use at this line."""
        end = self.line_end(offset)
        for text in ("\r\n", "\n", "\r"):
            if self.text.startswith(text.encode(), end):
                return text
        return self.module.default_newline


def _lines(text: bytes) -> list[bytes]:
    r"""Lines as Python sees them: ended by \n, \r\n or \r, and by nothing else."""
    return text.splitlines(keepends=True)


def _parse(text: str) -> cst.Module:
    try:
        return cst.parse_module(text)
    except cst.ParserSyntaxError as error:
        raise PatchError(
            f"cannot be parsed as Python: {error.message}", error.editor_line, error.editor_column
        ) from error
    except RecursionError as error:
        raise PatchError("is nested too deeply to be parsed") from error


# -- what is constructed


@dataclass
class Call:
    """A construction of a client, or a call of a pool function."""

    node: cst.Call
    site: Site
    start: int
    end: int
    fstring: bool
    client: ClientClass | None = None
    # `single_request_timeout` can also be given at this position.
    timeout_position: int | None = None
    # The pool function's call around it or after it, and that function's name as imported.
    wrapper: Call | None = None
    function: str = ""
    foreign: str = ""


class Survey:
    """Finds constructions, pool calls and what cannot be followed in one source."""

    def __init__(self, source: Source, wrappers: Wrappers, exports: Mapping[str, Meanings] | None = None) -> None:
        self.source = source
        self.program = source.program
        self.wrappers = wrappers
        self.resolver = Resolver(self.program, exports)
        self.exports = exports or {}
        self.findings: list[Finding] = []
        self.constructions: list[Call] = []
        # The loads that led to a construction's class: where its name comes from.
        self.class_loads: dict[int, Load] = {}
        self.pool_calls: dict[int, Call] = {}
        self._seen: set[int] = set()
        names = self.interesting()
        for name in sorted(names):
            for load in self.program.loads.get(name, ()):
                self.follow(load)
        self.report_dynamic()
        self.constructions.sort(key=lambda call: (call.start, -call.end))
        for call in self.constructions:
            self.find_wrapper(call)

    # -- which names can lead to a client

    def interesting(self) -> set[str]:
        functions = {self.wrappers.api.function, self.wrappers.bot.function}
        names = {name for kinds in CLIENT_CLASSES.values() for name in kinds} if self.has_star() else set()
        names |= functions
        prefixes = {name.rpartition(".")[0] for name in self.exports}
        todo = []
        for binding in self.program.bindings:
            if binding.imported:
                top = binding.imported.split(".")[0]
                if (
                    top in CLIENT_CLASSES
                    or binding.imported in self.exports
                    or any(item == binding.imported or item.startswith(binding.imported + ".") for item in prefixes)
                    or binding.imported.split(".")[-1] in functions
                    or self.wrappers.pool_module == binding.imported
                    or self.wrappers.pool_module.startswith(binding.imported + ".")
                    or binding.imported.split(".")[-1] == self.wrappers.pool_module.split(".")[-1]
                ):
                    names.add(binding.name)
            elif binding.value is not None:
                roots = set(_roots(binding.value))
                if roots:
                    todo.append((binding, roots))
        grown = True
        while grown:
            grown = False
            for binding, roots in todo:
                if binding.name not in names and roots & names:
                    names.add(binding.name)
                    grown = True
        return names

    def has_star(self) -> bool:
        return bool(self.program.scope.stars)

    # -- following a name

    def follow(self, load: Load) -> None:
        """From a name upwards: `sdk` → `sdk.api` → `sdk.api.WebexTeamsAPI` → the call."""
        node: cst.CSTNode = load.node
        while True:
            meanings = self.resolver.expression(node, load.scope, load.site)
            clients = [item for item in meanings if isinstance(item, ClientClass)]
            parent = self.program.parent(node)
            if clients:
                self.client_class(node, load, meanings)
                return
            if self.pool_function(meanings, node) and isinstance(parent, cst.Call) and parent.func is node:
                self.pool_call(parent, load, meanings)
                return
            if not isinstance(parent, cst.Attribute) or parent.value is not node:
                return
            node = parent

    def pool_function(self, meanings: Meanings, node: cst.CSTNode) -> bool:
        names = {item.split(".")[-1] for item in meanings if isinstance(item, str)}
        if isinstance(node, cst.Name) and None in meanings:
            names.add(node.value)
        return any(self.wrappers.named(name) for name in names)

    def pool_call(self, node: cst.Call, load: Load, meanings: Meanings) -> None:
        start, end = self.source.span(node, load.site)
        imported = [item for item in meanings if isinstance(item, str)]
        name = imported[0] if imported else dotted(node.func)
        foreign = ""
        if not imported:
            foreign = "a function of its own"
        elif name.rpartition(".")[0] != self.wrappers.pool_module:
            foreign = name.rpartition(".")[0]
        self.pool_calls[id(node)] = Call(
            node, load.site, start, end, load.fstring, function=name.split(".")[-1], foreign=foreign
        )

    def client_class(self, node: cst.CSTNode, load: Load, meanings: Meanings) -> None:
        clients = [item for item in meanings if isinstance(item, ClientClass)]
        position: int | None = TIMEOUT_POSITION
        parent = self.program.parent(node)
        while isinstance(parent, (cst.IfExp, cst.BooleanOperation)) and getattr(parent, "test", None) is not node:
            node, parent = parent, self.program.parent(parent)
            meanings = self.resolver.expression(node, load.scope, load.site)
        func = node
        if isinstance(parent, cst.Attribute) and parent.attr.value in ALTERNATE_CONSTRUCTORS:
            position = ALTERNATE_CONSTRUCTORS[parent.attr.value]
            func, parent = parent, self.program.parent(parent)
        if not isinstance(parent, cst.Call) or parent.func is not func:
            self.reference(node, load, clients[0])
            return
        if id(parent) in self._seen:
            return
        self._seen.add(id(parent))
        start, end = self.source.span(parent, load.site)
        if None in meanings or any(isinstance(item, str) for item in meanings):
            self.report(start, "ambiguous", f"{clients[0].name} may be something else here; left as it is")
            return
        if len({item.kind for item in clients}) > 1:
            self.report(start, "ambiguous", "an API client or a bot, depending on the run; left as it is")
            return
        client = clients[0] if all(item.takes_timeout for item in clients) else _without_timeout(clients)
        self.class_loads[id(parent)] = load
        self.constructions.append(
            Call(parent, load.site, start, end, load.fstring, client=client, timeout_position=position)
        )

    def reference(self, node: cst.CSTNode, load: Load, client: ClientClass) -> None:
        """The class itself is handed on: what is made of it elsewhere cannot be seen here."""
        parent = self.program.parent(node)
        passed = isinstance(parent, (cst.Return, cst.Element, cst.DictElement, cst.Param, cst.Lambda, cst.Yield))
        if isinstance(parent, cst.Arg):
            outer = self.program.parent(parent)
            called = dotted(outer.func).split(".")[-1] if isinstance(outer, cst.Call) else ""
            keyword = parent.keyword.value if parent.keyword is not None else ""
            passed = isinstance(outer, cst.Call) and called not in _HARMLESS_CALLS and keyword != "spec"
        elif isinstance(parent, (cst.Assign, cst.AnnAssign, cst.NamedExpr)):
            targets = [item.target for item in parent.targets] if isinstance(parent, cst.Assign) else [parent.target]
            followed = all(isinstance(item, cst.Name) for item in targets) and load.scope.kind != "class"
            passed = not followed
        if passed:
            start, _ = self.source.span(node, load.site)
            self.report(
                start, "reference", f"{client.name} is handed on here; clients made from it elsewhere are not pooled"
            )

    def report_dynamic(self) -> None:
        classes = {name for kinds in CLIENT_CLASSES.values() for name in kinds}
        for node, site, text in self.program.dynamic:
            if text in classes or text.split(".")[0] in CLIENT_CLASSES:
                start, _ = self.source.span(node, site)
                self.report(start, "dynamic", f"{text!r} is fetched by name; clients made this way are not pooled")

    # -- wrapped already?

    def find_wrapper(self, call: Call) -> None:
        node: cst.CSTNode = call.node
        parent = self.program.parent(node)
        while isinstance(parent, (cst.IfExp, cst.BooleanOperation, cst.NamedExpr)):
            node, parent = parent, self.program.parent(parent)
        if isinstance(parent, cst.Arg):
            outer = self.program.parent(parent)
            call.wrapper = self.pool_calls.get(id(outer))

    def report(self, offset: int, kind: str, message: str) -> None:
        line, column = self.source.position(offset)
        self.findings.append(Finding(self.source.path, line, column, kind, message))


def _without_timeout(clients: list[ClientClass]) -> ClientClass:
    return next(item for item in clients if not item.takes_timeout)


def _roots(node: cst.CSTNode) -> Iterator[str]:
    """Names an alias or a class can take its meaning from."""
    if isinstance(node, cst.Name):
        yield node.value
    elif isinstance(node, cst.Attribute):
        yield from _roots(node.value)
    elif isinstance(node, cst.IfExp):
        yield from _roots(node.body)
        yield from _roots(node.orelse)
    elif isinstance(node, cst.BooleanOperation):
        yield from _roots(node.left)
        yield from _roots(node.right)
    elif isinstance(node, cst.NamedExpr):
        yield from _roots(node.value)
    elif isinstance(node, cst.ClassDef):
        for arg in node.bases:
            yield from _roots(arg.value)


# -- edits


@dataclass(frozen=True)
class Shift:
    """How the lines of a construction move when it moves to the right by one template margin."""

    add: str = ""
    cut: int = 0

    def apply(self, space: str) -> str:
        if self.cut:
            return space[: len(space) - min(self.cut, len(space))]
        return self.add + space


@dataclass
class Edit:
    start: int
    end: int
    # New text; for a wrapped construction the wrapper instead.
    text: str = ""
    wrap: Wrapper | None = None


class Editor:
    """Splices edits into a source; wrapped constructions may lie within each other."""

    def __init__(self, source: Source, protected: Sequence[tuple[int, int]]) -> None:
        self.source = source
        # Strings that span lines: their continuation lines must not move.
        self.protected = sorted(protected)
        self.edits: list[Edit] = []

    def replace(self, start: int, end: int, text: str) -> None:
        self.edits.append(Edit(start, end, text))

    def wrap(self, start: int, end: int, wrapper: Wrapper) -> None:
        self.edits.append(Edit(start, end, wrap=wrapper))

    def result(self) -> str:
        return self.render(0, len(self.source.text))

    def render(self, start: int, end: int, shifts: Sequence[Shift] = (), skip: Edit | None = None) -> str:
        """The text of a range with the edits in it."""
        inside = [edit for edit in self.edits if start <= edit.start and edit.end <= end and edit is not skip]
        inside.sort(key=lambda edit: (edit.start, -edit.end, edit.wrap is None))
        parts: list[str] = []
        position = start
        for edit in inside:
            if edit.start < position:
                continue
            parts.append(self.moved(position, edit.start, shifts))
            if edit.wrap is None:
                parts.append(_shift_text(edit.text, shifts))
            else:
                parts.append(self.wrapped(edit, shifts))
            position = edit.end
        parts.append(self.moved(position, end, shifts))
        return "".join(parts)

    def moved(self, start: int, end: int, shifts: Sequence[Shift]) -> str:
        text = self.source.text
        if not shifts or start == end:
            return self.source.slice(start, end)
        parts: list[str] = []
        position = start
        for line in self.source.line_starts[bisect_right(self.source.line_starts, start) :]:
            if line > end:
                break
            if any(low < line < high for low, high in self.protected):
                continue
            parts.append(self.source.slice(position, line))
            margin_end = line
            while margin_end < end and text[margin_end : margin_end + 1] in (b" ", b"\t"):
                margin_end += 1
            blank = text[margin_end : margin_end + 1] in (b"\r", b"\n")
            space = self.source.slice(line, margin_end)
            parts.append(space if blank else _shifted(space, shifts))
            position = margin_end
        parts.append(self.source.slice(position, end))
        return "".join(parts)

    def wrapped(self, edit: Edit, shifts: Sequence[Shift]) -> str:
        source, wrapper = self.source, edit.wrap
        assert wrapper is not None
        base = _shifted(source.indentation(edit.start), shifts)
        newline = source.newline(edit.start)
        unit = source.module.default_indent
        before = _template_lines(wrapper.before, base, unit, newline)
        after = _template_lines(wrapper.after, base, unit, newline)
        shift = self.shift(edit, wrapper, before, unit)
        inner = self.render(edit.start, edit.end, [*shifts, shift], skip=edit)
        return before + inner + after

    def shift(self, edit: Edit, wrapper: Wrapper, before: str, unit: str) -> Shift:
        """Hanging lines move by the template's margin, lines aligned with the call move with the call."""
        source = self.source
        first = source.line_end(edit.start)
        if first >= edit.end:
            return Shift()
        margin = wrapper.margin.replace("    ", unit)
        column = len(source.slice(source.line_start(edit.start), edit.start))
        following = len(source.indentation(first + len(source.newline(edit.start))))
        head = source.slice(edit.start, first).partition("#")[0].rstrip()
        if head.endswith("(") or following <= column:
            return Shift(add=margin)
        moved = len(before.rpartition("\n")[2].rpartition("\r")[2]) - (
            0 if "\n" in before or "\r" in before else -column
        )
        return Shift(add=" " * (moved - column)) if moved >= column else Shift(cut=column - moved)


def _shifted(space: str, shifts: Sequence[Shift]) -> str:
    for shift in shifts:
        space = shift.apply(space)
    return space


def _shift_text(text: str, shifts: Sequence[Shift]) -> str:
    """Shifts the lines of an inserted text after its first."""
    lines = text.splitlines(keepends=True)
    out = lines[:1]
    for line in lines[1:]:
        rest = line.lstrip(" \t")
        out.append(_shifted(line[: len(line) - len(rest)], shifts) + rest)
    return "".join(out)


def _template_lines(text: str, base: str, unit: str, newline: str) -> str:
    """Template text in the file's own indentation and line breaks."""
    first, *rest = text.split("\n")
    out = [first]
    for line in rest:
        body = line.lstrip(" ")
        depth = len(line) - len(body)
        out.append(base + unit * (depth // 4) + " " * (depth % 4) + body)
    return newline.join(out)


# -- patching


class Patcher:
    def __init__(self, source: Source, settings: Settings, exports: Mapping[str, Meanings] | None = None) -> None:
        self.source = source
        self.wrappers = Wrappers.of(settings)
        self.survey = Survey(source, self.wrappers, exports)
        self.editor = Editor(source, [])
        self.constructions: list[Construction] = []
        self.updated: set[int] = set()

    def run(self) -> Result:
        source, survey = self.source, self.survey
        if not survey.constructions:
            raise NoClientError("constructs no Webex client (WebexTeamsAPI, WebexAPI or WebexBot)")
        source.check_round_trip()
        needed: dict[str, list[Call]] = {}
        actions: list[tuple[Call, str]] = []
        for call in survey.constructions:
            action = self.construction(call)
            actions.append((call, action))
            if action == "wrapped":
                needed.setdefault(self.wrappers.for_kind(call.client.kind).function, []).append(call)
        self.editor.protected = list(self.multi_line_strings())
        ImportPlanner(self, needed).run()
        text = self.editor.result()
        raw = self.encode(text)
        for call, action in actions:
            line, column = source.position(call.start)
            self.constructions.append(
                Construction(source.path, line, column, call.client.kind, call.client.name, action)
            )
        findings = sorted(survey.findings, key=lambda item: (item.line, item.column))
        return Result(raw, raw != source.raw, self.constructions, findings, [])

    def encode(self, text: str) -> bytes:
        try:
            return self.source.bom + text.encode(self.source.encoding)
        except UnicodeEncodeError as error:
            raise PatchError(f"the template's text cannot be written in {self.source.encoding}: {error}") from error

    def multi_line_strings(self) -> Iterator[tuple[int, int]]:
        for call in self.survey.constructions:
            finder = _StringFinder()
            call.node.visit(finder)
            for node in finder.found:
                start, end = self.source.span(node, call.site)
                if len(_lines(self.source.text[start:end])) > 1:
                    yield start, end

    def construction(self, call: Call) -> str:
        """Edits one construction; returns what was done."""
        before = len(self.editor.edits)
        self.timeout(call)
        if call.wrapper is None:
            wrapper = self.wrappers.for_kind(call.client.kind)
            self.editor.wrap(call.start, call.end, wrapper.one_line if call.fstring else wrapper)
            return "wrapped"
        if id(call.wrapper.node) not in self.updated:
            self.updated.add(id(call.wrapper.node))
            self.options(call.wrapper)
        return "updated" if len(self.editor.edits) > before else "unchanged"

    # -- single_request_timeout

    def timeout(self, call: Call) -> None:
        client = call.client
        if client.kind != API:
            return
        if not client.takes_timeout:
            self.report(call, "timeout", f"{client.name} has a constructor of its own: set {TIMEOUT} there")
            return
        wanted = self.wrappers.request_timeout
        given, opaque = _argument(call.node, TIMEOUT, call.timeout_position)
        if given is None:
            if opaque:
                self.report(call, "timeout", f"{TIMEOUT} may come in by * or **; left as it is")
            else:
                self.add_argument(call, f"{TIMEOUT}={wanted}")
            return
        value = _literal(given.value)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            self.report(call, "timeout", f"{TIMEOUT} is not a number here ({_code(given.value)}); left as it is")
        elif value < wanted:
            start, end = self.source.span(given.value, call.site)
            self.editor.replace(start, end, str(wanted))

    def add_argument(self, call: Call, text: str) -> None:
        """Adds a keyword argument behind the last one, on a line of its own if that has one."""
        node, source = call.node, self.source
        if not node.args:
            position = call.end - 1 - len(_code(node.whitespace_before_args).encode())
            self.editor.replace(position, position, text)
            return
        last = node.args[-1]
        if isinstance(last.value, cst.GeneratorExp) and not last.value.lpar:
            self.report(call, "timeout", "an unparenthesised generator must stay the only argument; left as it is")
            return
        start, end = source.span(last, call.site)
        comma = isinstance(last.comma, cst.Comma)
        behind = end + len(_code(last.comma.whitespace_before).encode()) + 1 if comma else end
        alone = not source.text[source.line_start(start) : start].strip()
        line_end = source.line_end(behind)
        if alone and not call.fstring and line_end < call.end:
            if not comma:
                self.editor.replace(end, end, ",")
            new_line = source.newline(behind) + source.indentation(start) + text + ("," if comma else "")
            self.editor.replace(line_end, line_end, new_line)
        elif comma:
            self.editor.replace(behind, behind, f" {text},")
        else:
            self.editor.replace(end, end, f", {text}")

    # -- values of an existing wrapper

    def options(self, call: Call) -> None:
        if call.foreign:
            self.report(
                call,
                "foreign-wrapper",
                f"{call.function} is {call.foreign if ' ' in call.foreign else 'imported from ' + call.foreign}, "
                f"not from {self.wrappers.pool_module}",
            )
            if " " in call.foreign:
                return
        wrapper = self.wrappers.named(call.function)
        assert wrapper is not None
        for name, wanted in wrapper.options.items():
            order = list(POOL_DEFAULTS)
            position = order.index(name) + 1 if name in order else None
            given, opaque = _argument(call.node, name, position)
            if given is None:
                if opaque:
                    self.report(call, "setting", f"{name} may come in by * or **; left as it is")
                elif str(POOL_DEFAULTS.get(name)) != wanted:
                    self.add_argument(call, f"{name}={wanted}")
                continue
            value = _literal(given.value)
            if value is _NOT_LITERAL:
                if _code(given.value) != wanted:
                    self.report(call, "setting", f"{name} is not a literal here ({_code(given.value)}); left as it is")
            elif value != _literal_text(wanted):
                start, end = self.source.span(given.value, call.site)
                self.editor.replace(start, end, wanted)

    def report(self, call: Call, kind: str, message: str) -> None:
        self.survey.report(call.start, kind, message)


class _StringFinder(cst.CSTVisitor):
    def __init__(self) -> None:
        self.found: list[cst.CSTNode] = []

    def visit_SimpleString(self, node: cst.SimpleString) -> None:
        self.found.append(node)

    def visit_FormattedString(self, node: cst.FormattedString) -> None:
        self.found.append(node)


_NOT_LITERAL = object()


def _code(node: cst.CSTNode) -> str:
    return cst.Module(body=[]).code_for_node(node)


def _literal_text(text: str) -> object:
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return _NOT_LITERAL


def _literal(node: cst.CSTNode) -> object:
    return _literal_text(_code(node))


def _argument(node: cst.Call, name: str, position: int | None) -> tuple[cst.Arg | None, bool]:
    """The argument of that name or at that position; and whether it may hide in a * or ** argument."""
    positional = 0
    opaque = False
    for arg in node.args:
        if arg.star == "**":
            opaque = True
        elif arg.star == "*":
            opaque = opaque or position is not None
            positional += 1000
        elif arg.keyword is not None:
            if arg.keyword.value == name:
                return arg, False
        else:
            if positional == position:
                return arg, False
            positional += 1
    return None, opaque


# -- the import


class ImportPlanner:
    """Places the import of the pool functions where it works: after the imports the file has, before the first use."""

    def __init__(self, patcher: Patcher, needed: Mapping[str, list[Call]]) -> None:
        self.patcher = patcher
        self.source = patcher.source
        self.program = patcher.source.program
        self.needed = needed

    def run(self) -> None:
        groups: dict[int, tuple[Block, list[Call], set[str]]] = {}
        for function, calls in self.needed.items():
            for call in calls:
                block = self.level(call)
                if self.is_imported(function, call):
                    continue
                _, members, functions = groups.setdefault(id(block), (block, [], set()))
                members.append(call)
                functions.add(function)
        for block, calls, functions in groups.values():
            self.check_free(functions)
            self.insert(block, calls, sorted(functions))

    def is_imported(self, function: str, call: Call) -> bool:
        """True if the name already means the pool function at the call."""
        meanings = self.patcher.survey.resolver.name(function, call.site.block.scope, call.site)
        return any(isinstance(item, str) and item.split(".")[-1] == function for item in meanings)

    def check_free(self, functions: set[str]) -> None:
        for binding in self.program.bindings:
            if binding.name in functions and not binding.imported:
                offset = self.source.statement_offsets[_top(binding.site)]
                line, _ = self.source.position(offset)
                raise PatchError(f"{binding.name} is already the name of something else (near line {line})", line)

    def level(self, call: Call) -> Block:
        """The block in which the client's class is imported, if that is in a function; else the module."""
        load = self.patcher.survey.class_loads[id(call.node)]
        scope = load.scope
        for where, bindings in self.patcher.survey.resolver._lookup(load.node.value, scope):
            if where.kind == "function" and any(binding.imported for binding in bindings) and where.root is not None:
                return where.root
            break
        return self.program.block

    def insert(self, block: Block, calls: list[Call], functions: list[str]) -> None:
        uses = sorted(self.within(call.site, block) for call in calls)
        index, _ = uses[0]
        imports = self.sites(self.program.imports_at, block)
        paths = self.sites(self.program.paths_at, block)
        before = [site for site in imports + paths if site < (index, 0)]
        line = self.patcher.wrappers.import_line.replace(NAMES, ", ".join(functions))
        anchor = max(before)[0] if before else self.preamble(block, index)
        self.insert_after(block, anchor, index, line)

    def preamble(self, block: Block, limit: int) -> int:
        """Index of the last statement that must stay first: docstring, `from __future__`; -1 if there is none."""
        last = -1
        for number, statement in enumerate(block.statements[:limit]):
            if not isinstance(statement, cst.SimpleStatementLine):
                break
            first = statement.body[0]
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

    def sites(self, table: Mapping[int, list[Site]], block: Block) -> list[tuple[int, int]]:
        return [(site.index, site.small) for site in table.get(id(block), ())]

    def within(self, site: Site, block: Block) -> tuple[int, int]:
        """The statement of ``block`` that a site lies in."""
        where, index, small = site.block, site.index, site.small
        while where is not block and where.parent is not None:
            where, index, small = where.parent, where.index, 0
        return index, small

    def insert_after(self, block: Block, anchor: int, use: int, line: str) -> None:
        source = self.source
        if anchor >= 0:
            statement = block.statements[anchor]
            offset = self.statement_end(block, anchor)
        else:
            statement = block.statements[0]
            offset = self.statement_start(block, 0)
        indent = source.indentation(self.statement_start(block, max(anchor, 0)))
        newline = source.newline(self.statement_start(block, max(anchor, 0)))
        del statement
        self.patcher.editor.replace(offset, offset, indent + line + newline)

    def statement_start(self, block: Block, index: int) -> int:
        """The beginning of the line on which a statement's own text begins."""
        start, _ = self.source.span(block.statements[index], Site(block, index, 0, 0))
        return self.source.line_start(start)

    def statement_end(self, block: Block, index: int) -> int:
        """The beginning of the line after a statement."""
        _, end = self.source.span(block.statements[index], Site(block, index, 0, 0))
        position = self.source.line_end(max(end - 1, 0))
        return position + len(self.source.newline(position))


def _top(site: Site) -> int:
    block, index = site.block, site.index
    while block.parent is not None:
        block, index = block.parent, block.index
    return index


def patch(
    raw: bytes,
    settings: Settings,
    path: str = "<source>",
    package: str = "",
    exports: Mapping[str, Meanings] | None = None,
) -> Result:
    """Patches one file. Raises PatchError if it does not parse, NoClientError if it constructs no client."""
    return Patcher(Source(raw, path, package), settings, exports).run()
