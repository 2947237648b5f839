"""Playbook catalogue of the SOAR team. Shared with the automation hosts, hence not under src/: on PYTHONPATH there and here."""

import json
from dataclasses import dataclass
from pathlib import Path

CATALOGUE = Path(__file__).parent / "catalogue.json"


@dataclass(frozen=True)
class Playbook:
    """One SOAR playbook. `approval` says whether a human must agree before it runs."""

    name: str
    title: str
    approval: bool
    minutes: int


def all_playbooks() -> list:
    return [Playbook(**row) for row in json.loads(CATALOGUE.read_text())]


def find_playbook(name: str):
    """The playbook with this name, case ignored, or None."""
    return next((p for p in all_playbooks() if p.name == name.strip().lower()), None)
