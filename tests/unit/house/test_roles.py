"""Roles meet at documented variables only, and each of their files is found by its name."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
import yaml

from plugin_utils.settings import known_settings, refused_settings
from tests.chaos.faults import MOMENTS, WRITES

PROJECT = Path(__file__).resolve().parents[3]
ROLES = sorted(path.name for path in (PROJECT / "roles").iterdir() if path.is_dir())
PRIVATE = re.compile(r"(?<!\w)__[a-z]\w*(?<!__)\b")
TEXTS = (".yml", ".j2")


def texts(*directories: str) -> list[Path]:
    found = [path for directory in directories for path in (PROJECT / directory).rglob("*") if path.suffix in TEXTS]
    return sorted([*found, PROJECT / "rollout.yml"])


def private_names(path: Path) -> set[str]:
    return set(PRIVATE.findall(path.read_text(encoding="utf-8")))


def role_of(path: Path) -> str:
    parts = path.relative_to(PROJECT).parts
    return parts[1] if parts[0] == "roles" else ""


def test_there_are_private_names_to_look_at() -> None:
    assert "__rollout_lock" in private_names(PROJECT / "roles/rollout/tasks/begin.yml")


@pytest.mark.parametrize(
    "path", texts("roles", "playbooks", "inventory"), ids=lambda path: str(path.relative_to(PROJECT))
)
def test_no_role_reads_another_ones_private_variables(path: Path) -> None:
    foreign = {name for name in private_names(path) if not name.startswith(f"__{role_of(path) or '-'}_")}
    assert foreign == set()


# Ansible's own act as root on whatever a path leads to, and stage contents in a home; `webex_files` does neither.
FILE_MODULES = {
    "acl", "assemble", "blockinfile", "copy", "fetch", "file", "find", "get_url", "lineinfile", "replace", "script",
    "shell", "slurp", "stat", "synchronize", "tempfile", "template", "unarchive", "xattr",
}  # fmt: skip


def modules_of(tasks: object) -> set[str]:
    """Every key of every task, block and play in a parsed file, without its collection."""
    if isinstance(tasks, list):
        return set().union(*map(modules_of, tasks)) if tasks else set()
    if not isinstance(tasks, dict):
        return set()
    inner = [tasks[part] for part in ("block", "rescue", "always", "tasks", "pre_tasks", "post_tasks") if part in tasks]
    actions = {str(tasks[part]) for part in ("action", "local_action") if isinstance(tasks.get(part), str)}
    return {str(key).rpartition(".")[2] for key in {*tasks, *actions}} | modules_of(inner)


def test_a_forbidden_module_is_found() -> None:
    play = [{"tasks": [{"block": [{"name": "x", "ansible.builtin.copy": {}}], "rescue": [{"action": "stat"}]}]}]
    assert modules_of(play) & FILE_MODULES == {"copy", "stat"}


@pytest.mark.parametrize(
    "path", [p for p in texts("roles", "playbooks") if p.suffix == ".yml"], ids=lambda p: str(p.relative_to(PROJECT))
)
def test_no_file_is_touched_but_by_the_projects_own_modules(path: Path) -> None:
    if path.parent.name in ("tasks", "handlers", "playbooks") or path.name == "rollout.yml":
        assert modules_of(yaml.safe_load(path.read_text(encoding="utf-8"))) & FILE_MODULES == set()


# What a VM says, as opposed to settings: registered results, what roles hand over, a failure's message.
FOREIGN = re.compile(r"\brollout_bot\b|\b__\w+|\bansible_failed_\w+|\bitem\b")


def messages_of(tasks: object) -> list[str]:
    """The texts that tasks show."""
    if isinstance(tasks, list):
        return [text for task in tasks for text in messages_of(task)]
    if not isinstance(tasks, dict):
        return []
    shown = [
        str(tasks[f"ansible.builtin.{module}"][part])
        for module, parts in {"debug": ("msg",), "fail": ("msg",), "assert": ("fail_msg", "success_msg")}.items()
        for part in parts
        if part in (tasks.get(f"ansible.builtin.{module}") or {})
    ]
    return shown + [text for part in ("block", "rescue", "always") for text in messages_of(tasks.get(part))]


@pytest.mark.parametrize("path", sorted((PROJECT / "roles").glob("*/tasks/*.yml")), ids=lambda p: str(p)[-40:])
def test_what_a_vm_says_reaches_the_terminal_escaped(path: Path) -> None:
    bare = [
        expression
        for text in messages_of(yaml.safe_load(path.read_text(encoding="utf-8")))
        for expression in re.findall(r"\{\{(.*?)\}\}", text, re.DOTALL)
        if FOREIGN.search(expression) and "webex_shown" not in expression
    ]
    assert bare == []


def test_task_files_have_names_of_their_own() -> None:
    names = Counter(path.name for path in (PROJECT / "roles").glob("*/tasks/*.yml") if path.name != "main.yml")
    assert [name for name, times in names.items() if times > 1] == []


def test_task_files_are_short() -> None:
    lengths = {path: len(path.read_text().splitlines()) for path in (PROJECT / "roles").glob("*/tasks/*.yml")}
    assert {path: lines for path, lines in lengths.items() if lines > 60} == {}


def handed_over() -> set[str]:
    readme = (PROJECT / "roles" / "rollout" / "README.md").read_text(encoding="utf-8")
    return set(re.findall(r"^\| `(\w+)` \| \w+", readme.split("## `rollout_bot`")[1], re.MULTILINE))


def test_what_roles_hand_over_is_what_the_readme_lists() -> None:
    used: set[str] = set()
    for path in texts("roles", "playbooks"):
        text = path.read_text(encoding="utf-8")
        used |= set(re.findall(r"rollout_bot\.(\w+)", text))
        for combined in re.findall(r"combine\(\{(.*?)\}\)", text, re.DOTALL):
            used |= set(re.findall(r"'(\w+)': ", combined))
    assert used == handed_over()


@pytest.mark.parametrize("role", ROLES)
def test_task_names_are_unique_within_a_role(role: str) -> None:
    """Chaos and tests find a moment of a run by its task's name."""
    names: Counter[str] = Counter()

    def count(tasks: list[dict[str, object]]) -> None:
        for task in tasks:
            if not any(str(key).endswith(("import_tasks", "include_tasks", "import_role")) for key in task):
                names[str(task["name"])] += 1
            for part in ("block", "rescue"):
                count(task.get(part) or [])  # type: ignore[arg-type]

    for path in (PROJECT / "roles" / role / "tasks").glob("*.yml"):
        count(yaml.safe_load(path.read_text(encoding="utf-8")))
    assert {name for name, times in names.items() if times > 1} - {"Acquire the VM's lock"} == set()


def test_chaos_names_moments_that_there_are() -> None:
    there = {name for path in texts("roles", "playbooks") for name in re.findall(r"- name: (.+)", path.read_text())}
    assert {*MOMENTS.values(), *(task for _, task in WRITES)} - there == set()


def test_what_roles_register_is_not_refused_as_a_setting_by_the_runs_next_play() -> None:
    registered = {name for path in texts("roles") for name in re.findall(r"register: (\w+)", path.read_text())}
    assert "bot_service_result" in registered
    assert refused_settings({"jarvis": dict.fromkeys(registered, 1)}, known_settings()) == []
