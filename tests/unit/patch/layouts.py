"""Checkouts as people lay them out, how each is started, and stand-ins for the SDKs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

TEAMS = "from webexteamssdk import WebexTeamsAPI\n"
API = 'api = WebexTeamsAPI(access_token="x")\nprint("started", api.name)\n'
CLIENT = TEAMS + API
MAIN = 'if __name__ == "__main__":\n    main()\n'
FUNCTION = f'{TEAMS}\n\ndef main():\n    api = WebexTeamsAPI(access_token="x")\n    print("started", api.name)\n'


@dataclass(frozen=True)
class Checkout:
    """`start`: arguments of Python; `expected`: the import that is put in, by the file that gets it."""

    files: Mapping[str, str]
    start: Sequence[str]
    expected: Mapping[str, str]
    directory: str = ""
    # Directories on PYTHONPATH, as an installed package or a server puts them there.
    path: Sequence[str] = ()
    # Parts of the findings that must be told.
    findings: Sequence[str] = field(default=())


def one(script: str, text: str, expected: str, *start: str, **more: str) -> Checkout:
    """A checkout with one script of interest."""
    # A name of Python cannot hold a slash or a dot.
    files = {name.replace("__", "/").replace("INIT", "__init__") + ".py": content for name, content in more.items()}
    return Checkout({script: text, **files}, start or (script,), {script: expected})


_WITHOUT_HERE = "sys.path[:] = [path for path in sys.path if os.path.abspath(path) != HERE]\n"
_STRICT_HOOK = """import sys


class Strict:
    def find_spec(self, name, path=None, target=None):
        if name not in sys.stdlib_module_names and name not in ("webexteamssdk", "clients"):
            raise ImportError(name)


sys.meta_path.insert(0, Strict())
"""
CASES = {
    "01 below the root": one("tools/bot.py", CLIENT, "webex_pool_config"),
    "01 below the root, started there": Checkout(
        {"tools/bot.py": CLIENT}, ["bot.py"], {"tools/bot.py": "webex_pool_config"}, "tools"
    ),
    "01 a path that is not the checkout": one(
        "a/b/bot.py",
        "import os, sys\nsys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))\n" + CLIENT,
        "webex_pool_config",
    ),
    "02 not shipped": Checkout(
        {
            "app.py": CLIENT,
            "settings.py": "",
            "Dockerfile": "FROM python\nCOPY app.py settings.py ./\nCMD python app.py\n",
        },
        ["app.py"],
        {"app.py": "webex_pool_config"},
        findings=["Dockerfile:2", "app.py without webex_pool_config.py"],
    ),
    "12 src/utils is a module": one(
        "bot.py",
        f"{TEAMS}from src.utils import now\n{API}print(now())\n",
        "webex_pool_config",
        src__utils="def now():\n    return 1\n",
    ),
    "12 a module named src": one("bot.py", f"import src\n{CLIENT}", "webex_pool_config", src=""),
    "17 from sys import path": one(
        "bots/bot.py",
        f"import os\nfrom sys import path\n\n{TEAMS}\n"
        f"path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))\nimport src.utils.text\n{API}",
        "src.utils.webex_pool_config",
        src__INIT="",
        src__utils__INIT="",
        src__utils__text="",
    ),
    "17 import sys as s": one(
        "bots/bot.py",
        f"import sys as s\nfrom pathlib import Path\n{TEAMS}s.path.append(str(Path(__file__).resolve().parents[1]))\n"
        f"import src.utils.text\n{API}",
        "src.utils.webex_pool_config",
        src__INIT="",
        src__utils__INIT="",
        src__utils__text="",
    ),
    "17 paths = sys.path": one(
        "bots/bot.py",
        f"import sys\nfrom os.path import dirname as up, abspath\npaths = sys.path\n{TEAMS}"
        f"paths.insert(0, up(up(abspath(__file__))))\nimport src.utils.text\n{API}",
        "src.utils.webex_pool_config",
        src__INIT="",
        src__utils__INIT="",
        src__utils__text="",
    ),
    "17 site.addsitedir": one(
        "bots/bot.py",
        "import site, os\nsite.addsitedir(os.path.join(os.path.dirname(__file__), '..'))\n"
        f"import src.utils.text\n{CLIENT}",
        "src.utils.webex_pool_config",
        src__INIT="",
        src__utils__INIT="",
        src__utils__text="",
    ),
}
# The report's own, and ten more.
OTHERS = {
    "the report's": one(
        "webex_bots/jarvis.py",
        "import os, sys\nsys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))\n"
        f"from src.utils.text import greeting\n{CLIENT}print(greeting)\n",
        "src.utils.webex_pool_config",
        src__INIT="",
        src__utils__INIT="",
        src__utils__text="greeting = 'hello'\n",
    ),
    "single file": one("bot.py", CLIENT, "webex_pool_config"),
    "single file, -m": one("bot.py", CLIENT, "webex_pool_config", "-m", "bot"),
    "Django": Checkout(
        {
            "manage.py": "import django\nfrom proj import urls\n",
            "proj/__init__.py": "",
            "proj/urls.py": "from importlib import import_module\nimport_module('notify.views').view()\n",
            "notify/__init__.py": "",
            "notify/models.py": "ROOM = 'r'\n",
            "notify/views.py": "from django import http\nfrom .models import ROOM\n" + FUNCTION.replace("main", "view"),
        },
        ["manage.py"],
        {"notify/views.py": "notify.webex_pool_config"},
    ),
    "Flask factory": Checkout(
        {
            "wsgi.py": "from shop import create_app\napp = create_app()\n",
            "shop/__init__.py": "def create_app():\n    from .hooks import main\n    main()\n",
            "shop/hooks.py": "from flask import Flask\n" + FUNCTION,
            "Procfile": "web: gunicorn wsgi:app\n",
        },
        ["-m", "wsgi"],
        {"shop/hooks.py": ".webex_pool_config"},
    ),
    "FastAPI": Checkout(
        {
            "app/__init__.py": "",
            "app/main.py": f"from fastapi import FastAPI\nfrom app.settings import TOKEN\n{CLIENT}",
            "app/settings.py": "TOKEN = 'x'\n",
            "Dockerfile": 'FROM python\nCOPY app ./app\nCMD ["uvicorn", "app.main:app", "--port", "80"]\n',
        },
        ["-m", "app.main"],
        {"app/main.py": "app.webex_pool_config"},
    ),
    "AWS lambda": Checkout(
        {
            "template.yaml": "Properties:\n  CodeUri: hook/\n  Handler: app.handler\n",
            "hook/app.py": f"{CLIENT}\n\ndef handler(event, context):\n    return api.name\n",
            "hook/__init__.py": "",
        },
        ["-c", "import app; app.handler({}, None)"],
        {"hook/app.py": "webex_pool_config"},
        "hook",
    ),
    "AWS lambda, zipped by a list": Checkout(
        {"function.py": CLIENT, "Makefile": "zip:\n\tzip -q function.zip function.py\n"},
        ["function.py"],
        {"function.py": "webex_pool_config"},
        findings=["Makefile:2", "function.py without webex_pool_config.py"],
    ),
    "Errbot plug-in": Checkout(
        {
            "plugins/notify/notify.plug": "[Core]\nName = Notify\nModule = notify\n",
            "plugins/notify/notify.py": f"from errbot import BotPlugin\n{TEAMS}\n\nclass Notify(BotPlugin):\n"
            "    def activate(self):\n        self.api = WebexTeamsAPI(access_token='x')\n        print('started')\n",
        },
        ["-c", "import notify; notify.Notify().activate()"],
        {"plugins/notify/notify.py": "webex_pool_config"},
        path=["plugins/notify"],
    ),
    "src layout with an entry point": Checkout(
        {
            "pyproject.toml": '[project]\nname = "mybot"\n[project.scripts]\nmybot = "mybot.cli:main"\n'
            '[tool.setuptools.packages.find]\nwhere = ["src"]\n',
            "src/mybot/__init__.py": "",
            "src/mybot/cli.py": FUNCTION,
        },
        ["-c", "from mybot.cli import main; main()"],
        {"src/mybot/cli.py": "mybot.webex_pool_config"},
        path=["src"],
    ),
    "namespace package": Checkout(
        {
            "corp/bots/hello.py": f"from corp.bots.util import name\n{CLIENT}print(name)\n",
            "corp/bots/util.py": "name = 'hello'\n",
        },
        ["-m", "corp.bots.hello"],
        {"corp/bots/hello.py": "corp.bots.webex_pool_config"},
    ),
    "a worker's tasks, which nobody here imports": Checkout(
        {
            "proj/__init__.py": "",
            "proj/tasks.py": "from celery import shared_task\n"
            + FUNCTION.replace("def main", "@shared_task\ndef greet"),
        },
        ["-c", "from importlib import import_module as load; load('proj.tasks').greet()"],
        {"proj/tasks.py": ".webex_pool_config"},
    ),
    "a cloud's function in a package": Checkout(
        {"hook/__init__.py": "", "hook/app.py": f"{TEAMS}\n\ndef run(event, context):\n    WebexTeamsAPI('x')\n"},
        ["-c", "import app; app.run({}, None)"],
        {"hook/app.py": "webex_pool_config"},
        "hook",
    ),
    "a server's module beside what it imports": Checkout(
        {
            "app/__init__.py": "",
            "app/main.py": f"from fastapi import FastAPI\nfrom settings import TOKEN\n{TEAMS}"
            "api = WebexTeamsAPI(TOKEN)\n",
            "app/settings.py": "TOKEN = 'x'\n",
        },
        ["-c", "import main"],
        {"app/main.py": "webex_pool_config"},
        "app",
    ),
    "a script in a package that is started by its path": one(
        "bots/hello.py",
        f"{TEAMS}api = WebexTeamsAPI('x')\ntry:\n    print(api.name)\nexcept KeyboardInterrupt:\n    pass\n",
        "webex_pool_config",
        bots__INIT="",
    ),
    "the script's directory is taken off the path": one(
        "bot.py", f"import sys\n{TEAMS}sys.path.pop(0)\n{API}", "webex_pool_config"
    ),
    "and before anything of Webex is imported": one(
        "bot.py",
        f"import sys, os\nHERE = os.path.dirname(os.path.abspath(__file__))\n"
        f"sys.path[:] = [path for path in sys.path if path != HERE]\n{CLIENT}",
        "webex_pool_config",
    ),
    "and another is put there": one(
        "bot.py",
        "import sys, os\ndel sys.path[0]\n"
        "sys.path = [os.path.join(os.path.dirname(os.path.abspath(__file__)), 'lib'), *sys.path]\n"
        f"import text\n{CLIENT}",
        "webex_pool_config",
        lib__text="",
    ),
    "a module that is imported by its name": Checkout(
        {"start.py": "from importlib import import_module\nimport_module('bots.a')\n", "bots/a.py": CLIENT},
        ["start.py"],
        {"bots/a.py": "bots.webex_pool_config"},
    ),
    "plug-ins by names that are made": Checkout(
        {
            "app/start.py": "import importlib\nfor name in 'ab':\n    importlib.import_module(f'plugins.{name}')\n",
            "app/plugins/a.py": CLIENT,
            "app/plugins/b.py": "",
        },
        ["app/start.py"],
        {"app/plugins/a.py": "plugins.webex_pool_config"},
    ),
    "a file that is run by another": Checkout(
        {"start.py": "import runpy\nrunpy.run_path('bots/a.py', run_name='__main__')\n", "bots/a.py": CLIENT},
        ["start.py"],
        {"bots/a.py": "webex_pool_config"},
    ),
    "a command without an ending": one(
        "bin/jarvis",
        "#!/usr/bin/env -S python3 -u\nimport os, sys\n"
        f"sys.path.insert(0, os.path.join(os.path.dirname(__file__), '../lib'))\nimport text\n{CLIENT}",
        "webex_pool_config",
        lib__text="",
    ),
    "a program for Windows, which opens no console": Checkout(
        {
            "win/bot.pyw": f"import names\n{CLIENT}print(names.NAME)\n",
            "win/names.py": "NAME = 'n'\n",
            "README.md": "    pythonw win/bot.pyw\n",
        },
        ["win/bot.pyw"],
        {"win/bot.pyw": "webex_pool_config"},
    ),
    "a program for Windows that another runs": Checkout(
        {"start.py": "import runpy\nrunpy.run_path('win/bot.pyw')\n", "win/bot.pyw": CLIENT},
        ["start.py"],
        {"win/bot.pyw": "webex_pool_config"},
    ),
    "notebook export": one(
        "notebooks/export.py",
        f"#!/usr/bin/env python\n# coding: utf-8\n\n# In[1]:\n\n\n{TEAMS}\n\n# In[2]:\n\n\n{API}",
        "webex_pool_config",
    ),
    "cookiecutter": Checkout(
        {
            "setup.py": "from setuptools import setup\nsetup(\n    packages=['hello_bot'],\n"
            "    entry_points={'console_scripts': [\n        'hello = hello_bot.cli:main',\n    ]},\n)\n",
            "MANIFEST.in": "include LICENSE\n",
            "hello_bot/__init__.py": "",
            "hello_bot/cli.py": "from hello_bot import hello_bot\n\n\ndef main():\n    hello_bot.main()\n",
            "hello_bot/hello_bot.py": FUNCTION,
            "tests/test_hello_bot.py": "from hello_bot import hello_bot\n",
        },
        ["-c", "from hello_bot.cli import main; main()"],
        {"hello_bot/hello_bot.py": "hello_bot.webex_pool_config"},
    ),
    "a package run by -m": Checkout(
        {
            "mybot/__init__.py": "",
            "mybot/__main__.py": f"from .util import name\n{CLIENT}print(name)\n",
            "mybot/util.py": "name = 1\n",
        },
        ["-m", "mybot"],
        {"mybot/__main__.py": ".webex_pool_config"},
    ),
    "a package run by -m that imports nothing of its own": Checkout(
        {"mybot/__init__.py": "", "mybot/__main__.py": CLIENT},
        ["-m", "mybot"],
        {"mybot/__main__.py": ".webex_pool_config"},
        findings=["does not resolve when mybot/__main__.py is started by its name"],
    ),
    "an archive's program, in a directory": Checkout(
        {"app/__main__.py": f"import names\n{CLIENT}", "app/__init__.py": "", "app/names.py": ""},
        ["app"],
        {"app/__main__.py": "webex_pool_config"},
    ),
    "a deep package": Checkout(
        {
            "corp/__init__.py": "",
            "corp/bots/__init__.py": "",
            "corp/bots/hello.py": f"from ..util import name\n{CLIENT}print(name)\n",
            "corp/util.py": "name = 'hello'\n",
        },
        ["-m", "corp.bots.hello"],
        {"corp/bots/hello.py": "..webex_pool_config"},
    ),
    "a module that two scripts import": Checkout(
        {
            "one.py": "from lib.clients import main\nmain()\n",
            "lib/clients.py": FUNCTION,
            "two.py": f"import lib.clients\n{CLIENT}",
        },
        ["two.py"],
        {"lib/clients.py": "lib.webex_pool_config", "two.py": "webex_pool_config"},
    ),
    "an import of the package's own root": one(
        "bots/one.py",
        "import os, sys\nsys.path.append(os.path.join(os.path.dirname(__file__), os.pardir))\n"
        f"from bots.names import name\n{CLIENT}print(name)\n",
        "bots.webex_pool_config",
        bots__INIT="",
        bots__names="name = 'n'\n",
    ),
    "a package of one's own hands the class on": Checkout(
        {
            "bot.py": "from sdk import Api\nfrom sdk.more import *\napi = Api('x')\nprint(Client('y').name)\n",
            "sdk/__init__.py": "from .impl import *\n",
            "sdk/impl.py": "from webexteamssdk import WebexTeamsAPI as Api\n",
            "sdk/more.py": "from .impl import Api\n\n\nclass Client(Api):\n    pass\n",
        },
        ["bot.py"],
        {"bot.py": "webex_pool_config"},
    ),
    "the SDK by way of a module of one's own": Checkout(
        {
            "bot.py": "import compat.sdk as c\nfrom compat import sdk\napi = c.webexteamssdk.WebexTeamsAPI('x')\n"
            "print(sdk.teams.WebexTeamsAPI('y').name)\n",
            "compat/__init__.py": "",
            "compat/sdk.py": "import webexteamssdk\nimport webexteamssdk as teams\n",
        },
        ["bot.py"],
        {"bot.py": "webex_pool_config"},
    ),
    "all names of a module, the class among them": Checkout(
        {"bot.py": "from names import *\napi = WebexTeamsAPI('x')\n", "names.py": TEAMS},
        ["bot.py"],
        {"bot.py": "webex_pool_config"},
    ),
    "src/utils that does something when it is imported": one(
        "bot.py", CLIENT, "webex_pool_config", src__INIT="", src__utils__INIT="print('imported')\n"
    ),
    "two imports of the SDK, one of them in a function that uses both": one(
        "bot.py",
        "import webexteamssdk\n\n\ndef make(kind):\n"
        "    def first():\n        return webexteamssdk.WebexTeamsAPI('x')\n\n"
        "    match kind:\n        case 1:\n            return first()\n        case 2:\n"
        "            return webexteamssdk.WebexTeamsAPI('x')\n"
        "    from webexteamssdk import WebexTeamsAPI as Api\n\n    return Api('y')\n\n\n"
        "print(make(1).name, make(2).name, make(3).name)\n",
        "webex_pool_config",
    ),
    "the same, of an SDK that is optional": one(
        "bot.py",
        "try:\n    import webexteamssdk\nexcept ImportError:\n    webexteamssdk = None\n\n\ndef make(kind):\n"
        "    if kind == 1:\n        return webexteamssdk.WebexTeamsAPI('x')\n"
        "    from webexteamssdk import WebexTeamsAPI as Api\n\n    return Api('y')\n\n\n"
        "print(make(1).name, make(2).name)\n",
        "webex_pool_config",
    ),
    "a pool's import in another branch of the function": one(
        "bot.py",
        f"{TEAMS}\n\ndef make(kind):\n    if kind == 1:\n"
        "        from webex_pool_config import configure_webex_api_session\n\n"
        "        return configure_webex_api_session(WebexTeamsAPI('x'))\n    return WebexTeamsAPI('y')\n\n\n"
        "print(make(2).name)\n",
        "webex_pool_config",
        webex_pool_config="def configure_webex_api_session(client):\n    return client\n",
    ),
    "a helper that takes the script's directory off the path": one(
        "bots/hello.py",
        f"import clean\n{CLIENT}",
        "webex_pool_config",
        bots__clean=f"import os, sys\nHERE = os.path.dirname(os.path.abspath(__file__))\n{_WITHOUT_HERE}",
    ),
    "a helper that does so when it is called, in a package": one(
        "bots/hello.py",
        f"from env.path import *\n{TEAMS}tidy()\n{API}",
        "webex_pool_config",
        bots__env__INIT="",
        bots__env__path="import sys\n\n\ndef take():\n    del sys.path[0]\n\n\ndef tidy():\n    take()\n",
    ),
    "a method that does so, by way of another module": one(
        "bots/hello.py",
        f"import first as f\nf.Setup().run()\n{CLIENT}",
        "webex_pool_config",
        bots__first="from second import Setup\n",
        bots__second="import sys\n\n\nclass Setup:\n    def run(self):\n        sys.path.pop(0)\n",
    ),
    "a function of one's own that does so": one(
        "bots/hello.py",
        f"import sys\n\n\ndef tidy():\n    sys.path.pop(0)\n\n\ntidy()\n{CLIENT}",
        "webex_pool_config",
    ),
    "the program's own function does so, behind the SDK's import": one(
        "bots/hello.py",
        f"import sys\n\n\ndef main():\n    {TEAMS}    api = WebexTeamsAPI('x')\n    sys.path.pop(0)\n"
        f"    print(api.name)\n\n\n{MAIN}",
        "webex_pool_config",
    ),
    "a helper that puts another directory in its place": one(
        "bots/hello.py",
        f"import boot\nfrom src.utils import text\n{CLIENT}",
        "src.utils.webex_pool_config",
        bots__boot="import os, sys\nsys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))\n",
        src__INIT="",
        src__utils__INIT="",
        src__utils__text="",
    ),
    "a helper that removes what it has put there": one(
        "bots/hello.py",
        f"import boot\n{CLIENT}",
        "webex_pool_config",
        bots__boot="import sys\nsys.path.insert(0, 'vendored')\nimport json\nsys.path.pop(0)\n",
    ),
    "an import hook that lets only known names through": one(
        "hello.py", f"{_STRICT_HOOK}{CLIENT}", "webex_pool_config"
    ),
    "the same in a helper": one("hello.py", f"import guard\n{CLIENT}", "webex_pool_config", guard=_STRICT_HOOK),
    "another `__import__`": one(
        "hello.py",
        "import builtins\nreal = builtins.__import__\n\n\ndef strict(name, *more, **named):\n"
        "    if 'pool' in name:\n        raise ImportError(name)\n    return real(name, *more, **named)\n\n\n"
        f"builtins.__import__ = strict\n{CLIENT}",
        "webex_pool_config",
    ),
    "a hook between the path and the client": one(
        "bots/hello.py",
        "import os, sys\nsys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))\n"
        f"from src.utils import text\n{_STRICT_HOOK}{CLIENT}",
        "src.utils.webex_pool_config",
        src__INIT="",
        src__utils__INIT="",
        src__utils__text="",
    ),
    "a hook that is asked last": one(
        "hello.py",
        f"import six\n{CLIENT}",
        "webex_pool_config",
        six="import sys\n\n\nclass Finder:\n    def find_spec(self, *name):\n        return None\n\n\n"
        "sys.meta_path.append(Finder())\n",
    ),
    "a package that looks elsewhere as well": one(
        "pkg/inner/hello.py",
        CLIENT,
        "pkg.webex_pool_config",
        "-c",
        "import pkg.hello",
        start="from pkg import hello\n",
        pkg__INIT="import os\n__path__.append(os.path.join(os.path.dirname(__file__), 'inner'))\n",
    ),
    "a package that looks elsewhere instead": one(
        "pkg/inner/hello.py",
        CLIENT,
        ".webex_pool_config",
        "-c",
        "import pkg.hello",
        start="from pkg import hello\n",
        pkg__INIT="import os\n__path__ = [os.path.join(os.path.dirname(__file__), 'inner')]\n",
    ),
    "src/utils that looks elsewhere": one(
        "hello.py",
        f"from src.utils import text\n{CLIENT}",
        "webex_pool_config",
        src__INIT="",
        src__utils__INIT="from pathlib import Path\n__path__[:] = [str(Path(__file__).parent / 'v2')]\n",
        src__utils__v2__text="",
    ),
    "a package that all may add to": one(
        "hello.py",
        f"from src.utils import text\n{CLIENT}",
        "src.utils.webex_pool_config",
        src__INIT="from pkgutil import extend_path\n__path__ = extend_path(__path__, __name__)\n",
        src__utils__INIT="",
        src__utils__text="",
    ),
    "src/utils that puts something else in its place": one(
        "hello.py",
        f"from src.utils import text\n{CLIENT}",
        "webex_pool_config",
        src__INIT="",
        src__utils__INIT="import sys, types\nsys.modules[__name__] = types.SimpleNamespace(text=1)\n",
    ),
    "a file that is executed by another": Checkout(
        {
            "start.py": "from pathlib import Path\nexec((Path(__file__).parent / 'bots' / 'a.py').read_text())\n",
            "bots/a.py": CLIENT,
        },
        ["start.py"],
        {"bots/a.py": "webex_pool_config"},
    ),
    "a file that is executed by a name of one's own": Checkout(
        {
            "start.py": "import os\nBOT = os.path.join('bots', 'a.py')\nwith open(BOT) as file:\n"
            "    exec(compile(file.read(), BOT, 'exec'), {'__name__': '__main__'})\n",
            "bots/a.py": CLIENT,
        },
        ["start.py"],
        {"bots/a.py": "webex_pool_config"},
    ),
    "a path that is joined, and run": Checkout(
        {"start.py": "import os, runpy\nrunpy.run_path(os.path.join('bots', 'a.py'))\n", "bots/a.py": CLIENT},
        ["start.py"],
        {"bots/a.py": "webex_pool_config"},
    ),
    "src that cannot be imported": one(
        "bot.py", CLIENT, "webex_pool_config", src__INIT="import a_module_that_is_missing\n", src__utils__INIT=""
    ),
    "src/utils that has run already": one(
        "bot.py",
        f"from src.utils import text\n{CLIENT}",
        "src.utils.webex_pool_config",
        src__INIT="",
        src__utils__INIT="print('imported')\n",
        src__utils__text="",
    ),
    "a script that is a part of a package as well": Checkout(
        {
            "bots/__init__.py": "",
            "bots/jarvis.py": "try:\n    from .names import TOKEN\nexcept ImportError:\n    from names import TOKEN\n"
            f"{TEAMS}api = WebexTeamsAPI(TOKEN)\n",
            "bots/names.py": "TOKEN = 'x'\n",
        },
        ["bots/jarvis.py"],
        {"bots/jarvis.py": "webex_pool_config"},
        findings=["does not resolve when bots/jarvis.py is started or imported as bots.jarvis"],
    ),
    "the same, with a command that says how": Checkout(
        {
            "bots/__init__.py": "",
            "bots/jarvis.py": "try:\n    from .names import TOKEN\nexcept ImportError:\n    from names import TOKEN\n"
            f"{TEAMS}api = WebexTeamsAPI(TOKEN)\n",
            "bots/names.py": "TOKEN = 'x'\n",
            "Procfile": "bot: python -m bots.jarvis\n",
        },
        ["-m", "bots.jarvis"],
        {"bots/jarvis.py": "bots.webex_pool_config"},
    ),
    "py_modules by name": Checkout(
        {"hello.py": FUNCTION + MAIN, "setup.cfg": "[metadata]\nname = hello\n[options]\npy_modules =\n    hello\n"},
        ["hello.py"],
        {"hello.py": "webex_pool_config"},
        findings=["setup.cfg:4", "hello.py without webex_pool_config.py"],
    ),
}
LAYOUTS = {**CASES, **OTHERS}

# -- stand-ins for what is installed

_API = """
class {name}:
    name = "{name}"
    def __init__(self, *args, **kwargs):
        import clients
        clients.made(self)
    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *args, **kwargs: self
"""
INSTALLED = {
    "webexteamssdk/__init__.py": _API.format(name="WebexTeamsAPI"),
    "webexpythonsdk/__init__.py": _API.format(name="WebexAPI"),
    "webex_bot/__init__.py": "",
    "webex_bot/webex_bot.py": _API.format(name="WebexBot"),
    "ciscosparkapi/__init__.py": _API.format(name="CiscoSparkAPI"),
    "webexteamsbot/__init__.py": _API.format(name="TeamsBot"),
    "wxc_sdk/__init__.py": _API.format(name="WebexSimpleApi"),
    "django/__init__.py": "",
    "django/http.py": "",
    "flask/__init__.py": "class Flask: pass\n",
    "celery/__init__.py": "def shared_task(function):\n    return function\n",
    "fastapi/__init__.py": "class FastAPI: pass\n",
    "errbot/__init__.py": "class BotPlugin: pass\n",
    "clients.py": """
import atexit, collections
counts = collections.OrderedDict()
def made(client):
    counts[id(client)] = [client, 0]
def configured(client):
    counts[id(client)][1] += 1
def tell():
    import os
    with open(os.environ["CLIENTS"], "w") as file:
        file.write(" ".join(str(count) for _, count in counts.values()))
atexit.register(tell)
""",
}
POOL = """
import clients
def configure_webex_api_session(client, **settings):
    clients.configured(client)
    return client
configure_webex_bot_session = configure_webex_api_session
"""


@dataclass(frozen=True)
class Run:
    """What a started program printed, and how often each client that it made was configured."""

    code: int
    output: str
    configured: list[int]


def write(home: Path, files: Mapping[str, str | bytes]) -> Path:
    """Files below a directory."""
    for name, text in files.items():
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return home


def start(home: Path, checkout: Checkout, installed: Path) -> Run:
    """Starts a checkout's program as its user would."""
    told = home.parent / "clients.txt"
    path = [*(str(home / item) for item in checkout.path), str(installed)]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path),
        "CLIENTS": str(told),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run(
        [sys.executable, *checkout.start],
        cwd=home / checkout.directory,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    counts = told.read_text().split() if told.exists() else []
    return Run(done.returncode, done.stdout + done.stderr, [int(count) for count in counts])
