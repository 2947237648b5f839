# SPDX-License-Identifier: GPL-3.0-or-later
"""Check: prove that the new process stays, alone, connected and logging."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from ..clock import Deadline, Timing
from ..drift import RESTARTS_ALLOWED, note_running
from ..environment import missing_variables, render_environment
from ..errors import LogError, RolloutError
from ..found import FoundProcess
from ..heard import configured_sessions
from ..launch import start_seconds
from ..lock import act_under_lock
from ..logs.reader import LogReader, ReadyLine
from ..messages import ANSWERED, SILENT
from ..own_checks import PROBE, problems_of
from ..paths import runtime_directory
from ..probe import TRIES, ask_new
from ..processes import Bot, bot_pids
from ..procfs import (
    HTTPS_PORTS,
    allowed_open_files,
    listening_ports,
    proxy_ports,
    read_limits,
    read_stat,
    remote_ports,
)
from ..reach import look_as
from ..state import Phase, State
from ..store import Store, Vm
from ..system import wait_until
from ..systemd import Unit, show_unit
from ..weather import BAD, WAIT_AT_MOST
from .step import Result, environment_plan, must_be_open

LOOK_EVERY = 0.5
# Seconds that a bot has to come back after an outage.
BACK_SECONDS = 60.0


@dataclass(frozen=True)
class Proof:
    """What the start-up check asks for; ``settle`` is in seconds, in which the process must stay up and the same."""

    settle: float = 30.0
    open_files: int = 0
    ports: Sequence[int] = HTTPS_PORTS
    log: str = ""
    """Where the ready line of the new process has to be if it has no channel; empty where neither is asked for."""
    cursor: Mapping[str, Any] | None = None
    """Where to begin in it, as it was taken before the process was started."""
    took_to_start: float = 0.0
    """Seconds that the process before needed to be at work; a slow start has as long again, and half."""
    checks: Sequence[Mapping[str, Any]] = ()
    """The operator's own, as `own_checks.checks_of` gives them."""
    probe: Mapping[str, Any] | None = None
    """How the bot is asked for an answer, as `probe.probe_of` gives it."""

    @property
    def probing(self) -> float:
        """Seconds that the probe may take."""
        return TRIES * float(self.probe["seconds"]) if self.probe else 0.0


class CheckFailedError(RolloutError):
    """The start-up check did not pass; ``result`` says which part."""

    def __init__(self, message: str, result: Result) -> None:
        """Keep what was found."""
        super().__init__(message)
        self.result = result


@dataclass(frozen=True)
class Finding:
    """One part of the check."""

    name: str
    ok: bool
    detail: str
    value: str = ""
    """What was measured, where that is one number or word."""


def check_start(vm: Vm, bot: str, proof: Proof, token: int | None = None, check: bool = False) -> Result:
    """Prove that the new process stays: the same one while it settles, alone, with its limits, connected, logging.

    Judged by pid, start time and restart count; `active` is also what systemd says of a bot that dies every 20 s.
    A failed check ends the attempt: the guard rolls it back at its next tick, if nobody does before.
    """
    store = vm.store(bot)
    result = Result(bot, "check")
    if check:
        state = store.load()
        result.message = "would be checked"
        return result.of(state) if state else result
    with store.mutex():
        act_under_lock(vm, token)
        state = store.need()
        _must_be_ready_for_check(state, token, proof.settle + proof.probing, vm.timing.connect)
        stopped = store.release(state.candidate or state.current).stopped
        expected = _expected_environment(store, state)
        before = store.release(state.carried_from).runner.process if state.carried_from else None
    findings = [_find_stopped(state.bot)] if stopped else _watch(store, state, proof, expected, before, token)
    result.checks = [asdict(finding) for finding in findings]
    failed = [finding for finding in findings if not finding.ok]
    with store.mutex():
        now = store.need()
        if (now.attempt, now.phase) != (state.attempt, state.phase):
            must_be_open(now, token)  # shows who rolled it back
            raise RolloutError(f"{bot}: attempt {state.attempt} is over (now {now.attempt}, {now.phase})")
        _conclude_check(store, now, result, failed)
        if failed:
            said = "; ".join(f"{finding.name}: {finding.detail}" for finding in failed)
            raise CheckFailedError(f"{bot} did not pass its start-up check: {said}", result)
        return result


def _must_be_ready_for_check(state: State, token: int | None, settle: float, connect: float) -> None:
    """Refuse a check that has nothing to look at, or that the deadline would cut off."""
    if state.phase is Phase.CONFIRMED:
        return
    must_be_open(state, token, (Phase.SWITCHED, Phase.CHECKED))
    if state.deadline and state.deadline.remaining() < settle + connect:
        raise RolloutError(
            f"the deadline of {state.bot.name} is {state.deadline.remaining():.0f} s away, and the bot needs "
            f"{settle:.0f} s to settle; arm it again with more time (rollout_guard_deadline, rollout_settle)"
        )


def _conclude_check(store: Store, state: State, result: Result, failed: Sequence[Finding]) -> None:
    """Write down how a check went."""
    unit = show_unit(state.unit)
    result.pids_before = result.pids_after = [unit.main_pid] if unit.main_pid else []
    if state.phase is Phase.CONFIRMED:
        result.of(state)
        return
    if failed:
        state.phase, state.note = Phase.FAILED, "start-up check: " + "; ".join(f"{f.name}: {f.detail}" for f in failed)
    else:
        result.stopped = store.release(state.candidate).stopped
        if not result.stopped:
            note_running(state, store.release(state.candidate))
        state.phase = Phase.CHECKED
    store.save(state)
    names = ",".join(finding.name for finding in failed)
    result.of(state)
    details = {"release": state.candidate, "attempt": state.attempt, "failed": names}
    store.vm.audit("check", state.bot.name, "failed" if failed else "ok", **details)


def _expected_environment(store: Store, state: State) -> dict[str, str]:
    """Variables the process must have got; none where somebody has edited the file since."""
    if not state.carried_from:
        return {}
    plan = environment_plan(state.keep_variables, state.drop_variables, store.release(state.carried_from).runner)
    have, data = state.bot.files.look_at(state.environment_file)
    return plan.carried if have.kind == "file" and data == render_environment(state.bot.name, plan.carried) else {}


def _watch(
    store: Store,
    state: State,
    proof: Proof,
    expected: Mapping[str, str],
    before: FoundProcess | None,
    token: int | None,
) -> list[Finding]:
    """Watch a bot, in bad weather again and again: it cannot come up meanwhile, and not at once afterwards, where its
    next try is still to come.

    :param before: the process that was found before the first release, as far as there was one.
    """
    timing, bad, until, end = store.vm.timing, "", 0.0, time.monotonic() + WAIT_AT_MOST
    while True:
        findings = _watch_once(state, proof, expected, before, timing)
        if all(finding.ok for finding in findings):
            return findings
        now = _bad_weather(store, state)
        if now:
            bad, until = now, math.inf
        elif until == math.inf:  # from the first good look on: of the last bad one the outage's end may be far away
            until = time.monotonic() + BACK_SECONDS
        if time.monotonic() >= until:
            return findings
        if state.deadline is None or time.monotonic() >= end:
            said = "cannot be reached" if now else "could not be reached until a moment ago"
            return [*findings, Finding("weather", False, f"Webex {said} from the VM ({bad})")]
        _hold_on(store, state, token, proof.settle + proof.probing + timing.connect)
        if state.running is not None:  # it was nobody's fault that it had to be started again
            state.running = replace(state.running, restarts=show_unit(state.unit).restarts)
        time.sleep(LOOK_EVERY)


def _hold_on(store: Store, state: State, token: int | None, needed: float) -> None:
    """Keep the lock, and have the deadline begin anew where it leaves no time for another look (seconds)."""
    if state.deadline is None or state.deadline.remaining() >= 2 * needed:
        return
    with store.mutex():
        act_under_lock(store.vm, token)
        now = store.need()
        if (now.attempt, now.phase) == (state.attempt, state.phase):
            now.deadline = state.deadline = Deadline.after(state.deadline.seconds)
            store.save(now)


def _bad_weather(store: Store, state: State) -> str:
    """Why Webex cannot be reached by the bot's way; empty if it can."""
    look = look_as(store, state, show_unit(state.unit).main_pid)
    return look.reason or look.kind if look.state == BAD else ""


def _watch_once(
    state: State, proof: Proof, expected: Mapping[str, str], before: FoundProcess | None, timing: Timing
) -> list[Finding]:
    """Watch a bot while it settles and look at everything at the end."""
    stays, unit = _settle(state, proof.settle)
    if not stays.ok:
        return [stays]
    pid = unit.main_pid
    ready = _Ready(state, proof, pid)
    patience = _patience(state, proof, timing)
    try:
        wait_until(
            lambda: not read_stat(pid) or (_find_connection(pid, proof.ports, before).ok and ready.seen()), patience
        )
        findings = _findings(state, proof, expected, before, ready, pid)
    except (FileNotFoundError, ProcessLookupError):
        findings = []  # it ended meanwhile, which is said below
    if read_stat(pid) is None or show_unit(state.unit).main_pid != pid:
        said = f"pid {pid} ended at the end of the check; {show_unit(state.unit).end_described()}"
        return [Finding("stays up", False, said)]
    return [stays, *findings]


def _findings(
    state: State, proof: Proof, expected: Mapping[str, str], before: FoundProcess | None, ready: _Ready, pid: int
) -> list[Finding]:
    """Everything that a process shows which stayed up.

    :raises FileNotFoundError, ProcessLookupError: when it ends meanwhile.
    """
    findings = [
        _find_alone(state.bot, pid),
        _find_limit(pid, proof.open_files),
        _find_connection(pid, proof.ports, before),
    ]
    if expected:
        findings.append(_find_environment(pid, expected))
    findings += ready.findings()
    required = [check for check in proof.checks if check["required"]]
    for name, problem in problems_of(state.bot.user, required).items():
        findings.append(Finding(f"check {name}", not problem, problem or "passed"))
    if proof.probe:
        findings.append(_find_answer(pid, proof.probe))
    return findings


def _settle(state: State, seconds: float) -> tuple[Finding, Unit]:
    """Wait until one process has stayed for `seconds`; after one restart they begin anew."""
    running = state.running
    pid, before = (running.pid, running.restarts) if running else (0, 0)
    since, limit = time.monotonic(), time.monotonic() + 2 * seconds + 60
    others = 0
    while True:
        unit = show_unit(state.unit)
        if unit.over or unit.crashed:
            return Finding("stays up", False, unit.end_described()), unit
        if unit.main_pid and unit.main_pid != pid:
            others += 1
            pid, since = unit.main_pid, time.monotonic()
        restarts = max(others, unit.restarts - before)
        if restarts > RESTARTS_ALLOWED:
            return Finding("stays up", False, f"restarted {restarts} times meanwhile; {unit.end_described()}"), unit
        if unit.main_pid and time.monotonic() - since >= seconds:
            again = f", restarted once before ({unit.restarts})" if restarts else ""
            return Finding("stays up", True, f"pid {pid} for {seconds:.0f} s{again}"), unit
        if time.monotonic() > limit:
            return Finding("stays up", False, f"no process stayed for {seconds:.0f} s; {unit.end_described()}"), unit
        time.sleep(0.25)


class _Ready:
    """Whether the new process has its clients configured, as far as that is asked for: its channel says so, or, where a
    unit of an earlier program gives it none, the ready line in its log."""

    def __init__(self, state: State, proof: Proof, pid: int) -> None:
        """Without a cursor a process that has passed before need not show its line again: it may be rotated away."""
        passed = state.phase in (Phase.CHECKED, Phase.CONFIRMED) and proof.cursor is None
        self._bot, self._pid, self._sessions, self._look_at = state.bot, pid, 0, 0.0
        self._log, self._problem, self._line = proof.log, "", None
        if proof.log and not passed:
            try:
                self._line = ReadyLine(LogReader(state.bot.user), proof.log, proof.cursor, pid)
            except LogError as error:
                self._problem = str(error)

    def seen(self) -> bool:
        """Whether it has, or is not asked to show it."""
        if self._log and not self._sessions and time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + LOOK_EVERY  # each look is a process
            self._sessions = configured_sessions(self._bot.user, runtime_directory(self._bot.name), self._pid)
        try:
            return self._sessions > 0 or (not self._problem and (self._line is None or self._line.seen()))
        except LogError as error:
            self._problem = str(error)
            return False

    def findings(self) -> list[Finding]:
        """The part of the check that it is."""
        ok = self.seen()
        if self._sessions:
            return [Finding("pool module", True, f"its channel has {self._sessions} configured sessions")]
        if self._problem or self._line is None:
            return [Finding("pool module", False, self._problem)] if self._problem else []
        gaps = "".join(f"; {gap}" for gap in self._line.gaps)
        said = f"`{self._line.text}` {'is' if ok else 'is not'} in {self._log}{gaps}"
        return [Finding("pool module", ok, said if ok else f"it has no channel, and {said}")]


def _patience(state: State, proof: Proof, timing: Timing) -> float:
    """Seconds to wait for connection and ready line: as a slow start needs, but not beyond the attempt's deadline."""
    wanted = max(timing.connect, start_seconds(proof.took_to_start) - proof.settle if proof.took_to_start else 0.0)
    left = state.deadline.remaining() - timing.connect - proof.probing if state.deadline else wanted
    return max(timing.connect, min(wanted, left))


def _find_stopped(bot: Bot) -> Finding:
    copies = sorted(bot_pids(bot))
    said = f"pids {', '.join(map(str, copies))}, though it was left stopped" if copies else "as asked for (bot_start)"
    return Finding("left stopped", not copies, said)


def _find_alone(bot: Bot, pid: int) -> Finding:
    copies = sorted(bot_pids(bot))
    return Finding("one process", copies == [pid], f"pids {', '.join(map(str, copies)) or 'none'}, main process {pid}")


def _find_limit(pid: int, wanted: int) -> Finding:
    """Open files; where systemd itself may not have as many, its own limit is all there is."""
    soft, hard = read_limits(pid)["open files"]
    allowed = min(wanted, allowed_open_files())
    ok = soft == "unlimited" or int(soft) >= allowed
    clamped = f", of {wanted} wanted this machine allows {allowed}" if allowed < wanted else f", wanted {wanted}"
    return Finding("open files", ok, f"{soft} (hard {hard}){clamped}", soft)


def _find_connection(pid: int, ports: Sequence[int], before: FoundProcess | None) -> Finding:
    """A connection as the process had that was found: to the same port, where its proxy is named nowhere; none where it
    had none, as one that is called by Webex, which has to listen where that did."""
    if before is not None and before.peers == []:
        missing = {*before.listening} - {*listening_ports(pid)}
        where = "/".join(map(str, before.listening)) or "no port"
        said = f"none, as before; it {'does not listen' if missing else 'listens'} on {where}"
        return Finding("connection", not missing, said)
    asked = {*ports, *proxy_ports(pid)}
    if before is not None and before.peers and not asked & {*before.peers}:
        asked |= {*before.peers}
    ok = bool(asked & {*remote_ports(pid)})
    said = "/".join(map(str, sorted(asked)))
    return Finding("connection", ok, f"{'an' if ok else 'no'} established connection to port {said}")


def _find_answer(pid: int, probe: Mapping[str, Any]) -> Finding:
    """Whether the bot answers. That it could not be asked says nothing of it; nothing is promoted on that, either."""
    asked = ask_new(pid, probe)
    said = f"in {asked.seconds:.0f} s" if asked.state == ANSWERED else asked.said
    return Finding(f"check {PROBE}", asked.state != SILENT, f"{asked.state}: {said}", asked.state)


def _find_environment(pid: int, expected: Mapping[str, str]) -> Finding:
    missing = missing_variables(pid, expected)
    detail = f"not as carried over: {', '.join(missing)}" if missing else f"{len(expected)} variables carried over"
    return Finding("environment", not missing, detail)
