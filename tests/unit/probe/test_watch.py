"""The probe as the watch uses it: what a bot's silence means for its release, and when it means nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from ansible.module_utils.webex_rollout import answers, reach
from ansible.module_utils.webex_rollout import soak as kept
from ansible.module_utils.webex_rollout.evidence import EXTEND, HOLD, PROMOTE
from ansible.module_utils.webex_rollout.probe import Asked, probe_of
from ansible.module_utils.webex_rollout.soak import Watched
from ansible.module_utils.webex_rollout.state import Phase
from ansible.module_utils.webex_rollout.steps import check
from ansible.module_utils.webex_rollout.weather import Look

from tests.unit.watch.conftest import Canary, canary, machine, verdict_of
from tests.unit.watch.test_bulletin import told

if TYPE_CHECKING:
    from tests.unit.tell.receivers import Service

__all__ = ["canary", "machine", "told"]

GOOD, SILENT, REFUSED = Asked("answered", "", 1.0), Asked("silent", "no answer within 15 s"), Asked("unknown", "401")


class Bots:
    """Who answers; and who was asked, at what time."""

    def __init__(self, canary: Canary) -> None:
        self.canary, self.says, self.asked = canary, {"jarvis": GOOD}, []  # type: ignore[var-annotated]

    def ask(self, pid: int, probes: list[dict[str, Any]]) -> Asked:
        names = [probe["to"].partition("@")[0] for probe in probes]
        self.asked.append((self.canary.later, names))
        answers = [self.says.get(name, SILENT) for name in names]
        return next((each for state in ("answered", "silent") for each in answers if each.state == state), answers[0])


def probed(name: str, **given: Any) -> dict[str, Any]:
    return probe_of("bot_probe", {"to": f"{name}@webex.bot", "every": 300, **given})


@pytest.fixture
def bots(canary: Canary, monkeypatch: pytest.MonkeyPatch) -> Bots:
    found = Bots(canary)
    monkeypatch.setattr(answers, "ask_bot", found.ask)
    return found


def change(canary: Canary, do: Callable[[kept.Soak], None]) -> None:
    soak = canary.soak
    do(soak)
    kept.save(canary.machine.vm.store("jarvis"), soak)


def with_probe(canary: Canary, **controls: Any) -> Canary:
    def do(soak: kept.Soak) -> None:
        soak.probe = probed("jarvis")
        for name in controls:
            soak.controls[name] = Watched("/nosuch/log", {}, {}, user="vinay", probe=probed(name))

    canary.rolled_out()
    change(canary, do)
    return canary


def test_it_is_asked_at_a_tick_that_comes_a_moment_early(canary: Canary, bots: Bots) -> None:
    with_probe(canary).works(1)
    canary.tick(299.5)
    assert [when for when, _ in bots.asked] == [60, 359.5]


def test_a_bot_that_answers_is_asked_now_and_then(canary: Canary, bots: Bots) -> None:
    with_probe(canary).works(11)
    assert (canary.soak.verdict, canary.state.phase) == (PROMOTE, Phase.CONFIRMED)
    assert [when for when, _ in bots.asked] == [60, 360]


def test_an_answer_is_work(canary: Canary, bots: Bots) -> None:
    """Nobody else has written for two hours: that the bot can work is known all the same."""
    canary.rolled_out(soak_max=86400.0, soak_min=3 * 3600.0).works(20)
    change(canary, lambda soak: setattr(soak, "probe", probed("jarvis")))
    for _ in range(40):
        canary.does()
        canary.tick(300)
    assert canary.soak.evidence().idle == pytest.approx(0, abs=301)
    assert canary.soak.verdict == PROMOTE


def test_one_that_does_not_answer_is_rolled_back_at_the_third_look_that_asked(canary: Canary, bots: Bots) -> None:
    with_probe(canary).works(5)
    bots.says["jarvis"] = SILENT
    canary.works(2)
    assert canary.soak.evidence().failing == ("probe: no answer within 15 s",)
    assert canary.state.phase is Phase.CONFIRMED
    canary.works(1)
    assert canary.state.phase is Phase.ROLLED_BACK
    assert canary.state.note == "its check probe has failed 3 times in a row: no answer within 15 s"


def test_looks_at_which_nobody_was_asked_do_not_add_up(canary: Canary, bots: Bots) -> None:
    with_probe(canary).works(1)
    bots.says["jarvis"] = SILENT
    canary.works(4)
    assert canary.soak.work.failed_looks == {}
    canary.works(1)
    bots.says["jarvis"] = GOOD
    canary.works(1)
    assert canary.soak.work.failed_looks == {}
    assert canary.state.phase is Phase.CONFIRMED


def test_what_cannot_be_asked_in_between_changes_nothing(canary: Canary, bots: Bots) -> None:
    with_probe(canary).works(5)
    for says in (SILENT, SILENT, REFUSED):
        bots.says["jarvis"] = says
        canary.works(1)
    assert canary.soak.work.failed_looks == {"probe": 2}
    assert canary.soak.evidence().failing == ("probe: no answer within 15 s",)
    bots.says["jarvis"] = SILENT
    canary.works(1)
    assert canary.state.phase is Phase.ROLLED_BACK


def test_where_no_other_bot_answers_either_it_may_be_webex(canary: Canary, bots: Bots, told: Service) -> None:
    with_probe(canary, tars=1, msoar=1).works(5)
    bots.says = {}
    canary.works(10)
    assert canary.state.phase is Phase.CONFIRMED
    assert canary.soak.verdict == EXTEND
    said = "no answer within 15 s, and neither do msoar, tars: so it may be Webex"
    assert verdict_of(canary.soak)["missing"] == [f"a check that passes (probe: {said})"]
    texts = [json.loads(body)["text"] for _, _, body in told.received]
    assert texts.count(f"jarvis: its probe says nothing: {said}") == 1
    bots.says["msoar"] = GOOD
    canary.works(3)
    assert canary.state.phase is Phase.ROLLED_BACK


def test_others_that_cannot_be_asked_excuse_nobody(canary: Canary, bots: Bots) -> None:
    with_probe(canary, tars=1).works(5)
    bots.says = {"jarvis": SILENT, "tars": REFUSED}
    canary.works(3)
    assert canary.state.phase is Phase.ROLLED_BACK


def test_a_bot_that_is_asked_at_the_same_address_excuses_nobody(canary: Canary, bots: Bots) -> None:
    """One address for all bots, as a group's variable: the canary's own silence was that of three others, too."""
    with_probe(canary, tars=1).works(5)
    change(canary, lambda soak: soak.controls["tars"].probe.update(to=soak.probe["to"].upper()))
    bots.says = {}
    canary.works(3)
    assert canary.state.phase is Phase.ROLLED_BACK


def test_in_bad_weather_nobody_is_asked(canary: Canary, bots: Bots, monkeypatch: pytest.MonkeyPatch) -> None:
    with_probe(canary).works(1)
    bots.says["jarvis"] = SILENT
    monkeypatch.setattr(reach, "ask", lambda *_: Look("bad", "connect", "no answer"))
    canary.idles(20)
    assert len(bots.asked) == 1
    assert canary.state.phase is Phase.CONFIRMED


def test_one_that_cannot_be_asked_is_neither_promoted_nor_rolled_back(
    canary: Canary, bots: Bots, told: Service
) -> None:
    bots.says["jarvis"] = REFUSED
    with_probe(canary).works(20)
    assert (canary.soak.verdict, canary.state.phase) == (EXTEND, Phase.CONFIRMED)
    assert verdict_of(canary.soak)["missing"] == ["a check that passes (probe: 401)"]
    texts = [json.loads(body)["text"] for _, _, body in told.received]
    assert texts.count("jarvis: its probe says nothing: 401") == 1
    change(canary, lambda soak: soak.gate.update(soak_max=60.0))
    canary.does(answered=1)
    canary.tick(300)
    assert canary.soak.verdict == HOLD


def test_without_a_token_it_stands_in_nobodys_way(canary: Canary, bots: Bots) -> None:
    bots.says["jarvis"] = Asked("off", "there is no token")
    with_probe(canary).works(11)
    assert canary.soak.verdict == PROMOTE


def test_a_promoted_bot_that_falls_silent_is_told_and_started_anew_once(
    canary: Canary, bots: Bots, told: Service
) -> None:
    with_probe(canary).works(11)
    bots.says["jarvis"] = SILENT
    before = canary.pid
    for _ in range(12):
        canary.does(answered=1)
        canary.tick(300)
        if canary.pid != before:
            before = canary.pid
            canary.fresh()
    assert canary.state.phase is Phase.CONFIRMED
    assert [line for line in canary.audit() if "starts anew" in line and "no answer within 15 s" in line]
    assert sum("starts anew" in line for line in canary.audit()) == 1
    texts = [json.loads(body)["text"] for _, _, body in told.received]
    assert texts.count("jarvis: its check probe fails: no answer within 15 s") == 1


def test_a_promoted_bot_that_has_not_answered_is_looked_at_again_at_once_but_not_for_ever(
    canary: Canary, bots: Bots
) -> None:
    with_probe(canary).works(16)
    bots.says["jarvis"] = SILENT
    bots.asked.clear()
    begun = canary.later
    for _ in range(16):
        canary.does(answered=1)
        canary.tick(60)
    first, *later = [when - begun for when, _ in bots.asked]
    assert [when - first for when in later[:2]] == [60, 120]
    assert all(when - before >= 240 for before, when in zip(later[1:], later[2:]))


@pytest.mark.parametrize(
    ("asked", "ok", "detail"),
    [
        (GOOD, True, "answered: in 1 s"),
        (SILENT, False, "silent: no answer within 15 s"),
        (REFUSED, True, "unknown: 401"),
    ],
)
def test_it_is_a_part_of_the_start_up_check(
    canary: Canary, monkeypatch: pytest.MonkeyPatch, asked: Asked, ok: bool, detail: str
) -> None:
    monkeypatch.setattr(check, "ask_new", lambda pid, probe: asked)
    found = check._find_answer(1, probed("jarvis"))
    assert (found.name, found.ok, found.detail) == ("check probe", ok, detail)


def test_the_start_up_check_leaves_the_deadline_room_for_it() -> None:
    assert check.Proof(probe=probed("jarvis", seconds=10)).probing == 30
    assert replace(check.Proof(), probe={}).probing == 0
