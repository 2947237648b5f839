"""The matrix: which Python goes with which ansible-core, what its page shows, what is run again."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from plugin_utils.preconditions import core_problem
from tests.lab.image import SUITES
from tests.matrix.cells import STEPS, Cell, load
from tests.matrix.environments import CORES, MissingError, choose
from tests.matrix.page import DEBIAN, page, table

HAVE = {(3, 11): "python3.11", (3, 12): "python3.12", (3, 13): "python3.13"}


@pytest.mark.parametrize(
    ("core", "newest", "python"),
    [("2.17", False, "3.11"), ("2.17", True, "3.12"), ("2.19", True, "3.13"), ("2.21", False, "3.12")],
)
def test_a_core_gets_a_python_that_it_runs_on(core: str, newest: bool, python: str) -> None:
    assert choose(core, HAVE, newest=newest) == f"python{python}"


def test_a_python_that_is_missing_is_named() -> None:
    with pytest.raises(MissingError, match=r"no Python 3\.12 to 3\.14"):
        choose("2.20", {(3, 11): "python3.11"}, newest=True)


def test_it_tries_what_a_rollout_takes() -> None:
    assert [core for core in (f"2.{minor}" for minor in range(10, 30)) if not core_problem(f"{core}.0")] == list(CORES)
    assert set(DEBIAN) == set(SUITES)


def test_a_result_counts_for_the_tree_that_it_is_of(tmp_path: Path) -> None:
    cell = Cell("trixie", "2.19", "abc", problem="")
    (tmp_path / f"{cell.name}.json").write_text(json.dumps(asdict(cell)))
    assert load(tmp_path, "trixie", "2.19", "abc").passed
    assert not load(tmp_path, "trixie", "2.19", "def").passed
    assert not load(tmp_path, "bookworm", "2.19", "abc").passed


def test_the_table_shows_what_passed_and_what_failed() -> None:
    well = Cell(
        "bookworm", "2.19", "x", "2.19.14", "3.11.7", "systemd 252, Python 3.11.2", dict.fromkeys(STEPS, 9.6), ""
    )
    bad = Cell("trixie", "2.18", "x", "2.18.1", "3.13.0", "", {"first rollout": 60.0}, "second run: changed something")
    rows = table([well, bad]).splitlines()[2:]
    assert rows[0] == ("| Debian 12 (systemd 252, Python 3.11.2) | 2.19.14 | 3.11.7 | 10 s | 10 s | 10 s | 10 s |")
    assert rows[1] == "| Debian 13 | 2.18.1 | 3.13.0 | 60 s | **second run: changed something** |  |  |"
    assert table([well]) in page([well])
