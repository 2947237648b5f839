"""The watch on a real process: only what is heard counts, what is worse is rolled back, and words change nothing."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from typing import TYPE_CHECKING, Any

import pytest
from ansible.module_utils.webex_rollout import heard, reach
from ansible.module_utils.webex_rollout import soak as kept
from ansible.module_utils.webex_rollout import watch as room
from ansible.module_utils.webex_rollout.evidence import EXTEND, PROMOTE, ROLL_BACK
from ansible.module_utils.webex_rollout.procfs import read_stat
from ansible.module_utils.webex_rollout.state import Phase
from ansible.module_utils.webex_rollout.weather import Look

from tests.unit.rollout.machine import NEW
from tests.unit.watch.conftest import Canary, failures, verdict_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.rollout.machine import Machine

ECHO = NEW.replace("time.sleep(300)", "while True:\n    held.sendall(held.recv(1))")


# --- heard time -------------------------------------------------------------------------------------------------------


def test_time_counts_while_the_channel_is_written(canary: Canary) -> None:
    canary.rolled_out().works(5)
    assert canary.soak.elapsed == pytest.approx(300, abs=1)
    assert canary.soak.work.problem == ""


def test_a_night_without_a_message_counts_while_the_websocket_is_pinged(canary: Canary) -> None:
    canary.rolled_out(ECHO)
    connection, _ = canary.machine.webex.accept()  # of the process as it was found
    connection.close()
    connection, _ = canary.machine.webex.accept()
    canary.does()
    for _ in range(20):
        connection.sendall(b"!")
        assert connection.recv(1) == b"!"
        assert canary.tick() == []
    connection.close()
    assert canary.soak.elapsed == pytest.approx(1200, abs=1)
    assert canary.soak.verdict == EXTEND, "it was there, but did nothing"


def test_its_websocket_is_seen_among_many_connections() -> None:
    """As of a pool of fifty for each host, and of what the bot itself has open."""
    with contextlib.ExitStack() as opened:
        server = opened.enter_context(socket.create_server(("127.0.0.1", 0), backlog=200))
        ends = []
        for _ in range(150):
            mine = opened.enter_context(socket.create_connection(server.getsockname()))
            ends.append((mine, opened.enter_context(server.accept()[0])))
        seen = []
        for _ in range(2):
            for there, back in [*ends, *(end[::-1] for end in ends)]:
                there.sendall(b"!")
                assert back.recv(1) == b"!"
            seen.append(heard.traffic_of([os.getpid()]))
        moved = [inode for inode, each in seen[1].items() if each > seen[0].get(inode, each)]
        assert {str(os.fstat(end.fileno()).st_ino) for pair in ends for end in pair} <= {*moved}


def stop(canary: Canary) -> None:
    os.kill(canary.pid, signal.SIGSTOP)
    canary.machine.wait_for(lambda: getattr(read_stat(canary.pid), "state", "") == "T")


def kill(canary: Canary) -> None:
    pid = canary.pid
    os.kill(pid, signal.SIGKILL)
    canary.machine.wait_for(lambda: not canary.pid)


def hang(canary: Canary) -> None:
    """A dead-locked pool: a call began and neither ends nor fails."""
    # It began with the machine, or an hour ago; longer ago than 1.5 times all tries either way.
    canary.later += 600
    canary.does(requests=1, in_flight=1, oldest_at=max(1, int((canary.now() - 3600) * 1000)))


def fall_silent(canary: Canary) -> None:
    canary.idles(3)


def edit(canary: Canary) -> None:
    canary.machine.script().write_text("VERSION = 'by hand'\n" + canary.machine.script().read_text())


def exchange(canary: Canary) -> None:
    """Deployed over, started, and the files put as they were: what runs is not what is there."""
    text = canary.machine.script().read_text()
    canary.machine.script().write_text(text + "# other text\n")
    canary.machine.systemd.restart_behind(canary.unit)
    canary.machine.wait_for(lambda: f"started new {canary.pid}" in canary.machine.log())  # it has read its text
    canary.machine.script().write_text(text)


def go_without_channel(canary: Canary) -> None:
    canary.path.unlink()


WAYS: dict[str, Callable[[Canary], None]] = {
    "it is stopped by a signal": stop,
    "it does not run": kill,
    "a request has been in flight for ": hang,
    "no sign of life for ": fall_silent,
    "edited since it was rolled out: ": edit,
    "it was not started from ": exchange,
    "its pool module is not heard": go_without_channel,
}


@pytest.mark.parametrize("said", WAYS)
def test_the_clock_stands_while_the_release_is_not_heard_and_nothing_is_promoted(canary: Canary, said: str) -> None:
    canary.rolled_out(acts=False).works(3, answered=50)
    WAYS[said](canary)
    if said.startswith("it was not started"):
        canary.fresh()
    canary.tick()
    before = canary.soak.elapsed
    for _ in range(3):
        if said in (
            "edited since it was rolled out: ",
            "it was not started from ",
            "a request has been in flight for ",
        ):
            canary.does(answered=50)  # at work, but not as it should be
        problems = canary.tick()
    assert canary.soak.work.problem.startswith(said)
    assert problems == [f"jarvis: {canary.soak.work.problem}"]
    assert canary.soak.elapsed == before
    canary.later += 36_000
    canary.tick()
    assert canary.soak.verdict == EXTEND
    assert any("a bot that is heard" in part for part in verdict_of(canary.soak)["missing"])


def test_the_clock_goes_on_when_it_is_heard_again(canary: Canary) -> None:
    canary.rolled_out().works(2)
    stop(canary)
    canary.idles(1)
    os.kill(canary.pid, signal.SIGCONT)
    canary.machine.wait_for(lambda: getattr(read_stat(canary.pid), "state", "") != "T")
    canary.works(2)
    assert canary.soak.elapsed == pytest.approx(240, abs=1)
    assert canary.soak.work.unheard == pytest.approx(60, abs=1)


def test_what_a_release_before_has_counted_is_no_work_of_this_one(canary: Canary) -> None:
    canary.rolled_out()
    ended = canary.directory / "77-5-0.channel"
    canary.does(answered=4)
    data = canary.path.read_bytes()
    ended.write_bytes(data.replace(b"opened=", b"opened=0"))  # no channel: its sum is another
    canary.tick()
    assert canary.soak.work.ended == 4


@pytest.mark.parametrize("data", [b"", b"\0" * 4096, b"x" * 4096, b"y" * 99999])
def test_a_channel_of_any_bytes_is_no_evidence(canary: Canary, data: bytes) -> None:
    canary.rolled_out().works(1)
    canary.path.write_bytes(data)
    assert canary.tick() == ["jarvis: its pool module is not heard"]


# --- a bot that is not heard ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", [stop, hang, go_without_channel, fall_silent])
def test_it_is_started_anew_once_and_goes_on(canary: Canary, way: Callable[[Canary], None]) -> None:
    canary.rolled_out().works(2)
    way(canary)
    pid = canary.pid
    canary.idles(7)
    assert canary.pid not in (0, pid)
    canary.fresh()
    canary.works(3)
    assert canary.soak.work.problem == ""
    assert len(canary.audit()) == 1
    assert "starts anew" in canary.audit()[0]
    assert canary.state.phase is Phase.CONFIRMED


def test_one_that_is_found_stopped_twice_is_started_anew_at_once(canary: Canary) -> None:
    """It was down for five minutes, though nothing else could come of it."""
    canary.rolled_out().works(2)
    stop(canary)
    pid = canary.pid
    canary.idles(1)
    assert canary.pid == pid, "somebody may hold it for a moment"
    canary.idles(1)
    assert canary.pid not in (0, pid)


@pytest.mark.parametrize("way", [stop, go_without_channel])
def test_it_is_rolled_back_when_it_is_not_heard_then_either(canary: Canary, way: Callable[[Canary], None]) -> None:
    canary.rolled_out().works(2)
    way(canary)
    canary.idles(14)
    assert canary.state.phase is Phase.ROLLED_BACK
    assert canary.state.note.startswith("not heard again since it was started anew: its pool module is not heard")
    assert "started old" in canary.machine.log().splitlines()[-2]
    assert canary.idles(10) == [], "then it is watched no longer"


def test_a_unit_that_somebody_stopped_stays_stopped(canary: Canary) -> None:
    canary.rolled_out().works(2)
    canary.machine.systemd(["systemctl", "stop", canary.unit])
    assert canary.idles(60, 600) == ["jarvis: it does not run"]
    assert (canary.pid, canary.state.phase, canary.audit()) == (0, Phase.CONFIRMED, [])


def test_what_somebody_edited_is_neither_started_nor_overwritten(canary: Canary) -> None:
    canary.rolled_out().works(2)
    pid = canary.pid
    edit(canary)
    text = canary.machine.script().read_text()
    said = canary.idles(60, 600)
    assert said == [f"jarvis: edited since it was rolled out: {canary.machine.script()}"]
    assert (canary.pid, canary.machine.script().read_text(), canary.audit()) == (pid, text, [])


def test_a_process_that_ends_again_and_again_is_rolled_back_at_the_third_time(canary: Canary) -> None:
    canary.rolled_out().works(1)
    for _ in range(2):
        canary.machine.systemd.restart_behind(canary.unit)
        canary.fresh()
        canary.works(2)
    assert canary.state.phase is Phase.CONFIRMED, "it may die of what is not its own"
    canary.machine.systemd.restart_behind(canary.unit)
    canary.tick()
    assert canary.state.phase is Phase.ROLLED_BACK
    assert canary.state.note.startswith("it was started again 3 times; ")


def test_ends_that_lie_hours_apart_are_no_loop_and_no_promotion(canary: Canary) -> None:
    canary.rolled_out(soak_min=3000.0, soak_max=1e6).works(1)
    for _ in range(3):
        canary.machine.systemd.restart_behind(canary.unit)
        canary.fresh()
        canary.works(12, answered=9)
        canary.later += 7200
    canary.works(12, answered=9)
    assert canary.state.phase is Phase.CONFIRMED
    assert canary.soak.verdict == EXTEND
    assert verdict_of(canary.soak)["missing"] == ["a process that stays (it was started again 3 times)"]


# --- the verdict, without any controller ------------------------------------------------------------------------------


def test_a_worse_canary_is_rolled_back_within_two_looks(canary: Canary) -> None:
    canary.rolled_out().works(3, answered=1)
    with (canary.machine.home / "logs/jarvis.log").open("a", encoding="utf-8") as log:
        log.write(failures(20))
    canary.does(timeouts=20)
    canary.tick()
    assert canary.state.phase is Phase.ROLLED_BACK
    assert "the likelihood ratio for a worse rate than before is " in canary.state.note
    assert canary.machine.pids(), "as it was found"
    assert "rolls back" in canary.audit()[0]


def test_failures_that_no_log_shows_are_seen_all_the_same(canary: Canary) -> None:
    canary.rolled_out().works(3, answered=1)
    canary.does(timeouts=20)
    canary.tick()
    assert canary.state.phase is Phase.ROLLED_BACK
    assert canary.state.note.startswith("20 of 23 calls fail, and ")


def test_a_good_one_stands_promoted_when_the_next_run_comes(canary: Canary) -> None:
    canary.rolled_out().works(9, answered=2)
    assert canary.soak.verdict == EXTEND
    canary.works(2, answered=2)
    found = canary.soak
    assert found.verdict == PROMOTE
    assert found.gate_state(canary.state.current, "") == PROMOTE
    assert verdict_of(found)["verdict"] == PROMOTE


def test_a_promoted_one_that_turns_out_worse_is_rolled_back(canary: Canary) -> None:
    canary.rolled_out().works(11, answered=2)
    assert canary.soak.verdict == PROMOTE
    canary.does(timeouts=80)
    canary.tick(300)
    assert canary.state.phase is Phase.ROLLED_BACK


def test_a_gate_that_observes_acts_on_nothing(canary: Canary) -> None:
    canary.rolled_out(acts=False).works(3, answered=1)
    canary.does(timeouts=40)
    canary.idles(1)
    assert canary.soak.verdict == ROLL_BACK
    stop(canary)
    canary.idles(20)
    for _ in range(5):
        canary.machine.systemd.restart_behind(canary.unit)
        canary.tick()
    assert (canary.state.phase, canary.audit()) == (Phase.CONFIRMED, [])


def test_while_a_run_is_at_it_the_watch_leaves_it_alone(canary: Canary) -> None:
    canary.rolled_out().works(3, answered=1)
    canary.does(timeouts=40)
    with canary.machine.vm.store("jarvis").mutex():
        canary.tick()
        assert canary.state.phase is Phase.CONFIRMED
    canary.tick()
    assert canary.state.phase is Phase.ROLLED_BACK


def test_in_bad_weather_clocks_stand_and_nothing_is_held_against_the_bot(
    canary: Canary, monkeypatch: pytest.MonkeyPatch
) -> None:
    canary.rolled_out().works(3, answered=2)
    store = canary.machine.vm.store("jarvis")
    before = canary.soak.elapsed
    canary.does(timeouts=100)
    canary.machine.systemd.restart_behind(canary.unit)
    canary.fresh()
    canary.later += 200
    looked = canary.soak
    with monkeypatch.context() as outage:
        outage.setattr(reach, "ask", lambda *_: Look("bad", "connect", "no answer"))
        verdict = room.look(store, looked)
    kept.save(store, looked)
    assert (verdict.verdict, looked.elapsed) == (EXTEND, before)
    assert verdict.reasons[0].startswith("Webex cannot be reached from the VM")
    canary.works(3, answered=2)
    assert canary.soak.work.crashes == 0
    assert canary.soak.evidence().failed_calls == 0
    assert canary.state.phase is Phase.CONFIRMED


def test_requests_that_began_without_webex_may_fail_after_it_is_back(
    canary: Canary, monkeypatch: pytest.MonkeyPatch
) -> None:
    canary.rolled_out().works(3, answered=2)
    began = int(canary.now() * 1000)
    canary.does(requests=3, in_flight=3, oldest_at=began)
    with monkeypatch.context() as outage:
        outage.setattr(reach, "ask", lambda *_: Look("bad", "connect", "no answer"))
        canary.idles(3)
    canary.idles(3)
    canary.does(timeouts=2, in_flight=-2)
    canary.tick()
    assert canary.soak.evidence().failed_calls == 0
    canary.does(timeouts=1, in_flight=-1, oldest_at=-began)
    canary.tick()
    assert canary.soak.evidence().failed_calls == 0
    canary.does(timeouts=1)
    canary.tick()
    assert canary.soak.evidence().failed_calls == 1


def test_requests_that_began_after_it_was_back_are_the_bots_own(
    canary: Canary, monkeypatch: pytest.MonkeyPatch
) -> None:
    canary.rolled_out().works(3, answered=2)
    canary.does(requests=3, in_flight=3, oldest_at=int(canary.now() * 1000))
    with monkeypatch.context() as outage:
        outage.setattr(reach, "ask", lambda *_: Look("bad", "connect", "no answer"))
        canary.idles(3)
    canary.idles(3)
    # Answered, all three, and as many have begun since.
    canary.does(requests=3, answered=3, oldest_at=int(canary.now() * 1000) - canary.counts["oldest_at"])
    canary.tick()
    canary.does(timeouts=3, in_flight=-3)
    canary.tick()
    assert canary.soak.evidence().failed_calls == 3


@pytest.mark.parametrize("started_anew", [False, True])
def test_silence_does_not_grow_while_webex_is_away(
    canary: Canary, monkeypatch: pytest.MonkeyPatch, started_anew: bool
) -> None:
    """Else the first look after an outage would start the bot anew that is just coming back, or roll it back."""
    canary.rolled_out().works(3, answered=2)
    if started_anew:
        canary.path.unlink()
        canary.idles(7)
    done = len(canary.audit())
    canary.path.unlink(missing_ok=True)
    with monkeypatch.context() as outage:
        outage.setattr(reach, "ask", lambda *_: Look("bad", "connect", "no answer"))
        canary.idles(20)
    canary.idles(3)
    assert len(canary.audit()) == done
    assert canary.state.phase is Phase.CONFIRMED
    canary.idles(7)
    assert ("rolls back" if started_anew else "starts anew") in canary.audit()[-1]


def test_a_pass_over_all_bots_asks_once(canary: Canary, monkeypatch: pytest.MonkeyPatch) -> None:
    canary.machine.add_bot("alfred")
    Canary(canary.machine, monkeypatch, "alfred").rolled_out()
    canary.rolled_out()
    asked: list[object] = []
    monkeypatch.setattr(reach, "ask", lambda *given: asked.append(given) or Look("good"))
    canary.tick()
    assert len(asked) == 1


@pytest.mark.parametrize("way", [edit, exchange])
def test_what_something_else_does_is_not_held_against_the_release(
    canary: Canary, way: Callable[[Canary], None]
) -> None:
    canary.rolled_out().works(3, answered=2)
    way(canary)
    if way is exchange:
        canary.fresh()
    with (canary.machine.home / "logs/jarvis.log").open("a", encoding="utf-8") as log:
        log.write(failures(40))
    canary.does(timeouts=40)
    canary.idles(2)
    seen = canary.soak.evidence()
    assert (seen.failed_calls, seen.incidents, seen.requests) == (0, 0, 6)
    assert canary.state.phase is Phase.CONFIRMED


# --- words, and looks that fail ---------------------------------------------------------------------------------------

FORGED = {
    "failures": failures(13),
    "pool lines": "".join(
        f"2026-02-03 10:0{minute}:00,000 - pool.py:1 - WARNING - webex-pool {line}\n"
        for minute, line in enumerate(
            ["ready pid=7 session=bot.session timeout=120", "stats pid=7 requests=900 retried=0 failed=0 open=1"]
        )
    ),
    "no number": "2026-02-03 10:00:00,000 - pool.py:1 - INFO - webex-pool ready pid=7 session=api hears=\u00b2\n",
    "no count": "2026-02-03 10:00:00,000 - b.py:1 - INFO - webex-pool stats pid=7 requests=9\u00b2 failed=99999\n",
}


@pytest.mark.parametrize("what", FORGED)
def test_what_people_write_to_a_bot_changes_nothing(canary: Canary, what: str) -> None:
    canary.rolled_out().works(2)
    with (canary.machine.home / "logs/jarvis.log").open("a", encoding="utf-8") as log:
        log.write(FORGED[what])
    canary.works(7)
    assert canary.soak.verdict == EXTEND
    assert canary.state.phase is Phase.CONFIRMED
    canary.works(3)
    assert canary.soak.verdict == PROMOTE, "its own work counts all the same"


@pytest.mark.parametrize("what", FORGED)
def test_what_people_write_to_a_bot_promotes_none_that_is_not_heard(canary: Canary, what: str) -> None:
    canary.rolled_out(acts=False)
    with (canary.machine.home / "logs/jarvis.log").open("a", encoding="utf-8") as log:
        log.write(FORGED[what])
    canary.idles(30)
    assert (canary.soak.verdict, canary.soak.elapsed, canary.soak.evidence().requests) == (EXTEND, 0, 0)


def damage_the_soak(canary: Canary, monkeypatch: pytest.MonkeyPatch) -> None:
    canary.machine.vm.store("alfred").soak_path.write_text("{")


def lose_the_user(canary: Canary, monkeypatch: pytest.MonkeyPatch) -> None:
    store = canary.machine.vm.store("alfred")
    state = store.need()
    state.bot = type(state.bot)(**{**vars(state.bot), "user": "nobody-at-all"})
    store.save(state)


def have_the_look_fail(canary: Canary, monkeypatch: pytest.MonkeyPatch) -> None:
    real = room.look

    def failing(store: Any, *rest: Any) -> Any:
        if store.bot == "alfred":
            raise ValueError("invalid literal for int() with base 10: '\u00b2'")
        return real(store, *rest)

    monkeypatch.setattr(room, "look", failing)


@pytest.mark.parametrize("way", [damage_the_soak, lose_the_user, have_the_look_fail])
def test_a_look_that_fails_is_that_bots_alone(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, way: Callable[..., None]
) -> None:
    machine.add_bot("alfred")  # comes first
    Canary(machine, monkeypatch, "alfred").rolled_out()
    canary = Canary(machine, monkeypatch)
    canary.rolled_out()
    way(canary, monkeypatch)
    said: list[str] = []
    for _ in range(4):
        canary.does(answered=1)
        said = canary.tick()
    assert [line.partition(":")[0] for line in said] == ["alfred"]
    assert canary.soak.work.ended == 4
