# SPDX-License-Identifier: GPL-3.0-or-later
"""The client patch over a whole checkout on this machine: finds the scripts, patches them, says what is left to do."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

PROJECT = Path(__file__).resolve().parents[1]
# Ansible puts neither the project nor a plugin's own directory on the path.
sys.path.append(str(PROJECT))

from module_utils.checkout_patch_options import OPTIONS  # noqa: E402
from module_utils.webex_rollout.become import Account, account_for, as_account  # noqa: E402
from module_utils.webex_rollout.errors import RolloutError  # noqa: E402
from module_utils.webex_rollout.imports import import_problem  # noqa: E402
from module_utils.webex_rollout.sources import compile_problem  # noqa: E402
from plugin_utils.report.mask import mask_diff  # noqa: E402
from plugin_utils.words import printable  # noqa: E402

try:
    from plugin_utils.client_patch import Settings, TemplateError, Templates
    from plugin_utils.client_patch.checkout import SourceError
    from plugin_utils.client_patch.local_files import CheckoutError, read_checkout, relative_scripts, write_files
    from plugin_utils.client_patch.pool_place import PoolPlace
    from plugin_utils.client_patch.project import Project, ProjectResult
    from plugin_utils.client_patch.summary import commit_message, summary
    from plugin_utils.client_patch.surroundings import Surroundings
except ImportError as error:
    IMPORT_ERROR: ImportError | None = error
else:
    IMPORT_ERROR = None

POOL = PROJECT / "files" / "webex_pool_config.py"
MODEL = "the engine's own model of Python's import, since {python} is not there"
PROVEN = "{python}, without running anything"


class ActionModule(ActionBase):
    """Works on the controller, where the checkout is."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Read, patch, prove, compile, write; nothing is written unless all that is to be written is good."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _, args = self.validate_argument_spec(argument_spec=OPTIONS)
        if IMPORT_ERROR is not None:
            raise AnsibleActionFail(
                f"{IMPORT_ERROR}; the controller needs what requirements.txt lists: pip install -r requirements.txt"
            )
        # The child that acts is elsewhere.
        home = str(Path(args["home"]).absolute())
        python = args["python"] if args["python"] and Path(args["python"]).exists() else ""
        try:
            if not Path(home).is_dir():
                raise CheckoutError("it is no directory; set bot_home to the checkout")
            # Whoever runs this; for root the checkout's owner.
            self._account: Account = account_for("", home)
            files, others = as_account(self._account, read_checkout, home)
            patched = self._patch(args, home, files, others, python)
            changed = {path: item.source for path, item in patched.files.items() if item.changed}
            if python:
                self._compile(python, changed)
            before = dict(patched.before)
            if args["state"] == "present":
                pool = POOL.read_bytes()
                modules = {path: pool for path in patched.modules if files.get(path) != pool}
                changed.update(modules)
                before.update({path: files.get(path, b"") for path in modules})
            if not self._task.check_mode:
                as_account(self._account, write_files, home, changed)
        except TemplateError as problem:
            raise AnsibleActionFail(f"roles/client_patch/templates: {problem}. Nothing was written.") from None
        except (SourceError, RolloutError, OSError) as problem:
            # Without the cause: Ansible would say it twice.
            raise AnsibleActionFail(printable(f"{home}: {_sentence(problem)} Nothing was written.")) from None
        proof = (PROVEN if python else MODEL).format(python=args["python"] or "the bots' Python")
        result["changed"] = bool(changed)
        result["files"] = sorted(changed)
        result["constructions"] = [asdict(item) for file in patched.files.values() for item in file.constructions]
        result["findings"] = [asdict(item) for item in patched.findings]
        result["skipped_files"], result["refused_files"] = patched.skipped, patched.refused
        result["summary"] = [printable(line) for line in summary(patched, self._task.check_mode, proof)]
        result["commit_message"] = printable(commit_message(patched, args["state"]))
        if self._task.diff:
            result["diff"] = [_diff(path, before[path], changed[path]) for path in sorted(changed)]
        return result

    def _patch(
        self, args: Mapping[str, Any], home: str, files: dict[str, bytes], others: list[str], python: str
    ) -> ProjectResult:
        # The child that acts is elsewhere.
        home = str(Path(args["home"]).absolute())

        def prove(place: PoolPlace, asked: Sequence[tuple[str, Sequence[str]]]) -> str:
            return import_problem(python, home, place.file, asked, self._account)

        around = Surroundings.of_files(
            files, others, args["pool_module"], home, args["search_paths"], prove=prove if python else None
        )
        project = Project(files, Settings(Templates(**args["templates"]), args["request_timeout"]), around)
        scripts = relative_scripts(home, args["scripts"])
        if args["state"] == "present":
            return project.patch(scripts, args["scope"])
        original = (
            as_account(self._account, read_checkout, str(Path(args["original"]).absolute()))[0]
            if args["original"]
            else None
        )
        return project.unpatch(
            None if original is None else lambda paths: {path: original[path] for path in paths if path in original},
            scripts,
            args["scope"],
        )

    def _compile(self, python: str, sources: Mapping[str, bytes]) -> None:
        problems = {
            path: compile_problem(python, path, source, account=self._account)
            for path, source in sorted(sources.items())
        }
        told = "; ".join(f"{path}: {problem}" for path, problem in problems.items() if problem)
        if told:
            raise CheckoutError(f"{python} does not compile the patched source: {told}. Does it run the unpatched bot?")


def _sentence(problem: Exception) -> str:
    text = str(problem)
    return text if text.endswith((".", "?", "!")) else f"{text}."


def _diff(path: str, before: bytes, after: bytes) -> dict[str, Any]:
    """A diff in which whatever looks like a secret is masked; of the pool module only its size, for it is long."""
    if after == POOL.read_bytes():
        return {"prepared": f"{path}: the pool module, {after.count(chr(10).encode())} lines\n"}
    texts = [text.decode("utf-8", "replace") for text in (before, after)]
    return mask_diff(
        {"before": texts[0], "after": texts[1], "before_header": path, "after_header": f"{path} (patched)"}
    )
