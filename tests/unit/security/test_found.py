"""As found means: as the bots' user, who he is now, with a program that only he or root may change."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ansible.module_utils.webex_rollout import facts, found, launch, parents
from ansible.module_utils.webex_rollout.become import account_of
from ansible.module_utils.webex_rollout.errors import RolloutError
from ansible.module_utils.webex_rollout.found import FoundProcess, start_problem
from ansible.module_utils.webex_rollout.processes import Bot, find_processes
from ansible.module_utils.webex_rollout.refusals import Needs, notes, problems
from ansible.module_utils.webex_rollout.store import Vm
from ansible.module_utils.webex_rollout.systemd import Unit

from tests.unit.people import NAMES
from tests.unit.security.case import PYTHON

if TYPE_CHECKING:
    from tests.unit.security.case import Case

BOTUSER = NAMES["botuser"]
# Says who runs it, with which groups, and where its output goes.
TELLS = """
import json, os, sys, time
with open("who.json", "w") as file:
    json.dump([os.getresuid(), os.getresgid(), os.getgroups(), os.readlink("/proc/self/fd/1"), dict(os.environ)], file)
time.sleep(300)
"""


def taken_down(case: Case) -> FoundProcess:
    case.its_own()
    (process,) = find_processes(case.bot)
    return FoundProcess.read(process, account_of("botuser"))


def restarted(case: Case, process: FoundProcess) -> list:
    """Start a process as found; what it says of itself."""
    case.script.write_text(TELLS)
    pid = os.fork()
    if pid == 0:
        try:
            launch.run_found(process, account_of("botuser"), os.getppid())
        finally:
            os._exit(9)
    try:
        told = case.home / "who.json"
        until = time.monotonic() + 20
        while not told.exists() or not told.read_text().endswith("]"):
            assert time.monotonic() < until
            assert os.waitpid(pid, os.WNOHANG) == (0, 0)
        return json.loads(told.read_text())
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)


def test_nothing_is_started_for_a_program_that_is_gone(case: Case) -> None:
    process = taken_down(case)
    pid = os.fork()
    if pid == 0:
        try:
            launch.run_found(process, account_of("botuser"), 1)
        except RolloutError:
            os._exit(7)
        finally:
            os._exit(9)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7


def test_recorded_ids_are_not_what_is_started(case: Case) -> None:
    process = replace(taken_down(case), uid=0, gid=0, groups=[0, 4, 27])
    uids, gids, groups, _, environment = restarted(case, process)
    assert uids == gids == [BOTUSER] * 3
    assert groups == list(account_of("botuser").groups)
    assert environment["OWN"] == "1"


@pytest.mark.parametrize("kind", ["fifo", "device", "root's", "gone"])
def test_output_is_opened_by_the_user_and_only_a_file(case: Case, kind: str) -> None:
    out = case.home / "out"
    if kind == "fifo":
        os.mkfifo(out)
        case.people.give(out)
    elif kind == "root's":
        out = case.people.base / "roots"
        out.write_text("")
    path = "/dev/zero" if kind == "device" else str(out / "x" if kind == "gone" else out)
    assert restarted(case, replace(taken_down(case), stdout=path))[3] == "/dev/null"


def test_output_that_he_may_write_is_appended_to(case: Case) -> None:
    out = case.home / "out"
    assert restarted(case, replace(taken_down(case), stdout=str(out)))[3] == str(out)
    assert out.stat().st_uid == BOTUSER


def copied_python(case: Case, mode: int, gid: int = BOTUSER) -> str:
    path = case.people.base / "python3"
    path.write_bytes(Path(PYTHON).read_bytes())
    os.chown(path, BOTUSER, gid)
    path.chmod(mode)
    return str(path)


@pytest.mark.parametrize(
    ("mode", "gid", "words"),
    [
        (0o2755, BOTUSER, "is set-user-ID or set-group-ID"),
        (0o757, BOTUSER, "others may write"),
        (0o775, 100, "others may write"),
    ],
)
def test_program_with_other_rights_or_of_others_is_refused(
    case: Case,
    monkeypatch: pytest.MonkeyPatch,
    mode: int,
    gid: int,
    words: str,
) -> None:
    monkeypatch.setattr(found, "_others_in", lambda gid, _: gid == 100)
    python = copied_python(case, 0o755, gid)
    case.start("botuser", "python3", "webex_bots/jarvis.py", cwd=case.home, executable=python)
    until = time.monotonic() + 20
    while not find_processes(case.bot):
        assert time.monotonic() < until
    (process,) = find_processes(case.bot)
    account = account_of("botuser")
    sound = FoundProcess.read(process, account)
    assert start_problem(case.bot, replace(sound, argv=[python])) == ""
    Path(python).chmod(mode)
    with pytest.raises(RolloutError, match=f"process {process.pid} runs {python}, which {words}"):
        FoundProcess.read(process, account)
    assert words in start_problem(case.bot, replace(sound, argv=[python]))
    assert words in found.running_problem(process.pid, account)


def test_group_of_his_own_is_no_others() -> None:
    """A private group, as Debian makes one for every user, has nobody else in it."""
    account = account_of("root")
    private = os.stat_result((stat.S_IFREG | 0o775, 0, 0, 1, 0, 0, 0, 0, 0, 0))
    assert found.executable_problem(private, account) == ""


# -- preflight -------------------------------------------------------------------------------------------------


def needs() -> Needs:
    return Needs("logs/jarvis.log", 1024, 10, 1, take_over_starters=False)


def collect(case: Case, bot: Bot | None = None) -> dict[str, Any]:
    vm = Vm(str(case.people.base / "state"), "tester")
    return facts.collect(vm, [(bot or case.bot, needs())])["jarvis"]


@pytest.fixture
def _no_systemd(monkeypatch: pytest.MonkeyPatch) -> None:
    unit = Unit("webex-bot@jarvis.service", "not-found", "inactive", "dead", "", 0, 0, "success", 0, 0, "")
    monkeypatch.setattr(facts, "show_unit", lambda _: unit)
    monkeypatch.setattr(facts, "_unit_limits", dict)
    monkeypatch.setattr(parents, "_role_of", lambda *_: "end")  # the tests themselves are the parent


@pytest.mark.usefixtures("_no_systemd")
def test_preflight_sees_a_checkout_that_is_closed_to_all_others(case: Case) -> None:
    (case.home / "src/utils").mkdir(parents=True)
    (case.home / "logs").mkdir()
    (case.home / "logs/jarvis.log").write_text("")
    case.people.give(case.people.home)
    case.people.home.chmod(0o700)
    pid = case.its_own()
    seen = collect(case)
    assert [process["pid"] for process in seen["processes"]] == [pid]
    assert (seen["user_exists"], seen["script_exists"]) == (True, True)
    assert seen["log"] == {
        "path": str(case.home / "logs/jarvis.log"),
        "exists": True,
        "readable": True,
        "writable": True,
    }
    assert seen["python"]["version"].startswith("3.")
    assert seen["python"]["syntax_error"] is None
    assert [problem for problem in problems(seen, needs()) if "webexteamssdk" not in problem] == []


@pytest.mark.usefixtures("_no_systemd")
def test_preflight_names_namesakes_and_a_script_that_leads_out(case: Case) -> None:
    other = case.start("otheruser", "python3", str(case.script), executable=PYTHON)
    case.shows(other, b"jarvis")
    assert any(f"process {other} of otheruser" in note for note in notes(collect(case)))
    target = case.people.base / "elsewhere.py"
    target.write_text("")
    case.script.unlink()
    case.script.symlink_to(target)
    assert any("leads out of" in problem for problem in problems(collect(case), needs()))


@pytest.mark.usefixtures("_no_systemd")
def test_python_of_the_user_runs_as_the_user(case: Case) -> None:
    wrapper = case.people.home / "python"
    ran = case.people.home / "ran"
    wrapper.write_text(f'#!/bin/sh\nid -u >> {ran}\nexec {PYTHON} "$@"\n')
    wrapper.chmod(0o755)
    case.people.give(case.people.home)
    bot = replace(case.bot, python=str(wrapper))
    assert collect(case, bot)["python"]["error"] is None
    assert set(ran.read_text().split()) == {str(BOTUSER)}
    wrapper.write_text("#!/bin/sh\necho '[1]'\n")
    assert collect(case, bot)["python"]["error"] == "it does not answer as a Python does"


@pytest.mark.usefixtures("_no_systemd")
def test_unknown_user_is_the_one_problem(case: Case) -> None:
    seen = collect(case, replace(case.bot, user="nosuchuser"))
    assert len(problems(seen, needs())) == 1
    assert "there is no user nosuchuser" in problems(seen, needs())[0]


def test_log_that_cannot_be_opened_anew_keeps_the_bot_running(case: Case) -> None:
    log = case.home / "jarvis.log"
    case.script.write_text(f"held = open({str(log)!r}, 'a')\nimport time\ntime.sleep(300)\n")
    case.its_own()
    launch.must_reopen_its_files(case.bot, "was not touched")
    os.chown(log, 0, 0)
    with pytest.raises(RolloutError, match=r"jarvis\.log: Permission denied\. Nobody .* was not touched"):
        launch.must_reopen_its_files(case.bot, "was not touched")
    subprocess.run(["rm", str(log)], check=True)
    launch.must_reopen_its_files(case.bot, "was not touched")
