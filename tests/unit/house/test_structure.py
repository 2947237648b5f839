"""The VM's package: which room may import which, what a module sends to the VM, and one program of the same bytes."""

from __future__ import annotations

import ast
import base64
import contextlib
import io
import os
import re
import sys
import zipfile
from pathlib import Path

import pytest
from ansible.executor.module_common import modify_module
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar

from plugin_utils.program import PACKAGE, build

ROOT = Path(__file__).resolve().parents[3]
# A room imports from its own floor and from those before it, never from one after.
FLOORS = (
    {"__init__", "errors", "migration"},
    {"paths", "words", "command_line", "shell_lines"},
    {"system"},
    {"tree", "hanging"},
    {"installed"},
    {"become"},
    {"procfs", "disk", "systemd", "channel", "journal", "side_by_side"},
    {"entries", "own_checks"},
    {"files"},
    {
        "clock",
        "parents",
        "processes",
        "namesakes",
        "traits",
        "found",
        "environment",
        "ahead",
        "sources",
        "imports",
        "interpreter",
        "starting",
    },
    {"state"},
    {"store"},
    {"sharing", "lock", "units", "launch", "drift", "timer", "notify", "webhooks", "metrics", "weather", "outage"},
    {"messages", "probe"},
    {"logs", "evidence"},
    {"likelihood", "heard", "reach", "history"},
    {"verdict", "record", "soak"},
    {"inputs"},
    {
        "steps",
        "starters",
        "starter_kept",
        "starter_search",
        "starter_places",
        "facts",
        "plan",
        "refusals",
        "beforehand",
    },
    {"bulletin", "settled", "answers"},
    {"guard", "status", "watch", "uninstall", "look"},
    {"questions"},
    {"asked"},
    {"cli"},
)
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
MODULES = sorted(path.stem for path in (ROOT / "library").glob("*.py"))


def rooms() -> dict[str, Path]:
    """Every file of the package by its dotted name in it."""
    return {".".join(path.relative_to(PACKAGE).with_suffix("").parts): path for path in PACKAGE.rglob("*.py")}


def imports(name: str, path: Path) -> set[str]:
    """The package's files that one of them imports, also those only its annotations use."""
    known, found = rooms(), set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            parts = name.split(".")[: -node.level] if node.level <= name.count(".") + 1 else []
            base = [*parts, *(node.module.split(".") if node.module else [])]
            for alias in node.names:
                inner = ".".join([*base, alias.name])
                found.add(inner if inner in known else ".".join(base) or "__init__")
    return found


def test_every_room_has_a_floor_and_every_floor_its_rooms() -> None:
    found = {name.split(".")[0] for name in rooms()}
    assert found == set(FLOOR)


def test_no_room_imports_upwards() -> None:
    upwards = [
        f"{name} imports {other}"
        for name, path in rooms().items()
        for other in imports(name, path)
        if FLOOR[other.split(".")[0]] > FLOOR[name.split(".")[0]]
    ]
    assert upwards == []


def test_no_circle() -> None:
    edges = {name: imports(name, path) - {"__init__"} for name, path in rooms().items()}
    done: set[str] = set()

    def visit(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, " -> ".join([*above, name])
        if name not in done:
            for other in edges.get(name, ()):
                visit(other, (*above, name))
            done.add(name)

    for name in edges:
        visit(name, ())


def test_the_command_line_imports_every_room_that_it_can_reach_at_its_top() -> None:
    """A zip application reads its parts lazily; an upgrade meanwhile would mix two versions."""
    lazy = [
        f"{name}:{node.lineno}"
        for name, path in rooms().items()
        for function in ast.walk(ast.parse(path.read_text()))
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef))
        for node in ast.walk(function)
        if isinstance(node, (ast.Import, ast.ImportFrom))
    ]
    assert lazy == []


def test_the_package_is_written_for_python_3_8_and_needs_nothing_but_its_standard_library() -> None:
    for name, path in rooms().items():
        tree = ast.parse(path.read_text(), feature_version=(3, 8))
        absolute = {
            alias.split(".")[0]
            for node in ast.walk(tree)
            for alias in (
                [node.module or ""]
                if isinstance(node, ast.ImportFrom) and not node.level
                else [each.name for each in node.names]
                if isinstance(node, ast.Import)
                else []
            )
        }
        assert absolute <= sys.stdlib_module_names, name


def test_no_file_of_the_package_is_longer_than_400_lines() -> None:
    assert {name: n for name, path in rooms().items() if (n := len(path.read_text().splitlines())) > 400} == {}


# -- what a module sends ---------------------------------------------------------------------------------------


def payload(module: str) -> set[str]:
    """Names of the package's files that Ansible sends with a module."""
    built = modify_module(
        module_name=module,
        module_path=str(ROOT / f"library/{module}.py"),
        module_args={},
        templar=Templar(DataLoader()),
        task_vars={"ansible_python_interpreter": "/usr/bin/python3"},
    )
    # The longest run of base64 in what is sent is the archive.
    archive = max(re.findall(rb"[A-Za-z0-9+/=]{1000,}", built.b_module_data), key=len)
    names = zipfile.ZipFile(io.BytesIO(base64.b64decode(archive))).namelist()
    inside = "ansible/module_utils/webex_rollout/"
    return {name[len(inside) : -3].replace("/", ".") for name in names if name.startswith(inside)}


def wanted(module: str) -> set[str]:
    """What a module's imports reach at run time, and the packages around it."""
    reached: set[str] = set()
    prefix = "ansible.module_utils.webex_rollout"
    first = {
        f"{node.module}.{alias.name}".removeprefix(prefix).lstrip(".")
        for node in ast.walk(ast.parse((ROOT / f"library/{module}.py").read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(prefix)
        for alias in node.names
    }
    known = rooms()
    left = [name if name in known else name.rpartition(".")[0] or "__init__" for name in first]
    while left:
        name = left.pop()
        if name not in reached:
            reached.add(name)
            parts = name.split(".")
            ups = (".".join([*parts[:count], "__init__"]) for count in range(len(parts)))
            left += [up for up in ups if up in known]
            left += imports(name, known[name])
    return reached


@pytest.fixture(scope="module")
def _collections() -> None:
    """What every command of Ansible does first; only once in a process."""
    with contextlib.suppress(Exception):
        init_plugin_loader()


@pytest.mark.usefixtures("_collections")
@pytest.mark.parametrize("module", MODULES)
def test_a_module_sends_only_the_rooms_that_it_imports(module: str) -> None:
    assert payload(module) == wanted(module)


# -- the program -----------------------------------------------------------------------------------------------


def test_two_builds_have_the_same_bytes_whenever_and_wherever_they_are_made(tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere/webex_rollout"
    for path in sorted(PACKAGE.rglob("*.py"), reverse=True):
        target = copy / path.relative_to(PACKAGE)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
        os.utime(target, (0, 10**9))
    (copy / "__pycache__").mkdir()
    (copy / "__pycache__/cli.cpython-311.pyc").write_bytes(b"not of the program")
    assert build(copy) == build()


def test_the_program_holds_every_room_once_in_one_order() -> None:
    names = zipfile.ZipFile(io.BytesIO(build())).namelist()
    assert names == sorted([*(f"webex_rollout/{n.replace('.', '/')}.py" for n in rooms()), "__main__.py"])
