# SPDX-License-Identifier: GPL-3.0-or-later
"""The decision record: a verdict with all that it rests on, as plain JSON, from which it can be derived again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from .evidence import Control, Decision, Evidence, GateSettings, History
from .verdict import Figures, Verdict, judge, summary

# 1 had other names for some of the fields, 2 took the log for the channel.
RECORD_VERSION = 3


class RecordError(ValueError):
    """A decision record that cannot be read, or that this code does not come to the same verdict from."""


def to_record(evidence: Evidence, verdict: Verdict) -> dict[str, Any]:
    """All that the verdict rests on, and the verdict, as plain JSON."""
    return {
        "version": RECORD_VERSION,
        "evidence": asdict(evidence),
        "verdict": {**asdict(verdict), "summary": summary(evidence, verdict)},
    }


def evidence_of(record: Any) -> Evidence:
    """The evidence in a record.

    :raises RecordError: when it is damaged, or of another format.
    """
    try:
        if record["version"] in (1, 2):
            raise RecordError(
                f"the decision record has format {record['version']}, this program reads format {RECORD_VERSION}: "
                "judge it anew with the version of this project that wrote it"
            )
        if record["version"] != RECORD_VERSION:
            raise ValueError(f"its version is {record['version']!r}, not {RECORD_VERSION}")
        raw = dict(record["evidence"])
        raw["controls"] = [Control(**{**control, **_histories(control)}) for control in raw["controls"]]
        raw["decision"] = None if raw["decision"] is None else Decision(**raw["decision"])
        return Evidence(**{**raw, **_histories(raw), "settings": GateSettings(**raw["settings"])})
    except RecordError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise RecordError(f"the decision record is damaged: {type(error).__name__} {error}") from error


def verdict_of(record: Mapping[str, Any]) -> Verdict:
    """The verdict in a record, as it was given."""
    raw = record["verdict"]
    return Verdict(raw["verdict"], raw["reasons"], raw["missing"], Figures(**raw["figures"]))


def _histories(raw: Mapping[str, Any]) -> dict[str, History]:
    """The histories of a bot; a record from before errors were judged has one."""
    return {
        name: History(
            raw[name]["incidents"], raw[name]["hours"], tuple((hour, count) for hour, count in raw[name]["hourly"])
        )
        for name in ("history", "error_history")
        if name in raw or name == "history"
    }


def replay(record: Any) -> Verdict:
    """The verdict on a record's evidence, judged anew.

    :raises RecordError: when it is damaged, or when another verdict was recorded.
    """
    verdict = judge(evidence_of(record))
    recorded = record.get("verdict", {}).get("verdict")
    if recorded != verdict.verdict:
        raise RecordError(f"the recorded verdict is {recorded}, its evidence gives {verdict.verdict}")
    return verdict
