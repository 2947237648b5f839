"""The JSON Schema of report.json, generated from its dataclasses.

`python -m plugin_utils.report.schema` writes docs/report.schema.json; a test compares the two.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import json
import types
from pathlib import Path
from textwrap import dedent
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from plugin_utils.report.model import Report

FILE = Path(__file__).resolve().parents[2] / "docs" / "report.schema.json"
SCALARS = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}


def report_schema() -> dict[str, Any]:
    """The schema of report.json."""
    definitions: dict[str, Any] = {}
    root = _object(Report, definitions)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "report.json of webex-bot-rollout",
        **root,
        "$defs": dict(sorted(definitions.items())),
    }


def schema_of(hint: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    """The schema of a type's values as `dataclasses.asdict` gives them; its dataclasses go into `definitions`.

    :param hint: a dataclass, `str`, `int`, `float`, `bool`, `None`, `Any`, or a `Literal`, union, `list` or `dict` with
        texts as keys made of these. An `Annotated` one adds its keywords, pairs of name and value.
    :raises TypeError: when the type is another one.
    """
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        return {}
    if isinstance(hint, type) and hint in SCALARS:
        return {"type": SCALARS[hint]}
    if origin is Annotated:
        return schema_of(arguments[0], definitions) | dict(arguments[1:])
    if origin is Literal:
        return {"const": arguments[0]} if len(arguments) == 1 else {"enum": list(arguments)}
    if origin in (Union, types.UnionType):
        return {"anyOf": [schema_of(argument, definitions) for argument in arguments]}
    if origin is list:
        return {"type": "array", "items": schema_of(arguments[0], definitions)}
    if origin is dict and arguments[0] is str:
        return {"type": "object", "additionalProperties": schema_of(arguments[1], definitions)}
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if hint.__name__ not in definitions:
            definitions[hint.__name__] = _object(hint, definitions)
        return {"$ref": f"#/$defs/{hint.__name__}"}
    raise TypeError(f"no schema for {hint!r}")


def _object(described: type, definitions: dict[str, Any]) -> dict[str, Any]:
    """A dataclass: all fields are required, for `asdict` gives all of them, and no others."""
    hints, words = get_type_hints(described, include_extras=True), _descriptions(described)
    names = [field.name for field in dataclasses.fields(described)]
    return {
        "description": inspect.getdoc(described),
        "type": "object",
        "additionalProperties": False,
        "required": names,
        "properties": {name: {"description": words[name], **schema_of(hints[name], definitions)} for name in names},
    }


def _descriptions(described: type) -> dict[str, str]:
    """The docstrings that stand below the fields of a class and of those it extends; Python does not keep them."""
    found = _descriptions(described.__base__) if dataclasses.is_dataclass(described.__base__) else {}
    (node,) = ast.parse(dedent(inspect.getsource(described))).body
    for above, below in zip(node.body, node.body[1:]):  # type: ignore[attr-defined]
        if isinstance(above, ast.AnnAssign) and isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            found[above.target.id] = inspect.cleandoc(below.value.value)  # type: ignore[union-attr, arg-type]
    return found


def text() -> str:
    """The content of docs/report.schema.json."""
    return json.dumps(report_schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
