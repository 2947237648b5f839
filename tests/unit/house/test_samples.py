"""What the README shows of a real run has its place there, and is made of lines that a run has."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.samples.excerpts import SAMPLES, STEPS, Sample, excerpt, replace

ROOT = Path(__file__).resolve().parents[3]
OUTPUT = """
\x1b[1;37mStage canary\x1b[0m
\x1b[0;33m  jarvis  changed          0.9 s  Arm the guard\x1b[0m
  bot         what
  jarvis      clients
  jarvis: promote (reason: it is well)
"""


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_the_readme_shows_it(sample: Sample, tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    page.write_text((ROOT / "README.md").read_text())
    replace(page, sample.name, "$ new\n")
    assert "```\n$ new\n```\n<!-- /sample -->" in page.read_text()
    shown = (ROOT / "README.md").read_text().partition(f"<!-- sample {sample.name}: ")[2]
    assert shown.partition("```\n")[2].splitlines()[0].startswith("$ ansible-playbook ")


def test_a_page_without_the_place_is_an_error(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Nothing\n")
    with pytest.raises(ValueError, match="no place for the sample 'canary'"):
        replace(page, "canary", "x")


def test_lines_are_shown_as_a_person_reads_them() -> None:
    sample = Sample(
        "x", "ansible-playbook x.yml", ("Stage ", " +jarvis +changed .* Arm", " +bot ", " +jarvis: promote")
    )
    assert excerpt(sample, OUTPUT).splitlines() == [
        "$ ansible-playbook x.yml",
        "Stage canary",
        "  jarvis  changed          0.9 s  Arm the guard",
        "  bot         what",
        "  jarvis: promote (reason: it is well)",
    ]


def test_a_long_line_is_wrapped() -> None:
    shown = excerpt(Sample("x", "y", ("word",)), "word " * 60)
    assert len(shown.splitlines()) > 2
    assert max(map(len, shown.splitlines())) <= 118


def test_each_step_is_a_task() -> None:
    tasks = set()
    for path in (ROOT / "roles").glob("*/tasks/*.yml"):
        stack = list(yaml.safe_load(path.read_text()) or [])
        while stack:
            task = stack.pop()
            tasks.add(task.get("name"))
            stack += [each for key in ("block", "rescue", "always") for each in task.get(key, [])]
    assert set(STEPS) <= tasks
