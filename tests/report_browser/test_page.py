"""The page in a real browser: nothing from elsewhere, no error, nothing cut off on a phone, dark where the reader is.

`make report-browser` installs Chromium and leaves a picture of each scene in reports/pictures.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from plugin_utils.report.build import as_json, build
from plugin_utils.report.page import render
from tests.lab.paths import PROJECT
from tests.report_browser.chromium import Page, browser
from tests.unit.report.scenes import SCENES

PICTURES = PROJECT / "reports" / "pictures"
BRIGHTNESS = "getComputedStyle(document.body).backgroundColor.match(/[0-9]+/g).slice(0, 3).reduce((a, b) => +a + +b, 0)"


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with browser() as running:
        yield running.page()


@pytest.mark.parametrize("name", SCENES)
def test_page_in_a_browser(page: Page, tmp_path: Path, name: str) -> None:
    run = SCENES[name]()
    file = tmp_path / "index.html"
    file.write_text(render(as_json(build(run, run.ended))), encoding="utf-8")
    PICTURES.mkdir(parents=True, exist_ok=True)
    brightness = {}
    for width, dark, phone in ((1100, False, False), (390, False, True), (390, True, True)):
        page.show(file, width, dark=dark, phone=phone)
        assert page.requests == [file.as_uri()], "a page of one file asks for nothing else"
        assert page.errors == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate("document.querySelector('h1').innerText.length") > 0
        brightness[dark] = page.evaluate(BRIGHTNESS)
        page.picture(PICTURES / f"{name}-{width}{'-dark' if dark else ''}.png")
    assert brightness[True] < brightness[False]
