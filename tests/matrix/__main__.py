"""Every supported ansible-core against every supported VM: python -m tests.matrix, as root.

A cell that has passed for this tree is not run again (--again runs it). Ends with 1 unless all have passed. What each
printed is in reports/matrix/. Called without a choice, it writes docs/matrix.md.
"""

from __future__ import annotations

import argparse
import signal
import sys

from tests.lab.errors import LabError
from tests.lab.image import SUITES
from tests.lab.paths import PROJECT
from tests.matrix.cells import all_cells, run
from tests.matrix.environments import CORES
from tests.matrix.page import page, table

RESULTS = PROJECT / "reports" / "matrix"
PAGE = PROJECT / "docs" / "matrix.md"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.matrix", description=__doc__)
    parser.add_argument("--suite", action="append", choices=list(SUITES), help="of the VM; as often as wanted")
    parser.add_argument("--core", action="append", choices=list(CORES), help="of the controller; as often as wanted")
    parser.add_argument("--again", action="store_true", help="run what has passed, too")
    parser.add_argument("--show", action="store_true", help="run nothing, show what is known")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # takes the lab down
    cells = all_cells(RESULTS, given.suite or list(SUITES), given.core)
    for cell in cells:
        if given.show or (cell.passed and not given.again):
            continue
        print(f"{cell.name}: running", file=sys.stderr, flush=True)
        try:
            run(cell, RESULTS)
        except LabError as error:
            cell.problem = f"no lab: {error}"
        print(f"{cell.name}: {cell.problem or 'passed'}", file=sys.stderr, flush=True)
    print(table(cells), end="")
    if not given.suite and not given.core and not given.show:
        PAGE.write_text(page(cells), encoding="utf-8")
        print(f"{PAGE.relative_to(PROJECT)} is written", file=sys.stderr)
    return 0 if all(cell.passed for cell in cells) else 1


if __name__ == "__main__":
    sys.exit(main())
