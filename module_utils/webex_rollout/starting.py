# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a bot would start again from what is on disk now.

A process that has run for weeks keeps the code that it was started from; a checkout that was broken since shows only
when the process has been ended. So it is asked before: does every file that the script imports from the checkout, at
its top level and without a condition, exist and parse, for the bot's own Python? Nothing of the checkout is run. What
cannot be told without running it (changed search paths, packages that make their modules themselves) counts as there.
"""

from __future__ import annotations

from .become import Account
from .errors import RolloutError
from .imports import FIND, answer_of, probe

# Python 3.7 and newer, as the bot's user. A module is missing only if its first part is the checkout's own and no
# directory of the checkout, wherever it is, could hold the rest.
PROBE = (
    r"""
import ast, json, os, sys
"""
    + FIND
    + r"""
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
    try:
        return part in sys.builtin_module_names or find(part, None) is not None
    except Exception:
        return True

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
        for statement in imports(tree):
            try:
                queue.extend(hit for hit in read_by(statement, path) if hit.endswith(".py"))
            except LookupError as missing:
                where = "%s, line %d" % (os.path.relpath(path, home), statement.lineno)
                return "%s, imports %s, which is not there" % (where, missing)
    return ""

def imports(tree):
    "The imports at the top level of a file, but for those of the pool module."
    for statement in tree.body if tree is not None else ():
        if isinstance(statement, (ast.Import, ast.ImportFrom)):
            if not POOLS & {item.name for item in statement.names}:
                yield statement

def read_by(statement, path):
    "The files that an import reads; raises LookupError with what is missing."
    read = []
    for parts, places in wanted(statement, path):
        is_name = isinstance(statement, ast.ImportFrom) and parts[-1] in [item.name for item in statement.names]
        try:
            read += files_of(parts, places)
        except LookupError:
            if not is_name or only_modules(parts, places):
                raise  # else it is a name that the package's own code gives
    return read

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
)


def start_problem(python: str, home: str, script: str, account: Account) -> str:
    """What would keep the script from being started again; empty if nothing is known.

    :param home: the checkout. :param script: its file, relative to the checkout.
    :param account: who runs the interpreter, and can read what the bot can.
    """
    try:
        answer = answer_of(probe(python, PROBE, {"home": home, "script": script}, account).output)
    except (RolloutError, ValueError):
        return ""  # no answer is no evidence; whether this Python works at all is asked elsewhere
    return answer if isinstance(answer, str) else ""
