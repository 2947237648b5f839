"""A run as a report: what became of each bot and why, what went wrong, what was changed.

`build` makes the content of report.json, which model.py describes, from a Run; `as_json` makes it plain data, with
everything masked that looks like a secret. The page is made from that alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

from module_utils.webex_rollout import __version__
from plugin_utils.report import evidence
from plugin_utils.report.diff import is_withheld, make_diff
from plugin_utils.report.events import Event, Run, items
from plugin_utils.report.headline import conclude
from plugin_utils.report.mask import masked
from plugin_utils.report.model import (
    FORMAT,
    BotReport,
    Change,
    Check,
    Circumstances,
    Client,
    Diff,
    Failure,
    PlayReport,
    Report,
    Result,
    RunReport,
    SlowTask,
    VerdictReport,
)
from plugin_utils.words import moment

MAX_OUTPUT_LINES = 40
"""Lines kept of what a failed command printed: the last ones give the reason."""

ROLL_BACK = "rollback"
"""The step of webex_release that rolls a bot back, as its result names it."""

SLOWEST = 8
"""Tasks named among the slowest."""

_STAGES = {"canary": 0, "fleet": 1}


def build(run: Run, now: float) -> Report:
    """The report of a run as far as it has come.

    :param now: when it is written, in seconds since the epoch, UTC.
    """
    names = sorted(run.places, key=lambda bot: (_STAGES.get(run.places[bot].stage, 2), run.order.index(bot)))
    bots = [_bot(run, name, [event for event in run.events if event.bot == name]) for name in names]
    failures = _failures(run)
    return Report(
        schema=FORMAT,
        version=__version__,
        written=moment(now),
        conclusion=conclude(run, bots, failures),
        run=_run(run, run.ended if run.state == "ended" else now),
        failures=failures,
        bots=bots,
        changes=_changes(run),
    )


def as_json(report: Report) -> dict[str, Any]:
    """The content of report.json as plain data, masked."""
    content: dict[str, Any] = masked(asdict(report))
    return content


# --- failures --------------------------------------------------------------------------------------------------------


def _failures(run: Run) -> list[Failure]:
    """What went wrong, causes first. After its first failure all that fails of a bot follows from that; so does what
    fails for all bots at once when one has failed before."""
    found: list[Failure] = []
    for event in run.events:
        if not event.lost:
            continue
        bot = None if event.run_once else event.bot
        followed = bool(found) if event.run_once else any(failure.bot == bot for failure in found)
        found.append(
            Failure(
                bot=bot,
                kind="unreachable" if event.kind == "unreachable" else "failed",
                message=failure_message(event),
                detail=_output(event.result),
                task=event.task,
                play=event.play,
                time=moment(event.ended),
                cause=not followed,
            )
        )
    return sorted(found, key=lambda failure: not failure.cause)


def failure_message(event: Event) -> str:
    """A failed task's message; of a loop, those of its failed rounds."""
    messages = [
        str(item.get("msg") or item.get("message") or "").strip()
        for item in items(event.result)
        if item.get("failed", True)
    ]
    joined = "; ".join(dict.fromkeys(message for message in messages if message)) or str(event.result.get("msg") or "")
    return joined or ("the connection failed" if event.kind == "unreachable" else "it failed and gave no reason")


def _output(result: Mapping[str, Any]) -> str:
    """The end of what a failed command printed."""
    parts = [str(result[key]) for key in ("stdout", "module_stdout", "stderr", "module_stderr") if result.get(key)]
    return "\n".join("\n".join(parts).splitlines()[-MAX_OUTPUT_LINES:])


# --- changes ---------------------------------------------------------------------------------------------------------


def _changes(run: Run) -> list[Change]:
    return [change for event in run.events if event.kind == "ok" and event.changed for change in _changes_of(event)]


def _changes_of(event: Event) -> list[Change]:
    found = []
    for item in items(event.result):
        if item.get("changed", True):
            found += [Change(event.bot, event.task, event.action, path, diff) for path, diff in _files(item)]
    return found or [Change(event.bot, event.task, event.action, None, Diff())]


def _files(item: Mapping[str, Any]) -> list[tuple[str | None, Diff]]:
    """The files of a result with their diffs. Without --diff most modules give no contents."""
    entries = item.get("diff") or []
    entries = [entries] if isinstance(entries, Mapping) else entries
    own = item.get("dest") or item.get("path")
    # The headers of a diff name temporary files where the content came from a template.
    named = [(own or entry.get("before_header") or None, entry) for entry in entries if isinstance(entry, Mapping)]
    found = [(path, make_diff(path or "", entry)) for path, entry in named]
    found = [(path, diff) for path, diff in found if diff.text or diff.note]
    if found:
        return found
    paths = [own] if own else [file["path"] for file in item.get("files") or [] if isinstance(file, Mapping)]
    return [(path, Diff(note="" if is_withheld(path) else "contents are shown with --diff")) for path in paths]


# --- bots ------------------------------------------------------------------------------------------------------------


def _bot(run: Run, name: str, events: Sequence[Event]) -> BotReport:
    place = run.places[name]
    seconds = round(sum(event.seconds for event in events), 1)  # tasks of one bot never overlap
    report = BotReport(name, place.vm, place.stage, "unchanged", "", seconds, verdict=evidence.last_verdict(events))
    if not run.check_mode:
        _fill_release(report, events)
    found = evidence.facts_of(run.events, name)
    report.plan = evidence.plan_rows(found)
    _fill_source(report, events)
    _fill_evidence(report, events, found)
    report.result = _result(run, report, events)
    report.sentence = _sentence(report, events)
    return report


def _fill_release(report: BotReport, events: Sequence[Event]) -> None:
    for event in events:
        if event.action != "webex_release" or "action" not in event.result:
            continue
        step = event.result
        if step["action"] == ROLL_BACK:
            report.tried = report.release if report.release != step.get("release") else None
        report.release = step.get("candidate") or step.get("release") or report.release
        report.previous = step.get("previous") or report.previous
        if step["action"] in ("switch", ROLL_BACK) and event.changed:
            report.pids_before, report.pids_after = list(step["pids_before"]), list(step["pids_after"])
            report.seconds_down = round(float(step.get("seconds_down") or 0), 1)
            report.switched = moment(event.ended)
        if step["action"] == "check":
            report.checks = [Check(**{key: check[key] for key in ("name", "ok", "detail")}) for check in step["checks"]]


def _fill_source(report: BotReport, events: Sequence[Event]) -> None:
    """The patch that was made, else the last look at the source."""
    patches = [event for event in events if event.action == "client_patch" and "constructions" in event.result]
    if not patches:
        return
    last = next((event for event in reversed(patches) if event.changed), patches[-1]).result
    report.clients = [
        Client(*(item[key] for key in ("path", "line", "kind", "name", "action"))) for item in last["constructions"]
    ]
    report.findings = [f"{item['path']}:{item['line']}: {item['message']}" for item in last.get("findings") or []]


def _fill_evidence(report: BotReport, events: Sequence[Event], found: Mapping[str, Any]) -> None:
    """The settings that the running bot reports; its log before and after."""
    history, since = evidence.looks(events)
    ready = evidence.latest_ready(since)
    report.settings = evidence.pool_settings(_known_before(report, history), ready)
    report.settings += evidence.process_settings(events, found)
    switch = next((e.ended for e in events if e.result.get("action") == "switch" and e.changed), None)
    if history:
        report.before = evidence.log_span(evidence.recent(history[-1]), None, switch)
    if since:
        report.after = evidence.log_span(since[-1], switch, (since[-1].get("now") or {}).get("epoch"))


def _known_before(report: BotReport, history: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, str]] | None:
    """The clients' settings before: what they logged themselves, else the SDK's defaults where the patch found them
    bare, else None."""
    logged = evidence.latest_ready(history)
    bare = bool(report.clients) and all(client.action == "wrapped" for client in report.clients)
    return logged if logged or bare else None


_RESULT_OF_VERDICT: Mapping[str, Result] = {"promote": "promoted", "extend": "soaking", "hold": "held"}


def _result(run: Run, report: BotReport, events: Sequence[Event]) -> Result:
    lost = [event for event in events if event.lost and not event.run_once]
    steps = [event.result["action"] for event in events if event.kind == "ok" and "action" in event.result]
    if ROLL_BACK in steps and not run.check_mode:
        return "rolled back"
    judged = _result_of(report.verdict)
    if lost and lost[-1].kind == "failed" and judged in ("held", "paused"):
        return judged  # the failure is the question to a human
    if lost:
        return "unreachable" if lost[-1].kind == "unreachable" else "failed"
    if judged:
        return judged
    if not any(event.changed for event in events):
        return "unchanged"
    return "would change" if run.check_mode else "deployed"


def _result_of(verdict: VerdictReport | None) -> Result | None:
    """What a verdict makes of a bot that nothing else happened to."""
    if verdict is None:
        return None
    if verdict.verdict == "hold" and verdict.decided:
        return "paused"
    return _RESULT_OF_VERDICT.get(verdict.verdict)


def _sentence(report: BotReport, events: Sequence[Event]) -> str:
    """Why the result is what it is, in one sentence."""
    failure = next((failure_message(event) for event in events if event.lost and not event.run_once), "")
    if failure or not report.verdict:
        return failure or _PLAIN.get(report.result, "")
    return report.verdict.summary


_PLAIN = {
    "deployed": "Changed and running; this run asked for no verdict.",
    "unchanged": "Nothing was changed.",
    "would change": "Would be changed; as this was check mode, nothing was.",
    "rolled back": "Rolled back as requested.",
}


# --- the run ---------------------------------------------------------------------------------------------------------


def _run(run: Run, ended: float) -> RunReport:
    return RunReport(
        **{item.name: getattr(run, item.name) for item in fields(Circumstances)},
        began=moment(run.began),
        ended=moment(ended),
        seconds=round(ended - run.began, 1),
        plays=[
            PlayReport(play.name, moment(play.began), round(play.ended - play.began, 1), play.batches)
            for play in run.plays
        ],
        slowest_tasks=_slowest(run),
    )


def _slowest(run: Run) -> list[SlowTask]:
    """Where the time went: the tasks that took longest on any one bot."""
    longest: dict[tuple[str, str], Event] = {}
    for event in run.events:
        key = (event.play, event.task)
        if key not in longest or event.seconds > longest[key].seconds:
            longest[key] = event
    slowest = sorted(longest.values(), key=lambda event: event.seconds, reverse=True)[:SLOWEST]
    return [
        SlowTask(event.task, event.play, event.bot, round(event.seconds, 1))
        for event in slowest
        if event.seconds >= 0.1
    ]
