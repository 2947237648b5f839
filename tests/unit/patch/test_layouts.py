"""Each layout's program starts after the patch as it did before, and configures every client once."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest

from .checkouts import check, patched
from .layouts import CLIENT, FUNCTION, INSTALLED, LAYOUTS, POOL, Checkout, start, write


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("installed"), INSTALLED)


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_the_patched_program_starts(layout: Checkout, tmp_path: Path, installed: Path) -> None:
    home = write(tmp_path / "checkout", layout.files)
    before = start(home, layout, installed)
    assert before.code == 0, before.output
    assert before.configured and not any(before.configured)
    result = patched(dict(layout.files))
    assert result.refused == {}
    for path, module in layout.expected.items():
        assert f"from {module} import configure_" in result.files[path].source.decode()
    write(home, {path: item.source for path, item in result.files.items()})
    write(home, dict.fromkeys(result.modules, POOL))
    after = start(home, layout, installed)
    assert (after.code, after.output) == (0, before.output)
    assert after.configured == [1] * len(before.configured)
    told = "\n".join(f"{item.path}:{item.line}: {item.message}" for item in result.findings)
    for part in layout.findings:
        assert part in told
    if not layout.findings:
        assert "ships" not in told


@pytest.mark.parametrize(
    ("files", "directory", "command"),
    [
        (
            {"hook/app.py": f"{CLIENT}\n\ndef handler(event, context):\n    print(event)\n"},
            "hook",
            "app.handler(1, None)",
        ),
        ({"app/__main__.py": "from bot import main\nmain()\n", "app/bot.py": FUNCTION}, "app", ""),
        ({"app/__main__.py": CLIENT}, "app", ""),
    ],
    ids=["AWS lambda's zip", "zipapp", "zipapp of one file"],
)
def test_the_patched_program_starts_from_an_archive(
    files: dict[str, str], directory: str, command: str, tmp_path: Path, installed: Path
) -> None:
    home = write(tmp_path / "checkout", files)
    layout = Checkout(files, ["-c", f"import app; {command}"] if command else ["bot.zip"], {}, path=["bot.zip"])

    def started() -> tuple[int, str, list[int]]:
        shutil.make_archive(str(home / "bot"), "zip", home / directory)
        done = start(home, layout, installed)
        return done.code, done.output, done.configured

    code, output, configured = started()
    assert (code, configured) == (0, [0]), output
    result = patched(files)
    write(home, {path: item.source for path, item in result.files.items()})
    write(home, dict.fromkeys(result.modules, POOL))
    assert started() == (0, output, [1])


def test_generated_checkouts_start_after_the_patch(tmp_path: Path, installed: Path) -> None:
    """`make bench-patch` checks ten thousand of them."""
    seen = Counter(check(number, tmp_path / str(number), installed) for number in range(40))
    assert seen["patched"] > 30, seen


def test_a_program_that_can_do_without_its_sdk_still_does(tmp_path: Path) -> None:
    """Neither the SDK nor requests is there, so the pool module would not import either."""
    source = (
        "try:\n    from webexteamssdk import WebexTeamsAPI\nexcept ImportError:\n    WebexTeamsAPI = None\n\n\n"
        "def hello(text):\n    if WebexTeamsAPI is None:\n        print('no webex here:', text)\n        return\n"
        "    WebexTeamsAPI(access_token='x').messages.create(text=text)\n\n\nhello('hello')\n"
    )
    layout = Checkout({"bot.py": source}, ["-S", "bot.py"], {})
    home, nothing = write(tmp_path / "checkout", layout.files), tmp_path / "nothing"
    before = start(home, layout, nothing)
    result = patched(dict(layout.files))
    write(home, {path: item.source for path, item in result.files.items()})
    write(home, dict.fromkeys(result.modules, "import requests_that_is_missing\n"))
    after = start(home, layout, nothing)
    assert result.files["bot.py"].changed
    assert (after.code, after.output) == (before.code, before.output) == (0, "no webex here: hello\n")
