"""The scope analysis, judged by CPython's own symbol table."""

from __future__ import annotations

import importlib.util
import tokenize
from pathlib import Path

import pytest

from .oracle import compare

# Modules of the standard library with much nesting.
MODULES = ["argparse", "ast", "asyncio.base_events", "collections", "dataclasses", "enum", "functools", "inspect"]
MODULES += ["typing", "unittest.mock", "contextlib", "pydoc", "traceback", "concurrent.futures._base"]

SNIPPETS = dict(part.split("\n", 1) for part in (Path(__file__).parent / "snippets.txt").read_text().split("=== ")[1:])


@pytest.mark.parametrize("text", SNIPPETS.values(), ids=SNIPPETS)
def test_names_are_looked_up_as_python_does(text: str) -> None:
    compared = compare(text)
    assert compared.disagreements == []
    assert compared.unpaired == 0
    assert compared.uses > 0


@pytest.mark.parametrize("module", MODULES)
def test_standard_library(module: str) -> None:
    spec = importlib.util.find_spec(module)
    assert spec is not None and spec.origin is not None
    with tokenize.open(spec.origin) as stream:
        compared = compare(stream.read())
    assert compared.disagreements == []
    assert compared.unpaired <= compared.uses * 0.01
