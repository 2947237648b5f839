# SPDX-License-Identifier: GPL-3.0-or-later
"""Where an import would lead, by the bot's own Python, without running anything of the checkout."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from .become import Account, Ran, run_as
from .errors import RolloutError

PYTHONS = "*"
"""In a path, whatever Python has on it of its own. What a program appends is searched behind it."""

# A part of each probe: what an import of a name would find, by the finders that are there.
FIND = r"""
def find(name, path):
    for finder in sys.meta_path:
        look = getattr(finder, "find_spec", None)
        try:
            spec = look(name, path) if look is not None else None
        except KeyError:
            # A package without __init__.py in another one asks for its parent, which is not imported here.
            spec = look(name.rpartition(".")[2], path)
        if spec is not None:
            return spec
    return None
"""

# Python 3.7 and newer. Finds each part of a dotted name as an import would, by the finders that are there, and imports
# nothing: a package's own code would run. The last part may be a file that is still to be written. Questions come on
# standard input, for they may be long; answers go out as one line of JSON.
PROBE = (
    r"""
import importlib.machinery, json, os, sys
"""
    + FIND
    + r"""
def answer(question):
    whole = [os.path.join(question["home"], item) if item else question["home"] for item in question["path"]]
    first = question["path"].index("*") if "*" in question["path"] else len(whole)
    given = [item for item in sys.path if item and item not in whole[:first]]
    sys.path[:] = whole[:first] + given + [item for item in whole[first + 1:] if item not in given]
    importlib.machinery.PathFinder.invalidate_caches()
    file = os.path.realpath(os.path.join(question["home"], question["file"]))
    parts, path = question["name"].split("."), None
    for number, part in enumerate(parts):
        name = ".".join(parts[: number + 1])
        last = number == len(parts) - 1
        places = sys.path if path is None else path
        if last and name in sys.builtin_module_names:
            return name + " is built into this Python"
        for place in places if last else ():
            # Python looks into one directory after the other.
            if os.path.realpath(os.path.join(place, part + ".py")) == file:
                return ""
            spec = importlib.machinery.PathFinder.find_spec(part, [place])
            if spec is not None and spec.origin is not None:
                return "%s is %s" % (name, spec.origin)
        if last:
            return "no directory that is searched holds " + question["file"]
        spec = find(name, path)
        if spec is None:
            wanted = [os.path.realpath(os.path.join(place, part)) for place in places]
            above = [item for item in wanted if file.startswith(item + os.sep)]
            if not above:
                return name + " is not found"
            path = above
        elif spec.submodule_search_locations is None:
            return "%s is %s, a module and no package" % (name, spec.origin)
        else:
            # Without __init__.py the list would be worked out anew from the parent.
            found = spec.submodule_search_locations
            path = list(getattr(found, "_path", found))
    return ""

saved = list(sys.path)
answers = []
for question in json.load(sys.stdin):
    sys.path[:] = saved
    try:
        answers.append(answer(question))
    except Exception as error:
        answers.append("%s: %s" % (type(error).__name__, error))
print(json.dumps(answers))
"""
)

# -B: nothing is written beside the bot's files; -E: this process's PYTHONPATH is not the bot's. Not -S: what is
# installed for the bot must be seen.
OPTIONS = ("-B", "-E", "-c")
ANSWER_LIMIT = 1 << 20


def probe(python: str, text: str, question: Any, account: Account) -> Ran:
    """Run a probe by the bot's Python; the question goes in, and `answer_of` takes the answer out, as JSON.

    :raises RolloutError: when the interpreter cannot be run, or does not answer in time.
    """
    return run_as(account, [python, *OPTIONS, text], stdin=json.dumps(question).encode())


def answer_of(output: bytes) -> Any:
    """What a probe answers, on the last line of its output: an interpreter may greet before.

    :raises ValueError: if that is no JSON.
    """
    line = output.decode("utf-8", "replace").strip().rpartition("\n")[2]
    if len(line) > ANSWER_LIMIT:
        raise ValueError("it is too long")
    try:
        return json.loads(line)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def import_problem(
    python: str, home: str, file: str, asked: Sequence[tuple[str, Sequence[str]]], account: Account
) -> str:
    """Why an import of the pool module would not lead to its file; empty if each of them does.

    :param home: the checkout. :param file: the pool module's file, there or not yet, relative to the checkout.
    :param asked: for each way to start the program the module's dotted name, and the directories that are searched, in
        their order, relative to the checkout; `PYTHONS` stands for those that Python has of its own, which come last
        where it is missing. :param account: who runs the interpreter.
    :raises RolloutError: when the interpreter cannot be run, or does not answer.
    """
    questions = [{"home": home, "file": file, "name": name, "path": list(path)} for name, path in asked]
    done = probe(python, PROBE, questions, account)
    try:
        problem = read_answer(done.output, len(questions))
    except ValueError:
        last = (done.errors.decode("utf-8", "replace").strip().splitlines() or [f"exit code {done.status}"])[-1]
        raise RolloutError(
            f"{python} does not say where an import leads: {last}; does it run the unpatched bot?"
        ) from None
    return f"{problem} ({python})" if problem else ""


def read_answer(output: bytes, count: int) -> str:
    """The first problem that the probe tells; empty if it tells of none.

    :raises ValueError: if this is no answer to so many questions.
    """
    answers = answer_of(output)
    if not isinstance(answers, list) or len(answers) != count or not all(isinstance(item, str) for item in answers):
        raise ValueError("not the probe's answer")
    return next((item for item in answers if item), "")
