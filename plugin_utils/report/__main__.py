"""Make a report's page anew: python -m plugin_utils.report reports/<time>/report.json > index.html."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from plugin_utils.report.model import require_format
from plugin_utils.report.page import render


def main(arguments: Sequence[str]) -> int:
    """Print the page; 1 when the report cannot be read, 2 when there is none among the arguments."""
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    path = Path(arguments[0])
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        require_format(content)
    except (OSError, ValueError) as error:
        print(f"{path}: {error}", file=sys.stderr)
        return 1
    sys.stdout.write(render(content))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
