"""Small questions to a LibCST tree: what a node is called, which text it holds, which nodes lie in it."""

from __future__ import annotations

import dataclasses
import unicodedata
from functools import cache

import libcst as cst

_SKIPPED_FIELDS = {
    "annotation",
    "asynchronous",
    "colon",
    "comma",
    "dot",
    "equal",
    "footer",
    "header",
    "lbrace",
    "lbracket",
    "leading_lines",
    "lines_after_decorators",
    "lpar",
    "operator",
    "posonly_ind",
    "rbrace",
    "rbracket",
    "rpar",
    "semicolon",
    "trailing_comma",
    "trailing_whitespace",
}


@cache
def child_fields(kind: type) -> tuple[str, ...]:
    """Fields of a node that can hold expressions: not whitespace, punctuation or annotations."""
    return tuple(
        item.name
        for item in dataclasses.fields(kind)
        if item.name not in _SKIPPED_FIELDS and not item.name.startswith(("whitespace", "indent"))
    )


def dotted(node: cst.CSTNode | None) -> str:
    """`a.b.c` of an Attribute chain; empty for anything else."""
    parts: list[str] = []
    while isinstance(node, cst.Attribute):
        parts.append(node.attr.value)
        node = node.value
    if not isinstance(node, cst.Name):
        return ""
    return identifier(".".join([node.value, *reversed(parts)]))


def identifier(name: str) -> str:
    """The name as Python compares it: full-width letters and the like are the same name (PEP 3131)."""
    return name if name.isascii() else unicodedata.normalize("NFKC", name)


def literal_string(node: cst.CSTNode) -> str | None:
    """The value of a plain string literal; None for anything else."""
    value = node.evaluated_value if isinstance(node, (cst.SimpleString, cst.ConcatenatedString)) else None
    return value if isinstance(value, str) else None


def code_of(node: cst.CSTNode) -> str:
    """The source text of a node on its own."""
    return cst.Module(body=[]).code_for_node(node)


class _Collector(cst.CSTVisitor):
    def __init__(self, kinds: tuple[type[cst.CSTNode], ...]) -> None:
        self.kinds = kinds
        self.found: list[cst.CSTNode] = []

    def on_visit(self, node: cst.CSTNode) -> bool:
        if isinstance(node, self.kinds):
            self.found.append(node)
        return True


def nodes_within(node: cst.CSTNode, *kinds: type[cst.CSTNode]) -> list[cst.CSTNode]:
    """The nodes of these kinds at or below a node, in the order of the text."""
    collector = _Collector(kinds)
    node.visit(collector)
    return collector.found
