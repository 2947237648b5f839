"""Generated programs around client constructions, and stand-ins for the SDKs to run them with.

The programs are text: every layout that a person may choose has to come up, and the patch must keep it. Each
construction is marked while the text is put together, so that the tests know where they are without asking the engine.
"""

from __future__ import annotations

import builtins
import re
import textwrap
import types
from collections.abc import Callable
from dataclasses import dataclass, field

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

OPEN, CLOSE = "⟦", "⟧"
# A line that the tests may replace by other code.
GAP = "# gap {}"
ROOT = "the-checkout"
POOL_MODULE = "src.utils.webex_pool_config"

API_IMPORTS = [
    ("from webexteamssdk import WebexTeamsAPI", "WebexTeamsAPI"),
    ("from webexteamssdk import WebexTeamsAPI as Api  # the SDK", "Api"),
    ("import webexteamssdk", "webexteamssdk.WebexTeamsAPI"),
    ("import webexteamssdk as sdk, os", "sdk.WebexTeamsAPI"),
    ("from webexpythonsdk import (\n    WebexAPI,\n)", "WebexAPI"),
    ("from webexteamssdk.api import WebexTeamsAPI", "WebexTeamsAPI"),
    (
        "try:\n    from webexpythonsdk import WebexAPI as Client\nexcept ImportError:\n"
        "    from webexteamssdk import WebexTeamsAPI as Client",
        "Client",
    ),
    (
        "try:\n    from webexteamssdk import WebexTeamsAPI\nexcept ImportError:\n    WebexTeamsAPI = None",
        "WebexTeamsAPI",
    ),
    ("from webexteamssdk import *", "WebexTeamsAPI"),
]
BOT_IMPORTS = [
    ("from webex_bot.webex_bot import WebexBot", "WebexBot"),
    ("from webex_bot.webex_bot import WebexBot as Bot", "Bot"),
    ("import webex_bot.webex_bot", "webex_bot.webex_bot.WebexBot"),
    ("from webex_bot import webex_bot", "webex_bot.WebexBot"),
]
FILLERS = [
    "LIMIT = 90",
    'HELP = "api = WebexTeamsAPI(access_token=TOKEN)"',
    "# api = WebexTeamsAPI(access_token=TOKEN)",
    'TEXT = """WebexBot(TOKEN)\n  and more"""',
    "def helper(a, b=2, *args, **kwargs):\n    '''WebexAPI()'''\n    return a, b",
    "def made(WebexTeamsAPI, Api=int):\n    return WebexTeamsAPI(1), Api(2)\n\n\nmade(str)",
    "class Thing:\n    WebexBot = dict\n\n    def new(self):\n        return self.WebexBot()\n\n\nThing().new()",
    "numbers = [n for n in range(3) if n]; total = sum(numbers)",
    "for Client in (int, str):\n    Client()\ndel Client"
    if False
    else "for index in range(2):\n    pass\nelse:\n    pass",
    "import os",
    "import json as j; from os import path",
    "x = {\n    'a': 1,  # one\n}",
    "if 1: y = 2",
    "async def later():\n    return [i async for i in later()]",
    "z = (lambda WebexBot: WebexBot(3))(str)",
]


@dataclass(frozen=True)
class Program:
    """A program, where its constructions are in it, and a line that may be replaced by other code."""

    source: bytes
    # Text (not byte) offsets of the constructions, without those inside others.
    ranges: list[tuple[int, int]]
    gap: str

    @property
    def text(self) -> str:
        return self.source.decode("utf-8-sig")


@dataclass
class _Names:
    """What the program has imported."""

    api: list[str]
    bot: list[str]
    number: int = 0
    # Pool functions that the program itself imports.
    pooled: bool = False
    lines: list[str] = field(default_factory=list)

    def new(self, prefix: str) -> str:
        self.number += 1
        return f"{prefix}{self.number}"


# -- calls


def _api_arguments(draw: DrawFn, simple: bool) -> list[str]:
    arguments = [draw(st.sampled_from(["TOKEN", "access_token=TOKEN", "access_token = TOKEN"]))]
    timeout = draw(st.sampled_from(["", "", "30", "60", "120", "180", "1_000", "LIMIT", "2 * 60", "None"]))
    if timeout:
        arguments.append(f"single_request_timeout={timeout}")
    if draw(st.booleans()):
        arguments.append("wait_on_rate_limit=True")
    if not simple:
        extra = draw(
            st.sampled_from(
                ["", "", 'proxies={\n    "https": "proxy",  # one\n}', "**OPTIONS", 'name="""two\n   lines"""']
            )
        )
        if extra:
            arguments.append(extra)
    return arguments


def _bot_arguments(draw: DrawFn, names: _Names, simple: bool) -> list[str]:
    arguments = [draw(st.sampled_from(["TOKEN", "teams_bot_token=TOKEN"]))]
    if simple:
        return arguments
    more = [
        'approved_domains=["a.example",\n    "b.example"]',
        'bot_name="Bot"',
        "threads = True",
        'help="""two\nlines"""',
    ]
    arguments += draw(st.lists(st.sampled_from(more), unique=True, max_size=3))
    if draw(st.integers(0, 5)) == 0:
        # Not marked: it lies inside the marked construction.
        arguments.append(f"api={_call(draw, names, 'api').replace(OPEN, '').replace(CLOSE, '')}")
    return arguments


def _lay_out(draw: DrawFn, function: str, arguments: list[str], simple: bool) -> str:
    layout = "inline" if simple else draw(st.sampled_from(["inline", "inline", "hanging", "visual", "spaced", "comma"]))
    if layout == "hanging":
        comments = [draw(st.sampled_from(["", "", "  # a comment", "  # it's [open"])) for _ in arguments]
        last = draw(st.sampled_from([",", ""]))
        lines = [
            textwrap.indent(text, "    ") + ("," if number < len(arguments) - 1 else last) + comment
            for number, (text, comment) in enumerate(zip(arguments, comments, strict=True))
        ]
        if draw(st.integers(0, 3)) == 0:
            lines.insert(1, "\n    # between")
        return f"{function}(\n" + "\n".join(lines) + "\n)"
    if layout == "visual":
        separator = ",\n" + " " * (len(function) + 1 + draw(st.sampled_from([0, 6, 12])))
        return f"{function}({separator.join(arguments)})"
    if layout == "spaced":
        return f"{function} ( {' , '.join(arguments)} )"
    if layout == "comma":
        return f"{function}({', '.join(arguments)},)"
    return f"{function}({', '.join(arguments)})"


def _call(draw: DrawFn, names: _Names, kind: str = "", simple: bool = False) -> str:
    """A construction, between marks."""
    kind = kind or draw(st.sampled_from(["api", "api", "bot"]))
    if kind == "api":
        function = draw(st.sampled_from(names.api))
        text = _lay_out(draw, function, _api_arguments(draw, simple), simple)
    else:
        function = draw(st.sampled_from(names.bot))
        text = _lay_out(draw, function, _bot_arguments(draw, names, simple), simple)
    return f"{OPEN}{text}{CLOSE}"


# -- statements with a construction


def _assigned(draw: DrawFn, names: _Names) -> str:
    form = draw(
        st.sampled_from(
            ["{v} = {c}", "{v} = {c}  # why", "{v}: object = {c}", "{v} = w = {c}", "{v} = ({c})", "{v} = \\\n    {c}"]
        )
    )
    return form.format(v=names.new("v"), c=_call(draw, names))


def _used_at_once(draw: DrawFn, names: _Names) -> str:
    return f"{_call(draw, names)}.messages.create(text='x')"


def _factory(draw: DrawFn, names: _Names) -> str:
    name = names.new("factory")
    inner = textwrap.indent(f"return {_call(draw, names)}", "    ")
    return f'def {name}():\n    """Makes one."""\n{inner}\n\n\n{name}()'


def _method(draw: DrawFn, names: _Names) -> str:
    name = names.new("Service")
    first = textwrap.indent(f"self.api = {_call(draw, names)}", " " * 8)
    second = textwrap.indent(_used_at_once(draw, names), " " * 8)
    return f"class {name}:\n    def __init__(self):\n{first}\n\n    def go(self):\n{second}\n\n\n{name}().go()"


def _attribute(draw: DrawFn, names: _Names) -> str:
    inner = textwrap.indent(f"api = {_call(draw, names)}", "    ")
    return f"class {names.new('Holder')}:\n{inner}"


def _default(draw: DrawFn, names: _Names) -> str:
    return f"def {names.new('takes')}(a, api={_call(draw, names)}, *, b=1):\n    return api"


def _comprehension(draw: DrawFn, names: _Names) -> str:
    form = draw(st.sampled_from(["[{c} for _ in (1, 2)]", "{{n: {c} for n in (1, 2)}}", "list({c} for _ in (1,))"]))
    return f"{names.new('many')} = {form.format(c=_call(draw, names))}"


def _fstring(draw: DrawFn, names: _Names) -> str:
    quote = draw(st.sampled_from(['"', '"""']))
    return f"{names.new('shown')} = f{quote}it is {{{_call(draw, names, simple=True)}!r:>10}}{quote}"


def _lambda(draw: DrawFn, names: _Names) -> str:
    name = names.new("make")
    return f"{name} = lambda: {_call(draw, names)}\n{name}()"


def _condition(draw: DrawFn, names: _Names) -> str:
    form = draw(
        st.sampled_from(
            ["if (w := {c}):\n    pass", "{v} = {c} if TOKEN else None", "{v} = None or {c}", "assert {c}, 'never'"]
        )
    )
    return form.format(v=names.new("v"), c=_call(draw, names))


def _semicolons(draw: DrawFn, names: _Names) -> str:
    return f"{names.new('a')} = 1; {names.new('b')} = {_call(draw, names)}; {names.new('c')} = 2"


def _chain(draw: DrawFn, names: _Names) -> str:
    return f"{names.new('me')} = (\n    {_call(draw, names, simple=True)}\n    .people\n    .me()\n)"


def _global(draw: DrawFn, names: _Names) -> str:
    name, function = names.new("shared"), names.new("share")
    inner = textwrap.indent(f"{name} = {_call(draw, names)}", "    ")
    return f"{name} = None\ndef {function}():\n    global {name}\n{inner}\n{function}()"


def _subclass(draw: DrawFn, names: _Names) -> str:
    name = names.new("Sub")
    base = draw(st.sampled_from(names.bot))
    own = draw(st.sampled_from(["pass", "def __init__(self, token):\n        super().__init__(token, bot_name='Sub')"]))
    return f"class {name}({base}):\n    {own}\n\n\n{names.new('sub')} = {OPEN}{name}(TOKEN){CLOSE}"


def _alias(draw: DrawFn, names: _Names) -> str:
    name = names.new("Alias")
    names.api.append(name)
    return f"{name} = {draw(st.sampled_from(names.api[:-1]))}"


def _local_import(draw: DrawFn, names: _Names) -> str:
    name = names.new("local")
    call = _lay_out(draw, "Local", _api_arguments(draw, False), False)
    inner = textwrap.indent(f"return {OPEN}{call}{CLOSE}", "    ")
    return f"def {name}():\n    from webexteamssdk import WebexTeamsAPI as Local\n{inner}\n\n\n{name}()"


def _wrapped(draw: DrawFn, names: _Names) -> str:
    """Pooled by hand, in one of the forms that people write."""
    if not names.pooled:
        return _assigned(draw, names)
    kind = draw(st.sampled_from(["api", "bot"]))
    function, v = f"configure_webex_{kind}_session", names.new("pooled")
    call = _call(draw, names, kind).replace(OPEN, "").replace(CLOSE, "")
    form = draw(
        st.sampled_from(
            [
                "{v} = ⟦{f}({c})⟧",
                "{v} = ⟦{f}({c}, 50, 50, 3)⟧",
                "{v} = ⟦{f}({c}, pool_connections=10, max_retries = 3)⟧",
                "{v} = ⟦{f}(\n    {c}, pool_maxsize=20,  # why\n)⟧",
                "{v} = ⟦{f}(({c}), pool_maxsize=SIZE)⟧",
                "{v} = ⟦{c}⟧\n⟦{f}({v}, pool_connections=7)⟧",
                "def {v}():\n    return ⟦{c}⟧\n⟦{f}({v}())⟧",
            ]
        )
    )
    if "return" in form or "pool_maxsize=20" in form:
        call = textwrap.indent(call, "    ").lstrip(" ")
    return form.format(v=v, f=function, c=call)


STATEMENTS: list[Callable[[DrawFn, _Names], str]] = [
    _assigned,
    _used_at_once,
    _factory,
    _method,
    _attribute,
    _default,
    _comprehension,
    _fstring,
    _lambda,
    _condition,
    _semicolons,
    _chain,
    _global,
    _subclass,
    _alias,
    _local_import,
    _wrapped,
    _wrapped,
    _wrapped,
]
NESTINGS = [
    "if True:\n{}",
    "if False:\n    pass\nelif TOKEN:\n{}\nelse:\n    pass",
    "for _ in (1, 2):\n{}",
    "while True:\n{}\n    break",
    "try:\n{}\nexcept ValueError:\n    raise\nfinally:\n    pass",
    "with context() as c, context():\n    # why\n{}",
]


def _statement(draw: DrawFn, names: _Names) -> str:
    text = draw(st.sampled_from(STATEMENTS))(draw, names)
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
        # A function's `global` must stay at the module's level, and so must an alias.
        if "global " in text or text.startswith("Alias"):
            break
        text = draw(st.sampled_from(NESTINGS)).format(textwrap.indent(text, "    "))
    return text


# -- programs

PATHS = {
    "none": "",
    "line": f'import sys\nsys.path.insert(0, "{ROOT}")',
    "one line": f'import sys; sys.path.append("{ROOT}")',
    "condition": f'import sys\nif "{ROOT}" not in sys.path:\n    sys.path.append("{ROOT}")',
    "assignment": f'import sys\nsys.path = ["{ROOT}"] + sys.path',
    "slice": f'import sys as system, sys\nsys.path[0:0] = ["{ROOT}"]',
}


def _head(draw: DrawFn) -> list[str]:
    parts = [
        draw(st.sampled_from(["", "#!/usr/bin/env python3\n# -*- coding: utf-8 -*-"])),
        draw(st.sampled_from(["", '"""A bot."""', "'''A bot\n\nthat talks.'''", '"""A""" " bot."'])),
        draw(st.sampled_from(["", "from __future__ import annotations"])),
    ]
    return [part for part in parts if part]


@st.composite
def programs(draw: DrawFn) -> Program:
    api = draw(st.lists(st.sampled_from(API_IMPORTS), min_size=1, max_size=2, unique_by=lambda item: item[1]))
    bot = draw(st.sampled_from(BOT_IMPORTS))
    # `import webex_bot.webex_bot` and `from webex_bot import webex_bot` bind the same name to different things.
    names = _Names([name for _, name in api], [bot[1]])
    imports = [*(line for line, _ in api), bot[0]]
    imports += draw(st.lists(st.sampled_from(["import os", "from os import path  # why", "import json"]), max_size=2))
    imports = draw(st.permutations(imports))
    path = PATHS[draw(st.sampled_from(sorted(PATHS)))]
    late = draw(st.integers(0, 3)) == 0
    names.pooled = draw(st.booleans())
    hand = (
        [f"from {POOL_MODULE} import configure_webex_api_session, configure_webex_bot_session"] if names.pooled else []
    )
    parts = _head(draw) + ([*imports, path] if late else [path, *imports]) + hand
    parts.append("TOKEN, SIZE, LIMIT, OPTIONS = 'token', 50, 90, {'wait': True}")
    for _ in range(draw(st.integers(1, 5))):
        if draw(st.booleans()):
            parts.append(draw(st.sampled_from(FILLERS)))
        parts.append(GAP.format(len(parts)))
        parts.append(_statement(draw, names))
    parts.append(f"{names.new('last')} = {_call(draw, names)}")
    return _finish(draw, [part for part in parts if part])


@st.composite
def main_programs(draw: DrawFn) -> Program:
    """Programs that set their path only when started, and construct in functions."""
    api, bot = draw(st.sampled_from(API_IMPORTS)), draw(st.sampled_from(BOT_IMPORTS))
    names = _Names([api[1]], [bot[1]])
    inner = [GAP.format(0), *(f"{_assigned(draw, names)}" for _ in range(draw(st.integers(1, 3))))]
    body = textwrap.indent("\n".join(inner), "    ")
    parts = _head(draw) + ["import sys", api[0], bot[0], "TOKEN, LIMIT, OPTIONS = 'token', 90, {}"]
    parts.append(f"def main():\n{body}")
    parts.append(f'if __name__ == "__main__":\n    sys.path.insert(0, "{ROOT}")\n    main()')
    return _finish(draw, parts)


def any_program() -> SearchStrategy[Program]:
    return st.one_of(programs(), programs(), programs(), main_programs())


def _finish(draw: DrawFn, parts: list[str]) -> Program:
    """Joins the parts, chooses indentation, line breaks, byte order mark and the end of the file, takes marks out."""
    marked = draw(st.sampled_from(["\n", "\n\n", "\n\n\n"])).join(parts)
    unit = draw(st.sampled_from(["    ", "    ", "\t", "  "]))
    if unit != "    ":
        marked = re.sub(r"^(?: {4})+", lambda found: unit * (len(found[0]) // 4), marked, flags=re.MULTILINE)
    marked += draw(st.sampled_from(["\n", "\n", "", "\n\n# end", "  # end"]))
    marked = marked.replace("\n", draw(st.sampled_from(["\n", "\n", "\r\n"])))
    text: list[str] = []
    ranges: list[tuple[int, int]] = []
    length = start = 0
    for piece in re.split(f"([{OPEN}{CLOSE}])", marked):
        if piece == OPEN:
            start = length
        elif piece == CLOSE:
            ranges.append((start, length))
        else:
            text.append(piece)
            length += len(piece)
    source = "".join(text).encode(draw(st.sampled_from(["utf-8", "utf-8", "utf-8-sig"])))
    gap = draw(st.sampled_from(re.findall(r"^[ \t]*# gap \d+", "".join(text), flags=re.MULTILINE)))
    return Program(source, ranges, gap)


# -- running them


class _Client:
    """Stands for both SDKs' clients and for WebexBot."""

    made: list[_Client]

    def __init__(self, *args: object, **kwargs: object) -> None:
        self.arguments = args, kwargs
        self.configured: list[dict[str, object]] = []
        self.made.append(self)

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __call__(self, *args: object, **kwargs: object) -> object:
        return self

    def __format__(self, spec: str) -> str:
        return "client"


class _Context:
    def __enter__(self) -> _Context:
        return self

    def __exit__(self, *error: object) -> None:
        pass


def run(source: bytes) -> list[_Client]:
    """Runs a program against stand-ins for the SDKs and for the pool; the clients that it made.

    The pool can be imported only once the checkout is on the path, unless the program does not touch the path at all.
    """
    client_class = type("Client", (_Client,), {"made": []})
    fake_sys = types.SimpleNamespace(path=[], argv=[])
    needs_path = ROOT.encode() in source

    def configure(client: object, *args: object, **settings: object) -> object:
        assert isinstance(client, _Client), f"not a client: {client!r}"
        client.configured.append(settings)
        return client

    names = {"WebexTeamsAPI": client_class, "WebexAPI": client_class, "WebexBot": client_class}
    sdk = types.SimpleNamespace(**names, __all__=["WebexTeamsAPI"])
    sdk.api = sdk.webex_bot = sdk
    pool = types.SimpleNamespace(configure_webex_api_session=configure, configure_webex_bot_session=configure)

    def imported(name: str, *args: object) -> object:
        if name.split(".")[0] in ("webexteamssdk", "webexpythonsdk", "webex_bot"):
            return sdk
        if name == POOL_MODULE:
            if needs_path and ROOT not in fake_sys.path:
                raise ModuleNotFoundError(f"No module named {name!r}")
            return pool
        return fake_sys if name == "sys" else __import__(name, *args)

    allowed = {**vars(builtins), "__import__": imported, "print": lambda *args: None}
    exec(
        compile(source, "<program>", "exec", dont_inherit=True),
        {"__builtins__": allowed, "__name__": "__main__", "context": _Context},
    )
    return client_class.made
