"""The weather over several looks: what changes it, what counts as good time, and how it is kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from ansible.module_utils.webex_rollout import reach
from ansible.module_utils.webex_rollout.store import Store, Vm
from ansible.module_utils.webex_rollout.weather import (
    Look,
    Seen,
    Weather,
    good_seconds,
    load_weather,
    looked,
    save_weather,
)

WORDS = {"g": "good", "b": "bad", "u": "unknown"}


def after(pattern: str, every: float = 30.0, begin: Weather = Weather()) -> Weather:  # noqa: B008
    """The weather after looks that are a pattern's letters."""
    for number, letter in enumerate(pattern):
        now = {"boot": "b:1", "since_boot": 1000 + number * every, "epoch": 5000 + number * every}
        kind = "connect" if letter == "b" else ""
        begin = looked(begin, Look(WORDS[letter], kind, kind and f"look {number}"), now)
    return begin


@pytest.mark.parametrize(
    ("pattern", "state"),
    [
        ("", "unknown"),
        ("g", "good"),
        ("b", "bad"),
        ("gb", "good"),
        ("gbg", "good"),
        ("gbb", "bad"),
        ("ggbgb", "bad"),
        ("bbg", "bad"),
        ("bbgg", "good"),
        ("bbgbg", "good"),
        ("ggu", "good"),
        ("gguu", "unknown"),
        ("ub", "bad"),
    ],
)
def test_two_of_three_looks_change_the_state(pattern: str, state: str) -> None:
    assert after(pattern).state == state


@pytest.mark.parametrize(
    ("pattern", "may"), [("", 0), ("g", 1), ("gb", 0), ("gbg", 1), ("gbb", 0), ("gbbg", 0), ("gbbgg", 1), ("ggu", 0)]
)
def test_one_bad_look_is_enough_not_to_judge(pattern: str, may: int) -> None:
    assert after(pattern).may_judge == bool(may)


def test_since_when_and_why() -> None:
    bad = after("gggbbb")
    assert (bad.state, bad.since, bad.kind, bad.reason) == ("bad", 5000 + 4 * 30, "connect", "look 5")
    good = after("gggbbbgg")
    assert (good.since, good.kind, good.reason) == (5000 + 7 * 30, "", "")


@pytest.mark.parametrize(
    ("pattern", "good", "bad"),
    [("g", 0, 0), ("ggg", 60, 0), ("gbg", 0, 30), ("ggbbgg", 60, 60), ("gug", 0, 0), ("bbb", 0, 60), ("ggu", 30, 0)],
)
def test_clocks_stand_still_but_between_two_good_looks(pattern: str, good: float, bad: float) -> None:
    weather = after(pattern)
    assert (weather.good_seconds, weather.bad_seconds) == (good, bad)


@pytest.mark.parametrize(
    ("pattern", "seconds"), [("g", 0), ("bb", 30), ("gbb", 30), ("gbbbb", 90), ("gbbbgg", 0), ("bbggbb", 30)]
)
def test_how_long_it_has_been_bad_is_known_whatever_the_time_is_set_to(pattern: str, seconds: float) -> None:
    weather = after(pattern)
    now = {"boot": "b:1", "since_boot": 1000 + len(pattern) * 30.0, "epoch": 90_000}
    assert (weather.bad_for, looked(weather, Look("bad"), now).bad_for) == (seconds, seconds + 30 if seconds else 0)


def test_good_seconds_of_a_row_of_looks() -> None:
    looks = [Seen("a", clock, "good") for clock in (0, 30, 60)] + [Seen("b", 70, "good"), Seen("b", 85, "good")]
    assert good_seconds(looks) == 60 + 15
    assert good_seconds([Seen("a", 0, "good"), Seen("a", 901, "good")]) == 0
    assert good_seconds([Seen("a", 50, "good"), Seen("a", 20, "good")]) == 0
    assert good_seconds([]) == 0


def test_few_looks_are_kept_however_many_there_were() -> None:
    assert len(after("gb" * 500).looks) == 3


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Vm(str(tmp_path / "state"), "tester@here").store("jarvis")


def test_it_is_kept(store: Store) -> None:
    assert load_weather(store) == Weather()
    save_weather(store, after("ggbb"))
    assert load_weather(store) == after("ggbb")
    assert (store.path / "weather.json").stat().st_mode & 0o777 == 0o600


def test_one_that_cannot_be_believed_is_begun_anew(store: Store) -> None:
    save_weather(store, replace(after("ggbb"), reason="honest"))
    path = store.path / "weather.json"
    path.write_bytes(path.read_bytes().replace(b"honest", b"forged"))
    assert load_weather(store) == Weather()


def test_the_clock_of_the_boot_is_asked_where_none_is_given() -> None:
    assert looked(looked(Weather(), Look("good")), Look("good")).good_seconds > 0


def test_bots_that_get_out_in_one_way_share_a_look_for_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """In an outage each takes all its time: with twenty bots nothing else would be done in minutes."""
    asked: list[tuple[str, dict[str, str]]] = []
    now = [100.0]
    monkeypatch.setattr(reach, "boot_clock", lambda: now[0])
    monkeypatch.setattr(reach, "account_of", lambda user: user)
    monkeypatch.setattr(reach, "ask", lambda user, variables: asked.append((user, variables)) or Look("bad"))
    ways, proxy = reach.Ways(), {"https_proxy": "http://proxy:3128"}
    for user, variables in [("vinay", {}), ("vinay", {}), ("vinay", proxy), ("vinay", dict(proxy)), ("deploy", {})]:
        assert ways.look(user, variables) == Look("bad")
    assert asked == [("vinay", {}), ("vinay", proxy), ("deploy", {})]
    now[0] += reach.SAME_LOOK + 1
    ways.look("vinay", {})
    assert len(asked) == 4
