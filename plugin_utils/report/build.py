"""A run as a report: what became of each bot and why, what went wrong, what was changed.

`build` makes a Report from a Run; `as_json` makes the content of report.json from that (docs/report.schema.json), with
everything masked that looks like a secret. The page is made from that content alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from plugin_utils.report.diff import Diff, is_withheld, make_diff
from plugin_utils.report.events import Event, Play, Run, items
from plugin_utils.report.evidence import (
    Setting,
    Span,
    Verdict,
    latest_ready,
    looks,
    moment,
    pool_settings,
    process_settings,
    recent,
    span,
    verdict,
)
from plugin_utils.report.mask import masked

VERSION = 1
"""Of report.json; goes up when a field is renamed, removed or means something else."""

MAX_OUTPUT_LINES = 40
"""Lines kept of what a failed command printed: the last ones say why."""

SLOWEST = 8

Result = Literal[
    "promoted", "deployed", "soaking", "held", "rolled back", "failed", "unreachable", "unchanged", "would change"
]


@dataclass(frozen=True)
class Failure:
    """Something that went wrong. `cause` is False for what only followed from an earlier failure."""

    bot: str | None
    kind: str
    message: str
    detail: str
    task: str
    play: str
    time: str
    cause: bool


@dataclass(frozen=True)
class Change:
    """A file, or whatever else a task changed (then `path` is None)."""

    bot: str
    task: str
    action: str
    path: str | None
    diff: Diff


@dataclass(frozen=True)
class Client:
    """A place in the source that constructs a Webex client, and what the patch did with it."""

    path: str
    line: int
    kind: str
    name: str
    action: str


@dataclass(frozen=True)
class Check:
    """One part of the start-up check."""

    name: str
    ok: bool
    detail: str


@dataclass
class BotReport:
    """One bot. `before` and `after` are its log before the switch and since."""

    name: str
    vm: str
    stage: str
    result: Result
    sentence: str
    seconds: float
    release: str | None = None
    previous: str | None = None
    tried: str | None = None
    seconds_down: float | None = None
    pids_before: list[int] = field(default_factory=list)
    pids_after: list[int] = field(default_factory=list)
    verdict: Verdict | None = None
    switched: str | None = None
    before: Span | None = None
    after: Span | None = None
    settings: list[Setting] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    clients: list[Client] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Report:
    """Everything; see docs/report.md."""

    run: Run
    bots: list[BotReport]
    failures: list[Failure]
    changes: list[Change]


def build(run: Run) -> Report:
    """The report of a run as far as it has come."""
    causes = _failures(run)
    bots = []
    for name in sorted(run.places, key=lambda bot: (_STAGES.get(run.places[bot].stage, 2), run.order.index(bot))):
        bots.append(_bot(run, name, [event for event in run.events if event.bot == name]))
    return Report(run, bots, causes, _changes(run))


_STAGES = {"canary": 0, "fleet": 1}


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
                kind=event.kind,
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
    """What a failed task said; of a loop, what its failed rounds said."""
    messages = [
        str(item.get("msg") or item.get("message") or "").strip()
        for item in items(event.result)
        if item.get("failed", True)
    ]
    said = "; ".join(dict.fromkeys(message for message in messages if message)) or str(event.result.get("msg") or "")
    return said or ("the connection failed" if event.kind == "unreachable" else "it failed and gave no reason")


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
    named = [(_path(own, entry), entry) for entry in entries if isinstance(entry, Mapping)]
    found = [(path, make_diff(path or "", entry)) for path, entry in named]
    found = [(path, diff) for path, diff in found if diff.text or diff.note]
    if found:
        return found
    paths = [own] if own else [file["path"] for file in item.get("files") or [] if isinstance(file, Mapping)]
    return [(path, Diff(note="" if is_withheld(path) else "contents are shown with --diff")) for path in paths]


def _path(own: str | None, entry: Mapping[str, Any]) -> str | None:
    """A result's own path; the headers of a diff name temporary files where the content came from a template."""
    if own:
        return own
    header = entry.get("before_header")
    return str(header) if header else None


# --- bots ------------------------------------------------------------------------------------------------------------


def _bot(run: Run, name: str, events: Sequence[Event]) -> BotReport:
    place = run.places[name]
    report = BotReport(name, place.vm, place.stage, "unchanged", "", _busy(events), verdict=verdict(events))
    if not run.check_mode:
        _fill_release(report, events)
    _fill_source(report, events)
    _fill_evidence(report, events)
    report.result = _result(run, report, events)
    report.sentence = _sentence(report, events)
    return report


def _busy(events: Sequence[Event]) -> float:
    """Seconds in which tasks ran for the bot; those of one bot never overlap."""
    return round(sum(event.ended - event.began for event in events), 1)


def _fill_release(report: BotReport, events: Sequence[Event]) -> None:
    for event in events:
        if event.action != "webex_release" or "action" not in event.result:
            continue
        step = event.result
        if step["action"] == "revert":
            report.tried = report.release if report.release != step.get("release") else None
        report.release = step.get("candidate") or step.get("release") or report.release
        report.previous = step.get("previous") or report.previous
        if step["action"] in ("switch", "revert") and event.changed:
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


def _fill_evidence(report: BotReport, events: Sequence[Event]) -> None:
    """The running bot's own word on its settings; its log before and after."""
    history, since = looks(events)
    ready = latest_ready(since)
    report.settings = [*pool_settings(_known_before(report, history), ready), *process_settings(events)]
    switch = next((e.ended for e in events if e.result.get("action") == "switch" and e.changed), None)
    if history:
        report.before = span(recent(history[-1]), None, switch)
    if since:
        report.after = span(since[-1], switch, _clock(since[-1]))


def _known_before(report: BotReport, history: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, str]] | None:
    """What the clients were before: what they said themselves, else the SDK's defaults where the patch found them bare,
    else nobody knows."""
    said = latest_ready(history)
    bare = bool(report.clients) and all(client.action == "wrapped" for client in report.clients)
    return said if said or bare else None


def _clock(look: Mapping[str, Any]) -> float | None:
    """The VM's clock at a look."""
    return (look.get("now") or {}).get("epoch")


_RESULT_OF_VERDICT: Mapping[str, Result] = {"promote": "promoted", "extend": "soaking", "hold": "held"}


def _result(run: Run, report: BotReport, events: Sequence[Event]) -> Result:
    lost = [event for event in events if event.lost and not event.run_once]
    steps = [event.result["action"] for event in events if event.kind == "ok" and "action" in event.result]
    if "revert" in steps and not run.check_mode:
        return "rolled back"
    if lost and lost[-1].kind == "failed" and report.verdict and report.verdict.outcome == "hold":
        return "held"  # the failure is the question to a human
    if lost:
        return "unreachable" if lost[-1].kind == "unreachable" else "failed"
    if report.verdict and report.verdict.outcome in _RESULT_OF_VERDICT:
        return _RESULT_OF_VERDICT[report.verdict.outcome]
    if not any(event.changed for event in events):
        return "unchanged"
    return "would change" if run.check_mode else "deployed"


def _sentence(report: BotReport, events: Sequence[Event]) -> str:
    """Why the result is what it is, in one sentence."""
    failure = next((failure_message(event) for event in events if event.lost and not event.run_once), "")
    if failure or not report.verdict:
        return failure or _PLAIN.get(report.result, "")
    return report.verdict.summary


_PLAIN = {
    "deployed": "Was changed and runs; no verdict was asked for in this run.",
    "unchanged": "Nothing was changed.",
    "would change": "Would be changed; nothing was, this was a check.",
    "rolled back": "Was put back as asked.",
}


# --- the whole -------------------------------------------------------------------------------------------------------


def outcome(report: Report) -> tuple[str, str]:
    """How the run as a whole came out: its state (see the schema) and one line for people."""
    run, by_result = report.run, _by_result(report.bots)
    if run.state != "ended":
        last = run.plays[-1].name if run.plays else run.playbook
        if run.state == "interrupted":
            return "interrupted", f"Interrupted in the play “{last}”"
        return "running", f"Not ended yet, in the play “{last}”"
    if report.failures:
        return "failed", _failed_line(report, by_result)
    if run.check_mode:
        changing = by_result.get("would change", [])
        return "check", f"Check mode: nothing was changed; {named(changing) if changing else 'no bot'} would be"
    for result, state, singular, plural in _LINES:
        if result in by_result:
            words = _about(by_result[result], singular, plural)
            others = [bot for other in ("promoted", "deployed") for bot in by_result.get(other, []) if other != result]
            if others:
                words += f"; {_about(others, 'was', 'were')} deployed"
            if state == "waiting" and "unchanged" in by_result:
                words += f"; {_about(by_result['unchanged'], 'waits', 'wait')}"
            return state, words
    return "succeeded", "Nothing had to be changed"


_LINES = (
    ("held", "held", "is held, the evidence allows no verdict", "are held, the evidence allows no verdict"),
    ("soaking", "waiting", "soaks", "soak"),
    ("promoted", "succeeded", "was promoted", "were promoted"),
    ("deployed", "succeeded", "was deployed", "were deployed"),
    ("rolled back", "succeeded", "was put back as asked", "were put back as asked"),
)


def _failed_line(report: Report, by_result: Mapping[str, list[str]]) -> str:
    said = {
        "rolled back": ("was rolled back", "were rolled back"),
        "failed": ("failed", "failed"),
        "unreachable": ("could not be reached", "could not be reached"),
        "held": ("is held", "are held"),
    }
    parts = [_about(by_result[result], *words) for result, words in said.items() if result in by_result]
    parts = parts or ["The run stopped"]
    if "unchanged" in by_result:
        parts.append(_about(by_result["unchanged"], "was not changed", "were not changed"))
    return "; ".join(parts)


def _about(bots: Sequence[str], singular: str, plural: str) -> str:
    """Bots, and what is said of them."""
    return f"{named(bots)} {singular if len(bots) == 1 else plural}"


def _by_result(bots: Sequence[BotReport]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for bot in bots:
        found.setdefault(bot.result, []).append(bot.name)
    return found


def named(bots: Sequence[str]) -> str:
    """Bots in a sentence: up to three by name, more by number."""
    if len(bots) > 3:
        return f"{len(bots)} bots"
    return " and ".join(filter(None, [", ".join(bots[:-1]), bots[-1]]))


def as_json(report: Report, now: float) -> dict[str, Any]:
    """The content of report.json as of `now`, masked."""
    run = report.run
    state, headline = outcome(report)
    ended = run.ended if run.state == "ended" else now
    content = {
        "schema": VERSION,
        "written": moment(now),
        "outcome": {"state": state, "headline": headline},
        "run": {
            "playbook": run.playbook,
            "check_mode": run.check_mode,
            "began": moment(run.began),
            "ended": moment(ended),
            "seconds": round(ended - run.began, 1),
            "who": run.who,
            "host": run.host,
            "ansible": run.ansible,
            "project": {"commit": run.commit, "modified": run.modified},
            "inventory": run.inventory,
            "limit": run.limit,
            "tags": run.tags,
            "skip_tags": run.skip_tags,
            "settings": run.settings,
            "other_variables": run.other_variables,
            "plays": [
                {"name": play.name, "began": moment(play.began), "seconds": _seconds(play), "batches": play.batches}
                for play in run.plays
            ],
            "slowest_tasks": _slowest(run),
            "recap": run.recap,
        },
        "failures": [asdict(failure) for failure in report.failures],
        "bots": [_bot_json(bot) for bot in report.bots],
        "changes": [asdict(change) for change in report.changes],
    }
    return masked(content)


def _bot_json(bot: BotReport) -> dict[str, Any]:
    content = asdict(bot)
    for side in ("before", "after"):
        reading: Span | None = getattr(bot, side)
        if reading:
            content[side]["per_hour"] = None if reading.per_hour is None else round(reading.per_hour, 4)
    return content


def _seconds(play: Play) -> float:
    return round(play.ended - play.began, 1)


def _slowest(run: Run) -> list[dict[str, Any]]:
    """Where the time went: the tasks that took longest on any one bot."""
    longest: dict[tuple[str, str], Event] = {}
    for event in run.events:
        key = (event.play, event.task)
        if key not in longest or _length(event) > _length(longest[key]):
            longest[key] = event
    slowest = sorted(longest.values(), key=_length, reverse=True)[:SLOWEST]
    return [
        {"task": event.task, "play": event.play, "bot": event.bot, "seconds": round(_length(event), 1)}
        for event in slowest
        if _length(event) >= 0.1
    ]


def _length(event: Event) -> float:
    return event.ended - event.began
