"""What goes into a patch and what comes out."""

from __future__ import annotations

from dataclasses import dataclass, field

# Kinds of a finding.
AMBIGUOUS = "ambiguous"
CHANGED_SINCE = "changed-since"
DYNAMIC = "dynamic"
FOREIGN_WRAPPER = "foreign-wrapper"
OTHER_MODULE = "other-module"
REFERENCE = "reference"
SETTING = "setting"
TIMEOUT = "timeout"
UNKNOWN_ORIGIN = "unknown-origin"
UNREADABLE = "unreadable"


class PatchError(Exception):
    """A source cannot be patched, and nothing has been changed.

    Line and column count from 1, the column in characters; both are 0 where the place is not known.
    """

    def __init__(self, message: str, line: int = 0, column: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.line = line
        self.column = column


class NoClientError(PatchError):
    """The program constructs no Webex client."""


class TemplateError(PatchError):
    """A template does not render to what is needed."""


@dataclass(frozen=True)
class Templates:
    """The role's templates, rendered with stand-ins for the construction and for the names to import."""

    api_client: str
    bot_client: str
    import_line: str


@dataclass(frozen=True)
class Settings:
    """What the clients are to be configured with."""

    templates: Templates
    # Seconds; the least `single_request_timeout` of a patched API client.
    request_timeout: int = 120


@dataclass(frozen=True)
class Finding:
    """Something left as it is that an operator should look at.

    Line and column count from 1, the column in characters; `kind` is one of the constants above.
    """

    path: str
    line: int
    column: int
    kind: str
    message: str


@dataclass(frozen=True)
class Construction:
    """A client construction as the result shows it.

    `action` is what was done with it: wrapped, updated, unwrapped, restored or unchanged. Line and column count as in
    `Finding`.
    """

    path: str
    line: int
    column: int
    # "api" or "bot"
    kind: str
    name: str
    action: str


@dataclass
class Result:
    """A source after patching or unpatching."""

    source: bytes
    changed: bool
    constructions: list[Construction] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
