"""Judge the evidence of a report anew: python -m plugin_utils.gate.replay reports/<time>/report.json.

Prints each recorded verdict and what the same evidence gives now; ends with 1 if any differs or cannot be read.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from module_utils.webex_rollout.record import RecordError, evidence_of, replay
from module_utils.webex_rollout.verdict import summary


def records(report: Any) -> dict[str, Any]:
    """The decision records in a report, by bot.

    :raises RecordError: when it is no report.
    """
    try:
        return {bot["name"]: bot["verdict"]["record"] for bot in report["bots"] if bot["verdict"]}
    except (KeyError, TypeError) as error:
        raise RecordError(f"this is no report of a rollout ({type(error).__name__}: {error})") from error


def main(arguments: Sequence[str]) -> int:
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    path = Path(arguments[0])
    try:
        found = records(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:  # RecordError and JSON errors are ValueErrors
        print(f"{path}: {error}", file=sys.stderr)
        return 1
    if not found:
        print(f"{path}: no verdict was given in that run")
    differing = 0
    for bot, record in found.items():
        try:
            verdict = replay(record)
            print(f"{bot}: {verdict.verdict}, as recorded. {summary(evidence_of(record), verdict)}")
        except RecordError as error:
            differing += 1
            print(f"{bot}: {error}", file=sys.stderr)
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
