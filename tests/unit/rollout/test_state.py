"""The state on disk: whole or refused, root's alone, and written even when the disk is full."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from ansible.module_utils.webex_rollout.disk import STATE_VERSION, flock, make_directory, seal, sha256, unseal
from ansible.module_utils.webex_rollout.entries import Entry
from ansible.module_utils.webex_rollout.errors import RolloutError
from ansible.module_utils.webex_rollout.files import Files
from ansible.module_utils.webex_rollout.processes import Bot
from ansible.module_utils.webex_rollout.state import FileRule, State
from ansible.module_utils.webex_rollout.steps.arm import arm
from ansible.module_utils.webex_rollout.steps.record import Wanted, record
from ansible.module_utils.webex_rollout.steps.roll_back import roll_back
from ansible.module_utils.webex_rollout.steps.switch import switch
from ansible.module_utils.webex_rollout.store import Vm
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.rollout.machine import OLD, forward

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.unit.people import People
    from tests.unit.rollout.machine import Machine

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(st.dictionaries(st.text(), JSON))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_sealed_file_gives_back_what_it_was_given(tmp_path: Path, content: dict) -> None:
    path = tmp_path / "x"
    path.write_bytes(seal(content))
    assert unseal(path) == content


def test_lock_is_given_back_though_a_child_that_was_forked_meanwhile_lives_on(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    with flock(tmp_path / "mutex", "a test", 0):
        child = os.fork()
        if child == 0:
            os.close(writing)
            os.read(reading, 1)
            os._exit(0)
    try:
        with flock(tmp_path / "mutex", "a test", 0):
            pass
    finally:
        os.close(writing)
        os.close(reading)
        os.waitpid(child, 0)


@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_truncated_or_altered_file_passes(tmp_path: Path, data: st.DataObject) -> None:
    whole = seal({"phase": "confirmed", "attempt": 12, "files": {"/a": ["b"]}})
    cut = data.draw(st.integers(0, len(whole) - 3))
    altered = bytearray(whole)
    at = data.draw(st.integers(0, len(whole) - 2))
    altered[at] ^= data.draw(st.integers(1, 127))
    path = tmp_path / "x"
    path.write_bytes(whole[:cut])
    with pytest.raises(RolloutError, match="is damaged"):
        unseal(path)
    path.write_bytes(bytes(altered))
    try:
        assert unseal(path) == {"phase": "confirmed", "attempt": 12, "files": {"/a": ["b"]}}  # a changed blank
    except RolloutError as error:
        assert "is damaged" in str(error) or "has format" in str(error)


def test_state_of_another_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(seal({}).replace(b'"version": %d' % STATE_VERSION, b'"version": %d' % (STATE_VERSION + 1)))
    with pytest.raises(
        RolloutError, match=f"has format {STATE_VERSION + 1}, this program reads formats up to {STATE_VERSION}"
    ):
        unseal(path)


def test_nobody_but_root_can_look_into_the_state(machine: Machine) -> None:
    old = os.umask(0o002)
    try:
        machine.nohup()
        forward(machine)
    finally:
        os.umask(old)
    paths = [machine.state, *machine.state.rglob("*")]
    assert len(paths) > 8
    assert {oct(path.stat().st_mode & 0o077) for path in paths} == {"0o0"}


@pytest.mark.parametrize("damage", [b"", b"{", None])
def test_damaged_state_is_refused_by_every_step(machine: Machine, damage: bytes | None) -> None:
    pid = machine.nohup()
    record(machine.vm, machine.wanted())
    path = machine.state / "jarvis/state.json"
    path.unlink() if damage is None else path.write_bytes(damage)
    said = "is gone while releases of jarvis are there" if damage is None else "is damaged"
    for step in (
        lambda: record(machine.vm, machine.wanted()),
        lambda: arm(machine.vm, "jarvis", 600),
        lambda: roll_back(machine.vm, "jarvis"),
    ):
        with pytest.raises(RolloutError, match=said):
            step()
    assert machine.pids() == [pid]


def test_state_with_a_missing_field_is_refused(machine: Machine) -> None:
    make_directory(machine.state / "jarvis")
    (machine.state / "jarvis/state.json").write_bytes(seal({"phase": "armed"}))
    with pytest.raises(RolloutError, match="is not what this program writes"):
        machine.vm.store("jarvis").need()


def test_release_whose_bytes_are_damaged_stops_the_rollback_before_the_bot_is_stopped(machine: Machine) -> None:
    machine.nohup()
    forward(machine)
    digest = sha256(OLD.encode())
    (machine.state / "jarvis/blobs" / digest).write_bytes(b"other")
    pids, tree = machine.pids(), machine.tree()
    with pytest.raises(RolloutError, match=f"{digest} is damaged"):
        roll_back(machine.vm, "jarvis", to="0")
    assert (machine.pids(), machine.tree()) == (pids, tree)


def test_bot_that_was_never_recorded_is_said_so(machine: Machine) -> None:
    with pytest.raises(RolloutError, match=r"jarvis was never recorded .*\(recorded: none\)"):
        switch(machine.vm, "jarvis")


@pytest.mark.parametrize("name", ["../x", "", "_shared", "a/b", "a b", "-x"])
def test_name_that_would_be_another_path_is_refused(name: str) -> None:
    with pytest.raises(RolloutError, match="cannot be a bot's name"):
        Bot(name, "/", "x.py", "/usr/bin/python3", "root")


def test_release_is_named_by_its_beginning_or_refused_with_the_list(machine: Machine) -> None:
    machine.nohup()
    forward(machine)
    with pytest.raises(RolloutError, match=r"jarvis has no release 'nosuch' \(there are: 0, "):
        roll_back(machine.vm, "jarvis", to="nosuch")


# -- files ----------------------------------------------------------------------------------------------------


def test_file_is_put_back_with_owner_mode_and_time(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_bytes(b"old")
    os.chown(path, 12, 34)
    path.chmod(0o640)
    os.utime(path, ns=(1, 2_000_000_003))
    entry, data = Files("root", str(tmp_path)).look_at(str(path))
    path.write_bytes(b"new and longer")
    os.chown(path, 0, 0)
    path.chmod(0o777)
    Files("root", str(tmp_path)).put_back(str(path), entry, data)
    assert Files("root", str(tmp_path)).look_at(str(path)) == (entry, b"old")
    assert [entry.name for entry in (tmp_path).iterdir()] == ["a.py"]


def test_link_is_put_back_as_a_link(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.symlink_to("b.py")
    entry, data = Files("root", str(tmp_path)).look_at(str(path))
    path.unlink()
    path.write_text("a file now")
    Files("root", str(tmp_path)).put_back(str(path), entry, data)
    assert str(path.readlink()) == "b.py"


def test_what_was_absent_goes_with_its_cache_and_its_directories(tmp_path: Path) -> None:
    path = tmp_path / "src/utils/pool.py"
    entry, data = Files("root", str(tmp_path)).look_at(str(path))
    (path.parent / "__pycache__").mkdir(parents=True)
    path.write_text("x")
    (path.parent / "__pycache__/pool.cpython-311.pyc").write_text("x")
    Files("root", str(tmp_path)).put_back(str(path), entry, data)
    assert [entry.name for entry in (tmp_path).iterdir()] == []


def test_directory_with_something_else_in_it_stays(tmp_path: Path) -> None:
    path = tmp_path / "new/a.conf"
    entry, data = Files("root", str(tmp_path)).look_at(str(path))
    path.parent.mkdir()
    path.write_text("x")
    (tmp_path / "new/other").write_text("y")
    Files("root", str(tmp_path)).put_back(str(path), entry, data)
    assert [entry.name for entry in (tmp_path / "new").iterdir()] == ["other"]


def test_anything_but_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.py").mkdir()
    with pytest.raises(RolloutError, match="is no regular file"):
        Files("root", str(tmp_path)).look_at(str(tmp_path / "a.py"))


def test_relative_path_is_refused(machine: Machine) -> None:
    wanted = Wanted(machine.bot(), {"webex_bots/jarvis.py": FileRule()})
    with pytest.raises(RolloutError, match="give an absolute path"):
        wanted.rules()


def test_what_a_link_points_to_is_part_of_the_release(machine: Machine) -> None:
    real = machine.home / "real.py"
    machine.script().rename(real)
    machine.script().symlink_to(real)
    machine.nohup()
    record(machine.vm, machine.wanted())
    assert str(real) in machine.vm.store("jarvis").release("0").manifest


# -- a full disk ------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of four megabytes."""
    place = tmp_path / "disk"
    place.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip("may not mount a file system here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def fill(place: Path) -> None:
    with (place / "fill").open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            return


def test_attempt_is_not_opened_on_a_full_disk(machine: Machine, small_disk: Path) -> None:
    machine.state = small_disk / "state"
    pid = machine.nohup()
    before = machine.tree()
    record(machine.vm, machine.wanted())
    fill(small_disk)
    with pytest.raises(RolloutError, match=r"no room for a rollback .* nothing was changed"):
        arm(machine.vm, "jarvis", 600)
    assert machine.tree() == before
    assert machine.pids() == [pid]


def test_rollback_works_though_the_disk_of_the_state_is_full(machine: Machine, small_disk: Path) -> None:
    machine.state = small_disk / "state"
    machine.nohup()
    before = machine.tree()
    record(machine.vm, machine.wanted())
    arm(machine.vm, "jarvis", 600)
    machine.deploy()
    switch(machine.vm, "jarvis")
    fill(small_disk)
    roll_back(machine.vm, "jarvis")
    assert machine.tree() == before
    assert State.load(unseal(machine.state / "jarvis/state.json")).phase == "rolled_back"


def test_file_is_put_back_over_a_longer_one_though_the_disk_is_full(small_disk: Path) -> None:
    path = small_disk / "jarvis.py"
    path.write_bytes(b"o" * 20_000)
    entry, data = Files("root", str(small_disk)).look_at(str(path))
    path.write_bytes(b"n" * 30_000)
    fill(small_disk)
    Files("root", str(small_disk)).put_back(str(path), entry, data)
    assert Files("root", str(small_disk)).look_at(str(path)) == (entry, data)


def test_write_that_fails_leaves_the_old_state(small_disk: Path) -> None:
    vm = Vm(str(small_disk / "state"))
    make_directory(vm.path)
    vm.write(vm.path / "x", {"a": 1})
    fill(small_disk)
    with pytest.raises(RolloutError, match=r"cannot write .* Free some megabytes"):
        vm.write(vm.path / "x", {"a": "b" * 10_000})
    assert unseal(vm.path / "x") == {"a": 1}
    assert [entry.name for entry in vm.path.iterdir()] == ["x"]


def test_audit_that_cannot_be_written_stops_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    vm = Vm(str(tmp_path / "nosuch"))
    vm.audit("rollback", "jarvis", "ok")
    assert "cannot write" in capsys.readouterr().err


def test_entry_survives_its_journey_through_json() -> None:
    entry = Entry("file", "a" * 64, 0o644, 1, 2, 3, "", ("/a", "/a/b"))
    assert Entry.load(json.loads(json.dumps(asdict(entry)))) == entry


def test_directory_that_somebody_removed_comes_back_as_the_bots_users(people: People) -> None:
    path = people.home / "src/utils/webex_pool_config.py"
    path.parent.mkdir(parents=True)
    path.write_text("POOL = 50\n")
    people.give(people.home)
    files = Files("botuser", str(people.home))
    entry, data = files.look_at(str(path))
    shutil.rmtree(path.parent)
    files.put_back(str(path), entry, data)
    assert path.read_text() == "POOL = 50\n"
    made = path.parent.stat()
    assert (made.st_uid, stat.S_IMODE(made.st_mode), path.stat().st_uid) == (4242, 0o755, 4242)
