# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a source compiles with the Python that will run it."""

from __future__ import annotations

from .system import run_command

# Source on stdin, so that nothing is written; -I and -S: nothing of the user's is run or imported.
COMPILE = "import sys; compile(sys.stdin.buffer.read(), sys.argv[1], 'exec', dont_inherit=True)"


def compile_problem(python: str, path: str, source: bytes, user: str = "") -> str:
    """The last lines of what the interpreter `python` reports of a source; empty if it compiles.

    :param path: how the source is called in the message; nothing is read from it.
    :param user: who runs the interpreter, where that is not the present user.
    :raises RolloutError: when the interpreter cannot be run, or did not answer within a minute.
    """
    become = ["runuser", "-u", user, "--"] if user else []
    done = run_command([*become, python, "-I", "-S", "-B", "-c", COMPILE, path], timeout=60, stdin=source)
    if done.returncode == 0:
        return ""
    lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
    location = next((line.strip() for line in reversed(lines) if line.strip().startswith("File ")), "")
    return ": ".join(part for part in (location, lines[-1] if lines else f"exit code {done.returncode}") if part)
