"""What a release is made from: every setting that reaches a bot and every file of the project change the hash."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from plugin_utils.inputs import OF_A_RUN, inputs, project_hash
from plugin_utils.settings import known_settings

OTHER = {"int": 7, "float": 7.5, "bool": True, "list": ["seven"], "dict": {"seven": 7}}
HOST: dict[str, Any] = {"ansible_user": "vinay", "ansible_host": "vm", "groups": {"bots": ["jarvis", "tars"]}}


def of(**changes: Any) -> str:
    return inputs("jarvis", {"jarvis": {**HOST, **changes}, "tars": HOST})


@pytest.mark.parametrize("name", sorted(known_settings()))
def test_each_setting_counts_unless_it_is_of_a_run(name: str) -> None:
    option = known_settings()[name]
    value = OTHER.get(option["type"], "seven")
    if value == option["default"]:
        value = not value
    assert (of(**{name: value}) == of()) == (name in OF_A_RUN)


def test_a_setting_of_a_run_is_a_setting() -> None:
    assert set(known_settings()) >= OF_A_RUN


def test_the_default_said_aloud_is_the_same() -> None:
    assert of(rollout_settle="10", webex_open_files=65536) == of()


def test_the_other_users_of_the_vm_count() -> None:
    """They are in the VM's one file of limits."""
    other = inputs("jarvis", {"jarvis": HOST, "tars": {**HOST, "bot_user": "service"}})
    elsewhere = inputs("jarvis", {"jarvis": HOST, "tars": {**HOST, "bot_user": "service", "ansible_host": "vm2"}})
    assert other != of()
    assert elsewhere == of()


@pytest.mark.parametrize("path", ["roles/bot_service/vars/main.yml", "files/x.py", "module_utils/webex_rollout/a/b.py"])
def test_a_file_that_reaches_a_vm_counts(tmp_path: Path, path: str) -> None:
    before = project_hash(tmp_path)
    file = tmp_path / path
    file.parent.mkdir(parents=True)
    file.write_text("one")
    project_hash.cache_clear()
    one = project_hash(tmp_path)
    file.write_text("two")
    project_hash.cache_clear()
    assert len({before, one, project_hash(tmp_path)}) == 3


def test_what_stays_on_the_controller_does_not(tmp_path: Path) -> None:
    before = project_hash(tmp_path)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/x.md").write_text("one")
    (tmp_path / "roles/x/__pycache__").mkdir(parents=True)
    (tmp_path / "roles/x/__pycache__/x.pyc").write_text("one")
    project_hash.cache_clear()
    assert project_hash(tmp_path) == before
