"""Nothing is armed where the guard would run something else than what the run has installed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from ansible.module_utils.webex_rollout import installed as room
from ansible.module_utils.webex_rollout.errors import RolloutError
from ansible.module_utils.webex_rollout.installed import FIRST_LINE, must_be_installed
from ansible.module_utils.webex_rollout.questions import release

from plugin_utils.installed import UNITS, installed
from plugin_utils.program import build

if TYPE_CHECKING:
    from tests.unit.people import People


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Hashes of what a run has installed, below a directory that stands for the machine's root."""
    wanted = {}
    for path, sha256 in installed().items():
        place = tmp_path / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.name == "webex-rollout":
            place.write_bytes(FIRST_LINE + build())
            place.chmod(0o755)
            monkeypatch.setattr(room, "PROGRAM", str(place))
        else:
            place.write_bytes((UNITS / place.name).read_bytes())
            place.chmod(0o644)
        wanted[str(place)] = sha256
    return wanted


def test_what_a_run_installs_is_accepted(machine: dict[str, str]) -> None:
    assert len(machine) >= 5
    must_be_installed(machine)


@pytest.mark.parametrize("name", [Path(path).name for path in installed()])
@pytest.mark.parametrize("change", ["bytes", "mode", "owner", "gone", "link"])
def test_whatever_differs_is_refused(machine: dict[str, str], tmp_path: Path, name: str, change: str) -> None:
    path = next(Path(each) for each in machine if Path(each).name == name)
    if change == "bytes":
        path.write_bytes(path.read_bytes() + b"\n")
    elif change == "mode":
        path.chmod(0o666)
    elif change == "owner":
        os.chown(path, 4242, 4242)
    else:
        path.rename(tmp_path / "elsewhere")
        if change == "link":
            path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RolloutError, match=f"{name} is not what this run has installed: .*Nothing was armed"):
        must_be_installed(machine)


def test_another_python_in_the_first_line_is_refused(machine: dict[str, str]) -> None:
    path = next(Path(each) for each in machine if each.endswith("webex-rollout"))
    path.write_bytes(b"#!/home/botuser/python -I\n" + build())
    with pytest.raises(RolloutError, match="webex-rollout is not what this run has installed"):
        must_be_installed(machine)


def test_the_module_arms_nothing_then(machine: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    armed: list[object] = []
    monkeypatch.setattr(release, "arm", lambda *given: armed.append(given))
    given = {"bot": "jarvis", "token": 1, "state": "armed", "seconds": 1.0, "installed": machine}
    release.act(None, given, False)
    Path(next(iter(machine))).unlink()
    with pytest.raises(RolloutError):
        release.act(None, given, False)
    release.act(None, given, True)  # in check mode nothing is installed
    assert len(armed) == 2


def test_a_place_that_somebody_else_could_change_is_refused(people: People) -> None:
    with pytest.raises(RolloutError, match="is not root's alone"):
        must_be_installed({str(people.home / "webex-rollout"): "0"})
