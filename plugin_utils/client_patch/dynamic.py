"""What a file imports or runs by a name that is text: `import_module("bots.jarvis")`, `run_path("bots/jarvis.py")`."""

from __future__ import annotations

import ast
from collections.abc import Iterator

_IMPORT = frozenset({"import_module", "__import__", "run_module"})
_RUN = frozenset({"run_path", "exec", "spec_from_file_location"})


def imported_names(tree: ast.AST) -> Iterator[tuple[str, bool]]:
    """Modules that are imported by their names; true for a package of which any module may be meant."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and node.args and _called(node) in _IMPORT:
            text, whole = _beginning(node.args[0])
            name = text if whole else text[:-1]
            if (whole or text.endswith(".")) and all(part.isidentifier() for part in name.split(".")):
                yield name, not whole


def files_run(tree: ast.AST) -> Iterator[str]:
    """Files that are run in the process of this one, as their names are written."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and _called(node) in _RUN]
    for call in calls:
        # A name that is put together elsewhere may be any that the file has.
        yield from _scripts(call) or (_scripts(tree) if _called(call) != "spec_from_file_location" else ())


def _scripts(tree: ast.AST) -> list[str]:
    """The names of Python files in a tree; of a path that is joined or divided, its parts in one."""
    found: list[str] = []
    for node in ast.walk(tree):
        parts = [node]
        if isinstance(node, ast.Call):
            parts = list(node.args)
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            parts = [*_divided(node)]
        texts = [part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str)]
        name = "/".join(texts).lstrip("/")
        # What is seen of a path first is the whole, then come its parts.
        if name.endswith((".py", ".pyw")) and not any(item.endswith(f"/{name}") for item in found):
            found.append(name)
    return list(dict.fromkeys(found))


def _divided(node: ast.expr) -> Iterator[ast.expr]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        yield from _divided(node.left)
        yield node.right
    else:
        yield node


def _called(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def _beginning(node: ast.expr) -> tuple[str, bool]:
    """The text with which an expression begins, and whether that is all of it."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value, True
    if isinstance(node, ast.JoinedStr) and node.values:
        return _beginning(node.values[0])[0], False
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _beginning(node.left)[0], False
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
        return _beginning(node.left)[0].partition("%")[0], False
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "format":
        return _beginning(node.func.value)[0].partition("{")[0], False
    return "", False
