"""The files that a rollout writes: the module on real files with made-up users, and the action as Ansible runs it."""

from __future__ import annotations

import base64
import importlib.util
import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args
from ansible.module_utils.webex_files_options import OPTIONS, REQUESTS
from ansible.module_utils.webex_rollout.errors import RolloutError
from ansible.module_utils.webex_rollout.questions import files as answers

from action_plugins.webex_files import _diff

if TYPE_CHECKING:
    from types import ModuleType

    from tests.unit.people import People

PROJECT = Path(__file__).resolve().parents[3]
SPECIFICATION = importlib.util.spec_from_file_location("library_webex_files", PROJECT / "library" / "webex_files.py")


@pytest.fixture(scope="module")
def module() -> ModuleType:
    assert SPECIFICATION is not None and SPECIFICATION.loader is not None
    loaded = importlib.util.module_from_spec(SPECIFICATION)
    sys.modules[SPECIFICATION.name] = loaded  # dataclasses look there
    SPECIFICATION.loader.exec_module(loaded)
    return loaded


class Run:
    """Runs the module as Ansible would and returns its result."""

    def __init__(self, module: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
        self.module, self.capsys = module, capsys

    def __call__(self, files: dict[str, Any], check: bool = False, **more: Any) -> dict[str, Any]:
        """`files` gives for each path its content, or its options (then with the content as `is`)."""
        self.capsys.readouterr()
        wanted, contents = [], {}
        for path, given in files.items():
            options = dict(given) if isinstance(given, dict) else {"is": given}
            if "is" in options:
                contents[path] = base64.b64encode(options.pop("is").encode()).decode()
            wanted.append({"path": path, **options})
        arguments = {"files": wanted, "contents": contents, "diff_limit": 1000, "_ansible_check_mode": check, **more}
        with patch_module_args(arguments), pytest.raises(SystemExit):
            self.module.main()
        result: dict[str, Any] = json.loads(self.capsys.readouterr().out)
        return result


@pytest.fixture
def run(module: ModuleType, capsys: pytest.CaptureFixture[str]) -> Run:
    return Run(module, capsys)


def owner_and_mode(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)


# -- files of a checkout --------------------------------------------------------------------------------------


def test_a_file_of_the_checkout_is_the_users_and_written_once(run: Run, people: People) -> None:
    path = people.home / "src/utils/pool.py"
    of_checkout = {"home": str(people.home), "user": "botuser"}
    told = run({str(path): "x = 1\n"}, **of_checkout)
    assert (told["changed"], told["files"][0]["change"]) == (True, "written")
    assert path.read_text() == "x = 1\n"
    assert owner_and_mode(path) == (4242, 4242, 0o644)
    assert owner_and_mode(path.parent) == (4242, 4242, 0o755)
    assert not run({str(path): "x = 1\n"}, **of_checkout)["changed"]
    path.chmod(0o600)
    assert run({str(path): "x = 1\n"}, **of_checkout)["changed"]
    assert owner_and_mode(path) == (4242, 4242, 0o644)
    assert run({str(path): {"state": "absent"}}, **of_checkout)["files"][0]["change"] == "removed"
    assert not path.exists()
    assert not run({str(path): {"state": "absent"}}, **of_checkout)["changed"]


def test_check_mode_tells_the_same_and_writes_nothing(run: Run, people: People) -> None:
    path, of_checkout = people.home / "src/pool.py", {"home": str(people.home), "user": "botuser"}
    told = run({str(path): "x\n"}, check=True, **of_checkout)
    assert told["changed"] and not path.parent.exists()
    assert {key: told[key] for key in ("changed", "files")} == {
        key: value for key, value in run({str(path): "x\n"}, **of_checkout).items() if key in ("changed", "files")
    }


def test_a_directory_that_is_a_link_out_of_the_checkout_gets_no_file(run: Run, people: People) -> None:
    """The pool module went, as the user's own, into whatever directory src/utils was a link to."""
    roots = people.base / "generators"
    roots.mkdir()
    (people.home / "src").mkdir()
    (people.home / "src/utils").symlink_to(roots)
    people.give(people.home / "src")
    told = run({str(people.home / "src/utils/pool.py"): "x\n"}, home=str(people.home), user="botuser")
    assert told["failed"] and "leads out of" in told["msg"], told
    assert "Nothing was written" in told["msg"]
    assert list(roots.iterdir()) == []


def test_a_link_in_the_files_place_is_replaced_not_followed(run: Run, people: People) -> None:
    roots = people.base / "roots.txt"
    roots.write_text("root's own\n")
    path = people.home / "pool.py"
    path.symlink_to(roots)
    told = run({str(path): "x\n"}, home=str(people.home), user="botuser")
    assert told["changed"] and roots.read_text() == "root's own\n"
    assert not path.is_symlink() and path.read_text() == "x\n"


def test_a_source_is_compiled_by_the_user_before_anything_of_the_list_is_written(run: Run, people: People) -> None:
    mark, python = people.home / "ran-as", people.home / "python"
    python.write_text(f'#!/bin/sh\nid -u >> {mark}\nexec /usr/bin/python3 "$@"\n')
    python.chmod(0o755)
    first, second = people.home / "a.py", people.home / "b.py"
    files = {
        str(first): {"is": "x = 1\n", "compile_with": str(python)},
        str(second): {"is": "x = (\n", "compile_with": str(python)},
    }
    told = run(files, home=str(people.home), user="botuser")
    assert told["failed"] and f"{python} does not compile {second}" in told["msg"], told
    assert not first.exists() and not second.exists()
    assert set(mark.read_text().split()) == {"4242"}
    files[str(second)]["is"] = "x = 2\n"
    assert run(files, check=True, home=str(people.home), user="botuser")["changed"]
    assert run(files, home=str(people.home), user="botuser")["changed"]
    assert set(mark.read_text().split()) == {"4242"}


def test_without_a_user_root_acts_as_the_checkouts_owner(run: Run, people: People) -> None:
    path = people.home / "pool.py"
    assert run({str(path): "x\n"}, home=str(people.home))["changed"]
    assert owner_and_mode(path)[:2] == (4242, 4242)


# -- root's own -----------------------------------------------------------------------------------------------


def test_roots_own_file_gets_root_and_its_mode_whatever_was_there(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "made/for/it.conf"
    assert run({str(path): {"is": "a\n", "mode": "0600"}})["changed"]
    assert owner_and_mode(path) == (0, 0, 0o600)
    assert owner_and_mode(path.parent) == (0, 0, 0o755)
    os.chown(path, 4242, 4242)
    assert run({str(path): {"is": "a\n", "mode": "0600"}})["changed"]
    assert owner_and_mode(path) == (0, 0, 0o600)


def test_roots_own_file_is_refused_where_somebody_else_could_change_it(
    run: Run, people: People, tmp_path: Path
) -> None:
    first = tmp_path / "first"
    told = run({str(first): "a\n", str(people.home / "unit.service"): "b\n"})
    assert told["failed"] and "is not root's alone" in told["msg"] and "Nothing was written" in told["msg"], told
    assert not first.exists() and list(people.home.iterdir()) == []


def test_directories_of_roots_are_made_and_removed(run: Run, tmp_path: Path) -> None:
    made, old = tmp_path / "a/environments", tmp_path / "old"
    (old / "package").mkdir(parents=True)
    (old / "package/reader.py").write_text("x")
    wanted = {str(made): {"state": "directory", "mode": "0700"}, str(old): {"state": "absent"}}
    told = run(wanted, check=True)
    assert [file["change"] for file in told["files"]] == ["made", "removed"]
    assert old.exists() and not made.exists()
    assert run(wanted)["changed"]
    assert owner_and_mode(made) == (0, 0, 0o700) and owner_and_mode(made.parent) == (0, 0, 0o755)
    assert not old.exists()
    assert not run(wanted)["changed"]
    made.chmod(0o755)
    assert run(wanted)["changed"] and owner_and_mode(made)[2] == 0o700


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"relative": "x"}, "cannot be written: give an absolute path"),
        ({"/etc/../etc/x": "x"}, "cannot be written: give an absolute path"),
        ({"/etc/x": {"is": "x", "mode": "4755"}}, "is no mode"),
        ({"/etc/x": {"is": "x", "mode": "rw"}}, "is no mode"),
        ({"/etc/x": {}}, "has no content"),
        ({"/etc/x": {"is": "x", "compile_with": "/p"}}, "only a file of the checkout is compiled"),
    ],
)
def test_what_makes_no_sense_is_refused(run: Run, files: dict[str, Any], said: str) -> None:
    told = run(files, check=True)
    assert told["failed"] and said in told["msg"], told


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
def test_systemd_judges_units_on_a_copy_before_they_are_written() -> None:
    def wanted(name: str, text: str) -> object:
        return answers.Wanted(f"/etc/systemd/system/{name}", "present", 0o644, text.encode(), "", False)

    template = wanted("zz-bot@.service", "[Service]\nType=exec\n")
    good = wanted("zz-bot@jarvis.service.d/10-bot.conf", "[Service]\nExecStart=/bin/true\n")
    bad = wanted("zz-bot@jarvis.service.d/10-bot.conf", "[Service]\nExecStart=/no/such/program\n")
    answers.verify_units(["zz-bot@jarvis.service"], [template, good])
    for files in ([template, bad], [template]):
        with pytest.raises(RolloutError, match=r"systemd does not accept zz-bot@jarvis\.service: "):
            answers.verify_units(["zz-bot@jarvis.service"], files)
    assert not list(Path("/run").glob("webex-files-*"))


# -- what is shown --------------------------------------------------------------------------------------------


def test_no_content_reaches_the_journal_or_the_result(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged: list[str] = []
    monkeypatch.setattr("ansible.module_utils.basic.AnsibleModule.log", lambda _, message, **__: logged.append(message))
    result = run({str(tmp_path / "a"): "TOKEN=hunter2-hunter2-hunter2\n"})
    encoded = base64.b64encode(b"TOKEN=hunter2-hunter2-hunter2\n").decode()
    assert logged and str(tmp_path) in logged[0]
    assert encoded not in json.dumps(result) + logged[0] and "hunter2" not in json.dumps(result) + logged[0]


def test_a_diff_is_masked_and_an_environment_is_never_shown() -> None:
    before = base64.b64encode(b"Environment=TOKEN=hunter2\nUser=a\n").decode()
    shown = _diff({"path": "/etc/x.conf", "change": "written", "before": before}, b"User=b\n", 1000)
    assert "hunter2" not in shown["before"] and "User=a" in shown["before"] and shown["after"] == "User=b\n"
    withheld = _diff({"path": "/etc/webex-bots/jarvis.env", "change": "written", "before": before}, b"X=y\n", 1000)
    assert withheld["prepared"] == "/etc/webex-bots/jarvis.env: written\n" and "before" not in withheld


def test_documentation_has_every_option() -> None:
    assert not set(OPTIONS) & set(REQUESTS)
    text = (PROJECT / "library/webex_files.py").read_text()
    examples = yaml.safe_load(text.split('EXAMPLES = r"""')[1].split('"""')[0])
    assert all(set(task["webex_files"]) <= set(OPTIONS) for task in examples)


# -- the action, as Ansible runs it ---------------------------------------------------------------------------

PLAY = """
- hosts: localhost
  gather_facts: false
  vars: {who: jarvis}
  tasks:
    - name: Write
      webex_files:
        files:
          - {path: "{{ place }}/rendered", template: "{{ place }}/text.j2", mode: "0600"}
          - {path: "{{ place }}/copied", src: "{{ place }}/source"}
"""


def test_the_action_renders_with_the_tasks_variables_and_is_truthful(tmp_path: Path) -> None:
    (tmp_path / "text.j2").write_text("# {{ ansible_managed }}\n{% if true %}\nhello {{ who }}\n{% endif %}\n\n")
    (tmp_path / "source").write_bytes(b"\x00raw {{ who }}\n")
    (tmp_path / "play.yml").write_text(PLAY)

    def play(*options: str) -> str:
        done = subprocess.run(
            [Path(sys.executable).with_name("ansible-playbook"), "-i", "localhost,", "-c", "local", "--diff", *options]
            + ["-e", f"place={tmp_path}", "-e", f"ansible_python_interpreter={sys.executable}", tmp_path / "play.yml"],
            cwd=PROJECT,
            env={**os.environ, "ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"), "ANSIBLE_CALLBACKS_ENABLED": "default"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    checked = play("--check")
    assert "changed=1" in checked and "+hello jarvis" in checked and not (tmp_path / "rendered").exists()
    assert "changed=1" in play()
    assert (tmp_path / "rendered").read_text() == "# Ansible managed\nhello jarvis\n\n"
    assert (tmp_path / "copied").read_bytes() == b"\x00raw {{ who }}\n"
    assert (owner_and_mode(tmp_path / "rendered")[2], owner_and_mode(tmp_path / "copied")[2]) == (0o600, 0o644)
    again = play()
    assert "changed=0" in again and "hello" not in again
