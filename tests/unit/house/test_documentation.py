"""A module's documentation is what it accepts: option by option, for every file of library/."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

LIBRARY = Path(__file__).resolve().parents[3] / "library"
MODULES = sorted(LIBRARY.glob("*.py"))
# What both an argument specification and a documentation state of an option, with what is meant if they do not.
STATED = {"type": "str", "required": False, "default": None, "choices": None, "elements": None, "aliases": None}


class Captured(Exception):
    """Ends main() of a module at the point where it states what it accepts."""


def load(path: Path) -> ModuleType:
    """The module at `path`, imported as Ansible would find it."""
    spec = importlib.util.spec_from_file_location(f"documented_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)  # dataclasses look there
    spec.loader.exec_module(module)
    return module


def accepted(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What main() of `module` gives to AnsibleModule as its argument specification."""
    given: dict[str, Any] = {}

    def capture(argument_spec: dict[str, Any], **_others: Any) -> None:
        given.update(argument_spec)
        raise Captured

    monkeypatch.setattr(module, "AnsibleModule", capture)
    with pytest.raises(Captured):
        module.main()
    return given


def flat(options: Mapping[str, Any] | None, nested: str, prefix: str = "") -> dict[str, dict[str, Any]]:
    """Each option by its name (`holder.pid` for a suboption), with what is stated of it."""
    found = {}
    for name, option in (options or {}).items():
        found[prefix + name] = {key: option.get(key, default) for key, default in STATED.items()}
        found |= flat(option.get(nested), nested, f"{prefix}{name}.")
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_documentation_is_what_the_module_accepts(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = load(path)
    documentation = yaml.safe_load(module.DOCUMENTATION)
    assert documentation["module"] == path.stem
    assert documentation["short_description"]
    assert flat(documentation.get("options"), "suboptions") == flat(accepted(module, monkeypatch), "options")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_every_option_is_described(path: Path) -> None:
    def undescribed(options: Mapping[str, Any] | None) -> list[str]:
        return [
            name
            for name, option in (options or {}).items()
            if not option.get("description") or undescribed(option.get("suboptions"))
        ]

    assert not undescribed(yaml.safe_load(load(path).DOCUMENTATION).get("options"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_examples_use_documented_options(path: Path) -> None:
    module = load(path)
    options = yaml.safe_load(module.DOCUMENTATION).get("options") or {}
    tasks = yaml.safe_load(module.EXAMPLES)
    assert tasks
    used = [name for task in tasks for name in task.get(path.stem) or {}]
    assert all(path.stem in task for task in tasks)
    assert set(used) <= set(options)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_what_is_returned_is_documented_in_full(path: Path) -> None:
    for name, value in (yaml.safe_load(load(path).RETURN) or {}).items():
        assert {"description", "returned", "type"} <= set(value), name


def test_a_difference_is_found() -> None:
    documented = {"a": {"type": "list", "elements": "dict", "suboptions": {"b": {"required": True}}}}
    for changed in ({"type": "str"}, {"elements": "str"}, {"options": {}}, {"options": {"b": {"default": 1}}}):
        spec = {"a": {"type": "list", "elements": "dict", "options": {"b": {"required": True}}} | changed}
        assert flat(documented, "suboptions") != flat(spec, "options")
    assert flat(documented, "suboptions") == flat(
        {"a": {"type": "list", "elements": "dict", "options": {"b": {"type": "str", "required": True}}}}, "options"
    )
