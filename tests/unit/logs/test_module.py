"""The module: arguments, what it returns, that it changes nothing, and what it says when it cannot read."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args

PROJECT = Path(__file__).resolve().parents[3]


def _module() -> Any:
    specification = importlib.util.spec_from_file_location("bot_log_info", PROJECT / "library/bot_log_info.py")
    assert specification
    assert specification.loader
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


bot_log_info = _module()


def run(capsys: pytest.CaptureFixture[str], **arguments: Any) -> dict[str, Any]:
    """Run the module as Ansible does; what it prints is its result."""
    with patch_module_args({"user": "root", **arguments}), pytest.raises(SystemExit):
        bot_log_info.main()
    return json.loads(capsys.readouterr().out)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "jarvis.log"
    path.write_text("2026-11-21 15:25:01,123 - x.py:88 - ERROR - Read timed out. (read timeout=60)\n")
    return path


def append(log: Path, hour: int = 16) -> None:
    with log.open("a") as stream:
        stream.write(f"2026-11-21 {hour}:25:01,123 - x.py:88 - ERROR - RemoteDisconnected\n")


def test_take_then_look(capsys: pytest.CaptureFixture[str], log: Path) -> None:
    taken = run(capsys, path=str(log), take=True)
    assert set(taken) == {"changed", "cursor", "dialect", "invocation", "now", "seconds"}
    append(log)
    seen = run(capsys, path=str(log), cursor=taken["cursor"])
    assert (seen["changed"], seen["incidents"], seen["signatures"]["remote_disconnected"]["lines"]) == (False, 1, 1)
    assert "failed" not in seen, "in a module's result that means that the task failed"
    append(log, hour=17)
    assert run(capsys, path=str(log), cursor=seen["cursor"])["incidents"] == 2


def test_check_mode_reads_in_full(capsys: pytest.CaptureFixture[str], log: Path) -> None:
    before = log.stat()
    assert run(capsys, path=str(log), _ansible_check_mode=True)["incidents"] == 1
    after = log.stat()  # its time of access is the kernel's business
    assert (after.st_ino, after.st_size, after.st_ctime_ns) == (before.st_ino, before.st_size, before.st_ctime_ns)


def test_history_and_hours(capsys: pytest.CaptureFixture[str], log: Path) -> None:
    log.replace(log.with_name("jarvis.log.1"))
    append(log)
    assert run(capsys, path=str(log))["incidents"] == 1
    seen = run(capsys, path=str(log), history=True, buckets=True)
    assert (seen["incidents"], list(seen["hours"].values())) == (2, [1, 1])
    assert run(capsys, path=str(log), cursor=seen["cursor"])["incidents"] == 0
    assert "hours" not in run(capsys, path=str(log), history=True)


def test_own_signatures_and_time_zone(capsys: pytest.CaptureFixture[str], log: Path) -> None:
    own = [{"name": "anything", "text": "ERROR"}, {"name": "read_timeout", "text": ""}, {"name": "hang", "text": ""}]
    seen = run(capsys, path=str(log), signatures=own, timezone="Asia/Tokyo")
    assert (seen["signatures"]["anything"]["incidents"], "read_timeout" in seen["signatures"]) == (1, False)
    assert run(capsys, path=str(log), timezone="UTC")["first_time"] - seen["first_time"] == 9 * 3600


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "missing required arguments: path"),
        ({"path": "/x", "take": True, "history": True}, "mutually exclusive"),
        ({"path": "/x", "signatures": [{"name": "a", "text": "b", "kind": "c"}]}, "must be one of: failure, recovered"),
        ({"path": "/no/such/jarvis.log"}, "log /no/such/jarvis.log is missing: check that the bot runs"),
        ({"path": "/"}, "log / is no regular file"),
        ({"path": "/x", "cursor": {"path": "/x"}}, "is damaged: .* is missing; take a new one"),
    ],
)
def test_errors_say_what_to_do(capsys: pytest.CaptureFixture[str], arguments: dict[str, Any], words: str) -> None:
    result = run(capsys, **arguments)
    assert result["failed"] is True
    assert re.search(words, result["msg"])


def test_a_cursor_of_another_log_is_refused(capsys: pytest.CaptureFixture[str], log: Path) -> None:
    taken = run(capsys, path=str(log), take=True)
    result = run(capsys, path=str(log.with_name("tars.log")), cursor=taken["cursor"])
    assert "belongs to log" in result["msg"]


def test_the_documentation_names_what_is_asked_for_and_what_is_returned(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, log: Path
) -> None:
    given: dict[str, Any] = {}
    with monkeypatch.context() as patched:
        patched.setattr(bot_log_info, "AnsibleModule", lambda **named: given.update(named) or sys.exit())
        with pytest.raises(SystemExit):
            bot_log_info.main()
    documented = yaml.safe_load(bot_log_info.DOCUMENTATION)["options"]
    assert_same(given["argument_spec"], documented)
    returned = run(capsys, path=str(log), buckets=True)
    assert set(yaml.safe_load(bot_log_info.RETURN)) == set(returned) - {"changed", "invocation"}
    assert yaml.safe_load(bot_log_info.EXAMPLES)


def assert_same(spec: dict[str, Any], documented: dict[str, Any]) -> None:
    """Options as the module checks them, and as its documentation has them."""
    assert set(spec) == set(documented)
    for key, option in spec.items():
        for part in ("type", "default", "choices", "elements"):
            assert option.get(part) == documented[key].get(part), (key, part)
        assert option.get("required", False) == documented[key].get("required", False), key
        assert_same(option.get("options", {}), documented[key].get("suboptions", {}))


def test_the_reader_runs_without_ansible(log: Path, tmp_path: Path) -> None:
    """As part of the program on the VM."""
    code = "import sys; sys.path[:] = [sys.argv[1], *(p for p in sys.path if 'site-packages' not in p)]\n"
    code += "from webex_rollout.logs.cursor import look_at_all\n"
    code += "print(look_at_all(sys.argv[2]).tally.incidents, 'ansible' in sys.modules)"
    ended = subprocess.run(
        [sys.executable, "-I", "-c", code, str(PROJECT / "module_utils"), str(log)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stdout.split() == ["1", "False"]
