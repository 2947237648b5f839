"""A failure counts the same in whatever form the bot writes it, and a text in a message never counts."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.webex_rollout.logs.cursor import Cursor, look, look_at_all, take_cursor
from ansible.module_utils.webex_rollout.logs.dialect import Dialect
from ansible.module_utils.webex_rollout.logs.tally import described, evidence

READY = "webex-pool ready pid=4711 session=api pool_connections=50 max_retries=3 timeout=120"
STATS = "webex-pool stats pid=4711 requests=321 retried=0 failed=4 recycled=0 open=3 rate_limited=0"
FAILURE = "HTTPSConnectionPool(host='webexapis.com', port=443): Read timed out. (read timeout=60)"
BEGIN = datetime(2026, 11, 25, 10, tzinfo=timezone.utc).timestamp()
D = "2026-11-25 10:"

# Minute, level, message: a line.
Form = Callable[[int, str, str], str]
FORMS: dict[str, Form] = {
    "asctime with ms": lambda t, level, m: f"{D}{t:02d}:00,123 - jarvis.py:12 - {level} - {m}",
    "coloredlogs": lambda t, level, m: f"{D}{t:02d}:00  [{level}]  [webex_bot.webex_bot.webex_bot.run]:49 {m}",
    "coloredlogs in colour": lambda t, level, m: f"\x1b[32m{D}{t:02d}:00\x1b[0m  [\x1b[1;30m{level}\x1b[0m] {m}",
    "LEVEL:name:message": lambda t, level, m: f"{level}:webex_pool_config:{m}",
    "[LEVEL] without time": lambda t, level, m: f"[{level}]  [webex_bot.webex_bot.webex_bot.__init__]:49 {m}",
    "level, then time": lambda t, level, m: f"{level} {D}{t:02d}:00,123 jarvis: {m}",
    "[level] [time]": lambda t, level, m: f"[{level}] [{D}{t:02d}:00] {m}",
    "loguru": lambda t, level, m: f"{D}{t:02d}:00.123 | {level:8} | webex_pool_config:_log:200 - {m}",
    "JSON": lambda t, level, m: json.dumps(
        {"asctime": f"{D}{t:02d}:00,123", "levelname": level, "name": "webex_pool_config", "message": m}
    ),
    "JSON of structlog": lambda t, level, m: json.dumps(
        {"event": m, "level": level.lower(), "timestamp": f"2026-11-25T10:{t:02d}:00.123Z"}
    ),
    "ISO with offset": lambda t, level, m: f"2026-11-25T11:{t:02d}:00.123+0100 {level} {m}",
    "m/d/Y AM": lambda t, level, m: f"11/25/2026 10:{t:02d}:00 AM {level} {m}",
    "d.m.Y": lambda t, level, m: f"25.11.2026 10:{t:02d}:00 {level} {m}",
    "d/m/Y": lambda t, level, m: f"25/11/2026 10:{t:02d}:00 {level} {m}",
    "d-Mon-y": lambda t, level, m: f"25-Nov-26 10:{t:02d}:00 - {level} - {m}",
    "syslog": lambda t, level, m: f"Nov 25 10:{t:02d}:00 metcirt-lab jarvis[4711]: {level} {m}",
    "time without date": lambda t, level, m: f"10:{t:02d}:00 {level} {m}",
    "epoch": lambda t, level, m: f"{BEGIN + 60 * t:.3f} {level} {m}",
    "Y/m/d": lambda t, level, m: f"2026/11/25 10:{t:02d}:00 {level} {m}",
    "YmdHMS": lambda t, level, m: f"20261125 10{t:02d}00 {level} {m}",
    "thread first": lambda t, level, m: f"MainThread {D}{t:02d}:00,123 {level} {m}",
    "without seconds": lambda t, level, m: f"{D}{t:02d} {level} {m}",
    "[time]": lambda t, level, m: f"[{D}{t:02d}:00,123] {level} {m}",
    "(time)": lambda t, level, m: f"({D}{t:02d}:00,123) {level} {m}",
    "rich": lambda t, level, m: f"[11/25/26 10:{t:02d}:00] {level:8} {m:<90} webex_pool_config.py:200",
    "place behind": lambda t, level, m: f"{D}{t:02d}:00,123 {level} {m} (webex_pool_config.py:200)",
    "logfmt": lambda t, level, m: f'ts=2026-11-25T10:{t:02d}:00Z level={level.lower()} msg="{m}"',
    "pid behind": lambda t, level, m: f"{D}{t:02d}:00,123 | {level} | {m} | pid=4711",
    "quoted message": lambda t, level, m: f'{D}{t:02d}:00,123 {level} "{m}"',
    "CRLF": lambda t, level, m: f"{D}{t:02d}:00,123 {level} {m}\r",
    "blank first": lambda t, level, m: f" {D}{t:02d}:00,123 {level} {m}",
    "emoji first": lambda t, level, m: f"🤖 {D}{t:02d}:00 {level} {m}",
    "byte order mark": lambda t, level, m: ("\ufeff" if t == 0 else "") + f"{D}{t:02d}:00,123 {level} {m}",
}
MORE: dict[str, Form] = {
    "RFC 5424": lambda t, level, m: f"<13>1 2026-11-25T10:{t:02d}:00.123456Z metcirt-lab jarvis 4711 - - {level} {m}",
    "nanoseconds": lambda t, level, m: f"2026-11-25T10:{t:02d}:00.123456789Z {level} {m}",
    "epoch in ms": lambda t, level, m: f"{int(BEGIN + 60 * t) * 1000} [{level}] {m}",
    "name:LEVEL:": lambda t, level, m: f"{D}{t:02d}:00,123 jarvis:{level}:{m}",
    "right-aligned": lambda t, level, m: f"{D}{t:02d}:00,123 [{level:>8}] {m}",
    "celery": lambda t, level, m: f"[{D}{t:02d}:00,123: {level}/MainProcess] {m}",
    "letter": lambda t, level, m: f"{D}{t:02d}:00.123 {level[0]} jarvis: {m}",
    "glog": lambda t, level, m: f"{level[0]}1125 10:{t:02d}:00.123456 4711 jarvis.py:12] {m}",
    "ctime": lambda t, level, m: f"Wed Nov 25 10:{t:02d}:00 2026 {level} {m}",
    "Title": lambda t, level, m: f"{D}{t:02d}:00 {level.title()}: {m}",
    "log4j": lambda t, level, m: f"{level:5} {D}{t:02d}:00,123 [main] jarvis - {m}",
    "threads with blanks": lambda t, level, m: (
        f"{D}{t:02d}:00,123 {'MainThread' if t % 2 else 'Thread-1 (run)'} {level} {m}"
    ),
    "pino": lambda t, level, m: json.dumps(
        {"level": {"INFO": 30, "ERROR": 50}[level], "time": int(BEGIN + 60 * t) * 1000, "pid": 4711, "msg": m},
        separators=(",", ":"),
    ),
    "levelno": lambda t, level, m: json.dumps(
        {"created": BEGIN + 60 * t, "levelno": {"INFO": 20, "ERROR": 40}[level], "message": m}
    ),
    "syslog's numbers": lambda t, level, m: json.dumps(
        {"timestamp": BEGIN + 60 * t, "level": {"INFO": 6, "ERROR": 3}[level], "message": m}
    ),
    "ECS": lambda t, level, m: json.dumps(
        {"@timestamp": f"2026-11-25T10:{t:02d}:00.123Z", "log.level": level.lower(), "message": m}
    ),
    "loguru's JSON": lambda t, level, m: json.dumps(
        {
            "text": f"{level} {m}\n",
            "record": {"level": {"name": level, "no": 40}, "message": m, "time": {"timestamp": BEGIN + 60 * t}},
        }
    ),
}
WITHOUT_TIME = ("LEVEL:name:message", "[LEVEL] without time")


def write(path: Path, lines: list[str]) -> None:
    """A log that was last written when its last line says."""
    path.write_text("\n".join(lines) + "\n", newline="")
    os.utime(path, (BEGIN + 1320, BEGIN + 1320))


def counted(path: Path, rotated: bool = False) -> dict[str, Any]:
    seen = look_at_all(str(path), rotated=rotated)
    return evidence(seen.tally, dialect=seen.cursor.dialect)


def scene(form: Form) -> list[str]:
    """12 failures a minute apart and three in a burst, with the pool module's lines around them."""
    lines = [form(0, "INFO", "Starting Jarvis"), form(0, "INFO", READY)]
    lines += [form(minute, "ERROR", FAILURE) for minute in (*range(1, 13), 20, 20, 20)]
    first = STATS.replace("321", "1").replace("failed=4", "failed=0")
    return [*lines, form(21, "INFO", first), form(22, "INFO", STATS)]


@pytest.mark.parametrize("name", [*FORMS, *MORE])
def test_a_failure_counts_in_whatever_form(tmp_path: Path, name: str) -> None:
    log = tmp_path / "jarvis.log"
    write(log, scene({**FORMS, **MORE}[name]))
    seen = counted(log)
    dated = name not in WITHOUT_TIME
    assert (seen["ready_line"], seen["dated"], seen["lines"], seen["failures"]) == (True, dated, 15, 15)
    assert (seen["pool"]["requests"], seen["pool"]["failed"]) == (321, 4)
    # Without a time nothing tells that three failures were one burst.
    assert (seen["incidents"], seen["errors"]) == (13 if dated else 15, 15)
    assert seen["levels"] == {"warning": 0, "error": 15, "critical": 0}
    if dated:
        assert seen["first_time"] == pytest.approx(BEGIN, abs=1)
        assert seen["last_time"] == pytest.approx(BEGIN + 22 * 60, abs=1)
        assert seen["hours"] == {str(int(BEGIN)): 13}


@pytest.mark.parametrize("name", [*FORMS, *MORE])
def test_a_text_in_a_message_is_none(tmp_path: Path, name: str) -> None:
    form = {**FORMS, **MORE}[name]
    log = tmp_path / "jarvis.log"
    words = [
        FAILURE,
        "ERROR",
        f"ERROR - {FAILURE}",
        "Traceback (most recent call last):",
        "TypeError: x",
        "level=error",
    ]
    lines = [form(0, "INFO", "Starting"), *(form(1 + n, "INFO", f"user_command: {w}") for n, w in enumerate(words))]
    write(log, [*lines, form(21, "ERROR", FAILURE), form(22, "INFO", f'"level": "error", {FAILURE}')])
    seen = counted(log)
    assert (seen["failures"], seen["errors"], seen["lines"]) == (1, 1, 1)
    assert seen["levels"]["error"] == 1


@pytest.mark.parametrize("plain", ["asctime with ms", "[level] [time]", "celery"])
@pytest.mark.parametrize("of_json", [1, 9])
def test_plain_records_count_among_json(tmp_path: Path, plain: str, of_json: int) -> None:
    log = tmp_path / "jarvis.log"
    form = {**FORMS, **MORE}[plain]
    lines: list[str] = []
    for minute in range(20):
        lines += [FORMS["JSON"](minute, "INFO", "Message from someone")] * of_json
        lines.append(form(minute, "INFO", f"user_command: {FAILURE}"))
    lines += [FORMS["JSON"](20, "ERROR", FAILURE), form(21, "ERROR", FAILURE), form(22, "INFO", FAILURE)]
    write(log, lines)
    seen = counted(log)
    assert (seen["failures"], seen["errors"], seen["lines"]) == (2, 2, 2)
    assert seen["last_time"] == pytest.approx(BEGIN + 22 * 60, abs=1)


def test_a_few_plain_lines_among_json_are_of_its_messages(tmp_path: Path) -> None:
    log = tmp_path / "jarvis.log"
    lines = [FORMS["JSON"](minute, "INFO", "Message from someone") for minute in range(20) for _ in range(10)]
    write(log, [*lines, FORMS["asctime with ms"](21, "ERROR", FAILURE)])
    seen = counted(log)
    assert (seen["failures"], seen["errors"]) == (0, 0)


@pytest.mark.parametrize("name", [*FORMS, *MORE])
def test_a_dialect_is_kept_in_the_cursor_and_told(tmp_path: Path, name: str) -> None:
    form = {**FORMS, **MORE}[name]
    log = tmp_path / "jarvis.log"
    write(log, scene(form))
    cursor = Cursor.from_dict(json.loads(json.dumps(take_cursor(str(log)).to_dict())))
    assert cursor.dialect is not None
    assert Dialect.from_dict(json.loads(json.dumps(cursor.dialect.to_dict()))) == cursor.dialect
    with log.open("a", newline="") as stream:
        stream.write(form(23, "INFO", FAILURE) + "\n" + form(24, "ERROR", FAILURE) + "\n")
    os.utime(log, (BEGIN + 1440, BEGIN + 1440))
    seen = look(cursor)
    assert (seen.tally.failures, seen.tally.errors.records) == (1, 1)
    told = described(cursor.dialect)
    assert "level: " in told
    assert ("time: " in told) == (name not in WITHOUT_TIME)
