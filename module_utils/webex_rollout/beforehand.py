# SPDX-License-Identifier: GPL-3.0-or-later
"""What a rollout would come to know only once it has begun, asked before it: the bot's log, and the way to Webex."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .become import Account, as_account
from .clock import wall_start
from .errors import LogError, RolloutError
from .files import unchanged_since
from .found import FoundProcess
from .launch import start_seconds
from .logs.dialect import Dialect
from .logs.reader import LogReader
from .paths import unit_name
from .plan import CARRIED, NOTED, REFUSED, Difference
from .processes import Process
from .procfs import remote_ports
from .reach import Ways
from .weather import BAD, GOOD, network_variables

FILES_NAMED = 3
CLOSED = ("dns", "connect")
"""Kinds of bad weather that are the way's alone."""
WALK_SECONDS = 10.0
LONGEST_START = 900.0
"""Seconds; what is logged later than that says nothing of a start."""
USUAL_START = 5.0
ENTRIES = 20000
"""Files and directories of a checkout that are looked at."""


@dataclass(frozen=True)
class Asked:
    """Of which bot, and what is known of it."""

    bot: str
    account: Account
    log: str
    timezone: str = ""
    start: bool = True
    guard_deadline: int = 0
    processes: Sequence[Process] = ()
    found: FoundProcess | None = None
    """How it is run, or was when it was recorded."""


def before_start_rows(asked: Asked, home: str, took: float) -> list[Difference]:
    """What is worth to be known before a bot is started anew; `home` is the checkout, `took` is in seconds."""
    return [*code_rows(asked, home), *log_rows(asked), *start_rows(asked, took)]


def code_rows(asked: Asked, home: str) -> Iterator[Difference]:
    """What of the checkout's source is younger than the process, which runs what it was started from."""
    if not asked.processes or asked.processes[-1].unit == unit_name(asked.bot):  # of that status tells more
        return
    started = wall_start(asked.processes[-1].start_time)
    try:
        newer = as_account(asked.account, _newer, home, started, seconds=WALK_SECONDS)
    except RolloutError:
        return  # a note is not worth more
    if newer:
        more = f" and {len(newer) - FILES_NAMED} more" if len(newer) > FILES_NAMED else ""
        named = f"{', '.join(newer[:FILES_NAMED])}{more}"
        why = f"{asked.bot} runs what it was started from; {named} changed since, and a start takes what is on disk"
        files = f"{len(newer)} file{'s' if len(newer) > 1 else ''}"
        yield Difference("source", f"older than {files}", "as on disk", NOTED, why)


def _newer(home: str, started: float) -> list[str]:
    """Python files of a checkout that were changed in any way since a moment, relative to it."""
    found, seen = [], 0
    for directory, names, files in os.walk(home):
        own = [name for name in names if not name.startswith(".") and name not in ("site-packages", "node_modules")]
        names[:] = [name for name in own if not os.path.exists(os.path.join(directory, name, "pyvenv.cfg"))]
        seen += len(files) + len(names)
        if seen > ENTRIES:
            break
        for name in files:
            path = os.path.join(directory, name)
            if name.endswith(".py") and not unchanged_since(_changed_at(path), started):
                found.append(os.path.relpath(path, home))
    return sorted(found)


def _changed_at(path: str) -> float | None:
    try:
        return os.lstat(path).st_ctime
    except OSError:
        return None


def zone_rows(asked: Asked) -> Iterator[Difference]:
    """A time zone of the bot's own, in which its log then is, where the settings do not say so."""
    entries = asked.found.environment if asked.found else []
    zone = next((entry[3:].lstrip(":") for entry in entries if entry.startswith("TZ=")), "")
    machines = os.path.realpath("/etc/localtime").partition("zoneinfo/")[2]
    if zone and zone not in (asked.timezone, machines if not asked.timezone else ""):
        read = asked.timezone or "the VM's"
        why = f"{asked.bot} runs with TZ={zone}, and its log is read in {read} time zone: set bot_timezone to {zone}"
        yield Difference("time zone", zone, zone, NOTED, why)


def took_to_start(asked: Asked) -> float:
    """Seconds that the process took to connect, as far as its log shows it; 0 where it does not."""
    newest = asked.processes[-1] if asked.processes else None
    if newest is None:
        return 0.0
    try:
        took = LogReader(asked.account.name, (), asked.timezone).took_to_start(asked.log, wall_start(newest.start_time))
    except LogError:
        return 0.0  # which `log_rows` tells
    return took if took is not None and took <= LONGEST_START else 0.0


def start_rows(asked: Asked, took: float) -> Iterator[Difference]:
    """A slow start: the start-up check waits for it as it needed before, as far as the guard does."""
    if took <= USUAL_START:
        return
    wait, found = start_seconds(took), f"{took:.0f} s"
    if asked.guard_deadline and wait + 30 > asked.guard_deadline:
        why = (
            f"{asked.bot} took {found} to connect when it was started, and is rolled back after "
            f"{asked.guard_deadline} s: set rollout_guard_deadline to {wait + 30:.0f} or more"
        )
        yield Difference("start-up", found, f"{asked.guard_deadline} s at most", NOTED, why)
    else:
        yield Difference("start-up", found, f"up to {wait:.0f} s", CARRIED)


def log_rows(asked: Asked) -> Iterator[Difference]:
    """What of the bot's log would keep it from being judged, or judged well."""
    bot, log, newest = asked.bot, asked.log, asked.processes[-1] if asked.processes else None
    real, written = as_account(asked.account, _look_at, log)
    writes = [path for path in newest.log_files if path != real][:FILES_NAMED] if newest else []
    if written is None:
        if newest is not None:
            cure = f"set bot_log to what it writes ({', '.join(writes)})" if writes else f"let it log (>> {log} 2>&1)"
            lost = f"{bot} runs (pid {newest.pid}), and its log {log} is not there, so nothing could be judged by it"
            yield Difference("log", log, "not there", REFUSED, f"{lost}; {cure}")
        return
    if newest is not None and real not in newest.log_files and written + 1 < wall_start(newest.start_time):
        which = f"; it writes {', '.join(writes)}" if writes else ""
        why = f"nothing was written to {log} since {bot} was started{which}: is bot_log right?"
        yield Difference("log", log, "older than its process", NOTED, why)
    try:
        taken = LogReader(asked.account.name, (), asked.timezone).take(log)
    except LogError as error:
        yield Difference("log", log, "cannot be read", REFUSED, str(error))
        return
    kept = taken["cursor"]["dialect"]
    dialect = Dialect() if kept is None else Dialect.from_dict(kept)
    if kept is not None and not (dialect.dated and dialect.levelled):
        yield Difference("log's form", log, "not read in full", NOTED, f"{log}: {dialect.described()}")


def _look_at(log: str) -> tuple[str, float | None]:
    """Where a log really is, and when it was written; None where it is not there, or may not be looked at."""
    try:
        return os.path.realpath(log), os.stat(log).st_mtime
    except OSError:
        return os.path.realpath(log), None


def webex_rows(asked: Asked, ways: Ways) -> Iterator[Difference]:
    """Whether Webex can be reached from the VM, as the bot's user and with its variables.

    :param ways: of the look at all bots of the VM.
    """
    variables = network_variables(asked.found.environment if asked.found else [])
    look = ways.look(asked.account, variables)
    if look.state == GOOD:
        return
    said = f"Webex cannot be reached from the VM as {asked.account.name} ({look.reason})"
    shown = f"not reachable ({look.kind})"
    connected = any(remote_ports(process.pid) for process in asked.processes)
    own = bool(asked.processes) and all(process.unit == unit_name(asked.bot) for process in asked.processes)
    # Certificates and proxies may be named in its source, and one that Webex calls need not connect to start.
    elsewhere = look.kind not in CLOSED or bool(asked.found and asked.found.listening)
    if look.state != BAD:
        why = f"whether Webex can be reached from the VM is not known ({look.reason})"
        yield Difference("Webex", "unknown", "reachable", NOTED, why)
    elif connected and not own:
        why = f"{said}, though {asked.bot} is connected: how it gets out is not among its variables"
        yield Difference("Webex", shown, "reachable", NOTED, why)
    elif own or elsewhere or not (asked.processes or asked.start):
        yield Difference("Webex", shown, "reachable", NOTED, said)
    else:
        why = (
            f"{said}, so a start of {asked.bot} would not be seen to connect, and would be rolled back; run again when "
            "it can, or give the bot's process the variables by which it gets out (https_proxy)"
        )
        yield Difference("Webex", shown, "reachable", REFUSED, why)
