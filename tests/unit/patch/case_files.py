"""Cases of the patch, one file each: why, the source before and after, and what is reported of it.

`␍` stands for a carriage return, `␄` for the end of a file whose last line has no line break.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from plugin_utils.client_patch import PatchError, Result, Settings, Templates, patch

CASES = Path(__file__).parent / "cases"
SECTION = "=== "


def pool_call(function: str, *more: str) -> str:
    """A construction template as the role's defaults render it."""
    options = ["pool_connections=50", "pool_maxsize=50", "max_retries=3", *more]
    return f"{function}(\n    __construction__,\n" + ",\n".join(f"    {option}" for option in options) + "\n)\n"


TEMPLATES = Templates(
    api_client=pool_call("configure_webex_api_session"),
    bot_client=pool_call("configure_webex_bot_session", "request_timeout=120"),
    import_line="from src.utils.webex_pool_config import __names__\n",
)
SETTINGS = Settings(TEMPLATES)


@dataclass(frozen=True)
class Case:
    name: str
    why: str
    before: bytes
    # The source after the patch; None if that is an error.
    after: bytes | None
    reported: list[str]


def read(path: Path) -> Case:
    header, *sections = path.read_text(encoding="utf-8").split("\n" + SECTION)
    why, *options = header.splitlines()
    encoding = options[0].removeprefix("encoding: ") if options else "utf-8"
    texts = dict(section.split("\n", 1) for section in sections)
    before = _bytes(texts["before"], encoding)
    after = texts.get("after")
    if "unchanged" in texts:
        after = texts["before"]
    reported = texts["reported"].splitlines() if "reported" in texts else []
    return Case(path.stem, why, before, None if after is None else _bytes(after, encoding), reported)


def write(name: str, why: str, before: bytes, encoding: str = "utf-8") -> str:
    """A case file's text, with what the engine makes of it: for a person to read before it is kept."""
    parts = [why if encoding == "utf-8" else f"{why}\nencoding: {encoding}"]
    shown = _shown(before, encoding)
    parts.append(f"before\n{shown}")
    try:
        result = patch(before, SETTINGS, name)
    except PatchError as error:
        parts.append(f"reported\n{describe_error(error)}\n")
    else:
        parts.append(f"after\n{_shown(result.source, encoding)}" if result.changed else "unchanged\n")
        parts.append("reported\n" + "".join(f"{line}\n" for line in describe(result)))
    return ("\n" + SECTION).join(parts)


def describe(result: Result) -> list[str]:
    """Constructions with what was done, then findings."""
    lines = [f"{item.line}:{item.column} {item.action} {item.kind} {item.name}" for item in result.constructions]
    return lines + [f"{item.line}:{item.column} {item.kind}: {item.message}" for item in result.findings]


def describe_error(error: PatchError) -> str:
    return f"{error.line}:{error.column} error: {error.message.splitlines()[0]}"


def _bytes(text: str, encoding: str) -> bytes:
    text = text.replace("␍\n", "\r\n")
    return (text.split("␄")[0] if "␄" in text else text).encode(encoding)


def _shown(raw: bytes, encoding: str) -> str:
    text = raw.decode(encoding).replace("\r\n", "␍\n")
    return text if text.endswith("\n") else f"{text}␄\n"
