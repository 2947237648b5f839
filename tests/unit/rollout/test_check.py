"""The start-up check: judged by the process, never by `active`."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest
from ansible.module_utils.webex_rollout import reach
from ansible.module_utils.webex_rollout.clock import Deadline, boot_key
from ansible.module_utils.webex_rollout.disk import unseal
from ansible.module_utils.webex_rollout.errors import RolloutError
from ansible.module_utils.webex_rollout.logs.cursor import fresh_cursor, look_at_all
from ansible.module_utils.webex_rollout.procfs import connections_of, read_stat
from ansible.module_utils.webex_rollout.state import State
from ansible.module_utils.webex_rollout.steps import check as check_room
from ansible.module_utils.webex_rollout.steps.arm import arm
from ansible.module_utils.webex_rollout.steps.check import CheckFailedError, Proof, check_start
from ansible.module_utils.webex_rollout.steps.confirm import confirm
from ansible.module_utils.webex_rollout.steps.record import record
from ansible.module_utils.webex_rollout.steps.roll_back import roll_back
from ansible.module_utils.webex_rollout.steps.step import Result
from ansible.module_utils.webex_rollout.steps.switch import switch
from ansible.module_utils.webex_rollout.systemd import Unit
from ansible.module_utils.webex_rollout.weather import Look

from tests.unit.pool.test_channel_reader import channel, head
from tests.unit.rollout.machine import everywhere

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.rollout.machine import Machine

UNIT = "webex-bot@jarvis.service"


@pytest.fixture
def started(machine: Machine) -> Machine:
    """Jarvis, switched to his unit and not yet checked."""
    machine.nohup()
    record(machine.vm, machine.wanted())
    arm(machine.vm, "jarvis", 600)
    machine.deploy()
    switch(machine.vm, "jarvis")
    return machine


def phase(machine: Machine) -> str:
    return State.load(unseal(machine.state / "jarvis/state.json")).phase


def during_the_hold(action: Callable[[], object]) -> threading.Thread:
    thread = threading.Timer(0.1, action)
    thread.start()
    return thread


def findings(result: Result) -> dict[str, bool]:
    return {str(finding["name"]): bool(finding["ok"]) for finding in result.checks}


def test_passes_with_every_part_looked_at(started: Machine) -> None:
    log = str(started.home / "logs/jarvis.log")
    proof = Proof(0.2, 0, (started.port,), log, fresh_cursor(log).to_dict())
    result = check_start(started.vm, "jarvis", proof)
    assert findings(result) == {
        "stays up": True,
        "one process": True,
        "open files": True,
        "connection": True,
        "environment": True,
        "pool module": True,
    }
    assert phase(started) == "checked"


def test_process_that_ended_fails_at_once(started: Machine) -> None:
    os.kill(started.pids()[0], signal.SIGKILL)
    begun = time.monotonic()
    with pytest.raises(CheckFailedError, match="stays up"):
        check_start(started.vm, "jarvis", Proof(100, 0, (started.port,)))
    assert time.monotonic() - begun < 50
    assert phase(started) == "failed"


def test_one_restart_in_the_hold_is_no_failure(started: Machine) -> None:
    thread = during_the_hold(lambda: started.systemd.restart_behind(UNIT))
    result = check_start(started.vm, "jarvis", Proof(0.6, 0, (started.port,)))
    thread.join()
    assert "restarted once" in str(result.checks[0]["detail"])
    confirm(started.vm, "jarvis")


def test_two_restarts_in_the_hold_are_a_failure(started: Machine) -> None:
    def twice() -> None:
        started.systemd.restart_behind(UNIT)
        started.systemd.restart_behind(UNIT)

    thread = during_the_hold(twice)
    with pytest.raises(CheckFailedError, match="restarted 2 times"):
        check_start(started.vm, "jarvis", Proof(0.6, 0, (started.port,)))
    thread.join()


@pytest.mark.parametrize(
    ("code", "status", "crashed"),
    [(1, 1, True), (1, 0, True), (2, 9, False), (2, 15, False), (2, 11, True), (3, 6, True)],
)
def test_crash_is_told_from_a_kill(code: int, status: int, crashed: bool) -> None:
    waiting = Unit(UNIT, "loaded", "activating", "auto-restart", "enabled", 0, 1, "", code, status, "")
    assert waiting.crashed == crashed
    running = Unit(UNIT, "loaded", "active", "running", "enabled", 7, 1, "", code, status, "")
    assert not running.crashed


def test_stray_copy_fails(started: Machine) -> None:
    stray = started.nohup()
    with pytest.raises(CheckFailedError, match=rf"one process: pids .*{stray}"):
        check_start(started.vm, "jarvis", started.proof)


@pytest.fixture
def silent(machine: Machine) -> Machine:
    """The same, of a release that opens no connection although the one before did."""
    machine.nohup()
    machine.wait_for(lambda: connections_of(machine.pids()[0], (machine.port,)) > 0)
    record(machine.vm, machine.wanted())
    arm(machine.vm, "jarvis", 600)
    machine.deploy(version="import time\ntime.sleep(300)\n")
    switch(machine.vm, "jarvis")
    return machine


def test_no_connection_fails(silent: Machine) -> None:
    with pytest.raises(CheckFailedError, match="connection: no established connection to port 9"):
        check_start(silent.vm, "jarvis", Proof(0.1, 0, (9,)))


def test_connection_of_somebody_else_does_not_count(silent: Machine) -> None:
    with (
        socket.create_connection(("127.0.0.1", silent.port)),
        pytest.raises(CheckFailedError, match="connection"),
    ):
        check_start(silent.vm, "jarvis", silent.proof)


def test_connection_to_the_proxy_of_its_environment_counts(machine: Machine) -> None:
    machine.nohup(env={"HTTPS_PROXY": f"http://user:hush@127.0.0.1:{machine.port}/"})
    record(machine.vm, machine.wanted())
    arm(machine.vm, "jarvis", 600)
    machine.deploy()
    switch(machine.vm, "jarvis")
    result = check_start(machine.vm, "jarvis", Proof(0.1, 0, (443,)))
    assert findings(result)["connection"]
    assert "hush" not in str(result)


def test_limit_below_what_is_wanted_fails(started: Machine) -> None:
    (pid,) = started.pids()
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (64, 64))
    with pytest.raises(CheckFailedError, match=r"open files: 64 \(hard 64\)"):
        check_start(started.vm, "jarvis", Proof(0.1, 128, (started.port,)))


def test_limit_that_the_machine_cannot_give_is_asked_for_only_as_far_as_it_can(
    started: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    (pid,) = started.pids()
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (512, 512))
    everywhere(monkeypatch, "allowed_open_files", lambda: 512)
    result = check_start(started.vm, "jarvis", Proof(0.1, 65536, (started.port,)))
    assert "this machine allows 512" in str([f for f in result.checks if f["name"] == "open files"])


def test_variable_that_did_not_arrive_fails_by_name(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.nohup(env={"EXTRA": "hush"})
    record(machine.vm, machine.wanted())
    arm(machine.vm, "jarvis", 600)
    machine.deploy()
    machine.systemd.unset = {"EXTRA"}
    switch(machine.vm, "jarvis")
    with pytest.raises(CheckFailedError, match=r"environment: not as carried over: EXTRA$") as caught:
        check_start(machine.vm, "jarvis", machine.proof)
    assert "hush" not in str(caught.value.result)


@pytest.mark.parametrize("rotated", [False, True])
def test_ready_line_counts_only_after_the_cursor_and_of_this_process(started: Machine, rotated: bool) -> None:
    (pid,) = started.pids()
    log = started.home / "logs/jarvis.log"
    started.wait_for(lambda: f"pid={pid} " in started.log())
    proof = Proof(0.1, 0, (started.port,), str(log), look_at_all(str(log)).cursor.to_dict())
    log.open("a").write(f"webex-pool ready pid={pid}0 session=api\n")
    with pytest.raises(CheckFailedError, match="pool module: it has no channel, and `webex-pool ready"):
        check_start(started.vm, "jarvis", proof)
    state = State.load(unseal(started.state / "jarvis/state.json"))
    state.phase = "switched"
    started.vm.store("jarvis").save(state)
    # With a head of its own: a line that stood inside of an earlier one is an echo, and no evidence.
    log.open("a").write(f"again - INFO - webex-pool ready pid={pid} session=api\n")
    if rotated:
        log.rename(f"{log}.1")
        log.write_text("after\n")
    assert findings(check_start(started.vm, "jarvis", proof))["pool module"]


def test_process_that_has_passed_need_not_show_its_ready_line_again(started: Machine) -> None:
    log = started.home / "logs/jarvis.log"
    proof = Proof(0.1, 0, (started.port,), str(log))
    assert findings(check_start(started.vm, "jarvis", proof))["pool module"]
    log.write_text("rotated away\n")
    assert "pool module" not in findings(check_start(started.vm, "jarvis", proof))


def test_log_that_cannot_be_read_fails_the_check_and_is_named(started: Machine) -> None:
    cursor = fresh_cursor(str(started.home / "logs/other.log")).to_dict()
    with pytest.raises(CheckFailedError, match=r"pool module: the cursor belongs to log .*other\.log"):
        check_start(started.vm, "jarvis", Proof(0.1, 0, (started.port,), "/nowhere.log", cursor))


def test_deadline_inside_the_hold_is_refused(started: Machine) -> None:
    arm(started.vm, "jarvis", 5)
    switch(started.vm, "jarvis")
    with pytest.raises(RolloutError, match="arm it again with more time"):
        check_start(started.vm, "jarvis", Proof(30))
    assert phase(started) == "switched"


def test_attempt_rolled_back_while_it_settles_is_not_checked_off(started: Machine) -> None:
    thread = during_the_hold(lambda: roll_back(started.vm, "jarvis"))
    with pytest.raises(RolloutError):
        check_start(started.vm, "jarvis", Proof(1, 0, (started.port,)))
    thread.join()
    assert phase(started) == "rolled_back"


def test_only_the_checked_process_is_confirmed(started: Machine) -> None:
    with pytest.raises(RolloutError, match="jarvis is switched; this step needs it to be checked"):
        confirm(started.vm, "jarvis")
    check_start(started.vm, "jarvis", started.proof)
    started.systemd.restart_behind(UNIT)
    with pytest.raises(RolloutError, match="is not the process that was checked"):
        confirm(started.vm, "jarvis")


def test_confirmed_bot_can_be_checked_again_and_stays_confirmed(started: Machine) -> None:
    check_start(started.vm, "jarvis", started.proof)
    confirm(started.vm, "jarvis")
    resource.prlimit(started.pids()[0], resource.RLIMIT_NOFILE, (64, 64))
    with pytest.raises(CheckFailedError):
        check_start(started.vm, "jarvis", Proof(0.1, 128, (started.port,)))
    assert phase(started) == "confirmed"


def test_a_bot_that_its_channel_shows_ready_needs_no_log(started: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Most set-ups of logging take no line of the pool module's."""
    (pid,) = started.pids()
    stat = read_stat(pid)
    assert stat is not None
    directory = started.root / "run"
    directory.mkdir()
    monkeypatch.setattr(check_room, "runtime_directory", lambda _: str(directory))
    file = directory / f"{pid}-{stat.start_time}-0.channel"
    process = f"process pid={pid} start={stat.start_time} boot={boot_key().partition(':')[0]} opened=1"
    proof = Proof(0.1, 0, (started.port,), "/nowhere.log")
    file.write_bytes(channel(process, "session=api timeout=60", head=head(configured=0)))
    with pytest.raises(CheckFailedError, match="pool module: "):
        check_start(started.vm, "jarvis", proof)
    state = State.load(unseal(started.state / "jarvis/state.json"))
    state.phase = "switched"
    started.vm.store("jarvis").save(state)
    file.write_bytes(channel(process, "session=api timeout=60", head=head(configured=2)))
    (said,) = [f["detail"] for f in check_start(started.vm, "jarvis", proof).checks if f["name"] == "pool module"]
    assert said == "its channel has 2 configured sessions"


def test_in_bad_weather_it_looks_again_until_the_bot_can_have_come_up(
    started: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An outage as the bot is switched: no roll back for it, and none for what it ended before."""
    weather = [Look("bad", "connect", "no answer"), Look("bad", "connect", "no answer"), Look("good")]
    real, looks = check_room._watch_once, []

    def watched(*given: object) -> list[check_room.Finding]:
        looks.append(len(weather))
        found = real(*given)
        return found if not weather else [*found, check_room.Finding("connection", False, "none")]

    monkeypatch.setattr(reach, "ask", lambda *_: weather.pop(0))
    monkeypatch.setattr(check_room, "_watch_once", watched)
    check_start(started.vm, "jarvis", Proof(settle=0.1, ports=()))
    assert looks == [3, 2, 1, 0]
    assert phase(started) == "checked"


@pytest.mark.parametrize(("seconds", "passes"), [(60.0, True), (0.0, False)])
def test_after_an_outage_it_looks_on_for_as_long_as_a_bot_may_take_to_come_back(
    started: Machine, monkeypatch: pytest.MonkeyPatch, seconds: float, passes: bool
) -> None:
    """A connection that was tried in the outage is tried again some time after it."""
    weather = [Look("bad", "connect", "no answer"), *[Look("good")] * 4]
    real = check_room._watch_once

    def watched(*given: object) -> list[check_room.Finding]:
        found = real(*given)
        return found if not weather else [*found, check_room.Finding("connection", False, "none")]

    monkeypatch.setattr(reach, "ask", lambda *_: weather.pop(0))
    monkeypatch.setattr(check_room, "_watch_once", watched)
    monkeypatch.setattr(check_room, "BACK_SECONDS", seconds)
    with contextlib.nullcontext() if passes else pytest.raises(CheckFailedError, match="connection: none"):
        check_start(started.vm, "jarvis", Proof(settle=0.1, ports=()))
    assert phase(started) == ("checked" if passes else "failed")


def test_an_outage_ends_at_the_first_good_look_however_long_ago_the_last_bad_one_was(
    started: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look follows each time that the bot was watched, which may be longer than a bot needs to come back."""
    weather = [Look("bad", "connect", "no answer"), Look("good")]
    real, back = check_room._watch_once, 0.3

    def watched(*given: object) -> list[check_room.Finding]:
        found = real(*given)
        if len(weather) == 1:
            time.sleep(2 * back)
        return found if not weather else [*found, check_room.Finding("connection", False, "none")]

    monkeypatch.setattr(reach, "ask", lambda *_: weather.pop(0))
    monkeypatch.setattr(check_room, "_watch_once", watched)
    monkeypatch.setattr(check_room, "LOOK_EVERY", 0.0)
    monkeypatch.setattr(check_room, "BACK_SECONDS", back)
    check_start(started.vm, "jarvis", Proof(settle=0.1, ports=()))
    assert phase(started) == "checked"


@pytest.mark.parametrize("known", [True, False])
def test_a_bot_that_ended_is_asked_for_by_the_way_that_it_had(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    """Without its own certificates every look would be bad, and a release that crashes be waited for, for an hour."""
    if known:
        machine.nohup(env={"SSL_CERT_FILE": "/etc/bots/ca.pem"})
    record(machine.vm, machine.wanted())
    arm(machine.vm, "jarvis", 600)
    go = machine.root / "go"
    machine.deploy(version=f"import os, time\nwhile not os.path.exists({str(go)!r}):\n    time.sleep(0.05)\n")
    switch(machine.vm, "jarvis")
    go.touch()
    machine.wait_for(lambda: not machine.pids())
    asked: list[object] = []
    untrusted = Look("bad", "certificate", "self-signed certificate in certificate chain")
    monkeypatch.setattr(
        reach, "ask", lambda _, variables: asked.append(variables) or (Look("good") if variables else untrusted)
    )
    with pytest.raises(CheckFailedError, match="stays up"):
        check_start(machine.vm, "jarvis", Proof(settle=0.1, ports=()))
    assert asked == [{"SSL_CERT_FILE": "/etc/bots/ca.pem"} if known else {}]


def test_not_for_ever_and_it_says_why(silent: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reach, "ask", lambda *_: Look("bad", "connect", "no answer"))
    monkeypatch.setattr(check_room, "WAIT_AT_MOST", 0.0)
    with pytest.raises(CheckFailedError, match=r"connection.*Webex cannot be reached from the VM \(no answer\)"):
        check_start(silent.vm, "jarvis", Proof(0.1, 0, (9,)))


def test_in_bad_weather_the_deadline_begins_anew(started: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """An outage may be longer than an attempt: its guard, and others who want the lock, have to wait as well."""
    store = started.vm.store("jarvis")
    state = store.need()
    state.deadline = Deadline.after(6.0)
    store.save(state)
    weather, left = [Look("bad", "connect", "no answer")] * 8 + [Look("good")], []
    real = check_room._watch_once

    def watched(*given: object) -> list[check_room.Finding]:
        left.append(store.need().deadline.remaining())
        found = real(*given)
        time.sleep(1)
        return found if not weather else [*found, check_room.Finding("connection", False, "none")]

    monkeypatch.setattr(reach, "ask", lambda *_: weather.pop(0))
    monkeypatch.setattr(check_room, "_watch_once", watched)
    check_start(started.vm, "jarvis", Proof(settle=0.1, ports=()))
    assert min(left) > 0
    assert len(left) == 10
    assert phase(started) == "checked"
