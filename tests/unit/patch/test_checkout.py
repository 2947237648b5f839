"""The patch over a checkout: following imports, clients in other modules, and the script that has none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from plugin_utils.client_patch import Settings, Templates
from plugin_utils.client_patch.checkout import Checkout, CheckoutResult, SourceError
from plugin_utils.client_patch.model import Finding
from plugin_utils.client_patch.surroundings import Started
from plugin_utils.client_patch.templates import MODULE

from .case_files import SETTINGS, TEMPLATES

CLIENT = "from webexteamssdk import WebexTeamsAPI\napi = WebexTeamsAPI(TOKEN)\n"
BOT = "bots/jarvis.py"
LAB = Path(__file__).parents[2] / "lab" / "checkout"


class Files:
    """A checkout in memory that counts how often it is asked."""

    def __init__(self, files: Mapping[str, str | bytes]) -> None:
        self.files = {path: text.encode() if isinstance(text, str) else text for path, text in files.items()}
        self.readings: list[list[str]] = []

    def read(self, paths: Sequence[str]) -> dict[str, bytes]:
        self.readings.append(list(paths))
        return {path: self.files[path] for path in paths if path in self.files}


def patched(files: Mapping[str, str | bytes], scope: str = "script", paths: Sequence[str] = ("",)) -> CheckoutResult:
    return Checkout(Files(files).read, BOT, SETTINGS, paths).patch(scope)


def found(findings: Sequence[Finding]) -> list[tuple[str, int, str]]:
    return [(item.path, item.line, item.kind) for item in findings]


def test_clients_of_imported_modules_are_reported() -> None:
    result = patched(
        {
            BOT: f"import sys\nfrom src.notify import tell\nfrom src import rooms\n{CLIENT}",
            "src/__init__.py": "",
            "src/notify.py": f"from . import deep\nfrom .deep import more\n\n{CLIENT}",
            "src/rooms.py": "import json\n",
            "src/deep.py": CLIENT,
            "src/unrelated.py": CLIENT,
        }
    )
    assert list(result.files) == [BOT]
    assert found(result.findings) == [("src/notify.py", 5, "other-module"), ("src/deep.py", 2, "other-module")]
    assert "webex_patch_scope: imports" in result.findings[0].message


def test_scope_imports_patches_them_too() -> None:
    files = {BOT: f"import src.notify\n{CLIENT}", "src/notify.py": CLIENT, "src/plain.py": "x = 1\n"}
    result = patched(files, "imports")
    assert sorted(result.files) == [BOT, "src/notify.py"]
    assert b"configure_webex_api_session(" in result.files["src/notify.py"].source
    assert result.findings == []
    again = patched({path: item.source for path, item in result.files.items()}, "imports")
    assert not any(item.changed for item in again.files.values())


def test_module_pooled_already_is_no_finding() -> None:
    pooled = patched({BOT: CLIENT}).files[BOT].source
    assert patched({BOT: f"import notify\n{CLIENT}", "bots/notify.py": pooled}).findings == []


def test_packages_run_before_their_modules() -> None:
    result = patched({BOT: f"import src.utils.text\n{CLIENT}", "src/__init__.py": CLIENT, "src/utils/text.py": ""})
    assert found(result.findings) == [("src/__init__.py", 2, "other-module")]


def test_script_directory_comes_first() -> None:
    result = patched({BOT: f"import notify\n{CLIENT}", "bots/notify.py": CLIENT, "notify.py": CLIENT})
    assert ("bots/notify.py", 2, "other-module") in found(result.findings)


def test_search_paths() -> None:
    files = {BOT: f"import notify\n{CLIENT}", "shared/lib/notify.py": CLIENT}
    assert patched(files).findings == []
    assert found(patched(files, paths=["shared/lib"]).findings) == [("shared/lib/notify.py", 2, "other-module")]


def test_nothing_outside_the_checkout_is_read() -> None:
    files = Files({BOT: f"import notify\n{CLIENT}"})
    Checkout(files.read, BOT, SETTINGS, ["../elsewhere", "."]).patch()
    assert not [path for reading in files.readings for path in reading if path.startswith("..")]


def test_modules_that_import_each_other() -> None:
    result = patched({BOT: f"import a\n{CLIENT}", "a.py": f"import b\n{CLIENT}", "b.py": "import a, bots.jarvis\n"})
    assert found(result.findings) == [("a.py", 3, "other-module")]


def test_one_reading_for_each_depth() -> None:
    files = Files({BOT: f"import a, b, c\n{CLIENT}", "a.py": "import d\n", "b.py": "", "c.py": "", "d.py": ""})
    Checkout(files.read, BOT, SETTINGS).patch()
    assert len(files.readings) <= 4


def test_pool_module_makes_clients_and_pools_them() -> None:
    pool = "from webexteamssdk import WebexTeamsAPI\ndef get_webex_api(t):\n    return WebexTeamsAPI(t)\n"
    result = patched({BOT: f"import src.utils.webex_pool_config\n{CLIENT}", "src/utils/webex_pool_config.py": pool})
    assert result.findings == []


def test_class_of_another_module() -> None:
    """A subclass, an alias and a re-export keep their meaning across modules."""
    result = patched(
        {
            BOT: (
                "from src.base import JarvisBot\nfrom src import sdk\nfrom src.names import *\n"
                "bot = JarvisBot(TOKEN)\napi = sdk.Client(TOKEN)\nother = Short(TOKEN)\n"
            ),
            "src/base.py": (
                "from webex_bot.webex_bot import WebexBot\nclass Base(WebexBot):\n    pass\nclass JarvisBot(Base):\n"
                "    pass\n"
            ),
            "src/sdk.py": "from webexteamssdk import WebexTeamsAPI as Client\n",
            "src/names.py": "from .sdk import Client\nShort = Client\n",
        }
    )
    shown = [(item.line, item.kind, item.action) for item in result.files[BOT].constructions]
    assert shown == [(4, "bot", "wrapped"), (5, "api", "wrapped"), (6, "api", "wrapped")]


def test_class_of_that_name_in_the_checkout_is_no_client() -> None:
    result = patched(
        {BOT: f"from fakes import WebexAPI\nfake = WebexAPI()\n{CLIENT}", "fakes.py": "class WebexAPI: pass\n"}
    )
    assert [item.line for item in result.files[BOT].constructions] == [4]
    assert result.findings == []


def test_module_that_cannot_be_parsed_is_reported() -> None:
    result = patched({BOT: f"import broken\n{CLIENT}", "broken.py": "def f(:\n"})
    assert found(result.findings) == [("broken.py", 1, "unreadable")]
    assert result.files[BOT].changed


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, "bots/jarvis.py does not exist in the checkout"),
        ({BOT: "x = (\n"}, "bots/jarvis.py:1:5: cannot be parsed as Python: '(' was never closed"),
        (
            {BOT: "x = 1\n"},
            "bots/jarvis.py constructs no Webex client that can be pooled, nor does a",
        ),
        (
            {BOT: "import a\n", "a.py": CLIENT},
            "but modules that it imports do: a.py:2; set webex_patch_scope: imports to patch them too",
        ),
        (
            {BOT: f"def configure_webex_api_session(): pass\n{CLIENT}"},
            "bots/jarvis.py:1:1: configure_webex_api_session is the name of something else here",
        ),
    ],
)
def test_errors_show_file_and_place(files: dict[str, str], expected: str) -> None:
    with pytest.raises(SourceError) as refused:
        patched(files)
    assert expected in str(refused.value)


def test_client_only_in_a_module_with_scope_imports() -> None:
    result = patched({BOT: "import a\n", "a.py": CLIENT}, "imports")
    assert list(result.files) == ["a.py"]


def test_unpatch_restores_all_modules_from_their_originals() -> None:
    before = {BOT: f"import a\n{CLIENT}".encode(), "a.py": CLIENT.encode()}
    files = {path: item.source + b"# since\n" for path, item in patched(before, "imports").files.items()}
    back = Checkout(Files(files).read, BOT, SETTINGS).unpatch(Files(before).read, "imports")
    assert {path: item.source for path, item in back.files.items()} == {
        path: source + b"# since\n" for path, source in before.items()
    }


def test_unpatch_with_a_class_of_another_module() -> None:
    files = {BOT: "from base import B\nbot = B(TOKEN)\n", "base.py": "from webex_bot.webex_bot import WebexBot as B\n"}
    after = patched(files).files[BOT].source
    back = Checkout(Files({**files, BOT: after}).read, BOT, SETTINGS).unpatch(None)
    assert back.files[BOT].source.decode() == files[BOT]


def test_unpatch_refuses_an_original_that_is_no_python() -> None:
    with pytest.raises(SourceError, match=r"^bots/jarvis.py:1:5 as it was: cannot be parsed"):
        Checkout(Files({BOT: CLIENT}).read, BOT, SETTINGS).unpatch(Files({BOT: "x = (\n"}).read)


# -- the lab's checkout

EXPECTED = {
    "jarvis": ["api", "bot"],
    "tars": ["api", "bot"],
    "toodles": ["api", "bot"],
    "barnacles": ["api", "api", "bot"],
    "money_ball": ["api", "bot"],
    "msoar": ["bot"],
}


def _lab(paths: Sequence[str]) -> dict[str, bytes]:
    return {path: (LAB / path).read_bytes() for path in paths if (LAB / path).is_file()}


@pytest.mark.parametrize("bot", EXPECTED)
def test_lab_bots(bot: str) -> None:
    script = f"webex_bots/{bot}.py"
    result = Checkout(_lab, script, SETTINGS).patch()
    source = result.files[script]
    assert [(item.kind, item.action) for item in source.constructions] == [(kind, "wrapped") for kind in EXPECTED[bot]]
    compile(source.source, script, "exec", dont_inherit=True)
    after = {script: source.source}
    again = Checkout(lambda paths: {**_lab(paths), **{p: after[p] for p in paths if p in after}}, script, SETTINGS)
    assert not again.patch().files[script].changed
    back = Checkout(lambda paths: {**_lab(paths), **{p: after[p] for p in paths if p in after}}, script, SETTINGS)
    assert back.unpatch(_lab).files[script].source == result.before[script]


def test_lab_module_with_a_client_of_its_own() -> None:
    result = Checkout(_lab, "webex_bots/tars.py", SETTINGS).patch()
    assert [(item.path, item.kind) for item in result.findings] == [("src/components/war_room.py", "other-module")]


def test_lab_toodles_keeps_its_longer_timeout() -> None:
    source = Checkout(_lab, "webex_bots/toodles.py", SETTINGS).patch().files["webex_bots/toodles.py"].source
    assert b"single_request_timeout=180" in source
    assert source.index(b"from src.utils.webex_pool_config") > source.index(b"sys.path.insert")


# -- where the pool module goes for one bot on a VM

OPEN = Settings(Templates(TEMPLATES.api_client, TEMPLATES.bot_client, f"from {MODULE} import __names__\n"))


def placed(files: Mapping[str, str], **started: object) -> CheckoutResult:
    return Checkout(Files(files).read, BOT, OPEN, (), started=Started(**started)).patch()


@pytest.mark.parametrize(
    ("files", "started", "written", "file"),
    [
        ({}, {}, "webex_pool_config", "bots/webex_pool_config.py"),
        ({}, {"module": "bots.jarvis"}, "bots.webex_pool_config", "bots/webex_pool_config.py"),
        ({"src/__init__.py": "", "src/utils/__init__.py": ""}, {}, "webex_pool_config", "bots/webex_pool_config.py"),
        (
            {"src/__init__.py": "", "src/utils/__init__.py": ""},
            {"path": ("",)},
            "src.utils.webex_pool_config",
            "src/utils/webex_pool_config.py",
        ),
        ({}, {"setting": "bots.pool", "path": ("",)}, "bots.pool", "bots/pool.py"),
    ],
)
def test_place_follows_from_the_start(
    files: Mapping[str, str], started: Mapping[str, object], written: str, file: str
) -> None:
    result = placed({BOT: CLIENT, **files}, **started)
    assert f"from {written} import configure_webex_api_session" in result.files[BOT].source.decode()
    assert result.place is not None and result.place.file == file


@pytest.mark.parametrize(
    ("command", "directory", "script", "expected"),
    [
        ("/h/.venv/bin/python -u bots/jarvis.py --x", "/h", BOT, ("__main__", ("bots",))),
        ("/h/.venv/bin/python bots/jarvis.py", "/", BOT, ("__main__", ("bots",))),
        ("python3.11 -uI bots/jarvis.py", "/h", BOT, ("__main__", ())),
        ("python3 -m bots.jarvis --token x", "/h", BOT, ("bots.jarvis", ("",))),
        ("python3 -um jarvis", "/h/bots", BOT, ("jarvis", ("bots",))),
        ("python3 -m jarvis", "/srv", BOT, ("jarvis", ())),
        ("python3 -P -m bots.jarvis", "/h", BOT, ("bots.jarvis", ())),
        ("python3 -m bots", "/h", "bots/__main__.py", ("bots.__main__", ("",))),
        ("/bin/sh -c x sh /l /dev/null /v/python -m bots.jarvis", "/h", BOT, ("bots.jarvis", ("",))),
        ("", "", BOT, ("__main__", ("bots",))),
    ],
)
def test_start_follows_from_the_command(
    command: str, directory: str, script: str, expected: tuple[str, tuple[str, ...]]
) -> None:
    start = Started.by(command.split(), directory, "/h").start(script)
    assert (start.name, start.path) == expected
    assert start.package == (start.name.rpartition(".")[0] if start.name != "__main__" else "")


def test_place_of_what_the_report_did_is_kept() -> None:
    path = "import os, sys\nsys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))\n"
    files = {BOT: f"{path}import src.utils.text\n{CLIENT}", "src/utils/text.py": ""}
    once = placed(files)
    assert once.place is not None and once.place.file == "src/utils/webex_pool_config.py"
    again = placed({**files, BOT: once.files[BOT].source.decode()})
    assert again.place == once.place and not again.files[BOT].changed


def test_place_that_the_bots_python_refuses_is_refused_with_its_reason() -> None:
    with pytest.raises(
        SourceError, match=r"bots/jarvis.py:2: the import of the pool module would not resolve: no \(p\)"
    ):
        placed({BOT: CLIENT}, prove=lambda place, asked: "no (p)")
