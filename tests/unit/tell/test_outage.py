"""An outage is one event of the machine, whichever of its bots' looks shows it, and so is its end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.webex_rollout import notify, outage
from ansible.module_utils.webex_rollout.clock import vm_clock
from ansible.module_utils.webex_rollout.store import Vm
from ansible.module_utils.webex_rollout.weather import BAD, GOOD, UNKNOWN, Look, Weather, looked, save_weather


class Sky:
    """A machine's bots, and what is told of their weather."""

    def __init__(self, place: Path) -> None:
        self.vm, self.told, self.later = Vm(place), [], 0.0  # type: ignore[var-annotated]

    def tell(self, vm: Vm, event: notify.Event) -> None:
        if event not in self.told:
            self.told.append(event)

    @property
    def kinds(self) -> list[str]:
        return [event.kind for event in self.told]

    def look(self, bot: str, *states: str) -> None:
        """Looks at one bot, half a minute apart."""
        store = self.vm.store(bot)
        store.path.mkdir(parents=True, exist_ok=True)
        (store.path / "state.json").touch()
        weather = Weather() if not (store.path / "weather.json").exists() else outage.load_weather(store)
        for state in states:
            self.later += 30
            clock = vm_clock()
            now = {**clock, **{name: clock[name] + self.later for name in ("epoch", "since_boot")}}
            weather = looked(weather, Look(state, "connect", "no answer"), now)
            save_weather(store, weather)
            outage.tell_outage(self.vm, weather)


@pytest.fixture
def sky(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sky:
    found = Sky(tmp_path)
    clock = vm_clock
    monkeypatch.setattr(outage, "tell", found.tell)

    def later() -> dict[str, Any]:
        now = clock()
        return {**now, **{name: now[name] + found.later for name in ("epoch", "since_boot")}}

    monkeypatch.setattr(outage, "vm_clock", later)
    return found


def test_it_is_told_once_though_each_bot_comes_to_know_of_it_at_another_time(sky: Sky) -> None:
    for bot in ("jarvis", "tars", "msoar"):
        sky.look(bot, GOOD, GOOD)
    for bot in ("jarvis", "tars", "msoar"):
        sky.look(bot, BAD, BAD, BAD)
    assert sky.kinds == ["outage_begun"]
    assert sky.told[0].text.startswith("Webex cannot be reached from this VM (no answer)")


def test_its_end_is_told_once_when_the_last_bot_that_was_looked_at_lately_reaches_it(sky: Sky) -> None:
    for bot in ("jarvis", "tars"):
        sky.look(bot, BAD, BAD)
    sky.look("jarvis", GOOD, GOOD)
    assert sky.kinds == ["outage_begun"], "tars does not reach it"
    sky.look("tars", GOOD, GOOD, GOOD)
    assert sky.kinds == ["outage_begun", "outage_ended"]
    assert sky.told[1].text.startswith("Webex can be reached again, after ")
    sky.look("jarvis", GOOD, BAD, BAD)
    assert sky.kinds == ["outage_begun", "outage_ended", "outage_begun"], "another one is another event"


def test_a_bot_that_nobody_looks_at_any_more_keeps_no_outage_alive(sky: Sky) -> None:
    sky.look("tars", BAD, BAD)
    sky.later += outage.RECENT
    sky.look("jarvis", GOOD, GOOD)
    assert sky.kinds == ["outage_begun", "outage_ended"]


def test_a_way_out_that_is_bad_for_good_hides_no_later_outage(sky: Sky) -> None:
    """One bot with a wrong proxy: the next outage of all was never told, nor its end."""
    sky.look("odd", *[BAD] * 60)
    for bot in ("jarvis", "tars"):
        sky.look(bot, GOOD, GOOD)
    sky.look("odd", BAD)
    sky.look("jarvis", BAD, BAD)
    sky.look("odd", BAD)
    sky.look("tars", BAD, BAD)
    assert sky.kinds == ["outage_begun", "outage_begun"]
    sky.look("odd", BAD)
    for bot in ("jarvis", "tars"):
        sky.look(bot, GOOD, GOOD)
    assert sky.kinds == ["outage_begun", "outage_begun", "outage_ended"]
    sky.look("odd", BAD)
    assert len(sky.kinds) == 3, "its own is known"


def test_what_says_nothing_begins_and_ends_nothing(sky: Sky) -> None:
    sky.look("jarvis", UNKNOWN, UNKNOWN)
    assert sky.kinds == []
    sky.look("jarvis", BAD, BAD, UNKNOWN)
    assert sky.kinds == ["outage_begun"]


def test_on_a_full_disk_it_is_told_by_the_bots_own_weather(sky: Sky, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, content: dict[str, Any]) -> None:
        if path.name == "outage.json":
            raise OSError(28, "No space left on device", str(path))
        path.write_text(json.dumps(content))

    monkeypatch.setattr(sky.vm, "write", refuse)
    outage.tell_outage(sky.vm, Weather(state=BAD, since=5.0, reason="no answer"))
    outage.tell_outage(sky.vm, Weather(state=BAD, since=5.0, reason="no answer"))
    assert [event.key for event in sky.told] == ["5"]
