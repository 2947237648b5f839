# SPDX-License-Identifier: GPL-3.0-or-later
"""Controller's side of the client patch: edits what the module of the same name reads and compiles on the VM."""

from __future__ import annotations

import base64
import hashlib
import posixpath
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

PROJECT = Path(__file__).resolve().parents[1]
POOL_MODULE = PROJECT / "files" / "webex_pool_config.py"
# Ansible puts neither the project nor a plugin's own directory on the path.
sys.path.append(str(PROJECT))

from module_utils.client_patch_options import OPTIONS, SPECIFICATION  # noqa: E402
from module_utils.webex_rollout.ahead import directories_on_path  # noqa: E402
from plugin_utils.asking import ask  # noqa: E402
from plugin_utils.foreseen import Foreseen, Kept, SourcesAhead, known_of  # noqa: E402
from plugin_utils.proofs import Proofs  # noqa: E402
from plugin_utils.report.mask import mask_diff  # noqa: E402
from plugin_utils.unseen import unseen  # noqa: E402
from plugin_utils.words import printable  # noqa: E402

try:
    from plugin_utils.client_patch import Settings, TemplateError, Templates
    from plugin_utils.client_patch.checkout import Checkout, CheckoutResult, Read, SourceError
    from plugin_utils.client_patch.surroundings import Started
except ImportError as error:
    # libcst is no dependency of Ansible; the message comes when the action runs, not when plugins are loaded.
    IMPORT_ERROR: ImportError | None = error
else:
    IMPORT_ERROR = None


# At the beginning of a text in quotes: a command that a bot's confinement may take from it.
PROGRAM = re.compile(
    rb"""["'](?:(?:/usr)?/s?bin/)?(sudo|pkexec|ping|crontab|newgrp|systemctl|systemd-run|ssh|scp|rsync)["' ]"""
)


class ActionModule(ActionBase):
    """Edits on the controller, since the bots' Python need not have LibCST."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Read, patch, compile, write; nothing is written unless all files are good."""
        self._variables = task_vars or {}
        self._read: dict[str, bytes | None] = {}
        result: dict[str, Any] = super().run(tmp, task_vars)
        _, args = self.validate_argument_spec(argument_spec=OPTIONS)
        if IMPORT_ERROR is not None:
            raise AnsibleActionFail(
                f"{IMPORT_ERROR}; the controller needs what requirements.txt lists: pip install -r requirements.txt"
            )
        kept = Kept(self._variables.get("inventory_hostname", ""), args)
        patch = kept.take()
        files = self._write(args, patch, patch.known) if patch is not None else None
        if patch is None or files is None:
            patch, files = self._worked_out_and_written(args)
            if self._task.check_mode:
                kept.put(patch)
        result.update(patch.result, files=files, changed=bool(patch.sources))
        if self._task.diff:
            result["diff"] = [_diff(path, patch.before[path], source) for path, source in patch.sources.items()]
        return result

    def _worked_out_and_written(self, args: Mapping[str, Any]) -> tuple[Foreseen, list[dict[str, Any]]]:
        """What is written, or would be in check mode, and its files; anew where an import turns out not to resolve."""
        self._proofs = Proofs(lambda question: str(self._module({**args, "prove": question})["problem"]))
        while True:
            patch = self._worked_out(args)
            files = self._write(args, patch, {}) if patch.sources or self._proofs.open else []
            if files is not None:
                return patch, files

    def _worked_out(self, args: Mapping[str, Any]) -> Foreseen:
        """Read the sources and edit them; nothing is written yet."""
        patched = self._patch(args)
        read = {path: source for path, source in self._read.items() if source is not None}
        result: dict[str, Any] = {
            "constructions": [asdict(item) for file in patched.files.values() for item in file.constructions],
            "programs": [named for path, source in sorted(read.items()) for named in _programs(path, source)],
            "findings": [asdict(item) for item in patched.findings],
        }
        if patched.place is not None:
            result["pool"] = asdict(patched.place)
        sources = {path: item.source for path, item in patched.files.items() if item.changed}
        place = patched.place.file if patched.place is not None else ""
        return Foreseen(
            known_of(self._read, place, POOL_MODULE), {path: patched.before[path] for path in sources}, sources, result
        )

    def _patch(self, args: Mapping[str, Any]) -> CheckoutResult:
        settings = Settings(Templates(**args["templates"]), args["request_timeout"])
        try:
            checkout = Checkout(
                self._reader(args, args["home"]),
                args["script"],
                settings,
                self._directories(args),
                started=self._started(args),
            )
            if args["state"] == "present":
                return checkout.patch(args["scope"])
            original = self._reader(args, args["original"]) if args["original"] else None
            return checkout.unpatch(original, args["scope"])
        except TemplateError as error:
            raise AnsibleActionFail(f"roles/client_patch/templates: {error}. Nothing was written.") from None
        except SourceError as error:
            # Without the cause: Ansible would say it twice.
            raise AnsibleActionFail(printable(f"{args['home']}: {error}. Nothing was written.")) from None

    def _started(self, args: Mapping[str, Any]) -> Started:
        """How the bot is started, and the question to its Python whether an import would resolve then."""
        return Started.by(
            args["start"].get("command", []),
            args["start"].get("directory", ""),
            args["home"],
            setting=args["pool_module"],
            path=tuple(self._directories(args)),
            prove=self._proofs if args["python"] else None,
        )

    def _reader(self, args: Mapping[str, Any], home: str) -> Read:
        def read(paths: Sequence[str]) -> dict[str, bytes]:
            contents = self._module({**args, "home": home, "read": list(paths)})["contents"]
            return {path: base64.b64decode(content) for path, content in contents.items()}

        def read_once(paths: Sequence[str]) -> dict[str, bytes]:
            wanted = {path: posixpath.normpath(path) for path in paths}
            if not self._read:
                asked = {"directories": self._directories(args)}
                bot = self._variables.get("inventory_hostname", "")
                sources = SourcesAhead(bot, args["home"], args["script"], asked["directories"])
                answer = sources.take() or self._module({**args, "ahead": asked})
                self._read = dict.fromkeys(answer["tried"])
                self._read.update({path: base64.b64decode(text) for path, text in answer["contents"].items()})
            missing = sorted({path for path in wanted.values() if path not in self._read})
            if missing:
                self._read.update({**dict.fromkeys(missing), **read(missing)})
            found = {path: self._read[normal] for path, normal in wanted.items()}
            return {path: data for path, data in found.items() if data is not None}

        return read_once if home == args["home"] else read

    def _directories(self, args: Mapping[str, Any]) -> list[str]:
        return directories_on_path(args["home"], args["search_paths"], args["start"].get("python_path", []))

    def _write(
        self, args: Mapping[str, Any], patch: Foreseen, known: Mapping[str, Sequence[str]]
    ) -> list[dict[str, Any]] | None:
        """Compiles all and writes all, or, in check mode, only compiles; nothing where one does not compile.

        None, and nothing written either, where something is not as it is known to be, or an import does not resolve.
        """
        encoded = {path: base64.b64encode(source).decode("ascii") for path, source in patch.sources.items()}
        expected = {path: hashlib.sha256(patch.before[path]).hexdigest() for path in patch.sources}
        asked = {} if known else {"prove": self._proofs.open}
        answer = self._module({**args, **asked, "known": known, "write": encoded, "expected": expected})
        if answer.get("stale") or (asked and not self._proofs.settle(answer["problem"])):
            return None
        if answer["errors"]:
            raise AnsibleActionFail(
                f"{args['python']} does not compile the patched source: "
                + printable("; ".join(f"{path}: {error}" for path, error in answer["errors"].items()))
                + ". Nothing was written. Does it run the unpatched bot?"
            )
        files: list[dict[str, Any]] = answer["files"]
        return files

    def _module(self, args: Mapping[str, Any]) -> dict[str, Any]:
        with unseen(self._play_context):
            result = ask(self, "client_patch", args, self._variables, SPECIFICATION)
        if result.get("failed"):
            raise AnsibleActionFail(f"{args['home']}: {result.get('msg', 'cannot be read')}", result=result)
        return result


def _programs(path: str, source: bytes) -> list[dict[str, Any]]:
    """Programs that a source names and that confinement may keep from the bot, each once, with its first line."""
    first: dict[str, int] = {}
    for number, line in enumerate(source.splitlines(), 1):
        for found in PROGRAM.finditer(line):
            first.setdefault(found[1].decode(), number)
    return [{"path": path, "line": line, "name": name} for name, line in first.items()]


def _diff(path: str, before: bytes, after: bytes) -> dict[str, Any]:
    """A diff in which whatever looks like a secret is masked, as in the report."""
    texts = [text.decode("utf-8", "replace") for text in (before, after)]
    return mask_diff(
        {"before": texts[0], "after": texts[1], "before_header": path, "after_header": f"{path} (patched)"}
    )
