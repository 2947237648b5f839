# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line, ``webex-rollout``: for operators, for the guard's and the sampling timer, and for `systemd-run`.

Every room is imported here, at the top: a zip application reads its parts lazily, and one that is replaced while it
runs must not mix two versions.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
from collections.abc import Sequence
from dataclasses import asdict

from . import __version__
from .become import account_of
from .errors import RolloutError
from .guard import guard
from .launch import run_found
from .lock import Holder, acquire_lock, release_lock, repair_lock
from .paths import STATE_DIR
from .status import print_status, status, status_problems
from .steps.roll_back import roll_back
from .store import Vm
from .system import printable
from .tree import must_be_roots_alone
from .watch import watch


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="webex-rollout", description="Show, roll back and guard the Webex bots of this machine."
    )
    parser.add_argument("--state", default=STATE_DIR, help="directory of the state (default: %(default)s)")
    parser.add_argument("--version", action="version", version=f"webex-rollout {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, text: str, *aliases: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text, aliases=aliases)
        sub.add_argument("--json", action="store_true", help="print the result as JSON")
        sub.set_defaults(command=name)
        return sub

    sub = command("status", "show bots, lock, guard and the latest audit lines; exit 1 if something is wrong")
    sub.add_argument("bot", nargs="*")
    sub = command("rollback", "roll a bot back to a release and have it run, once", "revert")
    sub.add_argument("bot")
    sub.add_argument("--to", default="previous", help="`previous`, `0` (as found) or a release (default: %(default)s)")
    sub.add_argument("--force", action="store_true", help="give up edits made since; their bytes are kept")
    sub.add_argument("--reason", default="asked for by hand")
    command("guard", "roll back what was not confirmed in time (run by the timer)")
    command("watch", "look once at each bot that soaks or is watched on, judge, and act (run by the timer)", "sample")
    sub = command("lock", "acquire the machine's lock by hand, or renew it")
    sub.add_argument("--seconds", type=float, help="until it expires by itself (default: 900)")
    sub = command("unlock", "release the machine's lock by hand")
    sub.add_argument("--repair", action="store_true", help="replace a damaged lock.json")
    sub = commands.add_parser("run-found")  # what `systemd-run` is given; not for people
    sub.add_argument("bot")
    sub.add_argument("release")
    sub.add_argument("parent", type=int)
    return parser


def _run(vm: Vm, given: argparse.Namespace) -> int:
    """Run one command; returns the exit status."""
    if given.command == "run-found":
        store = vm.store(given.bot)
        process = store.release(given.release).runner.process
        if process is None:
            raise RolloutError(f"release {given.release} of {given.bot} was not run by hand")
        run_found(process, account_of(store.need().bot.user), given.parent)
    if given.command == "status":
        shown = status(vm, given.bot)
        problems = status_problems(shown)
        print(json.dumps({**shown, "problems": problems}, indent=1)) if given.json else print_status(shown)
        return 1 if problems else 0
    if given.command in ("guard", "watch", "sample"):
        vm.who = given.command
        problems = guard(vm) if given.command == "guard" else watch(vm)
        for problem in problems:
            print(printable(problem), file=sys.stderr)
        return 1 if problems else 0
    if given.command == "lock":
        got = acquire_lock(vm, Holder(vm.who, socket.gethostname()), given.seconds)
        print(json.dumps(asdict(got.lock)) if given.json else printable(got.lock.described()))
        return 0 if got.got else 1
    if given.command == "unlock":
        lock = repair_lock(vm) if given.repair else release_lock(vm, 0, force=True).lock
        print(json.dumps(asdict(lock)) if given.json else printable(lock.described()))
        return 0
    result = roll_back(vm, given.bot, given.to, given.reason, given.force)
    if given.json:
        print(json.dumps(asdict(result), indent=1))
    else:
        verb = "changed" if result.changed else "unchanged"
        line = f"{result.bot}: {verb}, {result.phase}, release {result.release} {result.message}"
        print(printable(line.rstrip()))
    return 1 if result.problems else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; returns its exit status."""
    given = _parser().parse_args(arguments)
    vm = Vm(os.path.abspath(given.state))
    vm.program = os.path.abspath(sys.argv[0])
    if os.geteuid() != 0:
        print("webex-rollout: this needs root (sudo webex-rollout …)", file=sys.stderr)
        return 1
    try:
        must_be_roots_alone(str(vm.path))
        return _run(vm, given)
    except RolloutError as error:
        problem = str(error)
    except OSError as error:
        problem = f"{error.filename or 'system'}: {error.strerror}"
    print(f"webex-rollout: {printable(problem)}", file=sys.stderr)
    return 1
