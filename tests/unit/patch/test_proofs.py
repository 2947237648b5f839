"""The proof of an import by the bot's own Python comes with the question that writes it, and holds as before."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from plugin_utils.client_patch import Settings
from plugin_utils.client_patch.checkout import Checkout
from plugin_utils.client_patch.surroundings import Started
from plugin_utils.proofs import Proofs

from .case_files import TEMPLATES
from .test_action import CLIENT, JARVIS, checkout_with, patch_alone

AUTO_TEMPLATES = replace(TEMPLATES, import_line="from __pool_module__ import __names__")

HERE, THERE = SimpleNamespace(file="src/utils/p.py"), SimpleNamespace(file="webex_bots/p.py")
ASKED = [("p", ["webex_bots"])]


def test_one_answer_is_awaited_and_the_others_are_asked_for_at_once() -> None:
    asked: list[Any] = []
    proofs = Proofs(lambda question: asked.append(question) or "elsewhere")
    assert (proofs(HERE, ASKED), proofs(HERE, ASKED), asked) == ("", "", [])
    assert proofs.open == {"file": "src/utils/p.py", "imports": [["p", ["webex_bots"]]]}
    assert (proofs(THERE, ASKED), len(asked)) == ("elsewhere", 1)
    assert proofs.settle("it is another one's") is False
    assert (proofs(HERE, ASKED), len(asked)) == ("it is another one's", 1)


def test_nothing_open_is_nothing_to_settle() -> None:
    proofs = Proofs(lambda _: "")
    assert proofs.settle("") is True
    assert proofs.open == {}


ROOT = "os.path.dirname(os.path.dirname(os.path.abspath(__file__)))"


@pytest.mark.parametrize(
    ("change", "searched"),
    [
        (f"sys.path.append({ROOT})", ["webex_bots", "*", ""]),
        (f"sys.path.insert(len(sys.path), {ROOT})", ["webex_bots", "*", ""]),
        (f"sys.path.insert(len(sys.argv), {ROOT})", ["webex_bots", "", "*"]),
        (f"sys.path.extend([{ROOT}])", ["webex_bots", "*", ""]),
        (f"sys.path += [{ROOT}]", ["webex_bots", "*", ""]),
        (f"sys.path = sys.path + [{ROOT}]", ["webex_bots", "*", ""]),
        (f"sys.path[:] = [*sys.path, {ROOT}]", ["webex_bots", "*", ""]),
        (f"sys.path = [{ROOT}] + sys.path", ["", "webex_bots", "*"]),
        (f"sys.path[:0] = [{ROOT}]", ["", "webex_bots", "*"]),
        (f"sys.path.insert(0, {ROOT})", ["", "webex_bots", "*"]),
        (f"sys.path.insert(1, {ROOT})", ["webex_bots", "", "*"]),
        (f"sys.path.pop(0)\nsys.path.append({ROOT})", ["*", ""]),
    ],
)
def test_the_proof_searches_in_the_order_that_the_program_makes(change: str, searched: list[str]) -> None:
    files = {JARVIS: f"import os, sys\n{change}\n{CLIENT}", "src/__init__.py": "", "src/utils/__init__.py": ""}
    asked: list[Any] = []

    def read(paths: Sequence[str]) -> dict[str, bytes]:
        return {path: files[path].encode() for path in paths if path in files}

    started = Started(home="/home/IR", prove=lambda place, questions: asked.append((place.module, questions)) or "")
    Checkout(read, JARVIS, Settings(AUTO_TEMPLATES, 120), started=started).patch()
    ((_, ((_, path),)),) = asked
    assert path == searched


def test_an_import_that_the_bots_python_finds_elsewhere_is_not_written(tmp_path: Path) -> None:
    """An installed `src` comes before the checkout's: what only that Python knows."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    (packages,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    (packages / "src").mkdir()
    (packages / "src/__init__.py").touch()
    home = tmp_path / "IR"
    root = "import os, sys\nsys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))\n"
    script = checkout_with(home, f"{root}{CLIENT}")
    (home / "src/utils").mkdir(parents=True)
    for package in ("src", "src/utils"):
        (home / package / "__init__.py").touch()
    given = {"templates": vars(AUTO_TEMPLATES), "python": str(tmp_path / "venv/bin/python")}
    for check in (["--check"], []):
        shown = patch_alone(home, *check, **given)
        assert re.search(r"^\+from webex_pool_config import configure_webex_api_session", shown, re.MULTILINE), shown
    assert "from webex_pool_config import configure_webex_api_session" in script.read_text()
    script.write_text(f"{root}{CLIENT}")
    (packages / "src/__init__.py").unlink()
    (packages / "src").rmdir()
    patch_alone(home, **given)
    assert "from src.utils.webex_pool_config import configure_webex_api_session" in script.read_text()
