# SPDX-License-Identifier: GPL-3.0-or-later
"""A bot's Python: its version, and what is installed for it."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from .become import Account, run_as
from .errors import RolloutError
from .imports import answer_of

# Runs under the bot's own Python as the bot's user: what that Python is, and which packages it has. Nothing is imported
# from the checkout and no bytecode is written.
PROBE = r"""
import json, sys
facts = {"version": "%d.%d.%d" % sys.version_info[:3], "packages": {}}
try:
    from importlib import metadata
    for name in sys.argv[1:]:
        try:
            facts["packages"][name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            pass
except ImportError:  # before Python 3.8
    try:
        from pkg_resources import working_set
        found = {each.key.replace("-", "_"): each.version for each in working_set}
        facts["packages"] = {name: found[name] for name in sys.argv[1:] if name in found}
    except ImportError:
        facts["packages"] = None
print(json.dumps(facts))
"""


def interpreter(python: str, account: Account, wanted: Collection[str]) -> dict[str, Any]:
    """A Python's version and packages, as the bot's user runs it: ``version`` and ``packages`` (None where they
    cannot be had), or an ``error``. What it answers is data.

    :param wanted: the packages that are asked for.
    """
    try:
        # -I: neither the checkout nor PYTHON* variables may decide what is found.
        status, output, errors = run_as(account, [python, "-I", "-B", "-c", PROBE, *wanted])
        if status != 0:
            last = errors.decode(errors="replace").strip().splitlines()[-1:] or [f"exit code {status}"]
            return {"error": last[0]}
        answer = answer_of(output)
        version, packages = answer["version"], answer["packages"]
        if packages is not None:
            packages = {name: packages[name] for name in wanted if name in packages}
        if not all(re.fullmatch(r"[\w.+!~-]{1,64}", each, re.ASCII) for each in (version, *(packages or {}).values())):
            raise ValueError("no version")
    except RolloutError as error:
        return {"error": str(error)}
    except (ValueError, LookupError, TypeError, AttributeError):
        return {"error": "it does not answer as a Python does"}
    return {"error": None, "version": version, "packages": packages}
