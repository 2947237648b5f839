"""The verify suite as others use it: from elsewhere, by fact, with JUnit's file and a next step for each failure."""

from __future__ import annotations

import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from tests.verify import sockets
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


def test_a_bot_that_is_not_rolled_out_fails_for_its_unit_and_is_left_alone_besides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next step for its one and right process was to end it."""
    (tmp_path / "sudo").write_text('#!/bin/sh\nexec "$@"\n')
    (tmp_path / "sudo").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    done = suite(tmp_path, "-k", "not stays_up", "-rs")
    assert "nobody is not rolled out: rollout.yml --limit nobody" in done.stdout
    assert CURES["process"].format(bot="nobody") not in done.stdout
    assert re.search(r"\b1 (failed|error)\b", done.stdout.splitlines()[-1]), done.stdout  # there may be no systemd here


class Sockets:
    """A VM whose ss shows one look after the other, and the last one for good."""

    def __init__(self, *looks: list[int]) -> None:
        self.looks = list(looks)

    def check_output(self, command: str) -> str:
        look = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
        pooled = ["0 0 10.0.0.1:1 10.0.0.2:443 users:((python,pid=7,fd=3)) timer:(keepalive,1sec,0)"]
        return "\n".join(pooled + [f"0 0 10.0.0.1:{port} 10.0.0.2:443 users:((python,pid=7,fd=4))" for port in look])


def test_a_connection_for_one_request_is_no_pools(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "ONE_REQUEST", 0.5)
    for looks in (([50],), ([50, 51], [50]), ([50, 51], [50, 52])):
        assert [line.split()[2] for line in sockets.bare_sockets(Sockets(*looks), 7)] == ["10.0.0.1:50"]
    assert len(sockets.bare_sockets(Sockets([50, 51]), 7)) == 2, "both last"


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
