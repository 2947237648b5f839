"""Calls to Webex that go past every SDK, by an HTTP library or the standard one: they can only be named."""

from __future__ import annotations

import re
from collections.abc import Iterator

import libcst as cst

from .model import BARE_REQUEST, Finding
from .scopes import Site
from .source import Source
from .tree import dotted, identifier, literal_string, nodes_within

_HOST = re.compile(r"\b(?:[\w-]+\.)*(?:webexapis\.com|ciscospark\.com|webex\.com|wbx2\.com)\b")
_HOST_BYTES = re.compile(_HOST.pattern.encode())
# What a call does without a time-out, by the library that makes it.
_WITHOUT = {
    "requests": "has no time-out: if the answer is lost, it waits for ever",
    "urllib3": "has no time-out: if the answer is lost, it waits for ever",
    "urllib": "has no time-out: if the answer is lost, it waits for ever",
    "http": "has no time-out: if the answer is lost, it waits for ever",
    "httpx": "has httpx's own time-out of 5 s and is not repeated",
    "aiohttp": "has aiohttp's own time-out of 5 min",
}
_METHODS = frozenset({"get", "post", "put", "patch", "delete", "head", "options", "request", "stream"})
_OPENERS = frozenset({"urlopen", "urlretrieve", "HTTPSConnection", "HTTPConnection"})
_SESSION_CLASS = re.compile(r"(Session|session|Client|PoolManager)$")
_SESSION_NAME = re.compile(r"(^|_)(s|sess|session|client|http|https|web|rest)$", re.IGNORECASE)
_DEPTH = 6


def bare_requests(source: Source) -> list[Finding]:
    """A finding for each call of an HTTP library with an address of Webex."""
    if not _HOST_BYTES.search(source.raw):
        return []
    return list(_Bare(source).findings())


class _Bare:
    def __init__(self, source: Source) -> None:
        self.source = source
        self.imported: dict[str, str] = {}
        self.values: dict[str, list[cst.CSTNode]] = {}
        for binding in source.program.bindings:
            if binding.imported:
                self.imported[binding.name] = binding.imported
            elif binding.value is not None:
                self.values.setdefault(binding.name, []).append(binding.value)
        for node in nodes_within(source.module, cst.Assign):
            # Attributes are no bindings: `self.url = …` is looked up by its last name.
            for target in node.targets if isinstance(node, cst.Assign) else ():
                if isinstance(target.target, cst.Attribute) and isinstance(node, cst.Assign):
                    self.values.setdefault(f".{target.target.attr.value}", []).append(node.value)
        libraries = [name.partition(".")[0] for name in self.imported.values()]
        self.session_library = next((name for name in _WITHOUT if name in libraries), "")

    def findings(self) -> Iterator[Finding]:
        block = self.source.program.block
        for index, statement in enumerate(self.source.module.body):
            for node in nodes_within(statement, cst.Call):
                if not isinstance(node, cst.Call):
                    continue
                name, library = self._callee(node)
                host = self._host(node) if library else ""
                if host:
                    start, _ = self.source.span(node, Site(block, index, 0, 0))
                    line, column = self.source.position(start)
                    yield Finding(self.source.path, line, column, BARE_REQUEST, _message(name, host, library, node))

    def _callee(self, node: cst.Call) -> tuple[str, str]:
        """How a call is named, and the HTTP library that it belongs to; empty if it is none of one."""
        name = dotted(node.func)
        last = node.func.attr.value if isinstance(node.func, cst.Attribute) else name
        first, _, rest = name.partition(".")
        imported = self.imported.get(identifier(first), "") if first else ""
        if imported:
            full = f"{imported}.{rest}" if rest else imported
            known = full.partition(".")[0] in _WITHOUT and full.rpartition(".")[2] in _METHODS | _OPENERS
            return (full, full.partition(".")[0]) if known else ("", "")
        if last not in _METHODS or not isinstance(node.func, cst.Attribute) or not self._is_session(node.func.value):
            return "", ""
        return name or last, self.session_library

    def _is_session(self, owner: cst.BaseExpression) -> bool:
        """Whether something is a library's session: by what it was made of, else by its name."""
        last = owner.attr.value if isinstance(owner, cst.Attribute) else dotted(owner)
        values = self.values.get(f".{last}" if isinstance(owner, cst.Attribute) else identifier(last), [])
        made = [dotted(value.func).rpartition(".")[2] for value in [*values, owner] if isinstance(value, cst.Call)]
        return any(_SESSION_CLASS.search(name) for name in made) or bool(not made and _SESSION_NAME.search(last))

    def _host(self, node: cst.Call) -> str:
        """The host of Webex in the address that a call is given; empty if there is none."""
        last = dotted(node.func).rpartition(".")[2]
        position = 1 if last in ("request", "stream") else 0
        plain = [arg.value for arg in node.args if arg.keyword is None and not arg.star]
        given = [arg.value for arg in node.args if arg.keyword is not None and arg.keyword.value == "url"]
        return next(
            (host for value in [*plain[position : position + 1], *given] if (host := self._named(value, 0))), ""
        )

    def _named(self, node: cst.CSTNode, depth: int) -> str:
        """The host that an expression names, itself or by the names in it."""
        for part in nodes_within(node, cst.SimpleString, cst.FormattedStringText):
            text = part.value if isinstance(part, cst.FormattedStringText) else literal_string(part) or ""
            found = _HOST.search(text)
            if found is not None:
                return found[0]
        if depth >= _DEPTH:
            return ""
        for part in nodes_within(node, cst.Name, cst.Attribute):
            name = f".{part.attr.value}" if isinstance(part, cst.Attribute) else dotted(part)
            for value in self.values.get(name, ()):
                if not isinstance(value, (cst.FunctionDef, cst.ClassDef)) and value is not node:
                    host = self._named(value, depth + 1)
                    if host:
                        return host
        return ""


def _message(name: str, host: str, library: str, node: cst.Call) -> str:
    has_timeout = any(arg.keyword is not None and arg.keyword.value == "timeout" for arg in node.args)
    if has_timeout or any(arg.star == "**" for arg in node.args):
        return f"{name} calls {host} itself: no pool is involved, and the patch leaves it as it is"
    advice = "give it timeout=…" if library != "aiohttp" else "give it a shorter timeout"
    return f"{name} calls {host} itself and {_WITHOUT[library]}; no pool is involved, so {advice}"
