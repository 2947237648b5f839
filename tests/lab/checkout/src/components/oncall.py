"""Who is on call: data/oncall.json, one entry per ISO week number modulo the length of the rota."""

import json
from datetime import date
from pathlib import Path

ROTA = Path(__file__).parent.parent.parent / "data" / "oncall.json"


def on_call_person(day=None) -> dict:
    """name, email and phone of the person on call on that day (default today)."""
    rota = json.loads(ROTA.read_text())
    week = (day or date.today()).isocalendar()[1]
    return rota[week % len(rota)]
