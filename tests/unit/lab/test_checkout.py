"""The six bots keep the shapes that the patcher must cope with, and what the lab relies on."""

from __future__ import annotations

import ast
import re

import pytest

from tests.lab.paths import BOTS, CHECKOUT
from tests.lab.webex.accounts import token_variable
from tests.lab.webex.commands import ASKS

CLIENTS = ("WebexTeamsAPI", "WebexAPI", "WebexBot")
PROJECT_PACKAGES = ("src", "my_config", "soar_playbooks")


def source(bot: str) -> str:
    return (CHECKOUT / f"webex_bots/{bot}.py").read_text()


def clients(bot: str) -> list[str]:
    """Each construction of a client, as it is written."""
    tree = ast.parse(source(bot))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    made = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id in CLIENTS]
    return [ast.get_source_segment(source(bot), call) or "" for call in sorted(made, key=lambda call: call.lineno)]


def test_there_are_the_six() -> None:
    assert {path.stem for path in (CHECKOUT / "webex_bots").glob("*.py")} - {"__init__"} == set(BOTS)


@pytest.mark.parametrize(
    ("bot", "patterns"),
    [
        ("jarvis", [r"WebexTeamsAPI\(access_token=[^\n]*\)", r"WebexBot\(\n +[A-Z]\w+\.\w+,\n.*  # .*\n +# .*\n.*\)"]),
        ("tars", [r"WebexTeamsAPI\(access_token=TOKEN\)", r"WebexBot\(TOKEN,  # .*approved_domains=\[.*\n +# .*\)"]),
        (
            "toodles",
            [r"WebexAPI\(access_token=.*, single_request_timeout=180\)", r"WebexBot\(\n +teams_bot_token=.*\)"],
        ),
        ("barnacles", [r"WebexTeamsAPI\(bot_token\)", r"WebexTeamsAPI\(access_token=.*toodles\)", r"WebexBot\(.*\)"]),
        (
            "money_ball",
            [
                r"WebexTeamsAPI\(\n.*single_request_timeout=120,  # .*\n +wait_on_rate_limit=True,\n\)",
                r"WebexBot\(.*\)",
            ],
        ),
        ("msoar", [r"WebexBot\(teams_bot_token=CONFIG\.\w+\)"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_bot_constructs_its_clients_in_its_own_shape(bot: str, patterns: list[str]) -> None:
    made = clients(bot)

    assert len(made) == len(patterns)
    for text, pattern in zip(made, patterns):
        assert re.fullmatch(pattern, text, re.DOTALL), text


@pytest.mark.parametrize("bot", BOTS)
def test_path_and_logging_are_set_up_before_the_first_project_import(bot: str) -> None:
    tree = ast.parse(source(bot))
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    first = min(node.lineno for node in imports if (node.module or "").split(".")[0] in PROJECT_PACKAGES)
    before = "\n".join(source(bot).splitlines()[: first - 1])

    assert "sys.path.insert(0, " in before
    assert "RotatingFileHandler(" in before
    assert "%(asctime)s - %(filename)s:%(lineno)d - %(levelname)s - %(message)s" in before
    assert re.search(r"10 \* 1024 \* 1024|10485760", before)
    assert re.search(r"backupCount=5\b", before)


def test_a_second_client_is_made_in_a_method_and_used_at_once() -> None:
    assert re.search(r"WebexTeamsAPI\(access_token=[\w.]+\)\.messages\.create\(", source("barnacles"))


def test_one_bot_logs_from_warning_up_and_some_silence_urllib3() -> None:
    quiet = [bot for bot in BOTS if "level=logging.WARNING, handlers" in source(bot)]
    silenced = [
        bot for bot in BOTS if re.search(r'getLogger\(["\']urllib3[\w.]*["\']\)\.setLevel\(logging\.ERROR', source(bot))
    ]

    assert quiet == ["barnacles"]
    assert 0 < len(silenced) < len(BOTS)


def test_some_bots_need_pythonpath_and_every_bot_its_token() -> None:
    config = (CHECKOUT / "my_config.py").read_text()

    assert [bot for bot in BOTS if "from soar_playbooks import" in source(bot)] == ["money_ball", "msoar"]
    assert not any((CHECKOUT / place / "soar_playbooks").exists() for place in (".", "src", "webex_bots"))
    assert all(f'"{token_variable(bot)}"' in config for bot in BOTS)


def test_another_module_constructs_a_client_that_a_bot_uses() -> None:
    helper = (CHECKOUT / "src/components/war_room.py").read_text()

    assert "WebexTeamsAPI(access_token=" in helper
    assert "from src.components.war_room import announce" in source("tars")


def test_failures_are_logged_at_the_line_that_the_report_names() -> None:
    lines = (CHECKOUT / "src/utils/enhanced_websocket_client.py").read_text().splitlines()

    assert lines[88 - 1].strip() == 'logger.error(f"Error processing message: {e}", exc_info=True)'


def test_every_package_is_pinned() -> None:
    lines = (CHECKOUT / "requirements.txt").read_text().splitlines()
    packages = [line for line in lines if line and not line.startswith("#")]

    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in packages)
    assert {"webex_bot==1.0.8", "webexpythonsdk==2.0.4", "websockets==11.0.3"} <= set(packages)


@pytest.mark.parametrize("bot", BOTS)
def test_the_driver_asks_for_every_command_that_employees_start_with(bot: str) -> None:
    keywords = set(re.findall(r'command_keyword=["\'](\w+)["\']', source(bot)))
    asked = {ask.text.split()[0] for ask in ASKS[bot] if ask.text}

    # A run's number is only known once it has been asked for.
    assert keywords - asked == ({"sign"} if bot == "msoar" else set())


def test_no_secret_in_the_checkout() -> None:
    texts = [path.read_text() for path in CHECKOUT.rglob("*") if path.suffix in (".py", ".json", ".txt", ".toml")]

    assert not any(re.search(r"[A-Za-z0-9_-]{48,}", text) for text in texts)
