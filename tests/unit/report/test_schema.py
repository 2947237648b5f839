"""The schema of report.json: generated, as strict as what is promised, and the file in docs is what is generated."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import jsonschema
import pytest

from plugin_utils.report.events import Run
from plugin_utils.report.schema import FILE, report_schema, schema_of, text
from tests.unit.report.scenes import SCENES

Make = Callable[[Run], dict[str, Any]]

VALIDATOR = jsonschema.Draft202012Validator(
    report_schema(), format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
)

WRONG: dict[str, tuple[tuple[str | int, ...], Any]] = {
    "another format": (("schema",), 1),
    "a time without an offset": (("written",), "2026-11-24T15:25:01"),
    "an unknown state": (("conclusion", "state"), "fine"),
    "an unknown result": (("bots", 0, "result"), "fine"),
    "an unknown stage": (("bots", 0, "stage"), "third"),
    "an unknown verdict": (("bots", 0, "verdict", "verdict"), "perhaps"),
    "a verdict without its evidence": (("bots", 0, "verdict", "record"), None),
    "fewer than no incidents": (("bots", 0, "after", "incidents"), -1),
    "half an incident": (("bots", 0, "after", "incidents"), 0.5),
    "a rate below zero": (("bots", 0, "before", "per_hour"), -0.1),
    "an hour that is no time": (("bots", 0, "before", "hours", 0, "start"), "noon"),
    "line 0": (("bots", 0, "clients", 0, "line"), 0),
    "a null where something must be": (("bots", 0, "sentence"), None),
    "a commit that is none": (("run", "project", "commit"), "main"),
    "a play in no batch": (("run", "plays", 0, "batches"), 0),
    "a counter that is text": (("run", "recap", "jarvis", "ok"), "40"),
    "an unknown field within": (("bots", 0, "more"), 1),
    "an unknown field of a diff": (("changes", 0, "diff", "more"), 1),
}


def changed(content: dict[str, Any], path: tuple[str | int, ...], value: Any) -> dict[str, Any]:
    """The content with a value of its own at a place in it."""
    inner: Any = content
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    return content


def valid(content: dict[str, Any]) -> bool:
    return VALIDATOR.is_valid(content)


def test_the_file_is_what_is_generated() -> None:
    assert FILE.read_text(encoding="utf-8") == text(), "python -m plugin_utils.report.schema writes it"


def test_it_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(report_schema())


@pytest.mark.parametrize("wrong", WRONG)
def test_it_refuses_what_is_not_promised(wrong: str, report: Make) -> None:
    content = report(SCENES["promoted"]())
    assert valid(content)
    assert not valid(changed(content, *WRONG[wrong]))


def test_every_field_is_required_everywhere(report: Make) -> None:
    content = report(SCENES["rolled back"]())
    content["bots"] = content["bots"][:1]
    content["run"]["recap"] = {}
    fields = list(each_field(content))
    assert len(fields) > 90
    for holder, name in fields:
        value = holder.pop(name)
        assert not valid(content), name
        holder[name] = value
    assert valid(content)


def each_field(value: Any) -> Iterator[tuple[dict[str, Any], str]]:
    """Every field of the content, of a list's items those of the first; not what holds anything."""
    if isinstance(value, list):
        yield from (pair for item in value[:1] for pair in each_field(item))
    elif isinstance(value, dict):
        yield from [(value, name) for name in value]
        yield from (pair for name in value.keys() - {"record", "settings"} for pair in each_field(value[name]))


def test_everything_is_described() -> None:
    schema = report_schema()
    for described in (schema, *schema["$defs"].values()):
        for name, part in {"": described, **described["properties"]}.items():
            assert part["description"], name


@dataclass
class Inner:
    """Something within."""

    count: Annotated[int, ("minimum", 1), ("maximum", 3)] = 1
    """How many,
    at most three"""


@dataclass
class Outer:
    """Something."""

    inner: Inner | None
    """May be missing"""
    kinds: list[Literal["a", "b"]] = field(default_factory=list)
    """Which"""
    more: dict[str, float] = field(default_factory=dict)
    """What else"""


def test_what_a_dataclass_becomes() -> None:
    definitions: dict[str, Any] = {}
    assert schema_of(Outer, definitions) == {"$ref": "#/$defs/Outer"}
    assert definitions["Inner"]["properties"] == {
        "count": {"description": "How many,\nat most three", "type": "integer", "minimum": 1, "maximum": 3}
    }
    assert definitions["Outer"] == {
        "description": "Something.",
        "type": "object",
        "additionalProperties": False,
        "required": ["inner", "kinds", "more"],
        "properties": {
            "inner": {"description": "May be missing", "anyOf": [{"$ref": "#/$defs/Inner"}, {"type": "null"}]},
            "kinds": {"description": "Which", "type": "array", "items": {"enum": ["a", "b"]}},
            "more": {"description": "What else", "type": "object", "additionalProperties": {"type": "number"}},
        },
    }


@pytest.mark.parametrize("hint", [set[str], dict[int, str], tuple[int, int], object])
def test_a_type_without_a_schema_is_an_error(hint: Any) -> None:
    with pytest.raises(TypeError, match="no schema for"):
        schema_of(hint, {})
