"""Two workers that each roll out half of the bots of one VM, for operators elsewhere; either is killed in the middle.

The tests go on where the one before stopped.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.chaos.outcome import NEW, releases, under_trial
from tests.integration.conftest import processes, written
from tests.integration.test_rollout import QUICK
from tests.integration.workers import Sent, Worker, send, worker
from tests.lab.lab import Lab
from tests.lab.paths import BOTS
from tests.lab.run import wait_for
from tests.lab.webex.driver import Pattern

pytestmark = pytest.mark.slow
HALVES = {"one": BOTS[:3], "two": BOTS[3:]}
CANARY = BOTS[0]
SETTINGS = {**QUICK, "rollout_wait": 180, "rollout_guard_deadline": 60}


@dataclass(frozen=True)
class Side:
    """An operator with a worker: a private data directory here, and a machine there."""

    lab: Lab
    name: str
    worker: Worker
    directory: Path

    def send(self, ident: str, inventory: Path | None = None, limit: str = "") -> Sent:
        return send(self.worker, self.directory, inventory or Path(self.lab.inventory), ident, SETTINGS, limit=limit)

    def half(self, ident: str) -> Sent:
        return self.send(ident, limit=",".join(HALVES[self.name]))


@pytest.fixture(scope="module")
def sides(shared_lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Side]]:
    shared_lab.webex.start(Pattern(burst=2, gap=4.0))
    with worker("worker-one") as one, worker("worker-two") as two:
        yield {
            name: Side(shared_lab, name, machine, tmp_path_factory.mktemp(name) / "runner")
            for name, machine in (("one", one), ("two", two))
        }


def killed_in_the_middle(lab: Lab, side: Side, sent: Sent, bots: tuple[str, ...]) -> None:
    """Kill everything on a worker once one of these bots has a release that is not confirmed."""
    wait_for(
        lambda: any(line.startswith(bots) for line in under_trial(lab)) or not sent.running,
        "a bot under trial",
        timeout=240,
        pause=0.2,
    )
    assert sent.running, sent.output
    side.worker.kill_all()
    assert sent.wait() != 0


def test_a_slice_without_its_canary_is_refused(shared_lab: Lab, sides: dict[str, Side], tmp_path: Path) -> None:
    before, running = written(shared_lab), processes(shared_lab)
    inventory = tmp_path / "slice"
    shutil.copytree(shared_lab.inventory, inventory)
    (inventory / "hosts.yml").write_text(
        json.dumps({"bots": {"children": {"fleet": {"hosts": dict.fromkeys(HALVES["two"])}}}})
    )
    sent = sides["two"].send("slice", inventory)
    assert sent.wait() != 0
    assert "this inventory has no canary" in sent.output
    assert (written(shared_lab), processes(shared_lab)) == (before, running)


def test_the_other_half_waits_for_the_canary_and_for_the_lock(shared_lab: Lab, sides: dict[str, Side]) -> None:
    sent = sides["one"].half("killed")
    killed_in_the_middle(shared_lab, sides["one"], sent, (CANARY,))
    other = sides["two"].half("too-early")
    assert other.wait() != 0
    assert f"{CANARY} has not been rolled out" in other.output or "worker-one" in other.output, other.output
    assert {bot: [p.unit for p in processes(shared_lab)[bot]] for bot in HALVES["two"]} == {
        bot: [""] for bot in HALVES["two"]
    }


def test_the_same_again_on_the_worker_that_was_killed_converges(shared_lab: Lab, sides: dict[str, Side]) -> None:
    sent = sides["one"].half("again")
    assert sent.wait() == 0, sent.output
    assert releases(shared_lab, HALVES["one"]) == dict.fromkeys(HALVES["one"], NEW)
    assert {bot: about["outcome"] for bot, about in sent.handed_over.items()} == dict.fromkeys(
        HALVES["one"], "confirmed"
    )
    assert sent.handed_over[CANARY]["verdict"] == "promote"


def test_a_half_that_dies_is_finished_by_the_other_side(shared_lab: Lab, sides: dict[str, Side]) -> None:
    """The fleet follows on the verdict that the other side's canary got; the dead side's lock is another machine's."""
    sent = sides["two"].half("killed")
    killed_in_the_middle(shared_lab, sides["two"], sent, HALVES["two"])
    refused = sides["one"].send("refused")
    assert refused.wait() != 0
    assert "another rollout of this machine is under way" in refused.output
    assert "worker-two" in refused.output
    shared_lab.machine.execute(["/usr/local/sbin/webex-rollout", "unlock"])
    finished = sides["one"].send("all")
    assert finished.wait() == 0, finished.output
    assert releases(shared_lab) == dict.fromkeys(BOTS, NEW)
    once_more = sides["two"].send("nothing-to-do")
    assert once_more.wait() == 0, once_more.output
    assert once_more.output.count("changed=0") == len(BOTS)


def test_reports_of_both_are_where_the_operator_started(shared_lab: Lab, sides: dict[str, Side]) -> None:
    for name, idents in {"one": ("again", "all"), "two": ("nothing-to-do",)}.items():
        for ident in idents:
            reports = Sent(sides[name].directory, ident, []).reports
            assert len(reports) == 1, (name, ident)
            assert reports[0].with_name("index.html").exists()
            assert f"worker-{name}" in reports[0].read_text()
