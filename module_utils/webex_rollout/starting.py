# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a bot would start again from what is on disk now.

A process that has run for weeks keeps the code that it was started from; a checkout that was broken since shows only
when the process has been ended. So it is asked before: does every file that the script imports from the checkout, at
its top level and without a condition, exist and parse, for the bot's own Python? Nothing of the checkout is run. What
cannot be told without running it (changed search paths, packages that make their modules themselves) counts as there.
"""

from __future__ import annotations

import json

from .become import Account, run_as
from .errors import RolloutError

# Python 3.7 and newer, as the bot's user. A module is missing only if its first part is the checkout's own and no
# directory of the checkout, wherever it is, could hold the rest.
PROBE = r"""
import ast, importlib.machinery, json, os, sys

FILES, ENTRIES, SIZE = 300, 20000, 4 << 20
# A rollout puts the pool module back by itself.
POOLS = {"configure_webex_api_session", "configure_webex_bot_session", "get_webex_api"}
question = json.load(sys.stdin)
home = os.path.realpath(question["home"])
script = os.path.join(home, question["script"])
roots = [os.path.dirname(os.path.realpath(script)), home]
sys.path[:] = [item for item in sys.path if item]

def installed(part):
    "Whether this Python has a module of that name, by whichever finder."
    if part in sys.builtin_module_names:
        return True
    for finder in sys.meta_path:
        look = getattr(finder, "find_spec", None)
        try:
            if look is not None and look(part, None) is not None:
                return True
        except Exception:
            return True
    return False

def below(directory, part):
    "The file or directory that a part of a name stands for in a directory; None if there is none."
    package = os.path.join(directory, part)
    for path in [os.path.join(package, "__init__.py"), package + ".py"]:
        if os.path.isfile(path):
            return path
    try:
        others = [name for name in os.listdir(directory) if name.partition(".")[0] == part]
    except OSError:
        return package  # what cannot be looked into may hold anything
    if part in others and os.path.isdir(package):
        return package
    return os.path.join(directory, others[0]) if others else None

def inner(found):
    "The directory of a package; None of anything else."
    if os.path.isdir(found):
        return found
    return os.path.dirname(found) if os.path.basename(found) == "__init__.py" else None

def parsed(path):
    if not os.path.isfile(path) or os.path.getsize(path) > SIZE:
        return None
    with open(path, "rb") as file:
        return ast.parse(file.read(), path)

def makes_its_own(found):
    "Whether a package may have modules that no file shows."
    if os.path.isdir(found):
        return False
    if os.path.basename(found) != "__init__.py" or os.path.getsize(found) > SIZE:
        return True
    with open(found, "rb") as file:
        text = file.read()
    return any(word in text for word in (b"__path__", b"sys.modules", b"meta_path", b"sys.path", b"exec("))

def elsewhere(parts):
    "Whether a directory of the checkout that may come onto the path holds the name."
    seen = 0
    for directory, names, files in os.walk(home):
        names[:] = [name for name in names if not name.startswith(".") and name != "site-packages"]
        seen += 1 + len(files)
        if seen > ENTRIES:
            return True
        place = directory
        for number, part in enumerate(parts):
            found = below(place, part)
            if found is None:
                break
            place = inner(found)
            if number == len(parts) - 1 or place is None or makes_its_own(found):
                return True
    return False

def files_of(parts, places):
    "The files that an import reads, in their order; raises LookupError with the part that is missing."
    read, absolute = [], places is roots
    for number, part in enumerate(parts):
        hits = [hit for hit in (below(place, part) for place in places) if hit is not None]
        if not hits:
            if absolute and (number == 0 or installed(parts[0])):
                return []  # installed, or from a path that only the running program knows
            if absolute and elsewhere(parts):
                return read
            raise LookupError(".".join(parts[: number + 1]))
        read.append(hits[0])
        places = [inner(hit) for hit in hits if inner(hit) is not None]
        if number < len(parts) - 1 and (not places or makes_its_own(hits[0])):
            return read
    return read

def wanted(statement, path):
    "(parts of a name, where it is looked for, what it is called) for each module that a statement imports."
    if isinstance(statement, ast.Import):
        for alias in statement.names:
            yield alias.name.split("."), roots
        return
    places = roots
    if statement.level:
        place = os.path.dirname(os.path.realpath(path))
        for _ in range(statement.level - 1):
            place = os.path.dirname(place)
        places = [place]
    parts = statement.module.split(".") if statement.module else []
    if parts:
        yield parts, places
    for alias in statement.names:
        yield parts + [alias.name], places

def problem():
    queue, seen = [script], set()
    while queue and len(seen) < FILES:
        path = queue.pop(0)
        if path in seen:
            continue
        seen.add(path)
        try:
            tree = parsed(path)
        except SyntaxError as error:
            return "%s, line %s, does not parse: %s" % (os.path.relpath(path, home), error.lineno, error.msg)
        except (OSError, ValueError, RecursionError):
            continue
        for statement in tree.body if tree is not None else ():
            if not isinstance(statement, (ast.Import, ast.ImportFrom)):
                continue
            if POOLS & {item.name for item in statement.names}:
                continue
            for parts, places in wanted(statement, path):
                is_name = isinstance(statement, ast.ImportFrom) and parts[-1] in [item.name for item in statement.names]
                try:
                    read = files_of(parts, places)
                except LookupError as missing:
                    if is_name and not only_modules(parts, places):
                        continue  # a name that the package's own code gives
                    where = "%s, line %d" % (os.path.relpath(path, home), statement.lineno)
                    return "%s, imports %s, which is not there" % (where, missing)
                queue.extend(hit for hit in read if hit.endswith(".py"))
    return ""

def only_modules(parts, places):
    "Whether what is imported from a package can be nothing but a module: its __init__.py is missing or empty."
    if parts[-1] == "*" or len(parts) == 1:
        return False
    try:
        read = files_of(parts[:-1], places)
    except LookupError:
        return True
    if len(read) != len(parts) - 1:
        return False
    return os.path.isdir(read[-1]) or os.path.basename(read[-1]) == "__init__.py" and not parsed(read[-1]).body

print(json.dumps(problem()))
"""


# As for the proof of an import: nothing is written beside the bot's files, and what is installed for the bot is seen.
OPTIONS = ("-B", "-E", "-c", PROBE)


def start_problem(python: str, home: str, script: str, account: Account) -> str:
    """What would keep the script from being started again; empty if nothing is known.

    :param home: the checkout. :param script: its file, relative to the checkout.
    :param account: who runs the interpreter, and can read what the bot can.
    """
    question = json.dumps({"home": home, "script": script}).encode()
    try:
        done = run_as(account, [python, *OPTIONS], stdin=question)
        answer = json.loads(done.output.decode("utf-8", "replace").strip().rpartition("\n")[2])
    except (RolloutError, ValueError):
        return ""  # no answer is no evidence; whether this Python works at all is asked elsewhere
    return answer if isinstance(answer, str) else ""
