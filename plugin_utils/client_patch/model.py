"""What goes into a patch and what comes out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

# Kinds of a finding.
AMBIGUOUS = "ambiguous"
BARE_REQUEST = "bare-request"
CHANGED_SINCE = "changed-since"
DYNAMIC = "dynamic"
FOREIGN_WRAPPER = "foreign-wrapper"
NOT_SHIPPED = "not-shipped"
OTHER_CLIENT = "other-client"
OTHER_MODULE = "other-module"
PER_CALL = "client-per-call"
REFERENCE = "reference"
SETTING = "setting"
START = "start"
SUBCLASS = "subclass"
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
    """The program constructs no Webex client that can be pooled; what else was seen of Webex is in `findings`."""

    def __init__(self, message: str, findings: Sequence[Finding] = ()) -> None:
        super().__init__(message)
        self.findings = list(findings)


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
    # Where the import template leaves the pool module open: how it is written (".pool"), and its full name.
    written: str = ""
    module: str = ""
    # Whether the import works only behind the program's own changes of `sys.path`.
    needs_path: bool = True


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
