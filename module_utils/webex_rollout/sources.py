# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a source compiles with the Python that will run it."""

from __future__ import annotations

from .become import Account, account_of, run_as
from .system import run_command

# Source on stdin, so that nothing is written; -I and -S: nothing of the user's is run or imported.
COMPILE = "import sys; compile(sys.stdin.buffer.read(), sys.argv[1], 'exec', dont_inherit=True)"


def compile_problem(python: str, path: str, source: bytes, user: str = "", account: Account | None = None) -> str:
    """The last lines of what the interpreter `python` reports of a source; empty if it compiles.

    :param path: how the source is called in the message; nothing is read from it.
    :param user: who runs the interpreter, where that is not the present user.
    :param account: the same, where his name is not enough.
    :raises RolloutError: when the interpreter cannot be run, or did not answer within a minute.
    """
    command = [python, "-I", "-S", "-B", "-c", COMPILE, path]
    if user or account:
        status, _, errors = run_as(account or account_of(user), command, stdin=source)
    else:
        done = run_command(command, timeout=60, stdin=source)
        status, errors = done.returncode, done.stderr
    if status == 0:
        return ""
    lines = errors.decode("utf-8", "replace").strip().splitlines()
    location = next((line.strip() for line in reversed(lines) if line.strip().startswith("File ")), "")
    return ": ".join(part for part in (location, lines[-1] if lines else f"exit code {status}") if part)
