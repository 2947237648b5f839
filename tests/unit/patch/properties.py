"""What must hold for every program, as functions: the unit tests check hundreds of programs, the bench ten thousand."""

from __future__ import annotations

import ast
import re

from plugin_utils.client_patch import CONSTRUCTION, Result, Settings, Templates, patch, unpatch

from .case_files import SETTINGS, TEMPLATES
from .programs import POOL_MODULE, Program, run

FUNCTIONS = {"configure_webex_api_session", "configure_webex_bot_session"}
INSERTED = "x_inserted = [1,\n              2]  # since the patch"


def _settings(size: int, timeout: int) -> Settings:
    def template(kind: str) -> str:
        return (
            f"configure_webex_{kind}_session(\n    {CONSTRUCTION},\n    pool_maxsize={size},\n    stats_interval=9\n)"
        )

    return Settings(Templates(template("api"), template("bot"), TEMPLATES.import_line), timeout)


class _Normal(ast.NodeTransformer):
    """A syntax tree without what a patch may change: pool calls, their import, time-outs."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.func, ast.Name) and node.func.id in FUNCTIONS:
            return node.args[0]
        node.keywords = [item for item in node.keywords if item.arg != "single_request_timeout"]
        return node

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | None:
        return None if node.module == POOL_MODULE else node


def tree(source: bytes) -> str:
    return ast.dump(_Normal().visit(ast.parse(source)))


def check_tree_is_kept(before: bytes, after: bytes) -> None:
    """Outside the constructions and the import the syntax tree is the same."""
    assert tree(before) == tree(after)


def check_bytes_are_kept(program: Program, after: bytes) -> None:
    """Outside the constructions nothing has changed but for the import."""
    before = program.text
    # A comment behind a call is kept with the call.
    comment = re.compile(r"[ \t]*#[^\r\n]*")
    ends = [found.end() if (found := comment.match(before, end)) else end for _, end in program.ranges]
    kept = [
        before[end:start] for end, start in zip([0, *ends], [*(s for s, _ in program.ranges), len(before)], strict=True)
    ]
    text = after.decode("utf-8-sig")
    added = re.compile(
        rf"(?:^else:(?:\r\n|\n))?(?:^[ \t]*from {re.escape(POOL_MODULE)} import [\w, ]+(?:\r\n|\n|\Z))|"
        rf"from {re.escape(POOL_MODULE)} import [\w, ]+; ",
        re.MULTILINE,
    )
    lines, wanted = added.sub("", text), [added.sub("", part) for part in kept]
    if after.endswith(b"session") and not before.endswith("session"):
        lines = lines.removesuffix("\r\n" if lines.endswith("\r\n") else "\n")
    position = 0
    for number, part in enumerate(wanted):
        if number == len(wanted) - 1:
            assert lines.endswith(part)
            break
        start = lines.find(part, position) if number else 0
        assert start >= 0 and lines.startswith(part, start), f"changed or lost: {part!r}"
        position = start + len(part)
    assert after.startswith(b"\xef\xbb\xbf") == program.source.startswith(b"\xef\xbb\xbf")
    assert after.count(b"\r\n") == after.count(b"\n") or b"\r\n" not in after


def check_every_client_is_pooled_once(before: bytes, after: bytes) -> None:
    """The patched program makes the same clients, and each is configured exactly once."""
    original, patched = run(before), run(after)
    assert len(original) == len(patched)
    counts = [len(client.configured) for client in patched]
    assert counts == [1] * len(counts)


def check_program(program: Program) -> Result:
    """All properties of one program; its patch."""
    before = program.source
    result = patch(before, SETTINGS)
    after = result.source
    compile(after, "<patched>", "exec", dont_inherit=True)
    again = patch(after, SETTINGS)
    assert not again.changed and again.source == after
    assert all(item.action == "unchanged" for item in again.constructions)
    check_tree_is_kept(before, after)
    check_bytes_are_kept(program, after)
    check_every_client_is_pooled_once(before, after)
    check_unpatching(program, after)
    check_other_settings(before, after)
    return result


def check_unpatching(program: Program, after: bytes) -> None:
    """With the original every byte is restored, also after the file has changed elsewhere."""
    before = program.source
    back = unpatch(after, SETTINGS, before)
    assert back.source == before, back.findings
    assert unpatch(before, SETTINGS, before).source == before
    changed = [_insert(source, program.gap) for source in (before, after)]
    assert changed[0] != before
    assert unpatch(changed[1], SETTINGS, before).source == changed[0]
    # Without it the program is the same but for time-outs, and nothing is pooled by the tool's own wrapping.
    plain = unpatch(after, SETTINGS).source
    compile(plain, "<unpatched>", "exec", dont_inherit=True)
    assert tree(plain) == tree(before)


def _insert(source: bytes, gap: str) -> bytes:
    indent = re.match(r"[ \t]*", gap)[0]
    newline = "\r\n" if b"\r\n" in source else "\n"
    line = indent + INSERTED.replace("\n", "\n" + indent)
    return source.replace(gap.encode() + newline.encode(), line.replace("\n", newline).encode() + newline.encode(), 1)


def check_other_settings(before: bytes, after: bytes) -> None:
    """Patched again with other settings it is what it would have been with those from the start."""
    other = _settings(70, 300)
    now = patch(after, other).source
    assert not patch(now, other).changed
    check_tree_is_kept(before, now)
    assert unpatch(now, other, before).source == before
