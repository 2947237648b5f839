"""The project's vocabulary: one home a name, everything documented, nothing unknown let through."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from plugin_utils.settings import (
    PREFIXES,
    RENAMED,
    RENAMED_VALUES,
    known_settings,
    refused_settings,
    settings_tables,
    value_of,
    with_table,
)

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
    variables = load(PROJECT / "inventory" / inventory / "group_vars" / "bots.yml")
    assert refused_settings({"bots": variables}, known_settings()) == []


def test_readme_has_the_table_as_generated() -> None:
    readme = (PROJECT / "README.md").read_text()
    assert with_table(readme, settings_tables(known_settings())) == readme, "run `make settings`"


def test_an_unknown_name_is_refused_with_the_nearest_known_one() -> None:
    known = ["webex_pool_maxsize", "rollout_settle"]
    variables: dict[str, dict[str, Any]] = {"jarvis": {"webex_pool_max_size": 1, "ansible_host": "vm"}, "tars": {}}
    assert refused_settings(variables, known) == [
        "webex_pool_max_size (set for jarvis) is no setting of this project; did you mean webex_pool_maxsize?"
    ]


def test_a_name_like_no_other_points_to_the_readme() -> None:
    (sentence,) = refused_settings({"jarvis": {"webex_zzzzzzzzzzzz": 1}}, ["rollout_settle"])
    assert sentence.endswith("README.md lists the settings")


def test_private_and_foreign_names_and_what_roles_hand_over_pass() -> None:
    variables = dict.fromkeys(["__rollout_lock", "ansible_user", "proxy_env", "rollout_settle", "rollout_bot"], 1)
    assert refused_settings({"jarvis": variables}, ["rollout_settle"]) == []


def test_a_renamed_setting_is_refused_with_its_new_name() -> None:
    variables = {"jarvis": {"rollout_hold": 3}, "tars": {"rollout_hold": 4}}
    assert refused_settings(variables, known_settings()) == [
        "rollout_hold (set for jarvis, tars) is now called rollout_settle"
    ]


def test_a_renamed_value_is_refused_with_its_new_name() -> None:
    variables = {"jarvis": {"rollout_verdict": "hold"}, "tars": {"rollout_verdict": "promote"}}
    assert refused_settings(variables, known_settings()) == [
        "rollout_verdict: hold (set for jarvis) is now called pause"
    ]


def test_renamed_names_lead_to_settings_and_values_that_exist() -> None:
    known = known_settings()
    assert set(RENAMED.values()) <= set(known)
    assert set(RENAMED) & set(known) == set()
    for name, values in RENAMED_VALUES.items():
        assert set(values.values()) <= set(known[name]["choices"])
        assert set(values) & set(known[name]["choices"]) == set()


@pytest.mark.parametrize(
    ("name", "variables", "expected"),
    [
        ("webex_pool_maxsize", {}, 50),
        ("webex_pool_maxsize", {"webex_pool_maxsize": 60}, 60),
        ("bot_log", {}, "logs/jarvis.log"),
        ("bot_user", {"ansible_user": "vinay"}, "vinay"),
        ("bot_python", {}, "/home/vinay/pub/IR/.venv/bin/python"),
        ("bot_python", {"bot_home": "/srv"}, "/srv/.venv/bin/python"),
    ],
)
def test_a_bots_value_is_what_is_set_or_the_default(name: str, variables: dict[str, Any], expected: Any) -> None:
    assert value_of(name, "jarvis", variables) == expected


def test_a_default_that_needs_what_is_not_set_is_an_error() -> None:
    with pytest.raises(KeyError, match="ansible_user"):
        value_of("bot_user", "jarvis", {})
