"""The page: everything shown, everything escaped, nothing from elsewhere, readable without a script."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pytest

from plugin_utils.report.events import Run
from plugin_utils.report.page import rate, render, without
from tests.unit.report.scenes import BOTS, SCENES, SWITCH, Scene

Make = Callable[[Run], dict[str, Any]]

VOID = {"meta", "link"}
ATTACK = "<script>alert('x')</script>\"'&<img src=x onerror=alert(1)>"


class Reader(HTMLParser):
    """Takes a page apart: which elements there are, with which attributes, and whether they are closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.headings: list[int] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attributes}))
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attributes}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes another element"
        if tag in ("td", "th", "p", "dt", "dd", "li"):
            self.text += " "

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data

    def attributes(self, name: str) -> list[str]:
        return [attributes[name] for _, attributes in self.elements if name in attributes]

    def words(self) -> str:
        return " ".join(self.text.split())


@pytest.fixture(params=SCENES.keys())
def page(request: pytest.FixtureRequest, report: Make) -> Reader:
    return Reader(render(report(SCENES[request.param]())))


def test_every_element_is_closed(page: Reader) -> None:
    assert page.open == []


def test_headings_in_order(page: Reader) -> None:
    assert page.headings[0] == 1
    assert page.headings.count(1) == 1
    assert all(after - before <= 1 for before, after in zip(page.headings, page.headings[1:]))


def test_every_id_is_there_once_and_every_reference_has_one(page: Reader) -> None:
    ids = page.attributes("id")
    assert len(ids) == len(set(ids))
    assert {name for names in page.attributes("aria-labelledby") for name in names.split()} <= set(ids)


def test_tables_have_headers_with_a_scope(page: Reader) -> None:
    headers = [attributes for tag, attributes in page.elements if tag == "th"]
    assert headers
    assert all(attributes.get("scope") in ("col", "row") for attributes in headers)


def test_nothing_comes_from_elsewhere(page: Reader) -> None:
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "iframe", "img", "object", "embed", "base", "form"}
    assert page.attributes("src") == []
    assert set(page.attributes("href")) == {"data:,", "report.json"}
    policy = next(attributes["content"] for tag, attributes in page.elements if "Content-Security" in str(attributes))
    assert policy.startswith("default-src 'none';")


def test_the_verdict_its_evidence_and_what_is_missing(report: Make) -> None:
    words = Reader(render(report(SCENES["soaking"]()))).words()
    assert "0 incidents in 12 requests over 3 min; at the old rate (1.9 an hour) 0.1 were due" in words
    assert "Missing for a promotion: 188 more requests (200 needed); 23 h 57 min of soak (24 h needed)." in words
    assert "Can be promoted from 25 Nov 2026, 15:25:01 at the earliest." in words


def test_the_failure_comes_before_everything_else(report: Make) -> None:
    words = Reader(render(report(SCENES["rolled back"]()))).words()
    assert words.index("What went wrong the log shows more failures with this release") < words.index("At a glance")
    assert "Verdict: roll back; the likelihood ratio" in words


def test_what_followed_does_not_repeat_the_failure(report: Make) -> None:
    assert without("jarvis: no space. It was rolled back.", ["no space"]) == "jarvis: … It was rolled back."
    words = Reader(render(report(SCENES["rolled back"]()))).words()
    assert "Then: jarvis: Judge by the log: … It was rolled back to release 0." in words


def test_a_plan_that_is_all_bots_is_shown_once_with_its_reasons(report: Make) -> None:
    page = Reader(render(report(Scene().preflight().run))).text
    assert page.count("As found, and as wanted") == 1
    assert page.count("webex-bot@<bot>.service") == 1
    assert "nohup, pid …" in page
    assert "nothing to read" in page


def test_settings_as_a_table(report: Make) -> None:
    words = Reader(render(report(SCENES["promoted"]()))).words()
    assert "Pool connections 10 50" in words
    assert "Request timeout bot.session none 120 s" in words
    assert words.count("Pool connections") == 1, "six bots with the same settings share a table"


def test_charts_have_words(report: Make) -> None:
    page = Reader(render(report(SCENES["promoted"]())))
    charts = [attributes for tag, attributes in page.elements if tag == "svg"]
    assert len(charts) == len(BOTS)
    assert {attributes["role"] for attributes in charts} == {"img"}
    assert re.search(r"Before: 22\d incidents, at most 9 in an hour\. After: no incident\.", page.words())


def test_changes_alike_are_one(report: Make) -> None:
    page = Reader(render(report(SCENES["promoted"]())))
    assert page.text.count("/etc/systemd/system/webex-bot@<bot>.service.d/10-bot.conf") == 1
    assert page.text.count("webex_bots/<bot>.py") == 1


def test_check_mode_is_shown(report: Make) -> None:
    words = Reader(render(report(SCENES["checked"]()))).words()
    assert "rollout.yml · check mode" in words
    assert "What would be changed" in words
    assert "was changed; 6 bots would be" in words


@pytest.mark.parametrize("name", ["running", "interrupted"])
def test_a_run_that_did_not_end_says_what_to_do(name: str, report: Make) -> None:
    assert "run the same command again" in Reader(render(report(SCENES[name]()))).words()


def attacked() -> Run:
    """A run in which everything that others can write is markup."""
    scene = Scene(ATTACK, ("jarvis", ATTACK), who=ATTACK, host=ATTACK, limit=ATTACK, settings={ATTACK: ATTACK})
    scene.run.tags = scene.run.skip_tags = scene.run.inventory = scene.run.other_variables = [ATTACK]
    scene.preflight().play(ATTACK).history("jarvis").deploy("jarvis")
    scene.soak("jarvis", 60, {"verdict": "hold", "summary": ATTACK, "reasons": [ATTACK], "missing": [ATTACK]})
    diff = {"before": ATTACK, "after": f"{ATTACK}\n{ATTACK}"}
    scene.add(ATTACK, "copy", ATTACK, {"changed": True, "dest": ATTACK, "diff": [diff]})
    scene.add(ATTACK, "command", ATTACK, {"changed": True})
    check = {"action": "check", "checks": [{"name": ATTACK, "ok": False, "detail": ATTACK}]}
    scene.add("jarvis", "webex_release", ATTACK, check)
    scene.fail(ATTACK, ATTACK, ATTACK, result={"stderr": ATTACK})
    scene.fail(ATTACK, ATTACK, ATTACK)
    return scene.end()


def test_markup_in_a_bots_words_stays_text(report: Make) -> None:
    page = Reader(render(report(attacked())))
    assert page.open == []
    assert not {"script", "img"} & {tag for tag, _ in page.elements}
    assert page.text.count("<script>alert('x')</script>") > 15
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)


def test_the_page_is_made_from_the_json_alone(report: Make) -> None:
    content = report(SCENES["promoted"]())
    assert html.escape(content["run"]["who"]) in render(content)
    content["run"]["who"] = "somebody else"
    assert "somebody else" in render(content)


def test_no_rate_is_claimed_of_less_than_an_hour() -> None:
    assert rate({"seconds": 3599, "incidents": 2, "per_hour": 2.0}) == "2 in 60 min"
    assert rate({"seconds": 7200, "incidents": 3, "per_hour": 1.5}) == "1.50/h"


def test_the_foot_has_the_projects_version(report: Make) -> None:
    page = render(report(SCENES["promoted"]()) | {"version": "47.11.0"})
    assert "by webex-bot-rollout 47.11.0." in page[page.index("<footer>") :]


def test_times_are_the_controllers_and_say_so(report: Make) -> None:
    content = report(SCENES["unchanged"]())
    assert content["run"]["began"] == "2026-11-24T15:24:01+01:00", SWITCH
    assert "(UTC+01:00)" in Reader(render(content)).words()
