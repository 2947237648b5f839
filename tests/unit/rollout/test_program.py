"""Installing the VM's program: only where it differs, tried first, in one step, never over a newer one's state."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ansible.module_utils.webex_rollout import __version__
from ansible.module_utils.webex_rollout.disk import STATE_VERSION, seal
from ansible.module_utils.webex_rollout.errors import RolloutError

from plugin_utils.program import build
from tests.unit.rollout.test_modules import load

webex_program = load("webex_program")
PROGRAM = build()
DIGEST = hashlib.sha256(PROGRAM).hexdigest()


def test_program_runs_once_installed_and_is_then_known(tmp_path: Path) -> None:
    path = tmp_path / "webex-rollout"
    assert not webex_program.is_installed(path, DIGEST)
    umask = os.umask(0o077)
    try:
        webex_program.install(path, DIGEST, PROGRAM)
    finally:
        os.umask(umask)
    assert webex_program.is_installed(path, DIGEST)
    shown = subprocess.run([str(path), "--version"], capture_output=True, text=True, check=True).stdout
    assert shown == f"webex-rollout {__version__}\n"
    assert path.read_bytes().startswith(f"#!{sys.executable} -IS\n".encode())
    assert [each.name for each in tmp_path.iterdir()] == ["webex-rollout"]


@pytest.mark.parametrize("change", ["content", "mode", "first line"])
def test_program_that_differs_is_not_the_one_wanted(tmp_path: Path, change: str) -> None:
    path = tmp_path / "webex-rollout"
    webex_program.install(path, DIGEST, PROGRAM)
    if change == "content":
        path.write_bytes(path.read_bytes() + b" ")
    elif change == "mode":
        path.chmod(0o775)
    else:
        path.write_bytes(b"#!/usr/bin/python3.99 -IS\n" + PROGRAM)
    assert not webex_program.is_installed(path, DIGEST)


def test_program_that_does_not_run_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "webex-rollout"
    path.write_text("the old one")
    broken = b"raise SystemExit('no such thing')"
    with pytest.raises(RolloutError, match=r"does not run .*: no such thing\. Nothing was installed"):
        webex_program.install(path, hashlib.sha256(broken).hexdigest(), broken)
    with pytest.raises(RolloutError, match="arrived damaged; nothing was installed"):
        webex_program.install(path, DIGEST, PROGRAM[:-1])
    assert path.read_text() == "the old one"
    assert [each.name for each in tmp_path.iterdir()] == ["webex-rollout"]


def test_older_program_is_not_installed_over_newer_state(tmp_path: Path) -> None:
    (tmp_path / "jarvis").mkdir()
    state = tmp_path / "jarvis/state.json"
    state.write_bytes(seal({}))
    webex_program.refuse_newer_state(tmp_path)
    state.write_bytes(seal({}).replace(b'"version": %d' % STATE_VERSION, b'"version": %d' % (STATE_VERSION + 1)))
    with pytest.raises(
        RolloutError, match=rf"jarvis/state\.json was written by a newer program \(format {STATE_VERSION + 1}"
    ):
        webex_program.refuse_newer_state(tmp_path)
