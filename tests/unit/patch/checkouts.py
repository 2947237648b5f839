"""Generated checkouts: where a bot's script lies, what it imports, what it puts on its path, and how it is started.

Each is started before and after its patch in a child of this process, which costs a few milliseconds.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import runpy
import shutil
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path

from plugin_utils.client_patch import Settings, Templates
from plugin_utils.client_patch.checkout import SourceError
from plugin_utils.client_patch.project import Project, ProjectResult
from plugin_utils.client_patch.surroundings import Surroundings
from plugin_utils.client_patch.templates import MODULE

from .case_files import TEMPLATES
from .layouts import INSTALLED, POOL, write

# The pool module's name is left to the engine.
SETTINGS = Settings(Templates(TEMPLATES.api_client, TEMPLATES.bot_client, f"from {MODULE} import __names__\n"))


def patched(files: dict[str, str], **more: object) -> ProjectResult:
    sources = {path: text.encode() for path, text in files.items()}
    return Project(sources, SETTINGS, Surroundings.of_files(sources, **more)).patch()


NAMES = ["bots", "app", "corp", "lib", "src", "utils", "tools"]
SDKS = ["webexteamssdk", "webexpythonsdk", "ciscosparkapi", "wxc_sdk"]
CLASSES = {"webexteamssdk": "WebexTeamsAPI", "webexpythonsdk": "WebexAPI", "ciscosparkapi": "CiscoSparkAPI"}
CLASSES["wxc_sdk"] = "WebexSimpleApi"
# Ways to the directory `up` levels above the script's own; {n} is that number, {ups} as many `..`.
PATHS = [
    "import os, sys\nsys.path.insert(0, os.path.abspath(os.path.join(os.path.dirname(__file__), {ups})))",
    "import sys\nfrom pathlib import Path\nsys.path.insert(0, str(Path(__file__).resolve().parents[{n}]))",
    "import sys as s, pathlib\nHERE = pathlib.Path(__file__).absolute().parent\n"
    "s.path.append(str(HERE.joinpath({ups}).resolve()))",
    "import os\nfrom sys import path\n"
    "path += [os.path.normpath(os.path.dirname(os.path.realpath(__file__)) + '/' + {joined})]",
    "import os, sys\npaths = sys.path\n"
    "root = os.path.join(os.path.dirname(os.path.abspath(__file__)), {joined})\npaths[0:0] = [root]",
    "import site\nfrom os.path import dirname, join\nsite.addsitedir(join(dirname(__file__), {joined}))",
    "import sys, os\nfor where in [os.path.join(os.path.dirname(__file__), {joined})]:\n"
    "    if where not in sys.path:\n        sys.path.insert(0, where)",
]
STYLES = ["by path", "by path, there", "-m", "imported", "imported relatively"]


@dataclass(frozen=True)
class Generated:
    files: dict[str, str]
    script: str
    # A way to start, with the file or the dotted name.
    style: str
    name: str


def generate(number: int) -> Generated:
    """The checkout of that number: always the same one."""
    draw = random.Random(number)
    parts = draw.sample(NAMES, draw.choice([0, 1, 1, 1, 2, 2, 3]))
    directory = "/".join(parts)
    script = "/".join([*parts, "hello.py"])
    style = draw.choice(STYLES)
    files: dict[str, str] = {}
    for count in range(1, len(parts) + 1):
        if draw.random() < 0.5:
            files["/".join([*parts[:count], "__init__.py"])] = ""
    if draw.random() < 0.3:
        files.update({"src/__init__.py": "", "src/utils/__init__.py": "", "src/utils/text.py": "name = 'text'\n"})
    if draw.random() < 0.1:
        files["src.py"] = ""
    if draw.random() < 0.05:
        files["/".join([*parts, "webex_pool_config.py"])] = "SIZE = 1\n"
    head, imports = "", []
    dotted = ".".join([*parts, "hello"])
    files["/".join([*parts, "beside.py"])] = "name = 'beside'\n"
    if style.startswith("by path"):
        levels = draw.randint(0, len(parts))
        if levels and draw.random() < 0.7:
            joined = "/".join([".."] * levels)
            ups = ", ".join(["'..'"] * levels)
            head = draw.choice(PATHS).format(n=levels, ups=ups, joined=repr(joined)) + "\n"
            if draw.random() < 0.5:
                imports.append(f"import {'.'.join([*parts[len(parts) - levels :], 'beside'])}")
        elif draw.random() < 0.3:
            imports.append("import beside")
        if draw.random() < 0.5:
            files["Procfile"] = f"bot: python {script}\n"
    elif style == "-m":
        own = draw.random() < 0.5
        imports += [f"import {'.'.join([*parts, 'beside'])}"] if own else []
        if not own and parts and draw.random() < 0.5:
            imports.append("from . import beside")
        else:
            told = f"web: python -u -m {dotted}\n"
            files[draw.choice(["Procfile", "README.md"])] = told
    elif style == "imported":
        files["start.py"] = draw.choice([f"import {dotted}\n", f"from {dotted} import api\n"])
    else:
        files["/".join([*parts, "start.py"])] = "from . import hello\n"
        if draw.random() < 0.5 and parts:
            files["/".join([*parts[:-1], "other.py"])] = f"from .{parts[-1]} import hello\n"
    sdk = draw.choice(SDKS)
    imports.append(f"from {sdk} import {CLASSES[sdk]} as Client")
    optional = draw.random() < 0.2
    if optional:
        imports[-1] = f"try:\n    {imports[-1]}\nexcept ImportError:\n    Client = None"
    lines = [*imports, head] if draw.random() < 0.2 and not imports[:-1] else [head, *imports]
    body = 'api = Client("x")\nprint("started", type(api).__name__)\n'
    if draw.random() < 0.3:
        body = 'def make():\n    return Client("x")\n\n\napi = make()\nprint("started")\n'
    if draw.random() < 0.3:
        body += 'if __name__ == "__main__":\n    print("as a program")\n'
    files[script] = "\n".join(item for item in lines if item) + "\n" + body
    if style == "imported relatively" and not parts:
        style = "by path"
    name = {"imported": "start", "imported relatively": ".".join([*parts, "start"])}.get(style, dotted)
    return Generated(files, script, style, directory if style == "by path, there" else name)


def run(home: Path, generated: Generated, installed: Path) -> tuple[str, list[int]]:
    """What a started program printed, in a child, and how often each of its clients was configured."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        told: list[object] = ["no answer", []]
        try:
            told = _started(home, generated, installed)
        finally:
            os.write(writing, json.dumps(told).encode())
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        output, counts = json.loads(pipe.read() or b'["no answer", []]')
    os.waitpid(child, 0)
    return str(output), list(counts)


def _started(home: Path, generated: Generated, installed: Path) -> list[object]:
    there = generated.style.startswith("by path")
    script = home / generated.script
    os.chdir(script.parent if generated.style == "by path, there" else home)
    own = str(Path(sys.prefix).resolve())
    # Without this project: its directories have names that a checkout's may have too.
    rest = [item for item in sys.path if item and (item.startswith((own, sys.base_prefix)) or "lib/python" in item)]
    sys.path[:] = [str(script.parent if there else home), str(installed), *rest]
    for name in [name for name in sys.modules if name.partition(".")[0] in (*NAMES, "tests")]:
        del sys.modules[name]
    sys.dont_write_bytecode = True
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        try:
            if there:
                runpy.run_path(str(script), run_name="__main__")
            else:
                runpy.run_module(generated.name, run_name="__main__", alter_sys=True)
        except BaseException:
            output.write(traceback.format_exc().splitlines()[-1])
    clients = sys.modules.get("clients")
    return [output.getvalue(), [count for _, count in clients.counts.values()] if clients is not None else []]


def check(number: int, home: Path, installed: Path) -> str:
    """What became of a checkout: "patched", or why nothing was written. Broken promises raise."""
    generated = generate(number)
    write(home, generated.files)
    try:
        before = run(home, generated, installed)
        if before[1] != [0]:
            return "does not start as it is"
        try:
            result = patched(generated.files)
        except SourceError:
            return "no client"
        if result.refused:
            assert any(name in result.refused for name in (generated.script,)), result.refused
            return "refused"
        write(home, {path: item.source for path, item in result.files.items()})
        write(home, dict.fromkeys(result.modules, POOL))
        after = run(home, generated, installed)
        told = [item for item in result.findings if item.kind == "start"]
        assert after == (before[0], [1]) or told, (number, generated, before, after, sorted(result.modules))
        return "patched" if after == (before[0], [1]) else "patched, and told that another start would fail"
    finally:
        shutil.rmtree(home)


def install(directory: Path) -> Path:
    """The stand-ins for what is installed."""
    return write(directory, INSTALLED)
