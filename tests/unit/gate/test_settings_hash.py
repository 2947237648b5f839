"""What a canary's soak stands for: whatever changes what a bot runs changes the hash, and nothing else does."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from plugin_utils.gate.settings_hash import FILES, SETTINGS, settings_hash
from plugin_utils.settings import PROJECT, known_settings

INVENTORY: dict[str, Any] = {
    "ansible_user": "vinay",
    "bot_home": "/home/vinay/pub/IR",
    "webex_pool_options": {"max_idle": 3},
}

OTHER: dict[str, Any] = {
    "bot_arguments": ["--space", "emea"],
    "bot_command": ["run.py", "jarvis"],
    "bot_output": "journal",
    "bot_data": ["data"],
    "bot_environment_drop": ["DEBUG"],
    "bot_environment_keep": ["LANG"],
    "bot_hardening": "strict",
    "bot_python": "/usr/bin/python3",
    "rollout_stop_timeout": 60,
    "webex_max_retries": 5,
    "webex_open_files": 1024,
    "webex_patch_scope": "imports",
    "webex_patch_search_paths": ["", "lib"],
    "webex_pool_connections": 10,
    "webex_pool_maxsize": 60,
    "webex_pool_module": "utils.pool",
    "webex_pool_options": {"max_idle": 4},
    "webex_request_timeout": 90,
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the files that a soak stands for."""
    for pattern in FILES:
        for path in PROJECT.glob(pattern):
            copy = tmp_path / path.relative_to(PROJECT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, copy)
    return tmp_path


def test_each_setting_has_an_example_here() -> None:
    assert set(OTHER) == set(SETTINGS)


@pytest.mark.parametrize("name", SETTINGS)
def test_another_value_is_another_hash(name: str) -> None:
    assert settings_hash("jarvis", {**INVENTORY, name: OTHER[name]}) != settings_hash("jarvis", INVENTORY)


@pytest.mark.parametrize("name", [name for name in SETTINGS if "{{" not in str(known_settings()[name]["default"])])
def test_the_default_said_aloud_is_the_same_hash(name: str) -> None:
    bare = {"bot_home": "/srv"}
    assert settings_hash("jarvis", {**bare, name: known_settings()[name]["default"]}) == settings_hash("jarvis", bare)


def test_a_number_given_as_text_is_the_same_hash() -> None:
    """As `-e webex_pool_maxsize=60` gives it."""
    text, number = ({**INVENTORY, "webex_pool_maxsize": value} for value in ("60", 60))
    assert settings_hash("jarvis", text) == settings_hash("jarvis", number)


@pytest.mark.parametrize("name", ["rollout_wait", "rollout_soak_min", "rollout_verdict", "bot_log", "ansible_port"])
def test_how_a_bot_is_watched_or_reached_is_no_part(name: str) -> None:
    assert settings_hash("jarvis", {**INVENTORY, name: "other"}) == settings_hash("jarvis", INVENTORY)


@pytest.mark.parametrize(
    "path",
    [
        "files/webex_pool_config.py",
        "plugin_utils/client_patch/patching.py",
        "roles/bot_service/templates/bot.conf.j2",
        "roles/bot_service/templates/webex-bot@.service.j2",
        "roles/client_patch/templates/api_client.j2",
        "roles/client_patch/templates/bot_client.j2",
        "roles/client_patch/templates/import.j2",
    ],
)
def test_an_edited_file_of_the_project_is_another_hash(project: Path, path: str) -> None:
    before = settings_hash("jarvis", INVENTORY, project)
    assert before == settings_hash("jarvis", INVENTORY)
    with (project / path).open("a") as file:
        file.write("# edited\n")
    assert settings_hash("jarvis", INVENTORY, project) != before


def test_a_further_file_of_the_patch_engine_is_another_hash(project: Path) -> None:
    before = settings_hash("jarvis", INVENTORY, project)
    (project / "plugin_utils/client_patch/zz_new.py").write_text("")
    assert settings_hash("jarvis", INVENTORY, project) != before


def test_a_file_that_moved_is_no_silent_omission(project: Path) -> None:
    (project / "files/webex_pool_config.py").unlink()
    with pytest.raises(FileNotFoundError, match="webex_pool_config"):
        settings_hash("jarvis", INVENTORY, project)
