"""What report.json holds, as dataclasses; docs/report.schema.json is generated from them and from their docstrings.

A field's docstring stands below it and becomes its description there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

FORMAT: Literal[2] = 2
"""Of report.json; goes up when a field is renamed, removed or means something else."""


class FormatError(ValueError):
    """Something that is no report.json of this version's format."""


def require_format(content: Any) -> None:
    """Check that this version of the project can read a report.

    :param content: what was read from report.json.
    :raises FormatError: when it is no report, or one of another format.
    """
    if not isinstance(content, dict) or not isinstance(content.get("schema"), int):
        raise FormatError("this is no report of a rollout")
    if content["schema"] != FORMAT:
        raise FormatError(
            f"this is a report of format {content['schema']}, and this version of the project reads format {FORMAT}; "
            "check out the version that wrote it to read it"
        )


# What JSON Schema has to say of a value beyond its type.
Time = Annotated[str, ("format", "date-time"), ("pattern", r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d$")]
Count = Annotated[int, ("minimum", 0)]
Ordinal = Annotated[int, ("minimum", 1)]
Quantity = Annotated[float, ("minimum", 0)]
Commit = Annotated[str, ("pattern", "^[0-9a-f]{40,64}$")]

Stage = Literal["canary", "fleet", ""]
VerdictWord = Literal["promote", "extend", "hold", "roll back"]
State = Literal["succeeded", "waiting", "held", "failed", "interrupted", "running", "check"]
Result = Literal[
    "promoted",
    "deployed",
    "soaking",
    "paused",
    "held",
    "rolled back",
    "failed",
    "unreachable",
    "unchanged",
    "would change",
]


# --- a bot -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Setting:
    """A setting before and after, of some of the bot's HTTP sessions or of its process."""

    name: str
    """The setting's name, as in the pool module's ready line"""
    label: str
    """The setting's name for people"""
    before: str
    """Its value before, with its unit; “not known” where nothing shows it"""
    after: str
    """Its value as the running bot itself reports it"""
    sessions: list[str] = field(default_factory=list)
    """The bot's HTTP sessions the row is about; none: the bot's process"""


@dataclass(frozen=True)
class PlanRow:
    """A difference between how a bot was found to run and how its unit runs it."""

    what: str
    """What differs, as umask or outputs"""
    found: str
    """What was found"""
    wanted: str
    """What the rollout makes of it"""
    fate: Literal["changed", "carried over", "noted", "refused"]
    """Asked for; into the unit; cannot be had, or changes nothing; to be decided first"""
    why: str
    """The reason, where the row does not say it; may be empty"""


@dataclass(frozen=True)
class Hour:
    """An hour with incidents."""

    start: Time
    """When it began"""
    incidents: Count
    """Incidents within it"""


@dataclass(frozen=True)
class LogSpan:
    """What a bot's log shows of a stretch of time."""

    begun: Time | None
    """Where it begins; null where no clock shows it"""
    ended: Time | None
    """Where it ends; null where no clock shows it"""
    seconds: Quantity | None
    """How long it was; null where no clock shows it"""
    incidents: Count
    """Failed calls, a burst counted once"""
    lines: Count
    """Lines with a signature of failure, as grep -c counts them"""
    recovered: Count
    """Calls that failed and were tried again"""
    requests: Count | None
    """Requests made, as the pool module counts them; null where it is not heard and logs nothing"""
    hours: list[Hour]
    """The hours that had any incidents; empty also where the log was not read by the hour"""
    gaps: list[str]
    """Parts of the log that could not be read; with an entry, the counts are a lower bound"""
    per_hour: Quantity | None
    """Incidents an hour; null where no clock shows how long it was"""


@dataclass(frozen=True)
class VerdictReport:
    """The verdict on a bot's release, with its evidence."""

    verdict: VerdictWord
    """The verdict"""
    decided: bool
    """Whether a human decided, in place of the evidence"""
    summary: str
    """The evidence in one line"""
    reasons: list[str]
    """What decided"""
    missing: list[str]
    """What stands between this evidence and a promotion"""
    until: Time | None
    """When a promotion is possible at the earliest, where that is known"""
    record: dict[str, Any]
    """Everything the verdict rests on; `make replay` reaches the same verdict from it"""


@dataclass(frozen=True)
class Check:
    """One part of the start-up check."""

    name: str
    """What is checked"""
    ok: bool
    """Whether it passed"""
    detail: str
    """What was found"""


@dataclass(frozen=True)
class Client:
    """A place in the source that constructs a Webex client, and what the patch did with it."""

    path: str
    """The file, from the bot's home"""
    line: Ordinal
    """The line in the file as it was"""
    kind: str
    """api_client or bot_client"""
    name: str
    """The class or function called there"""
    action: str
    """wrapped, updated, unchanged or unwrapped"""


@dataclass
class BotReport:
    """One bot."""

    name: str
    """The inventory host"""
    vm: str
    """The machine, as the inventory names it"""
    stage: Stage
    """The stage the bot belongs to"""
    result: Result
    """What became of the bot in this run"""
    sentence: str
    """Why, in one sentence"""
    seconds: Quantity
    """How long tasks ran for the bot"""
    release: str | None = None
    """The release it is at; 0 is what was found first"""
    previous: str | None = None
    """The release before that"""
    tried: str | None = None
    """The release that was rolled back"""
    seconds_down: Quantity | None = None
    """From the first signal to the old process to the proof of the new one"""
    pids_before: list[int] = field(default_factory=list)
    """The bot's processes before the switch"""
    pids_after: list[int] = field(default_factory=list)
    """The bot's processes after the switch"""
    verdict: VerdictReport | None = None
    """The last verdict of this run"""
    switched: Time | None = None
    """When the bot's process was last replaced in this run"""
    before: LogSpan | None = None
    """The bot's log before the switch"""
    after: LogSpan | None = None
    """The bot's log since the switch"""
    plan: list[PlanRow] = field(default_factory=list)
    """Preflight's plan, as it was first seen in this run; empty where the bot was not asked for"""
    settings: list[Setting] = field(default_factory=list)
    """The settings before and after"""
    checks: list[Check] = field(default_factory=list)
    """The parts of the start-up check"""
    clients: list[Client] = field(default_factory=list)
    """The Webex clients in the bot's source"""
    findings: list[str] = field(default_factory=list)
    """What the patch left as it is and somebody should look at"""


# --- the run ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Failure:
    """A task that failed, or could not reach its bot."""

    bot: str | None
    """The bot; null: all bots at once"""
    kind: Literal["failed", "unreachable"]
    """How it failed"""
    message: str
    """The task's message"""
    detail: str
    """The end of what a failed command printed"""
    task: str
    """The task's name"""
    play: str
    """The play's name"""
    time: Time
    """When it failed"""
    cause: bool
    """False: it only followed from an earlier failure"""


@dataclass(frozen=True)
class Diff:
    """One file's change."""

    text: str = ""
    """Unified; empty where the contents are not known or not shown"""
    added: Count = 0
    """Lines added"""
    removed: Count = 0
    """Lines removed"""
    note: str = ""
    """What is left out, and why"""


@dataclass(frozen=True)
class Change:
    """Something that a task changed."""

    bot: str
    """The bot it was changed for"""
    task: str
    """The task's name"""
    action: str
    """The module"""
    path: str | None
    """The file; null where something else was changed"""
    diff: Diff
    """How the file was changed"""


@dataclass(frozen=True)
class PlayReport:
    """One play, all its batches together."""

    name: str
    """The play's name"""
    began: Time
    """When it began"""
    seconds: Quantity
    """How long it took"""
    batches: Ordinal
    """In how many batches of bots it ran"""


@dataclass(frozen=True)
class SlowTask:
    """One of the tasks that took longest."""

    task: str
    """The task's name"""
    play: str
    """The play's name"""
    bot: str
    """The bot for which it took longest"""
    seconds: Quantity
    """How long it took for that bot"""


@dataclass(frozen=True)
class Project:
    """The checkout that the run came from; null where it is no git checkout."""

    commit: Commit | None = None
    """The commit"""
    modified: bool | None = None
    """Whether files differed from the commit"""


@dataclass(frozen=True)
class Conclusion:
    """How the run as a whole came out."""

    state: State
    """running: not ended when this was written, or killed; waiting: a soak continues; check: check mode"""
    headline: str
    """The same in one line for people"""


@dataclass(kw_only=True)
class Circumstances:
    """Who ran what, from where, and with which settings."""

    playbook: str
    """The playbook's path in the project"""
    check_mode: bool = False
    """Whether the run only checked what it would change"""
    who: str = ""
    """The user who ran it"""
    host: str = ""
    """The controller"""
    ansible: str = ""
    """Ansible's version"""
    project: Project = Project()
    """The checkout that the run came from"""
    inventory: list[str] = field(default_factory=list)
    """The inventories given"""
    limit: str | None = None
    """What the run was limited to with --limit"""
    tags: list[str] = field(default_factory=list)
    """Tags given"""
    skip_tags: list[str] = field(default_factory=list)
    """Tags left out"""
    settings: dict[str, Any] = field(default_factory=dict)
    """Settings of the project given with -e"""
    other_variables: list[str] = field(default_factory=list)
    """Names of other variables given with -e; their values are not kept"""
    recap: dict[str, dict[str, Count]] = field(default_factory=dict)
    """Ansible's counters, by bot"""


@dataclass(kw_only=True)
class RunReport(Circumstances):
    """Who ran what, from where, when, and where the time went."""

    began: Time
    """When the run began"""
    ended: Time
    """When it ended; while it runs, when this was written"""
    seconds: Quantity
    """How long it took"""
    plays: list[PlayReport]
    """The plays, in their order"""
    slowest_tasks: list[SlowTask]
    """The tasks that took longest, the longest first"""


@dataclass(frozen=True)
class Report:
    """One run of a playbook: what became of each bot, on which evidence, and what was changed."""

    schema: Literal[2]
    """The format's version; goes up when a field is renamed, removed or means something else"""
    version: str
    """The project's version"""
    written: Time
    """When this was written"""
    conclusion: Conclusion
    """How the run as a whole came out"""
    run: RunReport
    """Who ran what, from where, when, and where the time went"""
    failures: list[Failure]
    """What went wrong, causes first"""
    bots: list[BotReport]
    """In the inventory's order, the canary first"""
    changes: list[Change]
    """What was changed, in the order of the run"""
