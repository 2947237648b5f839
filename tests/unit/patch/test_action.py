"""The action and the module of the client patch: one run of each kind on real files, and what of them is shown."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from ansible.module_utils.client_patch_options import OPTIONS, REQUESTS
from ansible.module_utils.testing import patch_module_args

from action_plugins.client_patch import _diff, _programs
from plugin_utils.unseen import unseen

from .case_files import TEMPLATES

if TYPE_CHECKING:
    from types import ModuleType

    from tests.unit.people import People

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

    def __call__(self, home: Path, check: bool = False, **arguments: Any) -> dict[str, Any]:
        self.capsys.readouterr()
        given = {**GIVEN, "home": str(home), "_ansible_check_mode": check, **arguments}
        with patch_module_args(given), pytest.raises(SystemExit):
            module().main()
        result: dict[str, Any] = json.loads(self.capsys.readouterr().out)
        return result


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    return Run(capsys)


def encoded(source: str) -> str:
    return base64.b64encode(source.encode()).decode()


def sha256(source: str) -> str:
    return hashlib.sha256(source.encode()).hexdigest()


def test_module_reads_what_exists(run: Run, tmp_path: Path) -> None:
    (tmp_path / "bot.py").write_text(CLIENT)
    (tmp_path / "package").mkdir()
    result = run(tmp_path, read=["bot.py", "package", "missing.py", "bot.py/x.py"])
    assert (result["changed"], result["errors"]) == (False, {})
    assert result["contents"] == {"bot.py": encoded(CLIENT)}


def test_module_writes_only_what_compiles_all_of_it(run: Run, tmp_path: Path) -> None:
    for name in ("good.py", "bad.py"):
        (tmp_path / name).write_text("")
    given: dict[str, Any] = {
        "python": sys.executable,
        "write": {"good.py": encoded("x = 1\n"), "bad.py": encoded("x = 1\n(")},
        "expected": dict.fromkeys(("good.py", "bad.py"), sha256("")),
    }
    result = run(tmp_path, **given)
    assert list(result["errors"]) == ["bad.py"]
    assert 'File "bad.py", line 2: SyntaxError' in result["errors"]["bad.py"]
    assert [path.read_text() for path in tmp_path.iterdir()] == ["", ""]
    given["write"]["bad.py"] = encoded("y = 2\n")
    assert run(tmp_path, check=True, **given)["changed"]
    assert [path.read_text() for path in tmp_path.iterdir()] == ["", ""]
    assert [file["path"] for file in run(tmp_path, **given)["files"]] == ["good.py", "bad.py"]
    assert sorted(path.read_text() for path in tmp_path.iterdir()) == ["x = 1\n", "y = 2\n"]


def test_module_needs_a_python_that_runs(run: Run, tmp_path: Path) -> None:
    (tmp_path / "bot.py").write_text("")
    missing = run(
        tmp_path,
        write={"bot.py": encoded(CLIENT)},
        expected={"bot.py": sha256("")},
        python=str(tmp_path / "python"),
    )
    assert missing["failed"]
    assert f"cannot run {tmp_path}/python: No such file" in missing["msg"]
    assert (tmp_path / "bot.py").read_text() == ""


def test_module_keeps_a_backup_if_asked(run: Run, tmp_path: Path) -> None:
    (tmp_path / "bot.py").write_text("old\n")
    given = {"write": {"bot.py": encoded("new\n")}, "expected": {"bot.py": sha256("old\n")}, "backup": True}
    backup = Path(run(tmp_path, **given)["files"][0]["backup_file"])
    assert (backup.parent, backup.read_text()) == (tmp_path, "old\n")
    assert backup.name.startswith("bot.py.") and backup.name.endswith("~")
    assert (tmp_path / "bot.py").read_text() == "new\n"


def test_module_never_shows_a_source(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Arguments go to the VM's journal and, with -vvv, to the terminal."""
    logged: list[str] = []
    monkeypatch.setattr("ansible.module_utils.basic.AnsibleModule.log", lambda _, message, **__: logged.append(message))
    (tmp_path / "bot.py").write_text("")
    result = run(tmp_path, write={"bot.py": encoded(CLIENT)}, expected={"bot.py": sha256("")})
    assert result["changed"] and result["invocation"]["module_args"]["home"] == str(tmp_path)
    assert logged and str(tmp_path) in logged[0]
    assert encoded(CLIENT) not in json.dumps(result) + logged[0]


# -- the module, on a checkout of the bots' user


@pytest.fixture
def checkout(people: People) -> Path:
    home = people.home / "IR"
    (home / "webex_bots").mkdir(parents=True)
    (home / JARVIS).write_text(CLIENT)
    people.give(people.home)
    return home


def asked(**more: Any) -> dict[str, Any]:
    return {
        "script": JARVIS,
        "user": "botuser",
        "write": {JARVIS: encoded("x = 1\n")},
        "expected": {JARVIS: sha256(CLIENT)},
        **more,
    }


def test_root_runs_the_users_python_as_the_user_in_check_mode_too(run: Run, checkout: Path, people: People) -> None:
    """A bot's Python belongs to the bot's user, who could have root run anything."""
    mark, python = people.home / "ran-as", checkout / "python"
    python.write_text(f'#!/bin/sh\nid -u >> {mark}\nexec /usr/bin/python3 "$@"\n')
    python.chmod(0o755)
    for check in (True, False):
        assert run(checkout, check=check, **asked(python=str(python)))["changed"]
    assert mark.read_text().split() == ["4242", "4242"]
    assert (checkout / JARVIS).stat().st_uid == 4242


@pytest.mark.parametrize("swapped", ["the script", "its directory"])
def test_a_link_put_there_after_the_read_leads_the_write_nowhere(
    run: Run, checkout: Path, people: People, swapped: str
) -> None:
    """Root's `copy` with `follow` wrote the user's text into any file of root's."""
    roots = people.base / "roots"
    roots.mkdir()
    (roots / "jarvis.py").write_text(CLIENT)  # even where it has the bytes that are expected
    run(checkout, read=[JARVIS], script=JARVIS, user="botuser")
    if swapped == "the script":
        (checkout / JARVIS).unlink()
        (checkout / JARVIS).symlink_to(roots / "jarvis.py")
    else:
        (checkout / "webex_bots").rename(checkout / "kept")
        (checkout / "webex_bots").symlink_to(roots)
    told = run(checkout, **asked())
    assert told["failed"] and "was changed while it was being patched. Nothing was written" in told["msg"], told
    assert (roots / "jarvis.py").read_text() == CLIENT
    assert [path.name for path in roots.iterdir()] == ["jarvis.py"]
    unread = run(checkout, read=[JARVIS], script=JARVIS, user="botuser")
    assert unread["failed"] and "leads out of" in unread["msg"], unread


def test_a_script_that_somebody_edited_meanwhile_is_not_overwritten(run: Run, checkout: Path) -> None:
    (checkout / JARVIS).write_text("# mine\n")
    told = run(checkout, **asked())
    assert told["failed"] and "was changed while" in told["msg"]
    assert (checkout / JARVIS).read_text() == "# mine\n"


def test_a_script_that_is_a_link_inside_the_checkout_is_patched_where_it_leads(run: Run, checkout: Path) -> None:
    (checkout / JARVIS).rename(checkout / "real.py")
    (checkout / JARVIS).symlink_to("../real.py")
    assert run(checkout, read=[JARVIS], script=JARVIS)["contents"] == {JARVIS: encoded(CLIENT)}
    assert run(checkout, **asked())["changed"]
    assert (checkout / JARVIS).is_symlink() and (checkout / "real.py").read_text() == "x = 1\n"


def test_an_import_that_leads_out_of_the_checkout_is_not_read(run: Run, checkout: Path, people: People) -> None:
    secret = people.base / "secret.py"
    secret.write_text("SECRET = 1\n")
    secret.chmod(0o600)
    (checkout / "helper.py").symlink_to(secret)
    (checkout / "loop.py").symlink_to("loop.py")
    os.mkfifo(checkout / "pipe.py")
    people.give(checkout)
    told = run(checkout, read=[JARVIS, "helper.py", "loop.py", "pipe.py", "../secret.py"], script=JARVIS)
    assert told.get("contents") == {JARVIS: encoded(CLIENT)}, told


def test_what_is_no_file_is_no_script(run: Run, checkout: Path, people: People) -> None:
    (checkout / JARVIS).unlink()
    os.mkfifo(checkout / JARVIS)
    people.give(checkout)
    told = run(checkout, read=[JARVIS], script=f"./{JARVIS}")
    assert told["failed"] and f"{JARVIS} is no regular file" in told["msg"]


def test_module_asks_the_bots_python_where_an_import_leads(run: Run, tmp_path: Path) -> None:
    (tmp_path / "tools").mkdir()
    asked = {"file": "tools/webex_pool_config.py", "imports": [["webex_pool_config", ["tools"]]]}
    assert run(tmp_path, python=sys.executable, prove=asked)["problem"] == ""
    asked["imports"] = [["webex_pool_config", [""]]]
    problem = run(tmp_path, python=sys.executable, prove=asked)["problem"]
    assert problem == f"no directory that is searched holds tools/webex_pool_config.py ({sys.executable})"


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


def patch_checkout(home: Path, python: Path | str = sys.executable, **more: Any) -> subprocess.CompletedProcess[str]:
    settings = json.dumps({"bot_home": str(home), "bot_python": str(python), **more})
    return ansible("ansible-playbook", "playbooks/patch.yml", "-e", settings)


def checkout_with(home: Path, source: str) -> Path:
    (home / "webex_bots").mkdir(parents=True)
    script = home / JARVIS
    script.write_text(source)
    return script


@pytest.mark.parametrize(
    ("setting", "value", "sentence"),
    [
        ("webex_pool_module", "json", "would no longer find its own json"),
        ("webex_max_retries", 50, "webex_max_retries is 50 for localhost, and must be between 0 and 10"),
        ("bot_home", "/nosuch", "/nosuch: it is no directory; set bot_home to the checkout"),
    ],
)
def test_settings_that_would_fail_when_the_bot_runs_are_refused(
    tmp_path: Path, setting: str, value: Any, sentence: str
) -> None:
    script = checkout_with(tmp_path, CLIENT)
    done = patch_checkout(tmp_path, **{setting: value})
    assert done.returncode != 0
    assert sentence in done.stdout + done.stderr
    assert script.read_text() == CLIENT


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


def test_playbook_acts_as_the_checkouts_owner_where_root_runs_it(people: People) -> None:
    """His Python, and a link of his, were used with root's rights, in check mode too."""
    home, mark = people.home / "IR", people.home / "ran-as"
    script = checkout_with(home, CLIENT)
    python = home / "python"
    python.write_text(f'#!/bin/sh\nid -u >> {mark}\nexec /usr/bin/python3 "$@"\n')
    python.chmod(0o755)
    people.give(people.home)
    done = patch_checkout(home, python)
    assert done.returncode == 0, done.stdout
    assert "configure_webex_api_session(" in script.read_text()
    assert set(mark.read_text().split()) == {"4242"}
    assert {path.stat().st_uid for path in home.rglob("*")} == {4242}
    generators = people.base / "generators"
    generators.mkdir()
    (home / "webex_bots/webex_pool_config.py").unlink()
    (home / "webex_bots/webex_pool_config.py").symlink_to(generators / "new.py")
    done = patch_checkout(home, python)
    assert done.returncode != 0 and "leads out of" in " ".join(done.stdout.split()), done.stdout
    assert list(generators.rglob("*")) == []


def test_action_puts_the_import_where_it_resolves(tmp_path: Path) -> None:
    """`__pool_module__` leaves the name to the engine; the role learns where the module has to be."""
    checkout_with(tmp_path, CLIENT)
    templates = {**vars(TEMPLATES), "import_line": "from __pool_module__ import __names__"}
    shown = patch_alone(tmp_path, templates=templates)
    assert "from webex_pool_config import configure_webex_api_session" in (tmp_path / JARVIS).read_text()
    assert re.search(r"file.*webex_bots/webex_pool_config\.py", shown), shown


def test_action_puts_it_where_the_units_command_finds_it(tmp_path: Path) -> None:
    checkout_with(tmp_path, f"import text\n{CLIENT}")
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/text.py").touch()
    templates = {**vars(TEMPLATES), "import_line": "from __pool_module__ import __names__"}
    command = [sys.executable, "-u", "-m", "webex_bots.jarvis"]
    start = {"command": command, "directory": str(tmp_path), "python_path": [f"{tmp_path}/lib", "/srv/lib"]}
    patch_alone(tmp_path, templates=templates, start=start)
    assert "from webex_bots.webex_pool_config import configure_webex_api_session" in (tmp_path / JARVIS).read_text()


def test_playbook_says_what_it_did_and_fails_for_what_it_could_not_do(tmp_path: Path) -> None:
    checkout_with(tmp_path, CLIENT)
    (tmp_path / "helper.py").write_text("# webexteamssdk\n")
    (tmp_path / "taken.py").write_text(f"def configure_webex_api_session(): pass\n{CLIENT}")
    done = patch_checkout(tmp_path)
    shown = " ".join(done.stdout.split())
    assert done.returncode == 2
    for part in (
        f"{JARVIS}: changed (1 wrapped)",
        "taken.py: NOT patched: taken.py:1:1: configure_webex_api_session is the name of something else here",
        "helper.py: skipped, constructs no client that can be pooled",
        "webex_bots/webex_pool_config.py: the pool module, imported as webex_pool_config",
        "Could not be patched, for the reasons above: taken.py.",
    ):
        assert part in shown
    assert "configure_webex_api_session(" in (tmp_path / JARVIS).read_text()


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


def test_the_connection_shows_no_answer_of_the_module() -> None:
    """With -vvv the ssh connection prints what comes back, unless its play context says no_log."""
    context = SimpleNamespace(no_log=None)
    with pytest.raises(ValueError), unseen(context):
        assert context.no_log is True
        raise ValueError
    assert context.no_log is None


def test_programs_that_confinement_may_take_are_named() -> None:
    source = (
        b'run(["sudo", "-n", "id"])\nos.system("/usr/bin/crontab -l")\n# sudo\nx = "sudoku"\nrun(["sudo"])\n'
        b'reply("ping pong")\n'
    )
    assert [(each["name"], each["line"]) for each in _programs("bot.py", source)] == [
        ("sudo", 1),
        ("crontab", 2),
        ("ping", 6),
    ]


def test_control_characters_of_a_checkout_do_not_reach_the_terminal(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nprintf '\\033[2Jall well\\n' >&2\nexit 1\n")
    python.chmod(0o755)
    checkout_with(tmp_path, CLIENT)
    done = patch_checkout(tmp_path, python)
    assert done.returncode != 0 and "all well" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr


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
