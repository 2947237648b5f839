# SPDX-License-Identifier: GPL-3.0-or-later
"""The watch: looks at every bot of the VM, judges what soaks, and acts on the verdict, whoever is connected.

A run of the playbook looks by the same function (`look`), so that it does not matter who looks.
"""

from __future__ import annotations

import time
from dataclasses import replace

from .answers import answer_of
from .bulletin import make_known, publish, rolled_back, second_copy
from .clock import boot_clock, same_boot, vm_clock
from .drift import edited_files, note_running, second_copies, stale_files
from .errors import BusyError, RolloutError
from .evidence import PROMOTE, ROLL_BACK
from .heard import UNHEARD_SECONDS, Signs, listen
from .launch import stop_copies
from .messages import ANSWERED, SILENT, UNKNOWN
from .own_checks import PROBE, problems_of
from .paths import runtime_directory
from .reach import Ways, is_fair, was_fair, weather_of
from .record import to_record
from .soak import Soak, load, locked, save
from .state import Phase, State
from .steps.roll_back import roll_back_held
from .store import Store, Vm
from .systemd import Unit, show_unit, systemctl
from .verdict import CRASHES, Verdict, judge
from .weather import load_weather

# `CRASHES` ends within so many seconds, in good weather, are the release's fault. A bot may die of what
# is not its own.
CRASH_SECONDS = 3600.0
# The timer ticks for those that soak; the others are looked at this often.
PROMOTED_EVERY, TICK = 300.0, 30.0
# So many looks in a row at which a required check fails are the release's fault, while it soaks.
FAILED_LOOKS = 3
# Seconds that a second copy has to end by itself: others wait for their turn meanwhile.
COPY_STOP = 10.0


def look(store: Store, soak: Soak, ways: Ways | None = None) -> Verdict:
    """Look at a bot that soaks, and judge what is known by now. The soak's mutex is held; the soak is not written.

    :param ways: of `weather_of`.
    """
    state = store.need()
    unit = show_unit(state.unit)
    signs = listen(state.bot.user, runtime_directory(state.bot.name), unit.main_pid)
    weather = weather_of(store, state, unit.main_pid, ways)
    fair = is_fair(weather) or soak.work.answered_lately(signs)
    _compare(store, state, soak, signs)
    soak.work.copies = len(second_copies(state, unit)) if state.phase is Phase.CONFIRMED else 0
    now, work = vm_clock(), soak.work
    if work.restarts < 0 and state.running is not None and same_boot(state.running.boot, now["boot"]):
        work.restarts = state.running.restarts
    soak.look(now, signs, fair)
    if not _says_nothing(unit, fair, work.drift):
        _check(store, state, soak, unit.main_pid, now["since_boot"])
    # Of what happened in an outage between two looks nobody knows whose fault it was: the next tick looks again.
    work.unsettled = 0 <= work.restarts < unit.restarts
    work.crashed(unit.restarts, now["since_boot"], fair and was_fair(weather, 3 * TICK) and not work.drift)
    bad = "" if fair else f"Webex cannot be reached from the VM ({weather.reason or 'the last look failed'})"
    evidence = replace(soak.evidence(), fault=_fault(soak, unit, now["since_boot"]), weather=bad)
    verdict = judge(evidence)
    if verdict.verdict != soak.verdict or soak.verdict != PROMOTE or soak.record is None:
        soak.verdict, soak.record = verdict.verdict, to_record(evidence, verdict)
    return verdict


def _check(store: Store, state: State, soak: Soak, pid: int, now: float) -> None:
    """Take in what the operator's own checks find, and whether the bot answers."""
    work, problems = soak.work, problems_of(state.bot.user, soak.checks)
    asked = answer_of(store, soak, pid, now)
    if asked is not None:
        work.probed, work.probed_at = asked.state, now
        if asked.state == UNKNOWN:
            work.unprobed, work.unprobed_looks = asked.said, work.unprobed_looks + 1
        else:
            work.unprobed, work.unprobed_looks = "", 0
            problems[PROBE] = asked.said if asked.state == SILENT else ""
        if asked.state == ANSWERED:
            work.worked_at = now
    work.checked(problems, now, kept=() if PROBE in problems or not soak.probe else (PROBE,))


def _says_nothing(unit: Unit, fair: bool, drift: bool) -> bool:
    """Whether what a check found would say nothing of the release: it does not run, or not it, or Webex is away."""
    return not unit.main_pid or not fair or drift


def _compare(store: Store, state: State, soak: Soak, signs: Signs) -> None:
    """Note in the signs why what runs is not the release that soaks, if so."""
    release = state.candidate if state.phase in (Phase.SWITCHED, Phase.CHECKED) else state.current
    if release != soak.release:
        signs.drift = f"release {soak.release} is not what it runs any more"
        return
    kept = store.release(release)
    looks = state.bot.files.entries_of(kept.manifest)
    edited = edited_files(store, state, kept, looks)
    soak.work.edited = len(edited)
    if edited:
        signs.drift = f"edited since it was rolled out: {', '.join(edited)}"
    elif signs.pid and not signs.problem:
        # One that another bot's rollout has replaced meanwhile is neither an edit nor a reason to start this one anew.
        same = {path: entry for path, entry in kept.manifest.items() if looks[path].content == entry.content}
        stale = stale_files(state, signs.pid, same)
        signs.exchanged = f"it was not started from {', '.join(stale)} as they are" if stale else ""


def _fault(soak: Soak, unit: Unit, now: float) -> str:
    """What the release did that no statistics are needed for; empty for nothing.

    A unit that somebody has stopped is none, nor is what somebody has edited.
    """
    work = soak.work
    crashes = sum(now - when < CRASH_SECONDS for when in work.crash_times)
    if crashes >= CRASHES:
        return f"it was started again {crashes} times; {unit.end_described()}"
    for name in () if soak.verdict == PROMOTE else soak.required():
        if work.failed_looks.get(name, 0) >= FAILED_LOOKS:
            return f"its check {name} has failed {work.failed_looks[name]} times in a row: {work.failing[name]}"
    lost = bool(work.problem) and not work.drift and unit.active != "inactive"
    if lost and work.restarted is not None and now - max(work.restarted, work.heard_at or 0.0) > UNHEARD_SECONDS:
        return f"not heard again since it was started anew: {work.problem}"
    return ""


def watch(vm: Vm) -> list[str]:
    """Look once at each bot that has soaked, and act; returns what is wrong, a sentence each.

    While it soaks or is watched on, it is judged. What somebody does to it is named for as long as it is there.
    """
    problems: dict[str, str] = {}
    begun, ways = time.monotonic(), Ways()
    for name in vm.bot_names():
        try:
            problem = _watch_bot(vm, name, ways)
        except BusyError:
            continue  # somebody acts on it right now
        except RolloutError as error:
            problem = str(error)
        except OSError as error:
            problem = f"cannot keep its soak: {error.filename or vm.path}: {error.strerror}"
        except Exception as error:  # the watch over the other bots goes on, whatever this is
            problem = f"{type(error).__name__}: {error}"
        if problem:
            problems[name] = problem
    said = [f"{name}: {problem}" for name, problem in problems.items()]
    return [*said, *publish(vm, said, time.monotonic() - begun)]


def _watch_bot(vm: Vm, name: str, ways: Ways) -> str:
    """Look at one bot, if it is due, and act; returns what is wrong with it."""
    store = vm.store(name)
    with locked(store):
        soak = load(store)
        if soak is None or not _due(soak, is_fair(load_weather(store))):
            return ""
        verdict = look(store, soak, ways)
        save(store, soak)
    make_known(vm, soak, verdict, load_weather(store), boot_clock())
    acts = soak.acts and soak.elapsed <= soak.until
    if verdict.verdict == ROLL_BACK and acts:
        return _roll_back(store, soak, "; ".join(verdict.reasons))
    copies = _leave_one(store, soak)
    if acts and is_fair(load_weather(store)):
        _start_anew(store, soak)
    return "; ".join(filter(None, (copies, soak.work.problem or soak.own.problem)))


def _leave_one(store: Store, soak: Soak) -> str:
    """Stop what somebody has started beside a bot's unit, which runs; says what there was."""
    if not soak.work.copies:
        return ""
    with store.mutex(wait=0):
        state = store.need()
        copies = second_copies(state, show_unit(state.unit)) if state.phase is Phase.CONFIRMED else {}
        if not copies:
            return ""
        bot, listed = state.bot, ", ".join(map(str, copies))
        text = f"{bot.name} runs a second time beside {state.unit} (process {listed})"
        if soak.heals:
            store.vm.audit("watch", bot.name, "stops a second copy", pids=sorted(copies))
            stop_copies(bot, copies, COPY_STOP, store.vm.timing)
            text += "; it was stopped"
        second_copy(store.vm, bot.name, text, copies)
        return text


def _due(soak: Soak, fair: bool) -> bool:
    """Whether a bot is to be looked at now.

    In bad weather each is, at every tick: it takes two looks to tell of an outage, and its end is to be known soon. So
    is one that has not answered, until it is known that this was no chance.
    """
    mute = 0 < soak.work.failed_looks.get(PROBE, 0) < FAILED_LOOKS
    if soak.work.unsettled or not fair or mute:
        return True
    if soak.elapsed <= soak.until and soak.verdict != PROMOTE and soak.elapsed <= soak.settings.soak_max:
        return True
    now = vm_clock()
    rested = now["since_boot"] - soak.clock["since_boot"]
    return not same_boot(soak.clock["boot"], now["boot"]) or rested >= PROMOTED_EVERY - TICK


def _roll_back(store: Store, soak: Soak, reason: str) -> str:
    """Take a release back that was confirmed; while a run is at it, that is the run's."""
    with store.mutex(wait=0):
        state = store.need()
        if state.phase is not Phase.CONFIRMED or state.current != soak.release or not state.previous:
            return reason
        store.vm.audit("watch", state.bot.name, "rolls back", release=soak.release, reason=reason)
        roll_back_held(store, state, state.previous, reason)
        rolled_back(store.vm, state.bot.name, soak.release, state.attempt, reason)
    return f"was rolled back: {reason}"


def _start_anew(store: Store, soak: Soak) -> None:
    """Start a bot anew, once, that its unit runs but that has not been heard for long, or does not answer.

    One that was edited is left as it is: a start would bring up what nobody has rolled out.
    """
    work, now = soak.work, boot_clock()
    mute = work.failed_looks.get(PROBE, 0) >= FAILED_LOOKS
    if work.drift or work.restarted is not None or not (mute or work.is_lost(now)):
        return
    with store.mutex(wait=0):
        state = store.need()
        if state.phase is not Phase.CONFIRMED or state.current != soak.release:
            return
        if show_unit(state.unit).active != "active":
            return
        with locked(store):
            soak = load(store) or soak
            soak.work.restarted = now
            save(store, soak)
        why = work.problem or work.failing[PROBE]
        store.vm.audit("watch", state.bot.name, "starts anew", release=soak.release, reason=why)
        systemctl("restart", state.unit)
        note_running(state, store.release(state.current))
        store.save(state)
