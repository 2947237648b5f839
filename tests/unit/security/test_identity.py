"""Who a bot is: only processes of its own user, whatever others run, name or hide."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from ansible.module_utils.webex_rollout import launch, parents, processes, procfs
from ansible.module_utils.webex_rollout.become import account_of
from ansible.module_utils.webex_rollout.clock import Timing
from ansible.module_utils.webex_rollout.errors import RolloutError
from ansible.module_utils.webex_rollout.found import FoundProcess
from ansible.module_utils.webex_rollout.namesakes import find_namesakes
from ansible.module_utils.webex_rollout.parents import restarting_parent_of
from ansible.module_utils.webex_rollout.processes import Bot, bot_pids, doubtful_pids, find_processes
from ansible.module_utils.webex_rollout.procfs import UNANSWERED, for_each

from tests.unit.people import NAMES
from tests.unit.security.case import PYTHON, WAITS

if TYPE_CHECKING:
    from tests.unit.security.case import Case

# Enters directories until its own program has a path of more than a page.
DEEP = """
import os, shutil
for _ in range(20):
    os.mkdir("d" * 250)
    os.chdir("d" * 250)
shutil.copyfile("/usr/bin/sleep", "it")
os.chmod("it", 0o755)
os.execv("it", ["deep", "300"])
"""


@pytest.mark.parametrize("name", ["otheruser", "root"])
def test_process_of_another_user_is_a_namesake_and_nothing_else(case: Case, name: str) -> None:
    own = case.its_own()
    argv = ("python3", str(case.script))
    if name == "root":
        case.started.append(subprocess.Popen(argv, executable=PYTHON))
        other = case.started[-1].pid
    else:
        other = case.start(name, *argv, executable=PYTHON, PYTHONPATH="/home/otheruser/lib", LD_PRELOAD="")
    case.shows(other, b"jarvis")
    assert list(bot_pids(case.bot)) == [own]
    assert [process.pid for process in find_processes(case.bot)] == [own]
    assert [(pid, user) for pid, user in find_namesakes(case.bot) if pid != own] == [(other, name)]
    launch.stop_all(case.bot, [], 5, Timing())
    assert (case.alive(own), case.alive(other)) == (False, True)


def test_process_that_is_not_wholly_the_users_is_not_the_bot(case: Case) -> None:
    """As one that root started with only its effective uid changed, or a set-user-ID program of his."""
    process = subprocess.Popen(
        [PYTHON, "-c", f"import os, time; os.setresuid(-1, {NAMES['botuser']}, 0); os.execv({PYTHON!r}, "
         f"['python3', {str(case.script)!r}])"], cwd=case.home)  # fmt: skip
    case.started.append(process)
    case.shows(process.pid, b"jarvis.py")
    until = time.monotonic() + 20
    while procfs.uids_of(process.pid)[1] != NAMES["botuser"]:
        assert time.monotonic() < until
    assert bot_pids(case.bot) == {}
    assert [one.pid for one in find_namesakes(case.bot)] == [process.pid]


def test_program_with_a_path_longer_than_a_page_blinds_nobody(case: Case) -> None:
    own = case.its_own()
    deep, his = (case.start(name, PYTHON, "-c", DEEP) for name in ("otheruser", "botuser"))
    for pid in (deep, his):
        until = time.monotonic() + 20
        while not Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"deep"):
            assert time.monotonic() < until
        with pytest.raises(OSError, match="File name too long"):
            Path(f"/proc/{pid}/exe").readlink()
    assert [process.pid for process in find_processes(case.bot)] == [own]
    assert find_namesakes(case.bot) == []
    launch.stop_all(case.bot, [], 5, Timing())
    assert bot_pids(case.bot) == {}
    assert (case.alive(deep), case.alive(his)) == (True, True)


def test_script_that_is_a_link_to_another_users_is_refused_and_its_process_left_alone(case: Case) -> None:
    payroll = case.people.base / "thirduser/payroll.py"
    payroll.write_text(WAITS)
    case.people.give(payroll.parent, "thirduser")
    case.script.unlink()
    case.script.symlink_to(payroll)
    victim = case.start("thirduser", "python3", "payroll.py", executable=PYTHON, PASSWORD="hush")
    case.shows(victim, b"payroll")
    assert find_processes(case.bot) == []
    launch.stop_all(case.bot, [], 1, Timing())
    assert case.alive(victim)
    with pytest.raises(RolloutError, match=r"jarvis\.py leads out of "):
        _ = case.bot.script_path


def test_his_checkout_may_be_closed_to_all_others(case: Case) -> None:
    case.people.home.chmod(0o700)
    own = case.its_own()
    (process,) = find_processes(case.bot)
    assert (process.pid, process.uid) == (own, NAMES["botuser"])
    assert FoundProcess.read(process, account_of("botuser")).environment.count("OWN=1") == 1
    assert case.bot.script_path == str(case.script)


# -- the second trait ------------------------------------------------------------------------------------------


def test_command_line_alone_is_a_doubt(case: Case) -> None:
    pid = case.start("botuser", "python3", str(case.script), cwd=Path("/"), executable=PYTHON)
    until = time.monotonic() + 20
    while doubtful_pids(case.bot) != [pid]:
        assert time.monotonic() < until
    assert bot_pids(case.bot) == {}
    launch.stop_all(case.bot, [], 1, Timing())
    assert case.alive(pid)


def test_open_log_in_the_checkout_is_a_trait(case: Case) -> None:
    case.script.write_text(f"held = open({str(case.home / 'jarvis.log')!r}, 'a')\n" + WAITS)
    pid = case.start("botuser", "python3", str(case.script), cwd=Path("/"), executable=PYTHON)
    until = time.monotonic() + 20
    while list(bot_pids(case.bot)) != [pid]:
        assert time.monotonic() < until


def test_virtual_environment_of_the_bot_is_a_trait(case: Case) -> None:
    (case.home / ".venv/bin").mkdir(parents=True)
    (case.home / ".venv/pyvenv.cfg").write_text("home = /usr/bin\n")
    (case.home / ".venv/bin/python").symlink_to(PYTHON)
    python = str(case.home / ".venv/bin/python")
    bot = Bot("jarvis", str(case.home), "webex_bots/jarvis.py", python, "botuser")
    pid = case.start("botuser", python, str(case.script), cwd=Path("/"))
    until = time.monotonic() + 20
    while list(bot_pids(bot)) != [pid]:
        assert time.monotonic() < until


def test_cgroup_of_its_unit_is_a_trait(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    pid = case.start("botuser", "python3", str(case.script), cwd=Path("/"), executable=PYTHON)
    monkeypatch.setattr(
        processes, "unit_of", lambda asked: ("webex-bot@jarvis.service", False) if asked == pid else ("", False)
    )
    until = time.monotonic() + 20
    while list(bot_pids(case.bot)) != [pid]:
        assert time.monotonic() < until
    monkeypatch.setattr(processes, "unit_of", lambda _: ("webex-bot@jarvis.service", True))  # a manager of his own
    monkeypatch.setattr(processes, "_kept", {})
    assert doubtful_pids(case.bot) == [pid]


# -- parents ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["fifo", "/dev/zero", "sparse"])
def test_script_of_a_parent_is_read_in_bounds_and_as_its_owner(case: Case, kind: str) -> None:
    target = case.people.home / "target"
    target.write_text(f"import subprocess; subprocess.run(['python3', 'webex_bots/jarvis.py'], executable={PYTHON!r})")
    parent = case.start("botuser", "sh", str(target), cwd=case.home, executable=PYTHON)  # shows itself as a shell
    until = time.monotonic() + 20
    while not bot_pids(case.bot):
        assert time.monotonic() < until
    target.unlink()
    if kind == "fifo":
        os.mkfifo(target)
    elif kind == "sparse":
        with target.open("w") as file:
            file.truncate(64 << 30)
    else:
        target.symlink_to(kind)
    case.people.give(target)
    begun = time.monotonic()
    (process,) = find_processes(case.bot)
    assert process.ppid == parent
    assert process.restarting_parent is not None  # nobody can tell, so it might
    assert time.monotonic() - begun < 20


def test_parent_of_another_user_starts_nothing_as_the_bots_user(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    own = case.its_own()
    other = case.start("otheruser", "sh", "-c", "while true; do sleep 300; done")
    stat = procfs.read_stat(other)
    monkeypatch.setattr(parents, "ancestors", lambda _: iter([stat]))
    assert restarting_parent_of(own, account_of("botuser")) is None
    his = case.start("botuser", "sh", "-c", "while true; do sleep 300; done")
    case.shows(his, b"while")
    stat = procfs.read_stat(his)
    assert restarting_parent_of(own, account_of("botuser")) == {"pid": his, "name": "sh", "end": f"kill {his}"}


def test_script_of_roots_that_others_may_change_is_not_read_by_root(case: Case) -> None:
    secret = case.people.base / "secret"
    secret.write_text("while true")
    secret.chmod(0o600)
    script = case.people.home / "start.sh"
    script.symlink_to(secret)
    account = account_of("botuser")
    assert parents._shell_loops(["sh", str(script)], "/", account, roots=True) is True
    secret.write_text("nothing of a loop in it")
    assert parents._shell_loops(["sh", str(script)], "/", account, roots=True) is True  # he may not read it


# -- looking and signalling ------------------------------------------------------------------------------------


def test_memory_that_lets_its_reader_wait_keeps_nobody_from_the_next(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")

    def look(name: str) -> str:
        return (tmp_path / name).read_text()

    for name in "ac":
        (tmp_path / name).write_text(name)
    begun = time.monotonic()
    assert for_each(look, ["a", "fifo", "nosuch", "c"], patience=0.2) == ["a", UNANSWERED, None, "c"]
    assert time.monotonic() - begun < 10
    with (tmp_path / "fifo").open("w"):
        pass  # lets the thread that waits go


def test_python_of_his_that_does_not_show_itself_is_a_doubt(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine under load must not make a running bot one that does not run."""
    own = case.its_own()
    monkeypatch.setattr(processes, "_kept", {})
    monkeypatch.setattr(processes, "for_each", lambda _, items, **__: [UNANSWERED] * len(items))
    assert bot_pids(case.bot) == {}
    assert own in doubtful_pids(case.bot)  # uids are shared by all tests that run at this moment


@pytest.mark.parametrize("descriptors", [True, False])
def test_signal_reaches_only_the_process_that_was_meant(monkeypatch: pytest.MonkeyPatch, descriptors: bool) -> None:
    if not descriptors:
        monkeypatch.delattr(os, "pidfd_open", raising=False)
    with subprocess.Popen(["sleep", "300"]) as child:
        stat = procfs.read_stat(child.pid)
        assert stat is not None
        launch._signal(launch.Identity(child.pid, stat.start_time - 1), signal.SIGKILL)  # of the same pid, earlier
        assert child.poll() is None
        launch._signal(launch.Identity(child.pid, stat.start_time), signal.SIGTERM)
        assert child.wait() == -signal.SIGTERM
        launch._signal(launch.Identity(child.pid, stat.start_time), signal.SIGTERM)


def test_a_crowd_of_copies_is_looked_at_in_part(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "COPIES_AT_MOST", 2)
    oldest = [case.its_own() for _ in range(4)][:2]
    assert [process.pid for process in processes.find_processes(case.bot)] == oldest
    assert len(bot_pids(case.bot)) == 4, "all are stopped"
