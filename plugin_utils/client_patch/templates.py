"""The role's templates, taken apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import libcst as cst

from .model import Settings, TemplateError
from .names import API
from .tree import code_of, dotted

# What the templates are rendered with in place of the construction and of the names to import.
CONSTRUCTION = "__construction__"
NAMES = "__names__"
# In place of the pool module's name, where that is chosen for each program.
MODULE = "__pool_module__"


@dataclass(frozen=True)
class Wrapper:
    """A construction template: the text around the construction, and its settings."""

    function: str
    before: str
    after: str
    # Keyword arguments in their order, name to source text of the value.
    options: Mapping[str, str]

    @cached_property
    def margin(self) -> str:
        """The white space in front of the construction if it begins a line of the template."""
        _, line_break, last = self.before.rpartition("\n")
        return last if line_break and not last.strip() else ""

    @cached_property
    def one_line(self) -> Wrapper:
        """The same on one line, for f-strings: before Python 3.12 a replacement field cannot span lines."""
        options = "".join(f", {name}={value}" for name, value in self.options.items())
        return Wrapper(self.function, f"{self.function}(", f"{options})", self.options)


@dataclass(frozen=True)
class Wrappers:
    """All templates and the timeout."""

    api: Wrapper
    bot: Wrapper
    import_line: str
    pool_module: str
    request_timeout: int
    needs_path: bool = True

    @classmethod
    def from_settings(cls, settings: Settings) -> Wrappers:
        """The templates, checked.

        :raises TemplateError: if one does not fit.
        """
        line, module = _read_import(settings.templates.import_line)
        if module == MODULE:
            line, module = line.replace(MODULE, settings.written or MODULE), settings.module or MODULE
        api = _read_wrapper(settings.templates.api_client, "api_client")
        bot = _read_wrapper(settings.templates.bot_client, "bot_client")
        return cls(api, bot, line, module, settings.request_timeout, settings.needs_path)

    @property
    def functions(self) -> set[str]:
        """The names of the pool's functions."""
        return {self.api.function, self.bot.function}

    def named(self, function: str) -> Wrapper:
        """The wrapper that calls this function of the pool."""
        return self.api if function == self.api.function else self.bot

    def for_kind(self, kind: str) -> Wrapper:
        """The wrapper for an API client or a bot."""
        return self.api if kind == API else self.bot


def _read_wrapper(text: str, template: str) -> Wrapper:
    """Takes a construction template apart.

    It must be one call of a plain name whose first argument is the construction and whose other arguments are
    keywords: then no edit of the template can lose an argument of the original call, or make the client twice.
    """
    text = text.strip()
    call = _parse_call(text)
    if call is None or text.count(CONSTRUCTION) != 1:
        raise TemplateError(
            f"{template}.j2 must be one call, `function({{{{ construction }}}}, name=value, …)`, with the construction "
            f"as its first argument and nowhere else, but renders to {text!r}"
        )
    options = {arg.keyword.value: code_of(arg.value) for arg in call.args[1:] if arg.keyword is not None}
    if len(options) != len(call.args) - 1:
        raise TemplateError(f"{template}.j2 gives a setting twice or without a name, and renders to {text!r}")
    before, _, after = text.partition(CONSTRUCTION)
    return Wrapper(dotted(call.func), before, after, options)


def _parse_call(text: str) -> cst.Call | None:
    try:
        call = cst.parse_expression(text)
    except Exception:
        return None
    if not isinstance(call, cst.Call) or not isinstance(call.func, cst.Name) or call.lpar or not call.args:
        return None
    first = call.args[0]
    if first.star or first.keyword is not None or dotted(first.value) != CONSTRUCTION or first.value.lpar:
        return None
    return call


def _read_import(text: str) -> tuple[str, str]:
    """The import template's line, and the module that it imports from."""
    text = text.strip()
    try:
        line = cst.parse_statement(text)
    except Exception:
        line = None
    statement = line.body[0] if isinstance(line, cst.SimpleStatementLine) and len(line.body) == 1 else None
    if (
        not isinstance(statement, cst.ImportFrom)
        or statement.relative
        or isinstance(statement.names, cst.ImportStar)
        or [code_of(item) for item in statement.names] != [NAMES]
        or "\n" in text
    ):
        raise TemplateError(
            f"import.j2 must be one line, `from module import {{{{ names }}}}`, but renders to {text!r}"
        )
    return text, dotted(statement.module)
