"""State that version 0.1.0 wrote is read by this program, and state of a newer one is refused.

The files of `format1` were written by the program of version 0.1.0.
"""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path

import pytest
from ansible.module_utils.webex_rollout.disk import STATE_VERSION, format_of, seal
from ansible.module_utils.webex_rollout.errors import RolloutError
from ansible.module_utils.webex_rollout.lock import read_lock
from ansible.module_utils.webex_rollout.state import Phase
from ansible.module_utils.webex_rollout.store import Vm

FORMAT1 = Path(__file__).parent / "format1"


def kept(tmp_path: Path, name: str) -> Vm:
    """A machine on which the old program has left jarvis in this phase."""
    (tmp_path / "jarvis").mkdir()
    shutil.copy(FORMAT1 / f"{name}.json", tmp_path / "jarvis/state.json")
    shutil.copy(FORMAT1 / "lock.json", tmp_path / "lock.json")
    return Vm(str(tmp_path))


@pytest.mark.parametrize("phase", [Phase.CONFIRMED, Phase.CHECKED, Phase.ROLLING_BACK, Phase.ROLLED_BACK])
def test_state_of_the_first_version_is_read_and_kept_in_the_present_format(tmp_path: Path, phase: Phase) -> None:
    store = kept(tmp_path, phase.value).store("jarvis")
    state = store.load()
    assert state is not None
    assert state.phase is phase
    assert (state.bot.name, state.attempt, state.token, state.stop_seconds) == ("jarvis", 2, 5, 10.0)
    assert format_of(store.path / "state.json") == 1
    store.save(state)
    assert format_of(store.path / "state.json") == STATE_VERSION
    assert store.load() == state


def test_what_a_rollback_needs_is_carried_over(tmp_path: Path) -> None:
    state = kept(tmp_path, "rolling_back").store("jarvis").need()
    assert (state.roll_back_to, state.tries) == ("0", 1)
    assert state.restoring == ["/home/vinay/pub/IR/webex_bots/jarvis.py"]
    assert state.retry is not None


def test_lock_of_the_first_version_is_held_on(tmp_path: Path) -> None:
    lock = read_lock(kept(tmp_path, "confirmed"))
    assert lock.token == 5
    assert lock.holder is not None
    assert lock.holder.who == "anna"


def test_reserve_has_one_name(tmp_path: Path) -> None:
    vm = kept(tmp_path, "confirmed")
    (tmp_path / "ballast").write_bytes(b"old")
    vm.reserve_room()
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["lock.json", "reserve"]


def test_newer_state_is_refused_with_the_next_step(tmp_path: Path) -> None:
    vm = kept(tmp_path, "confirmed")
    path = tmp_path / "jarvis/state.json"
    content = asdict(vm.store("jarvis").need())
    newer = seal(content).replace(f'"version": {STATE_VERSION}'.encode(), b'"version": 9')
    path.write_bytes(newer)
    with pytest.raises(RolloutError, match=r"has format 9.*newer program.*Run the newer checkout"):
        vm.store("jarvis").load()
    assert path.read_bytes() == newer


def test_damaged_file_of_the_first_version_is_still_damaged(tmp_path: Path) -> None:
    vm = kept(tmp_path, "confirmed")
    path = tmp_path / "jarvis/state.json"
    path.write_bytes(path.read_bytes().replace(b'"attempt": 2', b'"attempt": 3'))
    with pytest.raises(RolloutError, match="is damaged"):
        vm.store("jarvis").load()
