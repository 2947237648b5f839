"""The controller's masker, for the report and for diffs in a terminal: whatever looks like a secret is masked.

It is the second net. The first is that results with `no_log`, contents of environment files and values of variables are
never taken in. What still comes with a diff or a message is recognised here by its look.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

MASK = "********"

# Texts are others', and their lines of any length: no expression may begin within what it has just gone through.
_ENDLESS = re.compile(r"[\w-]{256,}")
_NAME = r"[\w-]*(?:token|secret|passw(?:or)?d|api[_-]?key|credential)[\w-]*"
_PRIVATE_KEY = re.compile(r"-----BEGIN ([A-Z ]*)PRIVATE KEY-----.*?(?:-----END \1PRIVATE KEY-----|\Z)", re.DOTALL)
_UNIT_ENVIRONMENT = re.compile(r"^([-+ ]?[ \t]*Environment=)(.+)$", re.MULTILINE)
_UNIT_NAME = re.compile(r"(?:^|[\s\"'])([A-Za-z_]\w*)=")
_BEARER = re.compile(r"\b(bearer(?:\s+|%20))[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE)
_AUTHORIZATION = re.compile(r"(authorization[\"']?\s*[:=]\s*[\"']?(?:[a-z]+ +)?)[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE)
# In quotes it is no prose, however short; `f"Bearer {token}"` is source and holds nothing.
_QUOTED_BEARER = re.compile(r"([\"']bearer\s+)[^\s\"'{]+(?=[\"'])", re.IGNORECASE)
_URL_PASSWORD = re.compile(r"(\w://)[^\s/@:\"']*:[^\s/@\"']+@")
# The same without a scheme, as proxies and curl have it.
_USER_PASSWORD = re.compile(r"(?<![\w.:/@-])([\w.+-]{1,256}:)[^\s:@/\"']{1,1024}@(?=[\w\[])")
# A command line's `--token X`, `--token=X` and `-t X`, as text and as a list's items.
_OPTION = re.compile(
    rf"((?<![\w-])(?:-t|--?{_NAME})(?:[ \t]+|=|[\"'],[ \t]*[\"']))(?![\s\"'-])[^\s\"',]+", re.IGNORECASE
)
# `access_token="…"` and `'token': '…'`; not `access_token=CONFIG.token`, which is source and holds nothing.
# Also `token: str = "…"`, `environ["TOKEN"] = "…"`, `TOKEN = ("…")`, and a client's first argument, which is its token.
_ANNOTATION = r"(?:[ \t]{0,8}:[ \t]{0,8}[\w.|\[\] ]{1,64}?)?"
_BEFORE = (
    rf"((?:(?<![\w-]){_NAME}[\"']?\]?{_ANNOTATION}\s{{0,16}}[:=]\s{{0,16}}\(?|(?:WebexTeamsAPI|WebexAPI|WebexBot)\()"
    r"\s{0,64}[bfru]{0,2})"
)
_LITERAL = re.compile(_BEFORE + r"([\"'])(?!\2)(.+?)\2", re.IGNORECASE)
_LONG_LITERAL = re.compile(_BEFORE + r"(\"{3}|'{3})(.+?)\2", re.IGNORECASE | re.DOTALL)
# `WEBEX_TOKEN=…` of a shell and `token: …` of YAML; not `token = value()`, which is source.
_ASSIGNED = re.compile(rf"^([-+ ]?[ \t]*(?:export[ \t]+)?{_NAME}(?:=|: +))([^\s()\[\]{{}},.'\"]{{8,}})$", re.I | re.M)
# Access tokens as developer.webex.com gives them to bots and people end in _<cluster>_<organisation's UUID>.
_WEBEX_TOKEN = re.compile(r"[A-Za-z0-9_-]{20,}_[A-Za-z0-9]{2,8}_[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_JWT = re.compile(r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*")
_RUN = re.compile(r"[A-Za-z0-9_-]{32,}")
# Base64 and keys with dots, which only their quotes hold together.
_QUOTED_RUN = re.compile(r"(?<=[\"'])[A-Za-z0-9+/=_.-]{32,}(?=[\"'])")
_HEX = re.compile(r"[0-9a-fA-F-]+")
# Base64 with a + or its padding, which no path and no name has, however little it looks like chance.
_BASE64 = re.compile(r"(?<=[\"'])(?=[A-Za-z0-9/]*[+=])[A-Za-z0-9+/]{30,}={0,2}(?=[\"'])")


def mask(text: str) -> str:
    """A whole text (a message, a file, a diff) with everything masked that looks like a secret.

    Give it whole: a private key has many lines, and a name is the sign of its value. Masking twice changes nothing.
    """
    text = _ENDLESS.sub(MASK, text)
    # What is recognised by its surroundings goes first, as long as they are there to be seen.
    text = _PRIVATE_KEY.sub(rf"-----BEGIN \1PRIVATE KEY----- {MASK}", text)
    text = _UNIT_ENVIRONMENT.sub(lambda found: found[1] + _without_values(found[2]), text)
    text = _AUTHORIZATION.sub(rf"\1{MASK}", _BEARER.sub(rf"\1{MASK}", _QUOTED_BEARER.sub(rf"\1{MASK}", text)))
    text = _USER_PASSWORD.sub(rf"\1{MASK}@", _URL_PASSWORD.sub(rf"\1{MASK}@", text))
    text = _LITERAL.sub(rf"\1\2{MASK}\2", _LONG_LITERAL.sub(rf"\1\2{MASK}\2", text))
    text = _OPTION.sub(rf"\1{MASK}", _ASSIGNED.sub(rf"\1{MASK}", text))
    text = _BASE64.sub(MASK, _JWT.sub(MASK, _WEBEX_TOKEN.sub(MASK, text)))
    for run in (_QUOTED_RUN, _RUN):
        text = run.sub(lambda found: MASK if _looks_random(found[0]) else found[0], text)
    return text


def masked(value: Any) -> Any:
    """Plain data (dictionaries, lists, scalars) with every text in it masked, keys of dictionaries too."""
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, dict):
        return {mask(str(key)): masked(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [masked(item) for item in value]
    return value


def mask_diff(entry: Mapping[str, Any]) -> dict[str, Any]:
    """One entry of a result's `diff`, fit to be shown.

    :param entry: as Ansible has it: `before` and `after` (texts, or attributes as a mapping), `prepared`, headers.
    :return: the same with everything masked; attributes become text, since their names are the sign of their values.
    """
    sides = {key: mask(_as_text(entry[key])) for key in ("before", "after", "prepared") if key in entry}
    return {**masked(dict(entry)), **sides}


def _as_text(side: Any) -> str:
    """A side of a diff; modules give attributes (owner, mode, state) as a mapping."""
    if side is None:
        return ""
    if isinstance(side, str):
        return str(side)
    return json.dumps(side, indent=2, sort_keys=True, default=str)


def _without_values(assignments: str) -> str:
    """The right-hand side of a unit's `Environment=`, names alone."""
    return " ".join(f"{name}={MASK}" for name in _UNIT_NAME.findall(assignments)) or MASK


def _looks_random(run: str) -> bool:
    """Whether it is a token: not a hash (hexadecimal), not a long name (whose words are short or have no digits)."""
    if _HEX.fullmatch(run):
        return False
    longest = max(re.split(r"[_.+/=-]", run), key=len)
    letters, digits = re.search(r"[A-Za-z]", longest), re.search(r"\d", longest)
    mixed = bool(re.search(r"[A-Z]", run) and re.search(r"[a-z]", run) and re.search(r"\d", run))
    return bool(letters and digits and len(longest) >= 24) or (mixed and len(longest) >= 16)
