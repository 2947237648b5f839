"""The metrics' text, read back by a parser written from the format's description, and where it is written."""

from __future__ import annotations

import os
import re
from dataclasses import fields, replace
from pathlib import Path

import pytest
from ansible.module_utils.webex_rollout.errors import RolloutError
from ansible.module_utils.webex_rollout.metrics import BotMetrics, VmMetrics, render, write_metrics
from ansible.module_utils.webex_rollout.state import Phase

VM = VmMetrics("0.3.0", 1795790000.5, 1.25, 2, 3, 4, 5, True)
JARVIS = BotMetrics(
    *("jarvis", "3f2a", "confirmed", True, "roll back", "0", 600.5, 590.0, 40),
    *({"time-out": 13, "connection": 0}, 2, 8, {"edited": 1}, "bad", 200.0, 1795789990.0),
)
UNESCAPED = {r"\\": "\\", r"\"": '"', r"\n": "\n"}
LABEL = re.compile(r'([a-z_]+)="((?:[^"\\\n]|\\[\\"n])*)"(?:,|$)')


def parsed(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Samples by name and labels; each metric's help and type come once, before its samples, which are together."""
    samples: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
    described, present = [], ""
    assert text.endswith("\n")
    for line in text[:-1].split("\n"):
        if line.startswith("# HELP "):
            present = line.split()[2]
            assert present not in described
            described.append(present)
        elif line.startswith("# TYPE "):
            assert line.split()[2:] in ([present, "gauge"], [present, "counter"])
            assert line.endswith("counter") == present.endswith("_total")
        else:
            match = re.fullmatch(r"([a-z_]+)(?:\{(.*)\})? (\S+)", line)
            assert match, line
            assert match[1] == present
            labels = [found.groups() for found in LABEL.finditer(match[2] or "")]
            assert LABEL.sub("", match[2] or "") == "", line
            key = tuple((n, re.sub(r"\\.", lambda each: UNESCAPED[each[0]], v)) for n, v in labels)
            assert (present, key) not in samples
            samples[present, key] = float(match[3])
    return samples


def test_every_field_is_shown() -> None:
    got = {
        (name, *(value for _, value in labels)): number
        for (name, labels), number in parsed(render([JARVIS], VM)).items()
    }
    expected = {
        ("build_info", "0.3.0"): 1,
        ("last_look_timestamp_seconds",): 1795790000.5,
        ("look_duration_seconds",): 1.25,
        ("problems",): 2,
        ("notify_failures_total",): 3,
        ("notify_dropped_total",): 4,
        ("notify_waiting",): 5,
        ("locked",): 1,
        ("release_info", "jarvis", "3f2a", "0"): 1,
        ("up", "jarvis"): 1,
        ("soak_elapsed_seconds", "jarvis"): 600.5,
        ("soak_heard_seconds", "jarvis"): 590,
        ("requests_total", "jarvis"): 40,
        ("request_failures_total", "jarvis", "time-out"): 13,
        ("request_failures_total", "jarvis", "connection"): 0,
        ("restarts_total", "jarvis"): 2,
        ("open_connections", "jarvis"): 8,
        ("drift", "jarvis", "edited"): 1,
        ("bad_weather_seconds_total", "jarvis"): 200,
        ("bot_last_look_timestamp_seconds", "jarvis"): 1795789990,
        **{("phase", "jarvis", phase.value): int(phase is Phase.CONFIRMED) for phase in Phase},
        **{
            ("verdict", "jarvis", v): int(v == "roll_back")
            for v in ("none", "promote", "extend", "hold", "roll_back", "paused")
        },
        **{("weather", "jarvis", state): int(state == "bad") for state in ("good", "bad", "unknown")},
    }
    assert got == {("webex_rollout_" + key[0], *key[1:]): value for key, value in expected.items()}


def test_what_is_not_known_has_no_sample() -> None:
    unknown = BotMetrics("jarvis", "0", "recorded", False)
    names = {name for name, _ in parsed(render([unknown], VmMetrics("1", 0.0)))}
    assert not names & {"webex_rollout_requests_total", "webex_rollout_soak_heard_seconds", "webex_rollout_drift"}
    assert "webex_rollout_up" in names


def test_a_phase_that_is_new_is_shown_all_the_same() -> None:
    samples = parsed(render([replace(JARVIS, phase="dreaming")], VM))
    assert samples["webex_rollout_phase", (("bot", "jarvis"), ("phase", "dreaming"))] == 1


@pytest.mark.parametrize("value", ['a"b', "a\\", "a\nb 1\nfake_metric 2", "\udcff", "{}", "日本", 'x" 1\n', ""])
def test_a_label_of_any_text_is_one_label(value: str) -> None:
    samples = parsed(render([replace(JARVIS, release=value, drift={value: 1})], VM))
    shown = value.encode("utf-8", "replace").decode()
    assert samples["webex_rollout_release_info", (("bot", "jarvis"), ("release", shown), ("previous", "0"))] == 1
    assert samples["webex_rollout_drift", (("bot", "jarvis"), ("kind", shown))] == 1


@pytest.mark.parametrize("value", [1e300, 1e-9, float("inf"), float("-inf"), 2**70])
def test_numbers(value: float) -> None:
    samples = parsed(render([replace(JARVIS, soak_heard_seconds=value)], VM))
    assert samples["webex_rollout_soak_heard_seconds", (("bot", "jarvis"),)] == value


def test_bots_come_in_one_order_and_none_twice() -> None:
    others = [replace(JARVIS, bot=name) for name in ("tars", "barnacles", "tars")]
    assert render(others, VM) == render(others[1::-1], VM)
    assert len(parsed(render(others, VM))) == len(parsed(render(others[:2], VM)))


def test_without_bots() -> None:
    assert parsed(render([], VM))


def test_fields_are_documented() -> None:
    text = (Path(__file__).resolve().parents[3] / "docs/observability.md").read_text()
    names = {name for name, _ in parsed(render([JARVIS], VM))}
    assert {name for name in names if f"`{name}" not in text} == set()
    assert fields(BotMetrics)


# -- the file --------------------------------------------------------------------------------------------------


def test_it_is_written_whole_and_readable_by_all(tmp_path: Path) -> None:
    os.umask(os.umask(0o077))
    path = write_metrics(str(tmp_path), render([JARVIS], VM))
    first = path.stat().st_ino
    assert (path.name, path.stat().st_mode & 0o777) == ("webex_rollout.prom", 0o644)
    write_metrics(str(tmp_path), "webex_rollout_up 0\n")
    assert path.read_text() == "webex_rollout_up 0\n"
    assert path.stat().st_ino != first
    assert [each.name for each in tmp_path.iterdir()] == ["webex_rollout.prom"]


@pytest.mark.parametrize("which", ["", ".."])
def test_a_directory_that_is_somebody_elses_is_refused(tmp_path: Path, which: str) -> None:
    """Debian gives the directory above node_exporter's to its user: he could put a link in the directory's place."""
    directory = tmp_path / "prometheus/node-exporter"
    directory.mkdir(parents=True)
    os.chown(directory / which, 4242, 4242)
    with pytest.raises(RolloutError, match="is not root's alone"):
        write_metrics(str(directory), "")
    assert list(directory.iterdir()) == []


def test_a_link_in_the_files_place_is_replaced_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    for name in ("webex_rollout.prom", ".webex_rollout.prom.tmp"):
        (tmp_path / name).symlink_to(victim)
    write_metrics(str(tmp_path), "a 1\n")
    assert victim.read_text() == "untouched"
    assert not (tmp_path / "webex_rollout.prom").is_symlink()


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(RolloutError, match=f"{tmp_path}/none is not there, so there are no metrics; make it"):
        write_metrics(str(tmp_path / "none"), "")
