"""What the VM keeps of a soak: counted once by whichever hand looks, timed by a clock nobody can set, never guessed."""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import json
import os
import shutil
import threading
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible.module_utils.webex_rollout import disk, drift, store, watch
from ansible.module_utils.webex_rollout import soak as kept
from ansible.module_utils.webex_rollout.channel import Heard
from ansible.module_utils.webex_rollout.clock import boot_key, same_boot, up_seconds, vm_clock
from ansible.module_utils.webex_rollout.disk import unseal
from ansible.module_utils.webex_rollout.errors import BusyError, SoakError
from ansible.module_utils.webex_rollout.evidence import EXTEND, PROMOTE
from ansible.module_utils.webex_rollout.heard import Signs
from ansible.module_utils.webex_rollout.logs.cursor import look_at_all
from ansible.module_utils.webex_rollout.logs.tally import evidence
from ansible.module_utils.webex_rollout.processes import Bot
from ansible.module_utils.webex_rollout.questions import soak as answers
from ansible.module_utils.webex_rollout.state import Phase, Release, Runner, State
from ansible.module_utils.webex_rollout.systemd import Unit
from ansible.module_utils.webex_rollout.verdict import judge

from plugin_utils.gate.progress import notes, progress, worth_showing

PROJECT = Path(__file__).resolve().parents[3]
UNIT = "webex-bot@jarvis.service"
FAILED = (
    "2026-02-03 10:{minute:02d}:00,000 - bot.py:7 - ERROR - Error processing message: HTTPSConnectionPool"
    "(host='webexapis.com', port=443): Read timed out. (read timeout=60)\n"
)
# What the pool module says for people.
READY = "2026-02-03 10:00:00,000 - pool.py:1 - WARNING - webex-pool ready pid=7 session=bot.session timeout=120\n"
STATS = (
    "2026-02-03 10:05:00,000 - pool.py:1 - WARNING - "
    "webex-pool stats pid=7 requests={requests} retried=2 failed=0 recycled=0 open=1\n"
)
GATE = {
    "soak_min": 60.0,
    "soak_max": 1000.0,
    "min_requests": 200,
    "timeouts_per_hour": 1.0,
    "alpha": 0.01,
    "beta": 0.05,
}


def _module() -> Any:
    specification = importlib.util.spec_from_file_location("library_webex_soak", PROJECT / "library/webex_soak.py")
    assert specification
    assert specification.loader
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


module = _module()


def clock(seconds: float, boot: str = "a:0", epoch: float | None = None) -> dict[str, Any]:
    return {"epoch": 1e9 + seconds if epoch is None else epoch, "since_boot": seconds, "boot": boot}


class Machine:
    """A state directory and the logs of two bots, a clock of its own, and what jarvis is heard to do."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.boot, self.jump = 100.0, "a:0", 0.0
        self.counts: dict[str, int] = {}
        self.problem = ""
        self.vm = store.Vm(str(path / "state"), who="vinay@desk")
        self.store = self.vm.store("jarvis")
        bot = Bot("jarvis", str(path), "jarvis.py", "python3", "root")
        self.state = State(bot, UNIT, "", {}, Phase.CONFIRMED, current="r1")
        self.store.save(self.state)
        for release in ("r1", "r2"):
            self.store.write_release(Release(release, "rollout", 0.0, {}, Runner("unit", UNIT)))
        self.logs = {bot: path / f"{bot}.log" for bot in ("jarvis", "tars")}
        for log in self.logs.values():
            log.write_text(FAILED.format(minute=1))
        monkeypatch.setattr(watch, "vm_clock", lambda: clock(self.now, self.boot, 1e9 + self.now + self.jump))
        monkeypatch.setattr(watch, "boot_clock", lambda: self.now)
        monkeypatch.setattr(watch, "listen", lambda *_: self.signs())
        for room in (watch, drift):
            monkeypatch.setattr(room, "show_unit", unit)

    @property
    def file(self) -> Path:
        return self.store.soak_path

    def signs(self) -> Signs:
        """A process that was started with the soak, and is heard at every look."""
        count = {"configured": 1, "sequence": int(self.now), **self.counts}
        named = ("pid", "start_time", "boot_id", "opened_at", "versions", "sessions")
        zero = {name: 0 for name in Heard.__dataclass_fields__ if name not in named}
        heard = Heard(7, 1, "a", 100_000, {}, (), **{**zero, **count})
        return Signs(self.problem, pid=7, start_time=1, started=0.0, channels={"7-1-0.channel": heard}, own=[heard])

    def does(self, **counts: int) -> None:
        """Calls that the pool module counts."""
        for name, more in counts.items():
            self.counts[name] = self.counts.get(name, 0) + more

    def before(self) -> dict[str, Any]:
        seen = look_at_all(str(self.logs["jarvis"]), rotated=True)
        return {**evidence(seen.tally), "cursor": seen.cursor.to_dict(), "now": clock(self.now, self.boot)}

    def ask(self, state: str, release: str = "r1", **more: Any) -> dict[str, Any]:
        given = {
            "bot": "jarvis",
            "state": state,
            "release": release,
            "log": str(self.logs["jarvis"]),
            "before": None,
            "controls": [self.control("tars")],
            "settings_hash": "",
            **GATE,
            "watch": 0.0,
            "act": True,
            "heal": True,
            "checks": [],
            "probe": {},
            "decision": "",
            "who": "",
            "why": "",
            "signatures": [],
            "timezone": "",
            **more,
        }
        return answers.act(self.vm, given, check=False)

    def control(self, bot: str, **more: Any) -> dict[str, Any]:
        return {"bot": bot, "user": "root", "log": str(self.logs[bot]), "timezone": None, "signatures": None, **more}

    def look(self, release: str = "r1", **more: Any) -> kept.Soak:
        return kept.Soak.load(self.ask("looked", release, **more)["soak"])

    def tick(self) -> list[str]:
        return watch.watch(self.vm)

    def promote(self, **more: Any) -> None:
        """By hand, and then left to the evidence."""
        soak = self.look(decision="promote", who="vinay@desk", **more)
        assert soak.verdict == PROMOTE
        soak.decision = None
        kept.save(self.store, soak)

    def log(self, bot: str, text: str) -> None:
        with self.logs[bot].open("a") as file:
            file.write(text)

    def kept(self) -> kept.Soak:
        soak = kept.load(self.store)
        assert soak is not None
        return soak

    def put(self, content: dict[str, Any]) -> None:
        self.file.write_bytes(disk.seal(content))


def unit(name: str, active: str = "active") -> Unit:
    return Unit(name, "loaded", active, "running", "enabled", 7, 0, "success", 0, 0, "")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


@pytest.fixture
def soaking(machine: Machine) -> Machine:
    machine.ask("begun", before=machine.before())
    return machine


def test_a_soak_counts_what_came_after_its_beginning(soaking: Machine) -> None:
    soaking.log("jarvis", FAILED.format(minute=7))
    soaking.log("tars", FAILED.format(minute=8))
    soaking.does(answered=39, timeouts=1, retried=2)
    soaking.now += 60
    answer = soaking.ask("looked")
    soak = kept.Soak.load(answer["soak"])
    assert answer["resumed"] is True
    assert (soak.elapsed, soak.own.count("incidents"), soak.own.history["incidents"]) == (60, 1, 1)
    seen = soak.evidence()
    assert (seen.requests, seen.failed_calls, seen.heard, seen.recovered) == (40, 1, True, 2)
    assert [(control.bot, control.incidents) for control in seen.controls] == [("tars", 1)]
    assert soak.series[-1] == [1e9 + 160, 60, 40, 1, 2, 1]
    assert soak.described() == "extend after 60 s, 1 incident in 40 requests"


def test_what_the_pool_module_counted_before_the_soak_is_no_work_of_this_release(machine: Machine) -> None:
    machine.does(answered=500)
    machine.now += 60  # its process was started before
    machine.ask("begun", before=machine.before())
    assert machine.look().evidence().requests == 0
    machine.does(answered=3)
    machine.now += 60
    assert machine.look().evidence().requests == 3


def test_only_what_was_looked_at_was_heard(soaking: Machine) -> None:
    """The timer was off for a day, or the machine slept."""
    soaking.does(answered=500)
    soaking.now += 86_400
    assert soaking.look().elapsed == 600


def test_the_timer_goes_on_where_the_run_ended_and_the_run_where_the_timer_did(soaking: Machine) -> None:
    soaking.log("jarvis", FAILED.format(minute=7))
    soaking.now += 300
    assert soaking.tick() == []
    assert soaking.kept().own.count("incidents") == 1
    soaking.log("jarvis", FAILED.format(minute=9))
    soaking.now += 300
    soak = soaking.look()
    assert (soak.own.count("incidents"), soak.elapsed) == (2, 600)


def test_what_the_timer_has_seen_outlives_the_log(soaking: Machine) -> None:
    """Five rotations and the first hours are gone; the counts are not."""
    soaking.log("jarvis", FAILED.format(minute=7))
    soaking.now += 300
    soaking.tick()
    soaking.logs["jarvis"].rename(soaking.logs["jarvis"].with_suffix(".log.1"))
    soaking.logs["jarvis"].write_text(FAILED.format(minute=9))
    soaking.tick()
    soaking.logs["jarvis"].with_suffix(".log.1").unlink()
    assert soaking.look().own.count("incidents") == 2
    assert soaking.look().own.gaps == ()


def test_after_the_longest_soak_and_watch_the_timer_looks_now_and_then(soaking: Machine) -> None:
    soaking.look(watch=500.0)
    for _ in range(10):
        soaking.now += 300
        soaking.tick()
    seen = soaking.kept().clock
    for _ in range(4):
        soaking.now += 60
        soaking.tick()
    assert soaking.kept().clock == seen
    soaking.now += 60
    soaking.tick()
    assert soaking.kept().clock != seen


def test_the_timer_passes_over_a_promoted_bot_most_of_the_time(soaking: Machine) -> None:
    soaking.promote(watch=9000.0)
    looked = []
    for _ in range(20):
        soaking.now += 30
        soaking.tick()
        looked.append(soaking.kept().clock["since_boot"])
    assert len(set(looked)) == 3


def test_another_release_begins_anew_and_the_timer_cannot_bring_the_old_one_back(soaking: Machine) -> None:
    soaking.promote()
    soaking.now += 60
    soaking.state.current = "r2"
    soaking.store.save(soaking.state)
    soaking.tick()
    assert soaking.kept().elapsed == 0, "what runs now is no evidence of the release before"
    with pytest.raises(SoakError, match="the soak has no beginning"):
        soaking.look(release="r2")
    answer = soaking.ask("looked", release="r2", before=soaking.before())
    assert answer["resumed"] is False
    soak = kept.Soak.load(answer["soak"])
    assert (soak.elapsed, soak.release, soak.verdict) == (0, "r2", EXTEND)


def test_a_bot_that_has_the_release_by_now_is_no_longer_compared_with(soaking: Machine) -> None:
    assert set(soaking.look().controls) == {"tars"}
    assert soaking.look(controls=[]).controls == {}


def test_a_log_that_vanishes_is_a_problem_and_no_evidence(soaking: Machine) -> None:
    soaking.now += 60
    soaking.look()
    soaking.logs["jarvis"].unlink()
    soaking.now += 60
    soak = soaking.look()
    assert "is missing" in soak.own.problem
    assert soak.verdict == EXTEND
    assert "is missing" in soaking.tick()[0]


def test_a_bot_that_is_not_heard_is_not_promoted_whatever_its_log_says(soaking: Machine) -> None:
    soaking.does(answered=500)
    soaking.problem = "its pool module is not heard"
    soaking.now += 60
    soak = soaking.look(soak_min=0, beta=1.0)
    assert (soak.verdict, soak.elapsed) == (EXTEND, 0)
    assert soak.evidence().heard is False
    assert judge(soak.evidence()).missing == [
        "a sign of the pool module since the restart (its pool module is not heard)"
    ]


def test_a_control_that_cannot_be_read_is_left_out_and_named(soaking: Machine) -> None:
    soaking.look()
    soaking.logs["tars"].unlink()
    soak = soaking.look()
    assert soak.evidence().controls == ()
    assert "tars is left out of the comparison: " in notes(soak)[0]


def test_each_log_is_read_in_its_own_time_zone_with_its_own_signatures(machine: Machine) -> None:
    """The canary's were used for all: failures of an hour ago would have been counted into another hour."""
    own = {"name": "mine", "text": "no such room", "kind": "failure"}
    machine.ask(
        "begun",
        before=machine.before(),
        timezone="UTC",
        controls=[machine.control("tars", timezone="Asia/Tokyo", signatures=[own])],
    )
    for bot in ("jarvis", "tars"):
        machine.log(bot, "2026-02-03 10:30:00,000 - bot.py:7 - ERROR - no such room\n")
        machine.log(bot, FAILED.format(minute=40))
    machine.tick()
    soak = machine.kept()
    jarvis, tars = soak.own, soak.controls["tars"]
    assert (jarvis.count("failures"), tars.count("failures")) == (1, 2)
    assert jarvis.since["last_time"] - tars.since["last_time"] == 9 * 3600


# --- the same release begun anew --------------------------------------------------------------------------------------


def test_a_promoted_release_that_is_healed_stays_promoted_under_its_settings(soaking: Machine) -> None:
    """After `git restore .` and a restart by hand, the fleet was refused for ever: the heal had blanked the hash."""
    soaking.look(settings_hash="x")
    soaking.promote(settings_hash="x")
    before = soaking.kept()
    soaking.log("jarvis", 20 * FAILED.format(minute=30))  # what ran meanwhile was not the release
    soaking.now += 5000
    answer = soaking.ask("begun", before=soaking.before())
    healed = kept.Soak.load(answer["soak"])
    assert (healed.settings_hash, healed.verdict, healed.record) == ("x", PROMOTE, before.record)
    assert healed.gate_state("r1", "x") == PROMOTE
    assert answer["resumed"] is False
    assert (healed.elapsed, healed.own.count("incidents"), healed.series[:-1]) == (0, 0, [])
    assert healed.own.history == before.own.history, "compared with the time before the release, not with the mishap"


def test_the_same_release_started_again_with_other_settings_has_no_verdict(soaking: Machine) -> None:
    soaking.look(settings_hash="x")
    soaking.promote(settings_hash="x")
    soaking.now += 60
    answer = soaking.ask("begun", settings_hash="y", before=soaking.before())
    assert (answer["soak"]["verdict"], answer["soak"]["elapsed"], answer["soak"]["settings_hash"]) == ("", 0, "y")


def test_the_release_that_goes_on_running_has_other_settings_stated_and_soaks_on(soaking: Machine) -> None:
    """A comment in a template changes the hash and not the release: a soak begun anew would lose its day."""
    soaking.look(settings_hash="x")
    soaking.now += 60
    soak = soaking.look(settings_hash="y")
    assert (soak.settings_hash, soak.elapsed) == ("y", 60)
    soaking.promote(settings_hash="z")
    assert (soaking.kept().settings_hash, soaking.kept().verdict) == ("z", PROMOTE)


@pytest.mark.parametrize("kept", ["x", ""])
def test_a_promoted_release_has_the_present_settings_stated_without_a_look(
    soaking: Machine, kept: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fleet asks what the canary ran with, and was refused for ever. A look could find it unstable weeks later."""
    soaking.promote(settings_hash=kept)
    monkeypatch.setattr(answers, "unstable", lambda *_: "it was restarted 1 time since it began")
    before = soaking.kept()
    soaking.now += 5000
    soaking.log("jarvis", 20 * FAILED.format(minute=30))
    answer = soaking.ask("looked", settings_hash="w")
    assert (answer["unstable"], answer["resumed"]) == ("", True)
    assert soaking.kept() == replace(before, settings_hash="w")
    assert soaking.ask("looked")["soak"]["settings_hash"] == "w"


def test_a_promoted_release_needs_no_room_and_waits_for_nobody(
    soaking: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that failed here rolled the bot back, though nothing was to be written."""
    soaking.promote(settings_hash="x")

    def busy(store: Any) -> Any:
        raise BusyError("another look is still running")

    monkeypatch.setattr(answers, "locked", busy)
    for known in ("x", ""):
        assert soaking.ask("looked", settings_hash=known)["soak"]["verdict"] == PROMOTE
    with pytest.raises(BusyError):
        soaking.ask("looked", settings_hash="y")


def test_a_promoted_soak_that_is_forgotten_meanwhile_is_not_begun_by_a_look(
    soaking: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    soaking.promote(settings_hash="x")
    real = answers.locked

    @contextlib.contextmanager
    def late(store: Any) -> Iterator[None]:
        soaking.file.unlink()
        with real(store):
            yield

    monkeypatch.setattr(answers, "locked", late)
    soaking.ask("looked", settings_hash="y")
    assert not soaking.file.exists()


def test_a_promoted_release_is_looked_at_when_a_human_decides_or_another_one_runs(
    soaking: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    soaking.promote()
    monkeypatch.setattr(answers, "unstable", lambda *_: "it was restarted 1 time since it began")
    assert soaking.ask("looked", decision="pause", who="me", why="holidays")["unstable"]
    assert soaking.ask("looked", release="r2", before=soaking.before())["unstable"]


def test_a_call_that_states_no_settings_leaves_them_as_they_are(soaking: Machine) -> None:
    soaking.look(settings_hash="x")
    assert soaking.look().settings_hash == "x"
    soaking.promote()
    assert (soaking.kept().settings_hash, soaking.kept().verdict) == ("x", PROMOTE)


def test_settings_that_were_lost_are_stated_by_the_next_look_and_the_verdict_stays(soaking: Machine) -> None:
    soaking.promote()
    assert soaking.kept().settings_hash == ""
    assert soaking.kept().gate_state("r1", "x") == "other"
    soak = soaking.look(settings_hash="x")
    assert soak.gate_state("r1", "x") == PROMOTE


# --- clocks -----------------------------------------------------------------------------------------------------------


def test_setting_the_clock_neither_shortens_nor_lengthens(soaking: Machine) -> None:
    soaking.now, soaking.jump = 160.0, 86_240.0
    soak = soaking.look()
    assert soak.elapsed == 60
    assert "The VM's clock was set by +86240 s" in notes(soak)[0]


def test_a_restart_counts_what_is_certain(soaking: Machine) -> None:
    soaking.now, soaking.boot, soaking.jump = 40.0, "b:0", 460.0
    soak = soaking.look()
    assert soak.elapsed == 40
    assert "restarted 1 time;" in notes(soak)[0]


def test_the_down_time_of_a_container_is_no_soak(soaking: Machine) -> None:
    """It has its host's boot id and time since boot; only its first process tells that it was started anew."""
    started = 5000 * os.sysconf("SC_CLK_TCK")
    soaking.now, soaking.boot = 5030.0, f"a:{started}"
    soak = soaking.look()
    assert (soak.elapsed, soak.boots) == (30, 1)


# --- damage -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["", "{", "[]", "null", '{"version": 1}', '"x"'])
def test_a_damaged_state_is_refused_by_name(soaking: Machine, damage: str) -> None:
    soaking.file.write_text(damage)
    with pytest.raises(SoakError, match=r"jarvis: what is kept of its soak .* is damaged.*Nothing is promoted"):
        soaking.look()
    assert "is damaged" in soaking.tick()[0]
    assert soaking.file.read_text() == damage


@pytest.mark.parametrize(
    ("field", "value"), [("elapsed", "NaN"), ("elapsed", -1), ("clock", {}), ("own", {}), ("bot", None)]
)
def test_a_field_that_makes_no_sense_is_refused(soaking: Machine, field: str, value: Any) -> None:
    content = asdict(soaking.kept())
    content.pop("bot") if field == "bot" else content.update({field: float("nan") if value == "NaN" else value})
    soaking.put(content)
    with pytest.raises(SoakError, match="is damaged"):
        soaking.look()


def test_a_changed_byte_is_found_out(soaking: Machine) -> None:
    soaking.file.write_bytes(soaking.file.read_bytes().replace(b'"elapsed": 0.0', b'"elapsed": 9.0'))
    with pytest.raises(SoakError, match=r"is damaged .its checksum is another"):
        soaking.look()


def test_a_soak_of_a_newer_program_is_no_damage(soaking: Machine) -> None:
    soaking.file.write_bytes(
        soaking.file.read_bytes().replace(b'"version": %d' % disk.STATE_VERSION, b'"version": 9', 1)
    )
    with pytest.raises(SoakError, match="a newer program wrote it") as refusal:
        soaking.look()
    assert "Remove that file" not in str(refusal.value)


def test_a_bot_that_was_never_recorded(machine: Machine) -> None:
    shutil.rmtree(machine.store.path)
    with pytest.raises(SoakError, match="jarvis: no rollout has recorded this bot"):
        machine.ask("begun", before={})
    assert not machine.store.path.exists()


def test_a_state_is_replaced_whole_and_for_root_alone(soaking: Machine) -> None:
    assert soaking.file.stat().st_mode & 0o777 == 0o600
    names = [path.name for path in sorted(soaking.file.parent.iterdir())]
    assert names == ["releases", "soak.json", "soak.lock", "state.json"]
    assert unseal(soaking.file)["bot"] == "jarvis"


def test_a_look_waits_for_the_one_before(soaking: Machine) -> None:
    looked = threading.Event()

    def look() -> None:
        soaking.tick()
        looked.set()

    thread = threading.Thread(target=look)
    with kept.locked(soaking.store):
        thread.start()
        assert not looked.wait(0.2)
    assert looked.wait(30)
    thread.join()


# --- what cannot be written -------------------------------------------------------------------------------------------


@pytest.fixture
def no_room(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """A disk that takes nothing, for this reason; its text."""

    def refuse(path: Path, data: bytes, mode: int = 0o600) -> None:
        raise OSError(request.param, os.strerror(request.param), str(path))

    monkeypatch.setattr(store, "write_whole", refuse)
    return os.strerror(request.param)


@pytest.mark.parametrize("no_room", [errno.ENOSPC, errno.EROFS], indirect=True)
def test_what_cannot_be_written_is_one_sentence_of_the_module(
    machine: Machine, no_room: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(answers, "Vm", lambda: machine.vm)
    monkeypatch.setattr(answers, "unstable", lambda *_: "")
    given = {"bot": "jarvis", "state": "looked", "release": "r1", "log": str(machine.logs["jarvis"]), **GATE}
    with patch_module_args({**given, "before": machine.before()}), pytest.raises(SystemExit):
        module.main()
    answer = json.loads(capsys.readouterr().out)
    assert answer["failed"] is True
    assert no_room in answer["msg"]
    assert str(machine.file.parent) in answer["msg"]
    assert "exception" not in answer


@pytest.mark.parametrize("no_room", [errno.ENOSPC, errno.EROFS], indirect=True)
def test_what_the_timer_cannot_write_is_a_problem_of_that_bot(soaking: Machine, no_room: str) -> None:
    problems = soaking.tick()
    assert len(problems) == 1
    assert no_room in problems[0]
    assert "jarvis" in problems[0]


def test_a_full_disk_costs_the_reserve_before_the_soak(soaking: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    soaking.vm.reserve_room()
    write = store.write_whole

    def refuse(path: Path, data: bytes, mode: int = 0o600) -> None:
        if (soaking.vm.path / "reserve").exists():
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        write(path, data, mode)

    monkeypatch.setattr(store, "write_whole", refuse)
    soaking.now += 60
    assert soaking.tick() == []
    assert soaking.kept().elapsed == 60


# --- humans -----------------------------------------------------------------------------------------------------------


def test_a_decision_stays_until_it_is_withdrawn(soaking: Machine) -> None:
    soak = soaking.look(decision="pause", who="vinay@desk", why="holidays")
    assert soaking.look().decision == soak.decision
    assert judge(soaking.look().evidence()).reasons == ["decided by vinay@desk: holidays"]
    assert ", pause by vinay@desk" in soak.described()
    assert soaking.look(decision="auto", who="vinay@desk").decision is None


def test_a_decision_needs_a_name(soaking: Machine) -> None:
    with pytest.raises(SoakError, match="needs a name"):
        soaking.look(decision="promote")


def test_what_a_soak_means_for_other_bots(soaking: Machine) -> None:
    soak = soaking.look(settings_hash="x")
    assert soak.gate_state("0", "x") == "none", "the release that soaked is not the one that runs"
    assert soak.gate_state("r1", "y") == "other"
    assert soak.gate_state("r1", "x") == EXTEND
    soak.verdict = PROMOTE
    assert soak.gate_state("r1", "x") == PROMOTE
    soak.decision = {"verdict": "pause", "who": "v", "why": ""}
    assert soak.gate_state("r1", "x") == "paused"


def test_no_soak_is_none(machine: Machine) -> None:
    answer = machine.ask("read")
    assert (answer["soak"], answer["gate_state"], answer["resumed"]) == (None, "none", False)


def test_a_soak_that_is_read_has_its_length(soaking: Machine) -> None:
    soaking.now += 60
    soaking.tick()
    assert soaking.ask("read")["soak"]["elapsed"] == 60


# --- format 1 ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def old(machine: Machine) -> Machine:
    """A canary that soaks under version 0.1.0: format1.json is what that program wrote, an hour after the switch."""
    text = (Path(__file__).parent / "format1.json").read_text()
    for bot, log in machine.logs.items():
        text = text.replace(f"/home/vinay/pub/IR/logs/{bot}.log", str(log))
    machine.file.write_text(text)
    ready = READY.replace("timeout=120", "timeout=120 hears=30")
    machine.log("jarvis", ready + FAILED.format(minute=7) + STATS.format(requests=40))
    machine.log("tars", FAILED.format(minute=8))
    machine.now, machine.boot = 3760.0, f"{json.loads(text)['clock']['boot']}:1"
    return machine


def test_a_canary_that_soaks_under_the_old_program_goes_on(old: Machine) -> None:
    """What it had seen is kept, its time is not: nobody knows whether the bot was at work in it."""
    old.log("jarvis", FAILED.format(minute=50))
    assert old.tick() == []
    soak = old.kept()
    assert (soak.elapsed, soak.boots, soak.clock["boot"]) == (60, 0, old.boot), "the upgrade is no restart"
    assert (soak.release, soak.settings_hash, soak.until) == ("r1", "f" * 64, 172800)
    assert soak.verdict == "hold"
    assert soak.own.count("incidents") == 2
    seen = soak.evidence()
    assert [(control.bot, control.incidents) for control in seen.controls] == [("tars", 1)]
    assert seen.decision is not None
    assert (seen.decision.verdict, seen.decision.who, seen.decision.why) == ("hold", "vinay@desk", "holidays")
    assert soak.gate_state("r1", "f" * 64) == "paused"
    assert len(soak.series) == 3
    assert "sha256" in json.loads(old.file.read_text()), "sealed from now on"


def test_nothing_acts_on_an_old_soak_before_a_run_has_seen_to_its_channel(old: Machine) -> None:
    """The bot runs without one, and could not be heard however often it is started anew."""
    old.problem = "its pool module is not heard"
    for _ in range(100):
        old.now += 30
        old.tick()
    soak = old.kept()
    assert (soak.acts, soak.work.restarted, soak.elapsed) == (False, None, 0)
    assert old.look().acts is True


def test_a_verdict_of_the_old_program_stays_with_a_record_of_its_own(old: Machine) -> None:
    content = json.loads(old.file.read_text())
    content["decision"], content["outcome"] = None, PROMOTE
    old.file.write_text(json.dumps(content))
    old.now += 300
    old.tick()
    soak = old.kept()
    assert soak.verdict == PROMOTE
    assert soak.record is not None
    assert soak.record["verdict"]["reasons"] == ["it was promoted before, and is not worse since"]


def test_what_the_old_program_has_seen_is_shown_before_the_next_look(old: Machine) -> None:
    soak = old.kept()
    assert soak.own.count("incidents") == 1
    assert soak.described() == "hold after 0 s, 1 incident in 0 requests, pause by vinay@desk"


def test_a_reboot_between_the_old_program_and_the_new_one_is_a_reboot(old: Machine) -> None:
    old.now, old.boot = 50.0, "another:0"
    old.tick()
    assert (old.kept().elapsed, old.kept().boots) == (50, 1)


def test_reading_an_old_soak_leaves_its_bytes(old: Machine) -> None:
    before = old.file.read_bytes()
    old.ask("read")
    assert old.file.read_bytes() == before


def test_the_old_name_of_this_very_boot_is_known() -> None:
    key = boot_key()
    assert same_boot(key.partition(":")[0], key)
    assert same_boot(key, key)
    assert not same_boot("another", key)
    assert not same_boot(f"{key}1", key)
    assert 0 < up_seconds(vm_clock()) <= vm_clock()["since_boot"]


# --- progress ---------------------------------------------------------------------------------------------------------


def test_progress_says_what_is_missing(soaking: Machine) -> None:
    soaking.does(answered=40)
    soaking.now += 60
    seen = soaking.look(soak_min=86_400.0, soak_max=172_800.0).evidence()
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
