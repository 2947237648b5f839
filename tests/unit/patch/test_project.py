"""The patch over whole checkouts: what is found, skipped, refused and said; and the proof by a Python."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from module_utils.webex_rollout.become import Account, account_for
from module_utils.webex_rollout.imports import import_problem, read_answer
from plugin_utils.client_patch.checkout import SourceError
from plugin_utils.client_patch.local_files import CheckoutError, read_checkout, relative_scripts, write_files
from plugin_utils.client_patch.shipping import not_shipped
from plugin_utils.client_patch.summary import commit_message, summary

from .checkouts import patched
from .layouts import API, CLIENT, FUNCTION, TEAMS, write


def told(files: dict[str, str]) -> str:
    """The text of a refusal."""
    with pytest.raises(SourceError) as refused:
        patched(files)
    return str(refused.value)


# -- what is found, and what is not a bot


def test_scripts_are_found_wherever_they_are_and_helpers_are_skipped() -> None:
    result = patched(
        {
            "webex_bots/jarvis.py": CLIENT,
            "webex_bots/helpers.py": 'GREETING = "hello from webexteamssdk"\n',
            "deep/er/tars.py": CLIENT,
            "tests/test_jarvis.py": CLIENT,
            "plain.py": "x = 1\n",
        }
    )
    assert sorted(result.files) == ["deep/er/tars.py", "webex_bots/jarvis.py"]
    assert result.skipped == {
        "tests/test_jarvis.py": "a test",
        "webex_bots/helpers.py": "constructs no client that can be pooled",
    }
    assert sorted(result.modules) == ["deep/er/webex_pool_config.py", "webex_bots/webex_pool_config.py"]


def test_a_script_that_constructs_a_class_of_another_file_is_found() -> None:
    base = "from webex_bot.webex_bot import WebexBot\n\n\nclass Base(WebexBot):\n    pass\n"
    files = {"common/base.py": base, "jarvis.py": "from common.base import Base\n\nbot = Base('x')\n"}
    result = patched({**files, "other.py": "from common.base import Base\n"})
    assert list(result.files) == ["jarvis.py"]
    assert list(result.skipped) == ["common/base.py"]


def test_a_class_of_the_checkouts_own_hides_the_sdks() -> None:
    files = {"names.py": "class WebexTeamsAPI:\n    pass\n", "c.py": CLIENT}
    hidden = f"{TEAMS}from names import *\napi = WebexTeamsAPI('x')\n"
    assert list(patched({**files, "bot.py": hidden}).files) == ["c.py"]
    shown = f"from names import *\n{TEAMS}api = WebexTeamsAPI('x')\n"
    assert list(patched({**files, "bot.py": shown}).files) == ["bot.py", "c.py"]


def test_a_program_that_python_keeps_from_its_own_directory_is_refused() -> None:
    result = patched({"bot.py": CLIENT, "run.sh": "exec python3 -uP bot.py\n", "other.py": CLIENT})
    assert list(result.files) == ["other.py"]
    assert "when bot.py is started by run.sh:1 (searched: nothing of the checkout's)" in result.refused["bot.py"]


def test_a_file_that_cannot_be_patched_does_not_stop_the_others() -> None:
    result = patched(
        {"a.py": CLIENT, "b.py": f"def configure_webex_api_session(): pass\n{CLIENT}", "c.py": f"{CLIENT}x = (\n"}
    )
    assert sorted(result.files) == ["a.py"]
    assert "b.py:1:1: configure_webex_api_session is the name of something else" in result.refused["b.py"]
    assert "c.py:3" in result.refused["c.py"] or "c.py:4" in result.refused["c.py"]


def test_the_pool_module_that_is_there_is_used_and_not_patched() -> None:
    pool = f"{TEAMS}def configure_webex_api_session(c): pass\ndef get():\n    return WebexTeamsAPI()\n"
    files = {"bot.py": f"from lib.webex_pool_config import configure_webex_api_session\n{CLIENT}"}
    result = patched({**files, "lib/webex_pool_config.py": pool, "lib/__init__.py": ""})
    assert list(result.files) == ["bot.py"]
    assert result.files["bot.py"].source.count(b"webex_pool_config import") == 1
    assert list(result.modules) == ["lib/webex_pool_config.py"]


def test_an_own_file_of_the_pool_modules_name_is_not_overwritten() -> None:
    told = patched({"bot.py": CLIENT, "webex_pool_config.py": "SIZE = 3\n"}).refused["bot.py"]
    assert "would not resolve" in told and "(webex_pool_config.py is something else)" in told


@pytest.mark.parametrize(
    "taken_off",
    ["sys.path.pop(0)", "sys.path.remove(HERE)", "sys.path.clear()", "del sys.path[0]", "sys.path[0] = '/nosuch'"]
    + ["sys.path = sys.path[1:]", "sys.path[:] = [p for p in sys.path if p != HERE]", "paths = sys.path; paths.pop(0)"],
)
def test_an_import_behind_what_takes_the_module_off_the_path_is_refused(taken_off: str) -> None:
    optional = f"try:\n    {TEAMS}except ImportError:\n    WebexTeamsAPI = None\n{API}"
    told = patched({"bot.py": f"import sys\n{taken_off}\n{optional}"}).refused["bot.py"]
    assert "would not resolve" in told and "since it takes some off" in told


@pytest.mark.parametrize(
    ("helper", "why"),
    [
        ("import sys\nsys.path.pop(0)\n", "since clean takes some off"),
        ("import sys\nsys.path_hooks.insert(0, print)\n", "since clean changes how Python imports"),
        ("import builtins as b\nb.__import__ = print\n", "since clean changes how Python imports"),
        ("from sys import meta_path\nmeta_path[:] = [print, *meta_path]\n", "since clean changes how Python imports"),
        ("from sys import meta_path, path\npath.append('x')\ndel path[:]\ndel path[:]\n", "since clean takes some off"),
    ],
)
def test_an_import_behind_a_helper_that_bars_the_way_is_refused(helper: str, why: str) -> None:
    optional = f"try:\n    {TEAMS}except ImportError:\n    WebexTeamsAPI = None\n{API}"
    told = patched({"bot.py": f"import clean\n{optional}", "clean.py": helper}).refused["bot.py"]
    assert "would not resolve" in told and why in told
    needless = {"bot.py": f"import clean\n{optional}", "clean.py": f"def f():\n    {helper.replace(chr(10), '; ')}\n"}
    assert patched(needless).refused == {}


@pytest.mark.parametrize(
    "kept",
    ["sys.meta_path.append(print)", "sys.meta_path += [print]", "sys.meta_path = [*sys.meta_path, print]"]
    + ["sys.meta_path = sys.meta_path + [print]", "if __name__ == '__main__':\n    sys.path.pop(0)"]
    + ["old = sys.path[:]\nsys.path.insert(0, 'x')\nsys.path[:] = old"],
)
def test_a_helper_behind_which_imports_are_as_before_is_none_of_these(kept: str) -> None:
    optional = f"try:\n    {TEAMS}except ImportError:\n    WebexTeamsAPI = None\n{API}"
    assert patched({"bot.py": f"import helper\n{optional}", "helper.py": f"import sys\n{kept}\n"}).refused == {}


@pytest.mark.parametrize(
    "kept",
    ["sys.path = [HERE] + sys.path", "sys.path[0:0] = [HERE]", "sys.path[:] = [HERE, *sys.path]", "sys.argv.pop(0)"]
    + ["sys.path = list(dict.fromkeys(sys.path))", "sys.path[len(sys.path):] = [HERE]", "sys.path += [HERE]"],
)
def test_a_change_that_keeps_the_path_is_none_of_these(kept: str) -> None:
    optional = f"try:\n    {TEAMS}except ImportError:\n    WebexTeamsAPI = None\n{API}"
    assert patched({"bot.py": f"import sys\n{kept}\n{optional}"}).refused == {}


def test_two_ways_to_start_that_want_different_imports_are_told() -> None:
    files = {
        "bots/hello.py": FUNCTION + 'if __name__ == "__main__":\n    main()\n',
        "run.py": "import bots.hello\n",
    }
    result = patched(files)
    assert list(result.modules) == ["bots/webex_pool_config.py"]
    assert "from bots.webex_pool_config import" in result.files["bots/hello.py"].source.decode()
    assert any(
        item.kind == "start" and "does not resolve when bots/hello.py is started by its name" in item.message
        for item in result.findings
    )


def test_a_named_module_that_does_not_resolve_is_refused_with_the_setting_that_helps() -> None:
    files = {"tools/bot.py": CLIENT, "src/utils/__init__.py": "", "src/__init__.py": "", "tools/src.py": ""}
    result = patched(files, setting="src.utils.webex_pool_config")
    assert (
        "tools/bot.py:2: the import of src.utils.webex_pool_config would not resolve" in result.refused["tools/bot.py"]
    )
    assert "set webex_pool_module: auto" in result.refused["tools/bot.py"]


def test_a_directory_on_the_path_by_a_setting_is_believed() -> None:
    files = {"tools/bot.py": CLIENT, "src/utils/__init__.py": "", "src/__init__.py": ""}
    assert list(patched(files, search_paths=[""]).modules) == ["src/utils/webex_pool_config.py"]
    assert list(patched(files).modules) == ["tools/webex_pool_config.py"]


# -- what a refusal says


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (
            "from fastapi import Depends, FastAPI\nfrom webexteamssdk import WebexTeamsAPI\n\n"
            "async def hook(api: WebexTeamsAPI = Depends(WebexTeamsAPI)):\n    return api\n",
            "bot.py:4: webexteamssdk.WebexTeamsAPI is handed on",
        ),
        (
            "def load():\n    from webexteamssdk import WebexTeamsAPI\n    return WebexTeamsAPI\n\n"
            "WebexTeamsAPI = load()\nWebexTeamsAPI(access_token=1)\n",
            "bot.py:3: webexteamssdk.WebexTeamsAPI is handed on",
        ),
        (
            'import importlib\nsdk = importlib.import_module("webexteamssdk")\nsdk.WebexTeamsAPI(access_token="x")\n',
            "bot.py:2: webexteamssdk is fetched by its name",
        ),
        (
            'from company_sdk import WebexTeamsAPI\nWebexTeamsAPI(access_token="webexteamssdk")\n',
            "bot.py:2: WebexTeamsAPI comes from company_sdk",
        ),
        (
            'import requests\nrequests.get("https://webexapis.com/v1/people/me")\n',
            "bot.py:2: requests.get calls webexapis.com itself and has no time-out",
        ),
        (
            'from webexteamssdk import WebexTeamsAPI\nglobals()["WebexTeamsAPI"]("x")\n',
            "bot.py:1: webexteamssdk.WebexTeamsAPI is imported, and nothing that can be seen here is made of it",
        ),
        (
            "from wxc_sdk.as_api import AsWebexSimpleApi\napi = AsWebexSimpleApi(tokens=1)\n",
            "bot.py:2: wxc_sdk.as_api.AsWebexSimpleApi works with asyncio",
        ),
    ],
)
def test_a_refusal_says_once_what_was_seen_and_where(source: str, expected: str) -> None:
    text = told({"bot.py": source})
    assert text.count(expected) == 1
    assert ".." not in text and "?." not in text


def test_a_checkouts_own_module_with_an_sdks_name_is_its_own() -> None:
    own = (
        "import requests\n\n\nclass WebexBot:\n    def send(self, text):\n"
        '        requests.post("https://webexapis.com/v1/messages", json={"text": text})\n'
    )
    text = told({"main.py": "from webex_bot import WebexBot\n\nbot = WebexBot('x')\n", "webex_bot.py": own})
    assert "webex_bot.py:6: requests.post calls webexapis.com itself" in text


def test_a_copy_of_an_sdk_in_the_checkout_is_the_sdk() -> None:
    files = {"bot.py": CLIENT, "webexteamssdk/__init__.py": "from .api import WebexTeamsAPI\n"}
    result = patched({**files, "webexteamssdk/api/__init__.py": "class WebexTeamsAPI:\n    name = 'x'\n"})
    assert list(result.files) == ["bot.py"]


def test_a_checkout_without_anything_of_webex() -> None:
    assert told({"a.py": "x = 1\n"}) == (
        "no file constructs a Webex client that can be pooled. Is the checkout the right one (bot_home)?"
    )


# -- what is typed, read and written


@pytest.mark.parametrize(
    "given",
    ["bots/a.py b.py", "bots/a.py, b.py", ["bots/a.py", "./b.py"], ["/home/x/bots/a.py", "/home/x/b.py", "b.py"]],
)
def test_scripts_are_taken_as_people_type_them(given: object) -> None:
    assert relative_scripts("/home/x/", given) == ["bots/a.py", "b.py"]


@pytest.mark.parametrize(
    ("given", "expected"), [("/etc/x.py", "/etc/x.py is not in the checkout"), ({"a": 1}, "takes names")]
)
def test_scripts_elsewhere_are_refused(given: object, expected: str) -> None:
    with pytest.raises(CheckoutError, match=expected):
        relative_scripts("/home/x", given)


def test_a_checkout_is_read_without_what_is_installed_in_it(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "bot.py": "x",
            "Dockerfile": "y",
            "a.txt": "z",
            "bin/jarvis": "#!/opt/python3.12 -I\nx",
            "bin/other": "#!/bin/sh\npython3 x",
            "my-env/pyvenv.cfg": "",
            "my-env/lib.py": "",
            ".venv/x.py": "",
        },
    )
    (tmp_path / "out.py").symlink_to("/etc/hostname")
    files, others = read_checkout(str(tmp_path))
    assert files == {"bot.py": b"x", "Dockerfile": b"y", "bin/jarvis": b"#!/opt/python3.12 -I\nx"}
    assert others == ["a.txt", "bin/other"]


def test_writing_keeps_the_mode(tmp_path: Path) -> None:
    write(tmp_path, {"bot.py": "x"})
    (tmp_path / "bot.py").chmod(0o750)
    write_files(str(tmp_path), {"bot.py": b"y", "new/module.py": b"z"})
    assert (tmp_path / "bot.py").stat().st_mode & 0o777 == 0o750
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["bot.py", "module.py", "new"]


def test_one_file_by_two_names_is_written_once_or_not_at_all(tmp_path: Path) -> None:
    write(tmp_path, {"a/bot.py": "x"})
    (tmp_path / "b.py").symlink_to("a/bot.py")
    write_files(str(tmp_path), {"a/bot.py": b"y", "b.py": b"y"})
    with pytest.raises(CheckoutError, match=r"a/bot.py and b.py are one file"):
        write_files(str(tmp_path), {"new.py": b"z", "a/bot.py": b"1", "b.py": b"2"})
    assert {path.name: path.read_text() for path in tmp_path.rglob("*.py")} == {"bot.py": "y", "b.py": "y"}


# -- what is shipped

LISTS = {
    "a JSON array": ("Dockerfile", 'FROM x\nCOPY ["app/bot.py", "app/settings.py", "./"]\n', 2),
    "two lines": ("Dockerfile", "COPY app/bot.py \\\n     app/settings.py ./\n", 1),
    "the directory": ("Dockerfile", "COPY app ./app\n", 0),
    "all": ("deploy/Dockerfile", "COPY . .\n", 0),
    "a pattern": ("Dockerfile", "COPY app/*.py ./\n", 0),
    "another stage": ("Dockerfile", "COPY --from=build app/bot.py ./\n", 0),
    "the module is named elsewhere": ("Dockerfile", "COPY app/bot.py ./\nCOPY app/webex_pool_config.py ./\n", 0),
    "ignored": (".dockerignore", "*\n!app/bot.py\n", 1),
    "setuptools, modules": ("pyproject.toml", '[tool.setuptools]\npy-modules = ["app.bot"]\n', 2),
    "setuptools, the package": ("pyproject.toml", '[tool.setuptools]\npackages = ["app"]\n', 0),
    "poetry": ("pyproject.toml", '[tool.poetry]\nname = "x"\npackages = [{include = "app/bot.py"}]\n', 3),
    "hatch": ("pyproject.toml", '[tool.hatch.build.targets.wheel]\ninclude = ["app/bot.py"]\n', 2),
    "setup.cfg": ("setup.cfg", "[options]\npy_modules =\n    app.bot\n", 2),
    "setup.py": ("setup.py", "from setuptools import setup\nsetup(\n    py_modules=['app.bot'],\n)\n", 3),
    "setup.py that looks for packages": ("setup.py", "setup(packages=find_packages())\n", 0),
    "MANIFEST.in": ("MANIFEST.in", "include app/bot.py\n", 1),
    "serverless": ("serverless.yml", "package:\n  patterns:\n    - '!**'\n    - app/bot.py\n", 2),
    "zip": ("build.sh", "cd x\nzip -q bot.zip app/bot.py\n", 2),
    "zip of all": ("build.sh", "zip -r bot.zip . -x '*.pyc'\n", 0),
}


@pytest.mark.parametrize(("path", "text", "line"), LISTS.values(), ids=LISTS)
def test_a_list_that_leaves_the_module_out_is_named_with_its_line(path: str, text: str, line: int) -> None:
    found = not_shipped({path: text.encode()}, "app/bot.py", "app/webex_pool_config.py")
    assert [(item.path, item.line) for item in found] == ([(path, line)] if line else [])


# -- the proof


def ask(home: Path, file: str, *asked: tuple[str, list[str]]) -> str:
    account = account_for("", str(home)) if os.geteuid() else Account("root", 0, 0, (0,), "/")
    return import_problem(sys.executable, str(home), file, asked, account).removesuffix(f" ({sys.executable})")


def test_the_bots_python_says_where_an_import_leads(tmp_path: Path) -> None:
    bomb = "raise SystemExit('the checkout was run')\n"
    write(
        tmp_path, {"src/__init__.py": bomb, "src/utils/__init__.py": bomb, "ns/deep/x.py": bomb, "other/src.py": bomb}
    )
    file, name = "src/utils/webex_pool_config.py", "src.utils.webex_pool_config"
    assert ask(tmp_path, file, (name, [""])) == ""
    assert ask(tmp_path, file, (name, ["", "other"])) == ""
    assert "src is " in ask(tmp_path, file, (name, ["other", ""]))
    assert "src is not found" in ask(tmp_path, file, (name, ["ns"]))
    assert ask(tmp_path, "ns/deep/webex_pool_config.py", ("ns.deep.webex_pool_config", [""])) == ""
    assert "no directory" in ask(tmp_path, "other/webex_pool_config.py", ("webex_pool_config", ["ns"]))
    assert ask(tmp_path, "new/pool.py", ("new.pool", [""])) == ""


def test_an_installed_package_of_that_name_is_met(tmp_path: Path) -> None:
    """A regular package wins over a directory without `__init__.py`, wherever it stands."""
    write(tmp_path, {"checkout/src/utils/x.py": "", "site/src/__init__.py": ""})
    name = "src.utils.webex_pool_config"
    answer = ask(tmp_path / "checkout", "src/utils/webex_pool_config.py", (name, ["", "../site"]))
    assert answer == "src.utils is not found"


@pytest.mark.parametrize("output", [b"", b"[]", b'["", ""]', b"[1]", b"{}", b"Traceback"])
def test_an_answer_that_is_none_is_not_taken_for_one(output: bytes) -> None:
    with pytest.raises(ValueError):
        read_answer(output, 1)


def test_what_the_python_refuses_is_not_chosen() -> None:
    files = {"src/__init__.py": "", "src/utils/__init__.py": "", "bot.py": f"import src.utils\n{CLIENT}"}
    assert list(patched(files).modules) == ["src/utils/webex_pool_config.py"]
    result = patched(files, prove=lambda place, asked: "src is elsewhere" if place.module.startswith("src") else "")
    assert list(result.modules) == ["webex_pool_config.py"]


# -- what is said in the end


def test_summary_and_commit_message() -> None:
    files = {"bot.py": f"{TEAMS}{API}", "Dockerfile": "COPY bot.py .\n", "helper.py": "# webexteamssdk\n"}
    result = patched(files)
    assert summary(result, True, "python3") == [
        "bot.py: would be changed (1 wrapped)",
        "helper.py: skipped, constructs no client that can be pooled",
        "webex_pool_config.py: the pool module, imported as webex_pool_config",
        "Dockerfile:1: `COPY bot.py .` ships bot.py without webex_pool_config.py, which it now imports: add it there",
        "Each import was checked by python3.",
    ]
    message = commit_message(result, "present").splitlines()
    assert message[:2] == ["Route the Webex clients through a connection pool", ""]
    assert "- bot.py: WebexTeamsAPI in line 2" in message
    assert max(map(len, message)) <= 120
    again = patched(
        {
            **files,
            "bot.py": result.files["bot.py"].source.decode(),
            "webex_pool_config.py": "configure_webex_api_session = 1\n",
        }
    )
    assert commit_message(again, "present") == ""
