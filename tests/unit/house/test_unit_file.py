"""Values in unit files come back from systemd as they went in."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import jinja2
import pytest

from plugin_utils import unit_file
from tests.lab.paths import PROJECT

PLAIN = ["/home/vinay/pub/IR", "/home/vinay/pub/IR/.venv/bin/python", "webex_bots/jarvis.py", "/opt/büro/a-b_c.d"]


@pytest.mark.parametrize("text", PLAIN)
def test_what_needs_no_escaping_stays_as_it_is(text: str) -> None:
    assert (unit_file.path(text), unit_file.word(text), unit_file.argument(text)) == (text, text, text)


@pytest.mark.parametrize(
    ("text", "path", "word", "argument"),
    [
        ("/a b", "/a b", '"/a b"', '"/a b"'),
        ("/100%h", "/100%%h", "/100%%h", "/100%%h"),
        ("/$HOME", "/$HOME", "/$HOME", "/$$HOME"),
        ('/a"b', '/a"b', '"/a\\"b"', '"/a\\"b"'),
        ("/it's", "/it's", '"/it\'s"', '"/it\'s"'),
        ("/a\\x", "/a\\x", '"/a\\\\x"', '"/a\\\\x"'),
        (";", ";", '";"', '";"'),
    ],
)
def test_what_systemd_would_read_otherwise_is_escaped(text: str, path: str, word: str, argument: str) -> None:
    assert (unit_file.path(text), unit_file.word(text), unit_file.argument(text)) == (path, word, argument)


@pytest.mark.parametrize("text", ["/a\nExecStart=/bin/evil", "/a\tb", "/a\x00", "/a\x7f"])
def test_a_control_character_is_refused(text: str) -> None:
    for escape in (unit_file.path, unit_file.word, unit_file.program, unit_file.argument):
        with pytest.raises(unit_file.UnitFileError, match="control character"):
            escape(text)


@pytest.mark.parametrize("text", [" /a", "/a ", "/a\\"])
def test_a_path_whose_end_would_be_lost_is_refused(text: str) -> None:
    with pytest.raises(unit_file.UnitFileError, match="begins or ends"):
        unit_file.path(text)


def test_a_program_that_systemd_would_not_start_is_refused() -> None:
    assert unit_file.program("/a b/100%/$x") == '"/a b/100%%/$x"'
    for text in ('/a"b', "/it's", "/a\\b"):
        with pytest.raises(unit_file.UnitFileError, match="starts no such program"):
            unit_file.program(text)


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
@pytest.mark.parametrize("name", ["a b", "100%h", "$HOME", 'a"b', "it's", "a\\x41"])
def test_systemd_finds_the_program_and_the_directory(tmp_path: Path, name: str) -> None:
    """`systemd-analyze verify` looks for the program under the name that it has read."""
    home = tmp_path / name
    home.mkdir()
    program = home / "python" if not set(name) & set("\"'\\") else tmp_path / "python"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    unit = tmp_path / "bot.service"
    text = f"[Service]\nWorkingDirectory={unit_file.path(str(home))}\nReadWritePaths={unit_file.word(str(home))}\n"
    unit.write_text(f"{text}ExecStart={unit_file.program(str(program))} {unit_file.argument(name)}\n")
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, check=False)
    assert "bot.service" not in done.stderr, done.stderr


@pytest.mark.parametrize(("systemd", "grows"), [(None, False), (249, False), (252, False), (254, True), ("257", True)])
def test_a_unit_is_started_again_without_an_end_and_ever_later_where_systemd_can(
    systemd: int | str | None, grows: bool
) -> None:
    """An unknown key would be a warning in everybody's journal. Within a minute of an outage's end a bot is back."""
    template = (PROJECT / "roles/bot_service/templates/webex-bot@.service.j2").read_text(encoding="utf-8")
    facts = {} if systemd is None else {"systemd": systemd}
    rendered = jinja2.Template(template).render(rollout_bot={"facts": facts}, rollout_stop_timeout=15)
    keys = dict(line.split("=", 1) for line in rendered.splitlines() if "=" in line and not line.startswith("#"))
    assert (keys["Restart"], keys["StartLimitIntervalSec"]) == ("always", "0")
    assert ("RestartSteps" in keys, "RestartMaxDelaySec" in keys) == (grows, grows)
    assert int(keys.get("RestartMaxDelaySec", keys["RestartSec"])) < 60
