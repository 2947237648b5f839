# SPDX-License-Identifier: GPL-3.0-or-later
"""Controller's side of the client patch: edits what the module of the same name reads and compiles on the VM."""

from __future__ import annotations

import base64
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ansible import constants as C
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

PROJECT = Path(__file__).resolve().parents[1]
# Ansible puts neither the project nor a plugin's own directory on the path.
sys.path.append(str(PROJECT))

from module_utils.client_patch_options import OPTIONS  # noqa: E402
from plugin_utils.report.mask import mask_diff  # noqa: E402

try:
    from plugin_utils.client_patch import Settings, TemplateError, Templates
    from plugin_utils.client_patch.checkout import Checkout, CheckoutResult, Read, SourceError
except ImportError as error:
    # libcst is no dependency of Ansible; the message comes when the action runs, not when plugins are loaded.
    IMPORT_ERROR: ImportError | None = error
else:
    IMPORT_ERROR = None


class ActionModule(ActionBase):
    """Edits on the controller, since the bots' Python need not have LibCST."""

    TRANSFERS_FILES = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Read, patch, compile, write; nothing is written unless all files are good."""
        self._variables = task_vars or {}
        result: dict[str, Any] = super().run(tmp, task_vars)
        _, args = self.validate_argument_spec(argument_spec=OPTIONS)
        if IMPORT_ERROR is not None:
            raise AnsibleActionFail(
                f"{IMPORT_ERROR}; the controller needs what requirements.txt lists: pip install -r requirements.txt"
            )
        try:
            patched = self._patch(args)
            changed = {path: item.source for path, item in patched.files.items() if item.changed}
            if changed and args["python"]:
                self._compile(args, changed)
            result["files"] = [self._write(args, path, source) for path, source in changed.items()]
        finally:
            self._remove_tmp_path(self._connection._shell.tmpdir)
        result["changed"] = bool(changed)
        result["constructions"] = [asdict(item) for file in patched.files.values() for item in file.constructions]
        result["findings"] = [asdict(item) for item in patched.findings]
        if self._task.diff:
            result["diff"] = [_diff(path, patched.before[path], source) for path, source in changed.items()]
        return result

    def _patch(self, args: Mapping[str, Any]) -> CheckoutResult:
        settings = Settings(Templates(**args["templates"]), args["request_timeout"])
        try:
            checkout = Checkout(self._reader(args, args["home"]), args["script"], settings, args["search_paths"])
            if args["state"] == "present":
                return checkout.patch(args["scope"])
            original = self._reader(args, args["original"]) if args["original"] else None
            return checkout.unpatch(original, args["scope"])
        except TemplateError as error:
            raise AnsibleActionFail(f"roles/client_patch/templates: {error}. Nothing was written.") from error
        except SourceError as error:
            raise AnsibleActionFail(f"{args['home']}: {error}. Nothing was written.") from error

    def _reader(self, args: Mapping[str, Any], home: str) -> Read:
        def read(paths: Sequence[str]) -> dict[str, bytes]:
            contents = self._module({**args, "home": home, "read": list(paths)})["contents"]
            return {path: base64.b64decode(content) for path, content in contents.items()}

        return read

    def _compile(self, args: Mapping[str, Any], sources: Mapping[str, bytes]) -> None:
        """Before anything is written and also in check mode: `validate` of copy would be too late for the first of
        several files, and does not run in check mode."""
        encoded = {path: base64.b64encode(source).decode("ascii") for path, source in sources.items()}
        errors = self._module({**args, "compile": encoded})["errors"]
        if errors:
            raise AnsibleActionFail(
                f"{args['python']} does not compile the patched source: "
                + "; ".join(f"{path}: {error}" for path, error in errors.items())
                + ". Nothing was written. Does it run the unpatched bot?"
            )

    def _module(self, args: Mapping[str, Any]) -> dict[str, Any]:
        result: dict[str, Any] = self._execute_module(
            module_name="client_patch", module_args=dict(args), task_vars=self._variables
        )
        if result.get("failed"):
            raise AnsibleActionFail(f"{args['home']}: {result.get('msg', 'cannot be read')}", result=result)
        return result

    def _write(self, args: Mapping[str, Any], path: str, source: bytes) -> dict[str, Any]:
        """Hands one file to copy, which keeps owner and mode."""
        local = tempfile.mkdtemp(dir=C.DEFAULT_LOCAL_TMP)
        try:
            file = Path(local) / Path(path).name
            file.write_bytes(source)
            task = self._task.copy()
            task.args = {"src": str(file), "dest": f"{args['home']}/{path}", "backup": args["backup"], "follow": True}
            task.diff = False
            copy = self._shared_loader_obj.action_loader.get(
                "ansible.legacy.copy",
                task=task,
                connection=self._connection,
                play_context=self._play_context,
                loader=self._loader,
                templar=self._templar,
                shared_loader_obj=self._shared_loader_obj,
            )
            copied = copy.run(task_vars=self._variables)
        finally:
            shutil.rmtree(local)
        if copied.get("failed"):
            raise AnsibleActionFail(f"cannot write {path}: {copied.get('msg')}", result=copied)
        written = {"path": path, "checksum": copied.get("checksum", "")}
        if "backup_file" in copied:
            written["backup_file"] = copied["backup_file"]
        return written


def _diff(path: str, before: bytes, after: bytes) -> dict[str, Any]:
    """A diff in which whatever looks like a secret is masked, as in the report."""
    texts = [text.decode("utf-8", "replace") for text in (before, after)]
    return mask_diff(
        {"before": texts[0], "after": texts[1], "before_header": path, "after_header": f"{path} (patched)"}
    )
