"""The action and the module of the client patch: one run of each kind on real files, and what of them is shown."""

from __future__ import annotations

import base64
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from ansible.module_utils.client_patch_options import OPTIONS, REQUESTS
from ansible.module_utils.testing import patch_module_args

from action_plugins.client_patch import _diff

from .case_files import TEMPLATES

if TYPE_CHECKING:
    from types import ModuleType

PROJECT = Path(__file__).resolve().parents[3]
LAB = PROJECT / "tests" / "lab" / "checkout"
JARVIS = "webex_bots/jarvis.py"
CLIENT = 'from webexteamssdk import WebexTeamsAPI\napi = WebexTeamsAPI(access_token="hunter2")\n'
GIVEN = {"templates": vars(TEMPLATES), "script": "bot.py"}


def module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("library_client_patch", PROJECT / "library" / "client_patch.py")
    assert spec is not None and spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


# -- what is documented


def compare(spec: dict[str, Any], documented: dict[str, Any], where: str = "") -> None:
    assert set(spec) == set(documented), where
    for name, option in spec.items():
        for part in ("type", "default", "choices", "elements"):
            assert option.get(part) == documented[name].get(part), (where + name, part)
        assert option.get("required", False) == documented[name].get("required", False), where + name
        compare(option.get("options", {}), documented[name].get("suboptions", {}), f"{where}{name}.")


def test_documentation_has_every_option_of_action_and_module() -> None:
    loaded = module()
    compare({**OPTIONS, **REQUESTS}, yaml.safe_load(loaded.DOCUMENTATION)["options"])
    assert not set(OPTIONS) & set(REQUESTS)
    assert yaml.safe_load(loaded.RETURN)
    for task in yaml.safe_load(loaded.EXAMPLES):
        assert set(task["client_patch"]) <= set(OPTIONS)


# -- the module


class Run:
    """Runs the module as Ansible would and returns its result."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys

    def __call__(self, home: Path, **arguments: Any) -> dict[str, Any]:
        self.capsys.readouterr()
        with patch_module_args({**GIVEN, "home": str(home), **arguments}), pytest.raises(SystemExit):
            module().main()
        result: dict[str, Any] = json.loads(self.capsys.readouterr().out)
        return result


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    return Run(capsys)


def encoded(source: str) -> str:
    return base64.b64encode(source.encode()).decode()


def test_module_reads_what_exists(run: Run, tmp_path: Path) -> None:
    (tmp_path / "bot.py").write_text(CLIENT)
    (tmp_path / "package").mkdir()
    result = run(tmp_path, read=["bot.py", "package", "missing.py"])
    assert (result["changed"], result["errors"]) == (False, {})
    assert result["contents"] == {"bot.py": encoded(CLIENT)}


def test_module_compiles_and_reports_the_line(run: Run, tmp_path: Path) -> None:
    result = run(
        tmp_path, python=sys.executable, compile={"good.py": encoded("x = 1\n"), "bad.py": encoded("x = 1\n(")}
    )
    assert list(result["errors"]) == ["bad.py"]
    assert 'File "bad.py", line 2: SyntaxError' in result["errors"]["bad.py"]
    assert not list(tmp_path.iterdir())


def test_module_needs_a_python_that_runs(run: Run, tmp_path: Path) -> None:
    sources = {"bot.py": encoded(CLIENT)}
    assert run(tmp_path, compile=sources)["msg"] == "compile needs python, the interpreter to compile with"
    missing = run(tmp_path, compile=sources, python=str(tmp_path / "python"))
    assert missing["failed"]
    assert f"cannot run {tmp_path}/python: No such file" in missing["msg"]


@pytest.mark.parametrize(("euid", "user"), [(0, "vinay"), (1000, "")])
def test_root_compiles_as_the_bots_user(euid: int, user: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bot's Python belongs to the bot's user, who could have root run anything."""
    loaded = module()
    asked: list[tuple[str, ...]] = []
    monkeypatch.setattr(loaded, "compile_problem", lambda *given: asked.append(given) or "")
    monkeypatch.setattr(os, "geteuid", lambda: euid)
    arguments = {**GIVEN, "home": "/nowhere", "user": "vinay", "python": "/p", "compile": {"bot.py": encoded("x")}}
    with patch_module_args(arguments), pytest.raises(SystemExit):
        loaded.main()
    assert asked == [("/p", "bot.py", b"x", user)]


def test_module_never_shows_a_source(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Arguments go to the VM's journal and, with -vvv, to the terminal."""
    logged: list[str] = []
    monkeypatch.setattr("ansible.module_utils.basic.AnsibleModule.log", lambda _, message, **__: logged.append(message))
    result = run(tmp_path, python=sys.executable, compile={"bot.py": encoded(CLIENT)})
    assert result["invocation"]["module_args"]["home"] == str(tmp_path)
    assert logged and str(tmp_path) in logged[0]
    assert encoded(CLIENT) not in json.dumps(result) + logged[0]


# -- the action, as Ansible runs it


def ansible(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).with_name(program), *arguments, "--diff"],
        cwd=PROJECT,
        env={**os.environ, "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def patch_alone(home: Path, *more: str, **arguments: Any) -> str:
    """Run the action on this host and return what the terminal shows."""
    given = {**GIVEN, "home": str(home), "script": JARVIS, "python": sys.executable, **arguments}
    done = ansible("ansible", "localhost", "-m", "client_patch", "-a", json.dumps(given), *more)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def patch_checkout(home: Path, python: Path | str = sys.executable) -> subprocess.CompletedProcess[str]:
    settings = json.dumps({"bot_home": str(home), "bot_python": str(python)})
    return ansible("ansible-playbook", "playbooks/patch.yml", "-e", settings)


def checkout_with(home: Path, source: str) -> Path:
    (home / "webex_bots").mkdir(parents=True)
    script = home / JARVIS
    script.write_text(source)
    return script


def test_action_patches_and_unpatches(tmp_path: Path) -> None:
    script, original = (checkout_with(tmp_path / name, CLIENT) for name in ("now", "before"))
    script.chmod(0o750)
    shown = patch_alone(tmp_path / "now", "--check")
    assert re.search(r"^\+api = configure_webex_api_session\($", shown, re.MULTILINE)
    assert "CHANGED" in shown and "hunter2" not in shown
    assert script.read_text() == CLIENT
    patch_alone(tmp_path / "now")
    assert script.read_text().count("configure_webex_api_session(") == 1
    assert script.stat().st_mode & 0o777 == 0o750
    assert "SUCCESS" in patch_alone(tmp_path / "now")
    assert "CHANGED" in patch_alone(tmp_path / "now", state="absent", original=str(tmp_path / "before"))
    assert script.read_text() == original.read_text() == CLIENT


def test_playbook_patches_a_local_checkout(tmp_path: Path) -> None:
    before = (LAB / JARVIS).read_text()
    script = checkout_with(tmp_path, before)
    shutil.copytree(LAB / "src", tmp_path / "src")
    done = patch_checkout(tmp_path)
    assert done.returncode == 0, done.stdout
    assert script.read_text().count("configure_webex_api_session(") == before.count("WebexTeamsAPI(") > 0
    assert (tmp_path / "src/utils/webex_pool_config.py").is_file()


def test_nothing_is_written_that_the_bots_python_does_not_compile(tmp_path: Path) -> None:
    python = tmp_path / "python"
    # It says where imports lead, and compiles nothing.
    python.write_text(
        f"#!/bin/sh\ncase \"$*\" in *compile*stdin*) echo 'SyntaxError: too new for me' >&2; exit 1;; esac\n"
        f'exec {sys.executable} "$@"\n'
    )
    python.chmod(0o755)
    script = checkout_with(tmp_path, CLIENT)
    done = patch_checkout(tmp_path, python)
    assert done.returncode != 0
    shown = " ".join(done.stdout.split())
    assert f"{python} does not compile the patched source: {JARVIS}: SyntaxError: too new for me." in shown
    assert "Nothing was written." in shown
    assert script.read_text() == CLIENT


# -- what the terminal shows

SECRETS = {
    "a keyword's value": 'api = WebexTeamsAPI(access_token="hunter2")',
    "a client's first argument": "bot = WebexBot('hunter2')",
    "a value in triple quotes": 'password = """hunter2\n"""',
    "an annotated name": 'token: str = "hunter2"',
    "a variable of the environment": 'os.environ["WEBEX_TOKEN"] = "hunter2"',
    "a value in parentheses": 'TOKEN = (\n    "hunter2"\n)',
    "a short Bearer value": 'headers = {"Authorization": "Bearer hunter2"}',
    "a Bearer value of one letter": "value = 'Bearer §'",
    "a password among arguments": "connect(user='a', password = 'hunter2')",
    "a password in an address": 'DATABASE = "postgres://a:hunter2@h/x"',
    "a quoted key in base64": 'key("kZ3hunter2RkPq7vNwYtB5cLx9Ga/+mJ0sQdUe4XoI8rF1Vy6Tz=")',
    "a quoted key with dots": 'key("kZ3hunter2RkPq7vNwYtB5cLx9.GamJ0sQdUe4XoI8rF1Vy6Tz")',
}


@pytest.mark.parametrize("source", SECRETS.values(), ids=SECRETS)
def test_a_secret_in_the_source_does_not_reach_the_diff(source: str) -> None:
    shown = _diff("bot.py", f"{source}\n".encode(), f"{source}\nx = 1\n".encode())
    for part in ("before", "after"):
        assert "hunter2" not in shown[part] and "§" not in shown[part]
        assert "********" in shown[part]


def test_a_diff_without_secrets_is_shown_whole() -> None:
    before = (
        "from webexteamssdk import WebexTeamsAPI\n"
        "api = WebexTeamsAPI(access_token=CONFIG.webex_bot_access_token_jarvis)\n"
        'token = os.environ["WEBEX_TOKEN"]\n'
        'LOG = "/home/vinay/pub/IR/logs/jarvis-of-the-incident-response.log"\n'
        'headers = {"Authorization": f"Bearer {token}"}\n'
        'if token:\n    name = "jarvis"\n'
    )
    shown = _diff("bot.py", before.encode(), before.encode())
    assert shown["before"] == shown["after"] == before
