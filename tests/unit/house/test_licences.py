"""Each file states its licence: MIT for the one that is copied into the bots, GPL for what Ansible loads."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
LOADED_BY_ANSIBLE = ("library", "action_plugins", "callback_plugins", "filter_plugins", "module_utils")
FILES = sorted(path.relative_to(ROOT) for name in LOADED_BY_ANSIBLE for path in (ROOT / name).rglob("*.py"))


def licence_of(path: Path) -> str:
    """What the SPDX line says, which is the first one, or the one after `#!`."""
    first, second, *_ = [*(ROOT / path).read_text().splitlines(), "", ""]
    line = second if first.startswith("#!") else first
    return line.removeprefix("# SPDX-License-Identifier: ") if line.startswith("# SPDX-License-Identifier: ") else ""


@pytest.mark.parametrize("path", FILES, ids=str)
def test_what_ansible_loads_is_gpl(path: Path) -> None:
    assert licence_of(path) == "GPL-3.0-or-later"


def test_pool_module_is_mit() -> None:
    assert licence_of(Path("files/webex_pool_config.py")) == "MIT"


def test_texts_are_there() -> None:
    assert (ROOT / "LICENSE").read_text().split("\n")[0].strip() == "GNU GENERAL PUBLIC LICENSE"
    assert (ROOT / "LICENSES/MIT.txt").read_text().startswith("MIT License")
