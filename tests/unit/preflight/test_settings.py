"""The project's vocabulary: one home a name, everything documented, nothing unknown let through."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from plugin_utils.settings import PREFIXES, known_settings, settings_table, unknown_settings, with_table

PROJECT = Path(__file__).resolve().parents[3]
ROLES = sorted(path.name for path in (PROJECT / "roles").iterdir())


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text()) if path.exists() else None


@pytest.mark.parametrize("role", ROLES)
def test_defaults_and_argument_specs_have_the_same_names_and_values(role: str) -> None:
    defaults = load(PROJECT / "roles" / role / "defaults" / "main.yml") or {}
    specs = load(PROJECT / "roles" / role / "meta" / "argument_specs.yml") or {"argument_specs": {}}
    options = {name: option for entry in specs["argument_specs"].values() for name, option in entry["options"].items()}
    assert set(defaults) == set(options)
    assert {name: option["default"] for name, option in options.items()} == defaults


def test_each_setting_has_one_home_and_a_public_name() -> None:
    homes: dict[str, list[str]] = {}
    for role in ROLES:
        for name in load(PROJECT / "roles" / role / "defaults" / "main.yml") or {}:
            homes.setdefault(name, []).append(role)
    assert {name: roles for name, roles in homes.items() if len(roles) > 1} == {}
    assert [name for name in homes if not name.startswith(PREFIXES)] == []


@pytest.mark.parametrize("inventory", ["production", "lab"])
def test_committed_inventories_use_known_settings_only(inventory: str) -> None:
    names = load(PROJECT / "inventory" / inventory / "group_vars" / "bots.yml")
    assert unknown_settings({"bots": names}, known_settings(PROJECT / "roles")) == []


def test_readme_has_the_table_as_generated() -> None:
    readme = (PROJECT / "README.md").read_text()
    assert with_table(readme, settings_table(known_settings(PROJECT / "roles"))) == readme, "run `make settings`"


def test_an_unknown_name_is_refused_with_the_nearest_known_one() -> None:
    known = ["webex_pool_maxsize", "rollout_hold"]
    (sentence,) = unknown_settings({"jarvis": ["webex_pool_max_size", "ansible_host"], "tars": []}, known)
    assert sentence == (
        "webex_pool_max_size (set for jarvis) is no setting of this project; did you mean webex_pool_maxsize?"
    )


def test_a_name_like_no_other_points_to_the_readme() -> None:
    (sentence,) = unknown_settings({"jarvis": ["webex_zzzzzzzzzzzz"]}, ["rollout_hold"])
    assert sentence.endswith("README.md lists the settings")


def test_private_and_foreign_names_pass() -> None:
    assert (
        unknown_settings({"jarvis": ["__bot_unit", "ansible_user", "proxy_env", "rollout_hold"]}, ["rollout_hold"])
        == []
    )
