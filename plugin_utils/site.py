"""Hooks of mkdocs: the pages of the project's top directory are pages of the site, too, and links between both hold."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

PROJECT = Path(__file__).resolve().parents[1]
TOP = {
    "README.md": "first-minute.md",  # a README would be the index
    **{name: name for name in ("CONTRIBUTING.md", "CHANGELOG.md", "LICENSE", "LICENSES/MIT.txt")},
}
"""What pages link to and docs/ does not hold, with its name in the site."""


def on_files(files: Files, config: Any, **_: Any) -> Files:
    """Take the top directory's pages up."""
    for name, there in TOP.items():
        files.append(File.generated(config, there, abs_src_path=str(PROJECT / name)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Have links lead to where the pages are in the site: all in one directory."""
    prefix = r"docs/" if page.file.src_uri in TOP.values() else r"\.\./"
    flat = re.sub(rf"(\]\(){prefix}", r"\1", markdown)
    return flat.replace("](README.md", f"]({TOP['README.md']}")
