"""Sources read ahead, and a patch that preflight has worked out: fewer questions, and never another result."""

from __future__ import annotations

import base64
import getpass
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from ansible.module_utils.webex_rollout.ahead import AROUND, PATHS_LIMIT, read_ahead
from ansible.module_utils.webex_rollout.questions import bots

from action_plugins import bot_info
from plugin_utils import foreseen
from plugin_utils.client_patch import Settings
from plugin_utils.client_patch.checkout import Checkout
from plugin_utils.client_patch.surroundings import Started
from plugin_utils.foreseen import SourcesAhead

from .case_files import TEMPLATES
from .test_action import LAB, ansible

CLIENT = 'from webexteamssdk import WebexTeamsAPI\napi = WebexTeamsAPI(access_token="hunter2")\n'
LAYOUTS = {
    "bot.py": f"from . import nothing\nimport helpers, lib.deep.er as deep\n{CLIENT}",
    "helpers.py": "from lib import (\n    one,\n    two,\n)\n",
    "lib/__init__.py": "from .deep import er\n",
    "lib/one.py": "",
    "lib/deep/__init__.py": "",
    "lib/deep/er.py": "from ..one import x\nfrom ...helpers import y\n",
    "src/__init__.py": "",
}


def write(home: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(text)
    return home


@pytest.mark.parametrize("home", ["the lab's", "another"])
def test_all_that_the_patch_asks_for_was_read_ahead(tmp_path: Path, home: str) -> None:
    checkout, script = (LAB, "webex_bots/jarvis.py") if home == "the lab's" else (write(tmp_path, LAYOUTS), "bot.py")
    found, tried = read_ahead(str(checkout), script, [])
    asked: list[str] = []

    def read(paths: Sequence[str]) -> dict[str, bytes]:
        asked.extend(paths)
        return {path: (checkout / path).read_bytes() for path in paths if (checkout / path).is_file()}

    Checkout(read, script, Settings(TEMPLATES, 120), started=Started(home=str(checkout))).patch()
    assert len(asked) > 10 and set(asked) <= set(tried)
    assert read(tried) == found


def test_what_cannot_be_parsed_leads_nowhere_and_what_leads_out_is_not_read(tmp_path: Path) -> None:
    write(tmp_path, {"secret.py": "token = 1\n", "home/bot.py": "import leads_out\nimport broken\n"})
    write(tmp_path, {"home/broken.py": "import other\nprint 'x'\n", "home/other.py": ""})
    (tmp_path / "home/leads_out.py").symlink_to("../secret.py")
    found, tried = read_ahead(str(tmp_path / "home"), "bot.py", [])
    assert set(found) == {"bot.py", "broken.py"} and "other.py" not in tried
    assert "leads_out.py" in tried


def test_a_program_that_imports_everything_has_its_bound(tmp_path: Path) -> None:
    lines = "".join(f"import m{number}\n" for number in range(PATHS_LIMIT))
    write(tmp_path, {"bot.py": lines, "m1.py": ""})
    found, tried = read_ahead(str(tmp_path), "bot.py", [])
    assert (set(found), len(tried)) == ({"bot.py"}, 1 + len(AROUND))


# -- what the look at the VM has read ----------------------------------------------------------------------------------


def test_what_was_read_is_taken_once_and_for_what_was_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreseen.constants, "DEFAULT_LOCAL_TMP", str(tmp_path))
    answer = {"tried": ["bot.py"], "contents": {"bot.py": "eA=="}}
    SourcesAhead("jarvis", "/home", "./bot.py", ["lib"]).put(answer)
    for other in (
        ("tars", "/home", "bot.py", ["lib"]),
        ("jarvis", "/home", "bot.py", []),
        ("jarvis", "/", "bot.py", []),
    ):
        assert SourcesAhead(*other).take() is None
    assert SourcesAhead("jarvis", "/home", "bot.py", ["lib"]).take() == answer
    assert SourcesAhead("jarvis", "/home", "bot.py", ["lib"]).take() is None
    assert list(tmp_path.iterdir()) == []


def test_a_bot_that_is_to_be_patched_has_its_sources_read_by_the_look_at_its_vm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are his, and never in what the task returns."""
    home = write(tmp_path / "home", {"bot.py": f"import helper\n{CLIENT}", "lib/helper.py": ""})
    facts = {
        "bot": {"home": str(home), "script": "bot.py", "user": getpass.getuser()},
        "plan": {"python_path": ["/srv"]},
    }
    sources = bots._sources(facts, ["lib"])
    assert sources is not None
    assert {path: base64.b64decode(data).decode() for path, data in sources["contents"].items()} == {
        "bot.py": f"import helper\n{CLIENT}",
        "lib/helper.py": "",
    }
    assert sources["directories"] == ["lib"]
    assert "src/utils/__init__.py" in sources["tried"]
    (home / "bot.py").unlink()
    (home / "bot.py").mkdir()
    assert bots._sources(facts, ["lib"]) is None
    monkeypatch.setattr(foreseen.constants, "DEFAULT_LOCAL_TMP", str(tmp_path))
    monkeypatch.setattr(
        bot_info, "ask", lambda *_, **__: {"python": "3.11.2", "bots": {"jarvis": {"sources": sources}}}
    )
    monkeypatch.setattr(bot_info.ActionBase, "run", lambda *_: {})
    plugin = bot_info.ActionModule.__new__(bot_info.ActionModule)
    plugin._task, plugin._play_context = SimpleNamespace(args={}), SimpleNamespace(no_log=False)
    assert plugin.run()["bots"] == {"jarvis": {}}
    kept = SourcesAhead("jarvis", str(home), "bot.py", ["lib"]).take()
    assert kept is not None and "bot.py" in kept["contents"]


# -- preflight's patch, taken over by the stage -----------------------------------------------------------------------


def in_one_run(home: Path, between: str) -> int:
    """The patch in check mode and then in earnest, something done in between; returns the second one's module runs."""
    given = {"templates": vars(TEMPLATES), "script": "bot.py", "home": str(home), "python": "/usr/bin/python3"}
    runs, python, play = (home.parent / name for name in ("runs", "python", "play.yml"))
    python.write_text(f'#!/bin/sh\necho >> {runs}\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    tasks = [
        {"name": "Foresee", "client_patch": given, "check_mode": True},
        {"name": "Do", "ansible.builtin.command": {"argv": ["sh", "-c", f"{between}; rm {runs}"]}},
        {"name": "Write", "client_patch": given},
    ]
    play.write_text(yaml.safe_dump([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]))
    done = ansible("ansible-playbook", str(play), "-e", f"ansible_python_interpreter={python}")
    assert done.returncode == 0, done.stdout
    return len(runs.read_text().splitlines())


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    return write(tmp_path / "home", {"bot.py": f"import helper\n{CLIENT}", "helper.py": ""})


@pytest.mark.parametrize(
    ("between", "asked"),
    [
        ("true", 1),
        # The pool module is what the stage itself puts there.
        ("mkdir -p {home}/src/utils && cp files/webex_pool_config.py {home}/src/utils/", 1),
        ("echo 'x = 1' >> {home}/bot.py", 3),
        ("echo 'x = 1' >> {home}/helper.py", 3),
        ("rm {home}/helper.py", 3),
        ("mkdir {home}/src && touch {home}/src/__init__.py", 3),
    ],
)
def test_the_stage_takes_over_what_preflight_worked_out_unless_something_changed(
    home: Path, between: str, asked: int
) -> None:
    assert in_one_run(home, between.format(home=home)) == asked
    source = (home / "bot.py").read_text()
    assert "api = configure_webex_api_session(" in source
    assert ("x = 1" in source) == ("bot.py" in between)


def test_a_bot_that_is_edited_between_preflight_and_stage_keeps_the_edit(home: Path) -> None:
    """Written from what preflight read, the edit would be gone."""
    other = 'api = WebexTeamsAPI(access_token="hunter2", proxies={})'
    in_one_run(home, f"sed -i 's/^api = .*/{other}/' {home}/bot.py")
    assert "proxies={}" in (home / "bot.py").read_text()
