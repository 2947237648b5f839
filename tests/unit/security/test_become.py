"""Acting as the bots' user: less than root, bounded in time and answer, and no link leads out."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest
from ansible.module_utils.webex_rollout import become
from ansible.module_utils.webex_rollout.become import account_of, as_account, run_as
from ansible.module_utils.webex_rollout.entries import Entry
from ansible.module_utils.webex_rollout.errors import BlockedError, RolloutError
from ansible.module_utils.webex_rollout.files import Files
from ansible.module_utils.webex_rollout.tree import is_roots

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.people import People


def who() -> list[object]:
    descriptors = os.listdir("/proc/self/fd")  # noqa: PTH208
    return [os.getresuid(), os.getresgid(), os.getgroups(), len(descriptors), os.path.realpath("/proc/self/fd/0")]


def test_the_child_is_the_user_and_has_no_descriptor_of_roots(people: People) -> None:
    with (people.base / "secret").open("w") as held:
        os.set_inheritable(held.fileno(), True)
        uids, gids, groups, descriptors, stdin = as_account(account_of("botuser"), who)
    assert (uids, gids, groups) == ([4242] * 3, [4242] * 3, [4242])
    assert (descriptors, stdin) == (5, "/dev/null")  # three streams, the pipe, and the look itself


def test_the_child_cannot_become_root_again(people: People) -> None:
    with pytest.raises(PermissionError):
        as_account(account_of("botuser"), os.setuid, 0)


def test_a_program_of_the_users_gets_nothing_of_roots_environment(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROOTS_TOKEN", "secret")
    status, output, _ = run_as(account_of("botuser"), ["/usr/bin/env"])
    assert status == 0
    assert sorted(line.split("=")[0] for line in output.decode().split()) == ["HOME", "LANG", "LOGNAME", "PATH", "USER"]


def test_what_never_answers_is_ended_with_all_that_it_started(people: People) -> None:
    begun = time.monotonic()
    mark = people.home / "sleeper"
    with pytest.raises(RolloutError, match=r"botuser: no answer within 1 s"):
        as_account(account_of("botuser"), os.system, f"echo $$ > {mark}; sleep 300", seconds=1)
    assert time.monotonic() - begun < 60
    pid = int(mark.read_text())
    until = time.monotonic() + 30
    while os.path.exists(f"/proc/{pid}") and open(f"/proc/{pid}/stat").read().split()[2] not in "ZX":  # noqa: PTH110, PTH123, SIM115
        assert time.monotonic() < until


def test_an_endless_answer_is_cut_off(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(become, "ANSWER_LIMIT", 1000)
    with pytest.raises(RolloutError, match="an answer of more than"):
        as_account(account_of("botuser"), str.__mul__, "x", 100_000)


def test_errors_and_bytes_come_home(people: People) -> None:
    account = account_of("botuser")
    assert as_account(account, lambda: {"a": [b"\0\xff", (1, None)]}) == {"a": [b"\0\xff", [1, None]]}
    with pytest.raises(FileNotFoundError) as error:
        as_account(account, os.stat, "/nosuch/place")
    assert error.value.filename == "/nosuch/place"
    with pytest.raises(RolloutError, match="ZeroDivisionError"):
        as_account(account, lambda: 1 // 0)


def test_unknown_user_is_refused() -> None:
    with pytest.raises(RolloutError, match="there is no user nosuchuser on the VM; set bot_user"):
        account_of("nosuchuser")


# -- paths ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("link", ["../roots", "{base}/roots", "inner/../../roots", "/proc/self/root{base}/roots"])
def test_no_link_of_the_users_leads_to_a_directory_outside(people: People, link: str) -> None:
    roots = people.base / "roots"
    roots.mkdir()
    (roots / "jarvis.py").write_text("root's own")
    roots.chmod(0o777)  # even where the user himself might write: it is not the checkout
    checkout = people.home / "IR"
    (checkout / "inner").mkdir(parents=True)
    (checkout / "bots").symlink_to(link.format(base=people.base))
    people.give(people.home)
    files, path = Files("botuser", str(checkout)), str(checkout / "bots/jarvis.py")
    with pytest.raises(BlockedError, match="leads out of"):
        files.look_at(path)
    with pytest.raises(BlockedError, match="leads out of"):
        files.put_back(path, Entry("file", "", 0o644, 4242, 4242, 0), b"the user's")
    with pytest.raises(BlockedError, match="leads out of"):
        files.put_back(path, Entry("absent"), b"")
    assert (roots / "jarvis.py").read_text() == "root's own"
    assert [path.name for path in roots.iterdir()] == ["jarvis.py"]


def test_links_inside_the_checkout_are_followed(people: People) -> None:
    checkout = people.home / "IR"
    (checkout / "real").mkdir(parents=True)
    (checkout / "real/a.py").write_text("a")
    (checkout / "bots").symlink_to("real")
    (checkout / "absolute").symlink_to(checkout / "real")
    people.give(people.home)
    files = Files("botuser", str(checkout))
    assert files.look_at(str(checkout / "bots/a.py"))[1] == b"a"
    assert files.look_at(str(checkout / "absolute/a.py"))[1] == b"a"


def test_a_checkout_that_is_a_link_itself_is_followed(people: People) -> None:
    (people.home / "releases/42").mkdir(parents=True)
    (people.home / "releases/42/a.py").write_text("a")
    (people.home / "current").symlink_to("releases/42")
    people.give(people.home)
    files = Files("botuser", str(people.home / "current"))
    assert files.look_at(str(people.home / "current/a.py"))[1] == b"a"
    assert files.look_at(files.real(str(people.home / "current/a.py")))[1] == b"a"


@pytest.mark.parametrize("kind", ["fifo", "socket-like directory", "sparse"])
def test_what_is_no_file_of_a_release_is_refused_at_once(people: People, kind: str) -> None:
    path = people.home / "a.py"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "sparse":
        with path.open("w") as file:
            file.truncate(64 << 30)
    else:
        path.mkdir()
    people.give(people.home)
    with pytest.raises(BlockedError, match=r"a\.py (is no regular file|has \d+ bytes)"):
        Files("botuser", str(people.home)).look_at(str(path))


def test_a_file_of_somebody_elses_is_refused_before_it_is_lost(people: People) -> None:
    path = people.home / "a.py"
    path.write_text("a")
    path.chmod(0o644)
    files = Files("botuser", str(people.home))
    entry, _ = files.look_at(str(path))
    with pytest.raises(RolloutError, match=r"a\.py belongs to 0:0, and botuser could not restore it .*chown botuser"):
        files.must_be_restorable(str(path), entry)


def test_only_directories_that_nobody_else_may_change_are_roots(tmp_path: Path, people: People) -> None:
    assert is_roots("/etc/systemd/system/x.service")
    assert is_roots(str(tmp_path / "made/later/x"))
    assert not is_roots(str(people.home / "x"))
    assert not is_roots("/tmp/x")
    open_to_all = tmp_path / "open"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    assert not is_roots(str(open_to_all / "x"))
    (tmp_path / "link").symlink_to(people.home)
    assert not is_roots(str(tmp_path / "link/x"))
