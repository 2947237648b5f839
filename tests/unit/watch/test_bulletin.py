"""What the watch makes known: each event once, to a service that takes it, and samples for node_exporter."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from ansible.module_utils.webex_rollout import bulletin, reach
from ansible.module_utils.webex_rollout.evidence import EXTEND, PROMOTE
from ansible.module_utils.webex_rollout.notify import deliver
from ansible.module_utils.webex_rollout.weather import Look

from tests.unit.tell.receivers import Service
from tests.unit.watch.test_watch import failures

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.unit.watch.conftest import Canary


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """A service on the loopback that the watch's messages go to."""
    service = Service()
    directory = tmp_path / "notify"
    directory.mkdir(mode=0o755)
    config = directory / "notify.json"
    config.write_text(json.dumps([{"form": "json", "url": service.url()}]))
    config.chmod(0o600)
    monkeypatch.setattr(bulletin, "deliver", lambda vm: deliver(vm, str(config)))
    yield service
    service.close()


def kinds(service: Service) -> list[str]:
    return [json.loads(body)["kind"] for _, _, body in service.received]


def test_a_rollback_and_its_verdict_are_told_once(canary: Canary, told: Service) -> None:
    canary.rolled_out().works(3, answered=1)
    with (canary.machine.home / "logs/jarvis.log").open("a", encoding="utf-8") as log:
        log.write(failures(20))
    canary.does(timeouts=20)
    canary.tick()
    canary.tick()
    assert kinds(told).count("roll_back") == 1
    assert kinds(told).count("verdict") == 2  # as yet none, then this one


def pass_minutes(canary: Canary, told: Service, minutes: int) -> list[int]:
    """Looks five minutes apart, before each of which its connections show a sign of life; `idle` told by each."""
    seen = []
    for _ in range(minutes // 5):
        canary.does()
        canary.tick(300)
        seen.append(kinds(told).count("idle"))
    return seen


def test_that_nothing_was_answered_for_an_hour_is_told_once(canary: Canary, told: Service) -> None:
    """Such as of one whose threads are dead-locked: its websocket is pinged, and nothing fails."""
    canary.rolled_out(soak_max=86400.0).works(5, answered=1)
    assert pass_minutes(canary, told, 55)[-1] == 0
    assert pass_minutes(canary, told, 65)[-11:] == [1] * 11
    assert canary.soak.verdict == EXTEND
    canary.works(1, answered=1)
    assert pass_minutes(canary, told, 55)[-1] == 1
    assert pass_minutes(canary, told, 10)[-1] == 2


def test_one_that_was_promoted_may_be_idle(canary: Canary, told: Service) -> None:
    canary.rolled_out().works(11, answered=2)
    assert canary.soak.verdict == PROMOTE
    assert pass_minutes(canary, told, 75)[-1] == 0


def test_an_outage_is_told_once_for_all_bots(canary: Canary, told: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    canary.rolled_out().works(3, answered=2)
    monkeypatch.setattr(reach, "ask", lambda *_: Look("bad", "connect", "no answer"))
    canary.path.unlink()  # as of one that ends again and again meanwhile
    canary.idles(20)
    assert kinds(told).count("outage_begun") == 1
    assert {*kinds(told)} == {"verdict", "outage_begun"}


def test_an_outage_is_told_too_when_nothing_soaks(
    canary: Canary, told: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A promoted bot is looked at every five minutes, and an outage of five minutes must not pass in between."""
    canary.rolled_out().works(11, answered=2)
    assert canary.soak.verdict == PROMOTE
    monkeypatch.setattr(reach, "ask", lambda *_: Look("bad", "resolve", "no address"))
    for seconds in (270, 30, 30):
        canary.tick(seconds)
    assert kinds(told).count("outage_begun") == 1


def test_metrics_are_written_where_somebody_wants_them(
    canary: Canary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "metrics"
    canary.rolled_out().works(2, answered=3)
    assert not directory.exists()
    directory.mkdir(mode=0o755)
    assert bulletin.publish(canary.machine.vm, [], 0.1, str(directory)) == []
    text = (directory / "webex_rollout.prom").read_text()
    assert 'webex_rollout_up{bot="jarvis"} 1' in text
    assert 'webex_rollout_phase{bot="jarvis",phase="confirmed"} 1' in text
    assert 'webex_rollout_drift{bot="jarvis",kind="copies"} 0' in text
