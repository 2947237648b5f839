"""The verify suite as others use it: from elsewhere, by fact, with JUnit's file and a next step for each failure."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from tests.verify.conftest import CURES, FACTS
from tests.verify.inventory import in_full

ROOT = Path(__file__).resolve().parents[3]


def suite(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run it from a directory with nothing but an inventory of one bot, on a VM that is this machine."""
    (place / "hosts.yml").write_text("bots: {hosts: {nobody: {ansible_connection: local, bot_home: /nowhere}}}\n")
    command = [
        sys.executable,
        "-m",
        "pytest",
        ROOT / "tests/verify",
        "--hosts=ansible://bots",
        "-p",
        "no:cacheprovider",
    ]
    command += ["--ansible-inventory=hosts.yml", *arguments]
    return subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)


def test_every_fact_has_its_next_step() -> None:
    assert FACTS.keys() == CURES.keys()
    page = (ROOT / "docs/verify.md").read_text()
    assert [fact for fact in FACTS if f"| `{fact}` |" not in page] == []


def test_a_failure_has_its_bot_its_fact_and_its_next_step(tmp_path: Path) -> None:
    done = suite(tmp_path, "-m", "source", "-k", "pool_module", "--junitxml=verify.xml")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "1 failed" in done.stdout
    (case,) = ElementTree.parse(tmp_path / "verify.xml").iter("testcase")
    assert {each.get("name"): each.get("value") for each in case.iter("property")} == {
        "bot": "nobody",
        "fact": "source",
    }
    failure = case.find("failure")
    assert failure is not None
    assert "rollout.yml --limit nobody --check --diff" in str(failure.text)


def test_paths_are_looked_at_as_the_vm_has_them() -> None:
    written = {
        "bot_user": "vinay",
        "bot_home": "~/pub/IR/",
        "bot_script": "~/pub/IR/webex_bots/jarvis.py",
        "bot_log": "~vinay/logs/jarvis.log",
        "bot_python": ".venv/bin/python",
    }
    assert in_full(written, lambda user: f"/home/{user}") == {
        "bot_user": "vinay",
        "bot_home": "/home/vinay/pub/IR",
        "bot_script": "webex_bots/jarvis.py",
        "bot_log": "/home/vinay/logs/jarvis.log",
        "bot_python": "/home/vinay/pub/IR/.venv/bin/python",
    }
