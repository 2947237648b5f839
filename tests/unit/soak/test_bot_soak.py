"""What the VM keeps of a soak: counted once by whichever hand looks, timed by a clock nobody can set, never guessed."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils import bot_soak as kept
from ansible.module_utils.webex_rollout.logs.cursor import look_at_all
from ansible.module_utils.webex_rollout.logs.tally import evidence

from plugin_utils.soak import evidence as evidence_of
from plugin_utils.soak import notes, progress, worth_showing
from plugin_utils.verdict import EXTEND, PROMOTE, Settings, judge

PROJECT = Path(__file__).resolve().parents[3]
FAILED = (
    "2026-02-03 10:{minute:02d}:00,000 - bot.py:7 - ERROR - Error processing message: HTTPSConnectionPool"
    "(host='webexapis.com', port=443): Read timed out. (read timeout=60)\n"
)
READY = "2026-02-03 10:00:00,000 - pool.py:1 - WARNING - webex-pool ready pid=7 session=bot.session timeout=120\n"
STATS = (
    "2026-02-03 10:05:00,000 - pool.py:1 - WARNING - "
    "webex-pool stats pid=7 requests={requests} retried=2 failed=0 recycled=0 open=1\n"
)


def _module() -> Any:
    specification = importlib.util.spec_from_file_location("library_bot_soak", PROJECT / "library/bot_soak.py")
    assert specification
    assert specification.loader
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


module = _module()


def clock(seconds: float, boot: str = "a", epoch: float | None = None) -> dict[str, Any]:
    return {"epoch": 1e9 + seconds if epoch is None else epoch, "since_boot": seconds, "boot": boot}


class Vm:
    """A state directory and the logs of two bots, with a clock of its own."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.state, self.now = path / "state", 100.0
        (self.state / "jarvis").mkdir(parents=True)
        self.logs = {bot: path / f"{bot}.log" for bot in ("jarvis", "tars")}
        for log in self.logs.values():
            log.write_text(FAILED.format(minute=1))
        monkeypatch.setattr(module, "vm_clock", lambda: clock(self.now))
        monkeypatch.setattr(kept, "vm_clock", lambda: clock(self.now))

    @property
    def file(self) -> Path:
        return kept.state_path("jarvis", self.state)

    def before(self) -> dict[str, Any]:
        seen = look_at_all(str(self.logs["jarvis"]), rotated=True)
        return {**evidence(seen.tally), "cursor": seen.cursor.to_dict(), "now": clock(self.now)}

    def look(self, release: str = "r1", **more: Any) -> dict[str, Any]:
        given = {
            "bot": "jarvis",
            "state": "looked",
            "release": release,
            "log": str(self.logs["jarvis"]),
            "before": None,
            "controls": [{"bot": "tars", "log": str(self.logs["tars"])}],
            "recipe": "",
            "until": 1000.0,
            "decision": "",
            "who": "",
            "why": "",
            "record": None,
            "signatures": [],
            "timezone": "",
            **more,
        }
        return module.act(given, check=False, state_dir=self.state)

    def log(self, bot: str, text: str) -> None:
        with self.logs[bot].open("a") as file:
            file.write(text)

    def kept(self) -> dict[str, Any]:
        return json.loads(self.file.read_text())


@pytest.fixture
def vm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Vm:
    return Vm(tmp_path, monkeypatch)


@pytest.fixture
def soaking(vm: Vm) -> Vm:
    vm.look(before=vm.before())
    return vm


def test_a_soak_counts_what_came_after_its_beginning(soaking: Vm) -> None:
    soaking.log("jarvis", READY + FAILED.format(minute=7) + STATS.format(requests=40))
    soaking.log("tars", FAILED.format(minute=8))
    soaking.now += 60
    answer = soaking.look()
    soak = answer["soak"]
    assert answer["resumed"] is True
    assert (soak["elapsed"], soak["own"]["since"]["incidents"], soak["own"]["history"]["incidents"]) == (60, 1, 1)
    seen = evidence_of(soak, Settings())
    assert (seen.requests, seen.hearing, seen.recovered) == (40, True, 2)
    assert [(control.bot, control.incidents) for control in seen.controls] == [("tars", 1)]
    assert soak["series"][-1] == [1e9 + 160, 60, 40, 1, 0, 1]


def test_the_timer_goes_on_where_the_run_ended_and_the_run_where_the_timer_did(soaking: Vm) -> None:
    soaking.log("jarvis", READY + FAILED.format(minute=7))
    soaking.now += 300
    assert kept.sample(soaking.state) == []
    assert soaking.kept()["own"]["since"]["incidents"] == 1
    soaking.log("jarvis", FAILED.format(minute=9))
    soaking.now += 300
    soak = soaking.look()["soak"]
    assert (soak["own"]["since"]["incidents"], soak["elapsed"]) == (2, 600)


def test_what_the_timer_has_seen_outlives_the_log(soaking: Vm) -> None:
    """Five rotations and the first hours are gone; the counts are not."""
    soaking.log("jarvis", READY + FAILED.format(minute=7))
    soaking.now += 300
    kept.sample(soaking.state)
    soaking.logs["jarvis"].rename(soaking.logs["jarvis"].with_suffix(".log.1"))
    soaking.logs["jarvis"].write_text(FAILED.format(minute=9))
    kept.sample(soaking.state)
    soaking.logs["jarvis"].with_suffix(".log.1").unlink()
    assert soaking.look()["soak"]["own"]["since"]["incidents"] == 2
    assert soaking.look()["soak"]["own"]["since"]["gaps"] == []


def test_the_timer_stops_after_the_longest_soak(soaking: Vm) -> None:
    soaking.now += 1100
    kept.sample(soaking.state)
    assert soaking.kept()["elapsed"] == 1100
    soaking.now += 1100
    kept.sample(soaking.state)
    assert soaking.kept()["elapsed"] == 1100


def test_another_release_begins_anew_and_the_timer_cannot_bring_the_old_one_back(soaking: Vm) -> None:
    soaking.now += 60
    with pytest.raises(kept.SoakError, match="the soak has no beginning"):
        soaking.look(release="r2")
    answer = soaking.look(release="r2", before=soaking.before())
    assert (answer["resumed"], answer["soak"]["elapsed"], answer["soak"]["release"]) == (False, 0, "r2")


def test_a_bot_that_has_the_release_by_now_is_no_longer_compared_with(soaking: Vm) -> None:
    assert set(soaking.look()["soak"]["controls"]) == {"tars"}
    assert soaking.look(controls=[])["soak"]["controls"] == {}


def test_a_log_that_vanishes_is_a_problem_not_a_pass(soaking: Vm) -> None:
    soaking.log("jarvis", READY + STATS.format(requests=500))
    soaking.now += 60
    soaking.look()
    soaking.logs["jarvis"].unlink()
    soaking.now += 100_000
    soak = soaking.look()["soak"]
    assert "is missing" in soak["own"]["problem"]
    verdict = judge(evidence_of(soak, Settings(soak_min=0)))
    assert verdict.outcome == EXTEND
    assert any("a readable log" in part for part in verdict.missing)
    assert kept.sample(soaking.state) == []  # past its end; below, within it
    soaking.look(until=1e9)
    assert "is missing" in kept.sample(soaking.state)[0]


def test_a_control_that_cannot_be_read_is_left_out_and_named(soaking: Vm) -> None:
    soaking.logs["tars"].unlink()
    soak = soaking.look()["soak"]
    assert evidence_of(soak, Settings()).controls == ()
    assert "tars is not compared with" in notes(soak)[0]


# --- clocks -----------------------------------------------------------------------------------------------------------


def test_setting_the_clock_neither_shortens_nor_lengthens(soaking: Vm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "vm_clock", lambda: clock(160.0, epoch=1e9 + 86_400))
    soak = soaking.look()["soak"]
    assert soak["elapsed"] == 60
    assert "the VM's time was set by +86240 s" in notes(soak)[0]


def test_a_restart_counts_what_is_certain(soaking: Vm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "vm_clock", lambda: clock(40.0, boot="b", epoch=1e9 + 500))
    soak = soaking.look()["soak"]
    assert soak["elapsed"] == 40
    assert "restarted 1 time;" in notes(soak)[0]


# --- damage -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["", "{", "[]", "null", '{"version": 1}', '"x"'])
def test_a_damaged_state_is_refused_by_name(soaking: Vm, damage: str) -> None:
    soaking.file.write_text(damage)
    with pytest.raises(kept.SoakError, match=r"jarvis: what is kept of its soak .* is damaged.*Nothing is promoted"):
        soaking.look()
    assert "is damaged" in kept.sample(soaking.state)[0]
    assert soaking.file.read_text() == damage


@pytest.mark.parametrize(
    ("field", "value"), [("elapsed", "NaN"), ("elapsed", -1), ("clock", {}), ("own", {}), ("bot", None)]
)
def test_a_field_that_makes_no_sense_is_refused(soaking: Vm, field: str, value: Any) -> None:
    content = soaking.kept()
    content.pop("bot") if field == "bot" else content.update({field: float("nan") if value == "NaN" else value})
    soaking.file.write_text(json.dumps(content))
    with pytest.raises(kept.SoakError, match="is damaged"):
        soaking.look()


def test_a_bot_that_was_never_recorded(vm: Vm) -> None:
    shutil.rmtree(vm.state / "jarvis")
    with pytest.raises(kept.SoakError, match="jarvis: no rollout has recorded this bot"):
        vm.look(before={})


def test_a_state_is_replaced_whole_and_for_root_alone(soaking: Vm) -> None:
    assert soaking.file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in sorted(soaking.file.parent.iterdir())] == ["soak.json", "soak.lock"]


def test_a_look_waits_for_the_one_before(soaking: Vm) -> None:
    looked = threading.Event()

    def look() -> None:
        kept.sample(soaking.state)
        looked.set()

    thread = threading.Thread(target=look)
    with kept.locked(soaking.file):
        thread.start()
        assert not looked.wait(0.2)
    assert looked.wait(30)
    thread.join()


# --- humans -----------------------------------------------------------------------------------------------------------


def test_a_decision_stays_until_it_is_taken_back(soaking: Vm) -> None:
    soak = soaking.look(decision="hold", who="vinay@desk", why="holidays")["soak"]
    assert soaking.look()["soak"]["decision"] == soak["decision"]
    assert judge(evidence_of(soaking.look()["soak"], Settings())).reasons == ["decided by vinay@desk: holidays"]
    assert soaking.look(decision="auto", who="vinay@desk")["soak"]["decision"] is None


def test_a_decision_needs_a_name(soaking: Vm) -> None:
    with pytest.raises(kept.SoakError, match="needs a name"):
        soaking.look(decision="promote")


def test_what_a_soak_stands_for(soaking: Vm) -> None:
    soak = soaking.look(recipe="x")["soak"]
    assert module.standing(None, "r1", "") == "none"
    assert module.standing(soak, "0", "x") == "none", "the release that soaked is not the one that runs"
    assert module.standing(soak, "r1", "y") == "other"
    assert module.standing(soak, "r1", "x") == "extend"
    assert module.standing({**soak, "outcome": PROMOTE}, "r1", "x") == PROMOTE
    held = {**soak, "outcome": PROMOTE, "decision": {"outcome": "hold", "who": "v", "why": ""}}
    assert module.standing(held, "r1", "x") == "paused"


def test_a_verdict_is_kept_with_its_release_alone(soaking: Vm) -> None:
    record = {"verdict": {"outcome": PROMOTE}}
    soak = soaking.look(state="judged", record=record)["soak"]
    assert (soak["outcome"], soak["record"]) == (PROMOTE, record)
    with pytest.raises(kept.SoakError, match="there is no soak of release r2"):
        soaking.look(state="judged", release="r2", record=record)


# --- the program ------------------------------------------------------------------------------------------------------


def test_the_program_runs_beside_the_reader_without_ansible(tmp_path: Path) -> None:
    shutil.copy(PROJECT / "module_utils/bot_soak.py", tmp_path)
    shutil.copytree(PROJECT / "module_utils/webex_rollout", tmp_path / "webex_rollout")
    ended = subprocess.run(
        [sys.executable, "-E", "-s", "-S", str(tmp_path / "bot_soak.py")],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.environ["PATH"]},
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


# --- progress ---------------------------------------------------------------------------------------------------------


def test_progress_says_what_is_missing(soaking: Vm) -> None:
    soaking.log("jarvis", READY + STATS.format(requests=40))
    soaking.now += 60
    seen = evidence_of(soaking.look()["soak"], Settings())
    line = progress(seen, judge(seen), 7200.0)
    assert line.startswith("jarvis: extend after 60 s of 24 h; 0 incidents in 40 requests")
    assert "160 more requests (200 needed)" in line
    assert line.endswith("promote in 119 min at the earliest")


def test_progress_is_steady_in_a_terminal_and_sparse_in_a_log() -> None:
    def lines(terminal: bool) -> int:
        shown: list[float] = []
        for elapsed in range(0, 86_400, 30):
            if worth_showing(shown, elapsed, terminal, changed=False):
                shown.append(elapsed)
        return len(shown)

    assert lines(terminal=True) == 2880
    assert 5 <= lines(terminal=False) <= 20
    assert worth_showing([1.0, 2.0], 3.0, terminal=False, changed=True)
