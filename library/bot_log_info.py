#!/usr/bin/python
"""Module: what a bot's log says since a cursor."""

# ansible-doc wants the documentation before the imports.
# ruff: noqa: E402

from __future__ import annotations

DOCUMENTATION = r"""
module: bot_log_info
short_description: Count what failed in a bot's log since a cursor
description:
  - Counts the lines and the incidents of a bot's log, from a cursor on, across rotation, and reads what the pool
    module says about itself there.
  - A I(line) is what C(grep -c) counts. An I(incident) is one failed call, which is one log record with its traceback;
    records with the same signature within 5 s are one incident, and calls that are tried again are counted apart.
  - Everything returned counts from where the cursor was taken. The cursor carries the counts, so only new bytes are
    read, and a look whose result was lost can simply be repeated with the older cursor.
  - Reads only.
options:
  path:
    description: The bot's log.
    type: path
    required: true
  cursor:
    description: Where to go on; what an earlier call returned as RV(cursor). Without it the whole log is read.
    type: dict
  take:
    description: Only return a cursor at the log's present end. The log need not exist yet.
    type: bool
    default: false
  history:
    description:
      - Read the whole log with its rotated parts (C(.1) and so on, dated ones, C(.gz)), for the bot's own base rate.
      - The cursor returned counts anew from the end of what was read.
    type: bool
    default: false
  buckets:
    description: Return the incidents of each hour.
    type: bool
    default: false
  signatures:
    description:
      - Signatures besides the built-in ones. An entry with a built-in name replaces that one, with an empty text it
        removes it.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name in the result.
        type: str
        required: true
      text:
        description: The literal text, within one line.
        type: str
        required: true
      kind:
        description: Whether a record with it is a failed call, one that is tried again, or neither.
        type: str
        choices: [failure, recovered, notice]
        default: failure
  timezone:
    description: Zone of the log's time stamps, as in C(Europe/Berlin). By default the machine's own.
    type: str
author: [The webex-bot-rollout authors]
attributes:
  check_mode:
    description: Reads only, so it runs in full in check mode.
    support: full
"""

EXAMPLES = r"""
- name: Remember where the log ends
  bot_log_info:
    path: /home/vinay/pub/IR/logs/jarvis.log
    take: true
  register: before

- name: Look at what was written since
  bot_log_info:
    path: /home/vinay/pub/IR/logs/jarvis.log
    cursor: "{{ before.cursor }}"
  register: since
"""

RETURN = r"""
cursor:
  description: Where the next call goes on. To be kept as it is.
  returned: success
  type: dict
now:
  description: The machine's clock; C(epoch) may be set by hand, C(since_boot) runs evenly within one C(boot).
  returned: always
  type: dict
lines:
  description: Lines with any signature.
  returned: success, without O(take)
  type: int
failures:
  description: Records of failed calls.
  returned: success, without O(take)
  type: int
incidents:
  description: Failed calls, a burst counted once.
  returned: success, without O(take)
  type: int
recovered:
  description: Records of calls that failed and are tried again.
  returned: success, without O(take)
  type: int
signatures:
  description: The same four numbers for each signature, with its C(text) and C(kind).
  returned: success, without O(take)
  type: dict
pool:
  description:
    - What the pool module wrote. C(ready) has its last ready lines, C(stats) the last cumulative counters of each
      process; C(requests), C(retried), C(failed) and C(recycled) are what was added since the cursor was taken.
  returned: success, without O(take)
  type: dict
hearing:
  description: Whether a ready line of the pool module was seen. Without one the absence of failures means nothing.
  returned: success, without O(take)
  type: bool
dated:
  description: Whether records with a time stamp were seen.
  returned: success, without O(take)
  type: bool
first_time:
  description: Stamp of the first record, in seconds since the epoch.
  returned: success, without O(take)
  type: float
last_time:
  description: Stamp of the last record.
  returned: success, without O(take)
  type: float
hours:
  description: Incidents by the hour; the keys are the hours' beginnings in seconds since the epoch.
  returned: with O(buckets)
  type: dict
rotations:
  description: How often the log was rotated meanwhile.
  returned: success, without O(take)
  type: int
gaps:
  description: What of the log is lost, a sentence each. With an entry the counts are a lower bound.
  returned: success, without O(take)
  type: list
  elements: str
bytes_read:
  description: Bytes read since the cursor was taken.
  returned: success, without O(take)
  type: int
seconds:
  description: How long reading took this time.
  returned: success
  type: float
"""

import os
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.bot_logs import (
    Cursor,
    LogError,
    Signature,
    evidence,
    look,
    look_at_all,
    signatures_with,
    take_cursor,
    vm_clock,
)


def answer(given: dict[str, Any], signatures: tuple[Signature, ...]) -> dict[str, Any]:
    """What the module returns, apart from the clock.

    :raises LogError: when log or cursor cannot be used.
    """
    if given["take"]:
        return {"cursor": take_cursor(given["path"]).to_dict()}
    if given["cursor"] is not None:
        cursor = Cursor.from_dict(given["cursor"])
        if cursor.path != given["path"]:
            raise LogError(f"the cursor belongs to log {cursor.path}, not to {given['path']}: take one for this log")
        seen = look(cursor, signatures)
    else:
        seen = look_at_all(given["path"], signatures, rotated=given["history"])
    result = evidence(seen.tally, signatures)
    if not given["buckets"]:
        del result["hours"]
    return {**result, "cursor": seen.cursor.to_dict()}


def main() -> None:
    """Run the module."""
    flag = {"type": "bool", "default": False}
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "cursor": {"type": "dict"},
            "take": flag,
            "history": flag,
            "buckets": flag,
            "signatures": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "name": {"type": "str", "required": True},
                    "text": {"type": "str", "required": True},
                    "kind": {"type": "str", "choices": ["failure", "recovered", "notice"], "default": "failure"},
                },
            },
            "timezone": {"type": "str"},
        },
        mutually_exclusive=[("cursor", "take", "history")],
        supports_check_mode=True,
    )
    given = module.params
    if given["timezone"]:
        os.environ["TZ"] = given["timezone"]
        time.tzset()
    begun = time.perf_counter()
    try:
        result = answer(given, signatures_with(given["signatures"]))
    except LogError as error:
        module.fail_json(msg=str(error), now=vm_clock())
    module.exit_json(changed=False, now=vm_clock(), seconds=time.perf_counter() - begun, **result)


if __name__ == "__main__":
    main()
