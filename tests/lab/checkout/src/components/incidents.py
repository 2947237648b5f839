"""Incidents known to the bots: the nightly export of the case system, data/incidents.json."""

import json
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

EXPORT = Path(__file__).parent.parent.parent / "data" / "incidents.json"


@dataclass(frozen=True)
class Incident:
    """One case. `severity` is 1 (low) to 4 (critical)."""

    id: int
    title: str
    severity: int
    owner: str
    phase: str
    opened: datetime
    hosts: tuple

    @property
    def is_open(self) -> bool:
        return self.phase != "closed"


def load_incidents(path: Path = EXPORT) -> list:
    """All incidents of the export, newest first."""
    rows = json.loads(path.read_text())
    incidents = [
        Incident(
            id=row["id"],
            title=row["title"],
            severity=row["severity"],
            owner=row["owner"],
            phase=row["phase"],
            opened=datetime.fromisoformat(row["opened"]),
            hosts=tuple(row["hosts"]),
        )
        for row in rows
    ]
    return sorted(incidents, key=lambda i: i.opened, reverse=True)


def find_incident(incident_id: int):
    """The incident with this number, or None."""
    return next((i for i in load_incidents() if i.id == incident_id), None)


def open_by_severity() -> Counter:
    """Number of open incidents per severity."""
    return Counter(i.severity for i in load_incidents() if i.is_open)


def mean_time_to_close_hours() -> float:
    """Mean of hours_to_close over closed incidents; 0.0 if there are none."""
    rows = [row for row in json.loads(EXPORT.read_text()) if row.get("hours_to_close")]
    if not rows:
        return 0.0
    return sum(row["hours_to_close"] for row in rows) / len(rows)
