# SPDX-License-Identifier: GPL-3.0-or-later
"""Controller's side of the files that a rollout writes: renders them, and shows what changes."""

from __future__ import annotations

import base64
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible import constants as C
from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.plugins.action import ActionBase
from ansible.plugins.loader import lookup_loader

# Ansible puts neither the project nor a plugin's own directory on the path.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from module_utils.webex_files_options import OPTIONS, SPECIFICATION
from plugin_utils.asking import ask
from plugin_utils.report.diff import is_withheld
from plugin_utils.report.mask import mask_diff
from plugin_utils.unseen import unseen


class ActionModule(ActionBase):
    """Renders on the controller and hands contents over as arguments, so that nothing is staged on the VM."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Have the module compare and write, in one run for the whole list."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _, given = self.validate_argument_spec(argument_spec=OPTIONS)
        variables = task_vars or {}
        contents = {
            file["path"]: self._content(file, variables) for file in given["files"] if file["state"] == "present"
        }
        limit = int(C.MAX_FILE_SIZE_FOR_DIFF) if self._task.diff else 0
        encoded = {path: base64.b64encode(data).decode("ascii") for path, data in contents.items()}
        with unseen(self._play_context):
            arguments = {**given, "contents": encoded, "diff_limit": limit}
            answer = ask(self, "webex_files", arguments, variables, SPECIFICATION)
        if answer.get("failed"):
            raise AnsibleActionFail(str(answer.get("msg") or "webex_files failed and gave no reason"))
        changes = answer.pop("files", [])
        answer["files"] = [{"path": each["path"], "change": each["change"]} for each in changes]
        if self._task.diff:
            answer["diff"] = [_diff(each, contents.get(each["path"], b""), limit) for each in changes]
        return {**result, **answer}

    def _content(self, file: Mapping[str, Any], variables: dict[str, Any]) -> bytes:
        """What a file has to hold."""
        if bool(file["template"]) == bool(file["src"]):
            raise AnsibleActionFail(f"{file['path']}: give either a template or a src. Nothing was written")
        try:
            if file["src"]:
                return Path(self._find_needle("files", file["src"])).read_bytes()
            template = lookup_loader.get("ansible.builtin.template", loader=self._loader, templar=self._templar)
            return "".join(template.run([file["template"]], variables)).encode("utf-8")
        except (AnsibleError, OSError) as error:
            raise AnsibleActionFail(f"{file['path']}: {error}. Nothing was written") from error


def _diff(change: Mapping[str, Any], after: bytes, limit: int) -> dict[str, Any]:
    """One entry of a diff, masked as in the report; contents of environments never."""
    path, what = change["path"], change["change"]
    headers = {"before_header": path, "after_header": f"{path} ({what})"}
    if what == "made" or is_withheld(path):
        return {"prepared": f"{path}: {what}\n", **headers}
    if "before" not in change or len(after) > limit:
        return {"dst_larger": limit, **headers}
    texts = [text.decode("utf-8", "replace") for text in (base64.b64decode(change["before"]), after)]
    return mask_diff({"before": texts[0], "after": texts[1], **headers})
