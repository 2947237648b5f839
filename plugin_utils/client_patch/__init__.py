"""The patch engine: routes the Webex clients of a bot through the connection pool, and back.

Pure: bytes and settings in, bytes and findings out. LibCST's tree only shows where things stand; the new text is
spliced into the old one, so that no byte outside the replaced ranges can change.
"""

from .model import NoClientError, PatchError, Result, Settings, TemplateError, Templates
from .patching import patch
from .templates import CONSTRUCTION, MODULE, NAMES
from .unpatching import unpatch

__all__ = [
    "CONSTRUCTION",
    "MODULE",
    "NAMES",
    "NoClientError",
    "PatchError",
    "Result",
    "Settings",
    "TemplateError",
    "Templates",
    "patch",
    "unpatch",
]
