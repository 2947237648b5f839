"""Whether images, wheels and zips that are built by a list of files take the pool module along."""

from __future__ import annotations

import ast
import configparser
import posixpath
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import tomllib

from .model import NOT_SHIPPED, Finding

_DOCKERFILE = re.compile(r"(^|/)([^/]*Dockerfile[^/]*|Containerfile[^/]*)$", re.IGNORECASE)
_LIST_FILE = re.compile(
    r"(^|/)(pyproject\.toml|setup\.(cfg|py)|MANIFEST\.in|serverless\.ya?ml|Makefile|\.dockerignore|[^/]*\.sh)$"
    r"|^\.github/workflows/[^/]+$"
)
_ZIP = re.compile(r"\bzip\s+(?:-\S+\s+)*\S+\s+(?P<files>[^;&|#]+)")


def is_list_file(path: str) -> bool:
    """Whether a file may list what is shipped."""
    return _DOCKERFILE.search(path) is not None or _LIST_FILE.search(path) is not None


def not_shipped(files: Mapping[str, bytes], program: str, module: str) -> list[Finding]:
    """A finding for each list that names a program and leaves its pool module out.

    :param files: the checkout's files by path; only those that list files are looked at. :param program: the patched
        file. :param module: the pool module's file.
    """
    found = []
    for path in sorted(files):
        if not is_list_file(path):
            continue
        text = files[path].decode("utf-8", "replace")
        directory = posixpath.dirname(path)
        if not all(_is_below(item, directory) for item in (program, module)):
            continue
        inside = [posixpath.relpath(item, directory or ".") for item in (program, module)]
        line = _left_out(path, text, *inside)
        if line:
            shown = text.splitlines()[line - 1].strip()
            message = f"`{shown[:80]}` ships {program} without {module}, which it now imports: add it there"
            found.append(Finding(path, line, 1, NOT_SHIPPED, message))
    return found


def _is_below(path: str, directory: str) -> bool:
    return not directory or path.startswith(directory + "/")


def _left_out(path: str, text: str, program: str, module: str) -> int:
    """The line of a list that names the program and not the module; 0 if there is none."""
    name = posixpath.basename(path)
    if _DOCKERFILE.search(path):
        lists = _copies(text)
    elif name == "pyproject.toml":
        lists = _pyproject(text)
    elif name == "setup.cfg":
        lists = _setup_cfg(text)
    elif name == "setup.py":
        lists = _setup_py(text)
    elif name == "MANIFEST.in":
        lists = _manifest(text)
    elif name.startswith("serverless"):
        lists = _serverless(text)
    elif name == ".dockerignore":
        return _ignored(text, program, module)
    else:
        lists = _zips(text)
    naming = [(line, patterns) for line, patterns in lists if _covers(patterns, program)]
    if not naming or any(_covers(patterns, module) for _, patterns in lists):
        return 0
    return naming[0][0]


def _covers(patterns: Iterable[str], file: str) -> bool:
    """Whether a list names a file: itself, by a pattern, or by a directory above it."""
    for pattern in patterns:
        plain = posixpath.normpath(pattern)
        if plain in (".", "*", "/") or fnmatchcase(file, plain.replace("**/", "*")) or file.startswith(plain + "/"):
            return True
    return False


_List = tuple[int, list[str]]


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Logical lines, each with the number of its first."""
    number, held = 0, ""
    for count, line in enumerate(text.splitlines(), 1):
        number = number if held else count
        if line.rstrip().endswith("\\"):
            held += line.rstrip()[:-1] + " "
            continue
        yield number, held + line
        held = ""
    if held:
        yield number, held


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text, comments=True)
    except ValueError:
        return text.split()


def _copies(text: str) -> list[_List]:
    found = []
    for number, line in _lines(text):
        match = re.match(r"\s*(?:COPY|ADD)\s+(.*)", line, re.IGNORECASE)
        if match is None or "--from=" in match[1]:
            continue
        arguments = re.sub(r"[\[\],]", " ", match[1]) if "[" in match[1] else match[1]
        sources = [item for item in _words(arguments) if not item.startswith("--")][:-1]
        found.append((number, [item.lstrip("/") or "." for item in sources]))
    return found


def _zips(text: str) -> list[_List]:
    found = []
    for number, line in _lines(text):
        for match in _ZIP.finditer(line):
            names = [item for item in _words(match["files"]) if not item.startswith("-")]
            found.append((number, [item.lstrip("@") for item in names]))
    return found


def _line_of(text: str, *names: str) -> int:
    """The first line with a word after another: a table, then a key of it."""
    number = 0
    lines = text.splitlines()
    for name in names:
        number = next((count for count in range(number, len(lines)) if name in lines[count]), number)
    return number + 1


def _modules(packages: Sequence[Any], modules: Sequence[Any], roots: Mapping[str, str]) -> list[str]:
    """Patterns for the files of packages (without those below them) and of single modules."""
    found = []
    root = roots.get("", "")
    for package in packages:
        directory = roots.get(str(package), posixpath.join(root, str(package).replace(".", "/")))
        found.append(f"{directory}/*.py")
    return found + [posixpath.join(root, str(item).replace(".", "/") + ".py") for item in modules]


def _pyproject(text: str) -> list[_List]:
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return []
    tool = data.get("tool", {})
    setuptools = tool.get("setuptools", {})
    found: list[_List] = []
    packages, modules = setuptools.get("packages", []), setuptools.get("py-modules", [])
    roots = setuptools.get("package-dir", {})
    if isinstance(packages, list) and (packages or modules):
        patterns = [_exact(item) for item in _modules(packages, modules, roots)]
        key = "packages" if packages else "py-modules"
        found.append((_line_of(text, "[tool.setuptools", key), patterns))
    for item in tool.get("poetry", {}).get("packages", []):
        base = posixpath.join(item.get("from", ""), item.get("include", ""))
        found.append((_line_of(text, "[tool.poetry]", "packages"), [base]))
    wheel = tool.get("hatch", {}).get("build", {}).get("targets", {}).get("wheel", {})
    for key in ("packages", "only-include", "include"):
        if wheel.get(key):
            found.append((_line_of(text, "hatch.build.targets.wheel", key), list(wheel[key])))
            break
    return found


def _exact(pattern: str) -> str:
    return pattern.removeprefix("./")


def _setup_cfg(text: str) -> list[_List]:
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(text)
    except configparser.Error:
        return []
    if not parser.has_section("options"):
        return []
    options = parser["options"]
    packages = options.get("packages", "").split()
    modules = options.get("py_modules", "").split()
    if not (packages or modules) or any("find" in item for item in packages):
        return []
    roots = dict(item.split("=", 1) for item in options.get("package_dir", "").replace(" ", "").split() if "=" in item)
    key = "packages" if packages else "py_modules"
    return [(_line_of(text, "[options]", key), _modules(packages, modules, roots))]


def _setup_py(text: str) -> list[_List]:
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) == "setup":
            given = {item.arg: item.value for item in node.keywords if item.arg}
            lists = {name: _literal(given[name]) for name in ("packages", "py_modules") if name in given}
            if not lists or None in lists.values():
                return []
            roots = _literal(given["package_dir"]) if "package_dir" in given else {}
            patterns = _modules(lists.get("packages", ()), lists.get("py_modules", ()), roots or {})
            return [(given[next(iter(lists))].lineno, patterns)]
    return []


def _literal(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError):
        return None


def _manifest(text: str) -> list[_List]:
    found = []
    for number, line in _lines(text):
        words = line.split()
        if words and words[0] == "include":
            found.append((number, words[1:]))
        elif words and words[0] in ("recursive-include", "graft"):
            found.append((number, [f"{words[1]}/{pattern}" for pattern in words[2:] or ["*"]]))
    return found


def _serverless(text: str) -> list[_List]:
    found: list[_List] = []
    inside = False
    for number, line in _lines(text):
        if re.match(r"\s*(patterns|include)\s*:", line):
            inside = True
            found.append((number, []))
        elif inside and (match := re.match(r"\s*-\s*[\"']?([^\"'#]+)", line)):
            if not match[1].startswith("!"):
                found[-1][1].append(match[1].strip())
        elif line.strip():
            inside = False
    return found


def _ignored(text: str, program: str, module: str) -> int:
    """The line of .dockerignore that leaves the module out and not the program."""
    decided = {program: 0, module: 0}
    for number, line in _lines(text):
        pattern = line.strip()
        if not pattern or pattern.startswith("#"):
            continue
        for file in decided:
            if _covers([pattern.lstrip("!").lstrip("/")], file):
                decided[file] = 0 if pattern.startswith("!") else number
    return decided[module] if not decided[program] else 0
