# SPDX-License-Identifier: GPL-3.0-or-later
"""The watch: looks at every bot of the VM, judges what soaks, and acts on the verdict, whoever is connected.

A run of the playbook looks by the same function (`look`), so that it does not matter who looks.
"""

from __future__ import annotations

from .clock import boot_clock, vm_clock
from .drift import edited_files
from .errors import BusyError, RolloutError
from .evidence import EXTEND, PROMOTE, ROLL_BACK
from .heard import listen
from .paths import runtime_directory
from .record import to_record
from .soak import Soak, load, locked, save
from .state import Phase, State
from .steps.roll_back import roll_back_held
from .store import Store, Vm
from .systemd import Unit, show_unit, systemctl
from .verdict import Verdict, judge

# A bot that is not heard for this long is started anew, once; after as long again the release is at fault.
DEAF_SECONDS = 300.0
# Ends of the process, in good weather, after which the release is at fault. A bot may die once of what is not its own.
CRASHES = 3


def look(store: Store, soak: Soak, fair: bool = True) -> Verdict:
    """Look at a bot that soaks, and judge what is known by now. The soak's mutex is held; nothing is written.

    A release that was promoted stays so, unless it is worse than before by now.

    :param fair: whether Webex could be reached since the last look.
    """
    state = store.need()
    unit = show_unit(state.unit)
    signs = listen(state.bot.user, runtime_directory(state.bot.name), unit.main_pid)
    signs.problem = _not_its_own(store, state, soak) or signs.problem
    soak.work.crashed(unit.restarts, fair)
    soak.look(vm_clock(), signs, fair)
    evidence = soak.evidence()
    verdict = judge(evidence)
    word = _fault(soak, unit)
    if word and fair:
        verdict = Verdict(ROLL_BACK, [word], verdict.missing, verdict.figures)
    if soak.verdict != PROMOTE or verdict.verdict == ROLL_BACK or soak.decision is not None:
        if not fair and soak.decision is None:
            verdict = Verdict(EXTEND, ["Webex cannot be reached from the VM"], verdict.missing, verdict.figures)
        soak.verdict, soak.record = verdict.verdict, to_record(evidence, verdict)
    return verdict


def _not_its_own(store: Store, state: State, soak: Soak) -> str:
    """Why what runs is not the release that soaks; empty where it is."""
    release = state.candidate if state.phase in (Phase.SWITCHED, Phase.CHECKED) else state.current
    if release != soak.release:
        return f"release {soak.release} is not what it runs any more"
    kept = store.release(release)
    looks = {path: entry for path, (entry, _) in state.bot.files.look_at_each(kept.manifest).items()}
    edited = edited_files(store, state, kept, looks)
    return f"edited since it was rolled out: {', '.join(edited)}" if edited else ""


def _fault(soak: Soak, unit: Unit) -> str:
    """What the release did that no statistics are needed for; empty for nothing."""
    work = soak.work
    if work.crashes >= CRASHES:
        return f"it was started again {work.crashes} times; {unit.end_described()}"
    if work.restarted is not None and boot_clock() - max(work.restarted, work.heard_at or 0.0) > DEAF_SECONDS:
        return f"not heard again since it was started anew: {work.problem or 'no sign of life'}"
    return ""


def watch(vm: Vm) -> list[str]:
    """Look once at each bot that soaks or is watched on, and act; returns what is wrong, a sentence each."""
    problems: dict[str, str] = {}
    for name in vm.bot_names():
        try:
            problem = _watch_bot(vm, name)
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
    return [f"{name}: {problem}" for name, problem in problems.items()]


def _watch_bot(vm: Vm, name: str) -> str:
    """Look at one bot and act; returns what is wrong with it."""
    store = vm.store(name)
    with locked(store):
        soak = load(store)
        if soak is None or soak.elapsed > soak.until:
            return ""
        verdict = look(store, soak)
        save(store, soak)
    if verdict.verdict == ROLL_BACK and soak.acts:
        return _roll_back(store, soak, "; ".join(verdict.reasons))
    _start_anew(store, soak)
    return soak.work.problem or soak.own.problem


def _roll_back(store: Store, soak: Soak, reason: str) -> str:
    """Take a release back that was confirmed; while a run is at it, that is the run's."""
    with store.mutex(wait=0):
        state = store.need()
        if state.phase is not Phase.CONFIRMED or state.current != soak.release or not state.previous:
            return reason
        store.vm.audit("watch", state.bot.name, "rolls back", release=soak.release, reason=reason)
        roll_back_held(store, state, state.previous, reason)
    return f"was rolled back: {reason}"


def _start_anew(store: Store, soak: Soak) -> None:
    """Start a bot anew, once, that runs but has not been heard for long."""
    work, now = soak.work, boot_clock()
    if not work.problem or work.restarted is not None or not work.silent_for(now) > DEAF_SECONDS:
        return
    with store.mutex(wait=0):
        state = store.need()
        unit = show_unit(state.unit)
        if state.phase is not Phase.CONFIRMED or state.current != soak.release or unit.active != "active":
            return
        with locked(store):
            soak = load(store) or soak
            soak.work.restarted = now
            save(store, soak)
        store.vm.audit("watch", state.bot.name, "starts anew", release=soak.release, reason=work.problem)
        systemctl("restart", state.unit)
