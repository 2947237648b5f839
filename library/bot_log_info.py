#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module: what a bot's log shows since a cursor was taken."""

# ansible-doc wants the documentation before the imports.
# ruff: noqa: E402

from __future__ import annotations

DOCUMENTATION = r"""
module: bot_log_info
short_description: Count what failed in a bot's log since a cursor
description:
  - Counts lines and incidents in a bot's log since a cursor was taken, across rotations, and reads what the pool module
    logged about itself.
  - How the log is written (time stamps, levels) is learned from its lines. What counts stands in a record at WARNING or
    above; in a log without levels, in a traceback. A text in a message of a lower level never counts.
  - A I(line) is what C(grep -c) counts in these records. An I(incident) is one failed call, that is one log record with
    its traceback; records with the same signature within 5 s are one incident. Calls that are retried are counted
    separately.
  - Everything returned is counted from where the cursor was taken. The cursor carries the counts, so only new bytes
    are read, and a look whose result was lost can be repeated with the older cursor.
  - Changes nothing.
options:
  path:
    description: Path of the bot's log; C(~) is the home of O(user).
    type: str
    required: true
  user:
    description: Who writes the log, and so reads it; a log of somebody else's is refused.
    type: str
    required: true
  cursor:
    description: Where to continue, as an earlier call returned it in RV(cursor). Without it the whole log is read.
    type: dict
  take:
    description: Only return a cursor at the current end of the log, which need not exist yet.
    type: bool
    default: false
  history:
    description:
      - Read the whole log with its rotated parts (numbered, dated, compressed with gzip), for the bot's own base rate.
      - The returned cursor starts counting at the end of what was read.
    type: bool
    default: false
  buckets:
    description: Return the incidents of each hour.
    type: bool
    default: false
  signatures:
    description:
      - Signatures in addition to the built-in ones. An entry with the name of a built-in one replaces it; with an empty
        text it removes it.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name in the result.
        type: str
        required: true
      text:
        description: The literal text to search for, within one line.
        type: str
        required: true
      kind:
        description: Whether a record with this text is a failed call, one that is retried, or neither.
        type: str
        choices: [failure, recovered, notice]
        default: failure
  timezone:
    description: Time zone of the log's time stamps, such as C(Europe/Berlin). The VM's own by default.
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
    user: vinay
    take: true
  register: before

- name: Count what has been written since
  bot_log_info:
    path: /home/vinay/pub/IR/logs/jarvis.log
    user: vinay
    cursor: "{{ before.cursor }}"
  register: since
"""

RETURN = r"""
cursor:
  description: Where the next call continues; to be passed on unchanged.
  returned: success
  type: dict
now:
  description:
    - The VM's clock. C(epoch) can be set; C(since_boot), in seconds, cannot, and is comparable within one C(boot).
  returned: always
  type: dict
dialect:
  description:
    - How the log is written, in one sentence, with what to do where that is not enough. It is learned from the log's
      lines, kept in the cursor, and learned anew when no line is written so any more.
  returned: success
  type: str
lines:
  description: Lines with at least one signature, in records at WARNING or above.
  returned: success, without O(take)
  type: int
failures:
  description: Records of failed calls.
  returned: success, without O(take)
  type: int
incidents:
  description: Failed calls, each burst counted once.
  returned: success, without O(take)
  type: int
recovered:
  description: Records of calls that failed and are retried.
  returned: success, without O(take)
  type: int
signatures:
  description: The same four counts for each signature, with its C(text) and C(kind).
  returned: success, without O(take)
  type: dict
levels:
  description: Records at WARNING or above, by level (C(warning), C(error), C(critical)).
  returned: success, without O(take)
  type: dict
tracebacks:
  description: Records at WARNING or above with a traceback; in a log without levels, every traceback.
  returned: success, without O(take)
  type: int
loose_tracebacks:
  description: Tracebacks below a record under WARNING. A print, or words of a message; no evidence.
  returned: success, without O(take)
  type: int
echoes:
  description: Records that stood within a message shortly before they were logged. No evidence.
  returned: success, without O(take)
  type: int
errors:
  description: Records at ERROR or above, or with a traceback, whatever they say.
  returned: success, without O(take)
  type: int
error_incidents:
  description: The same, of which those of one kind within 5 s are one.
  returned: success, without O(take)
  type: int
error_others:
  description: Those of RV(error_incidents) in which no signature of a failed call stands.
  returned: success, without O(take)
  type: int
error_kinds:
  description: RV(error_incidents) by kind, the exception's class or the message without what varies; at most 33 kinds.
  returned: success, without O(take)
  type: dict
error_hours:
  description: RV(error_incidents) by hour, like RV(hours).
  returned: with O(buckets)
  type: dict
error_other_hours:
  description: RV(error_others) by hour, like RV(hours).
  returned: with O(buckets)
  type: dict
pool:
  description:
    - What the pool module logged. C(ready) holds its last ready lines, C(stats) the last cumulative counters of each
      process; C(requests), C(retried), C(failed) and C(recycled) are what was added since the cursor was taken.
    - C(log_level) is the lowest level the bot's logging lets through, null where the pool module does not report it.
  returned: success, without O(take)
  type: dict
ready_line:
  description: Whether a ready line of the pool module was read. Without one the absence of failures is no evidence.
  returned: success, without O(take)
  type: bool
dated:
  description: Whether records with a time stamp were found.
  returned: success, without O(take)
  type: bool
first_time:
  description: Time stamp of the first record, in seconds since the epoch; null without one.
  returned: success, without O(take)
  type: float
last_time:
  description: Time stamp of the last record, in seconds since the epoch; null without one.
  returned: success, without O(take)
  type: float
hours:
  description: Incidents per hour; each key is the beginning of an hour, in seconds since the epoch.
  returned: with O(buckets)
  type: dict
rotations:
  description: How often the log was rotated since the cursor was taken.
  returned: success, without O(take)
  type: int
gaps:
  description: Parts of the log that could not be read, one sentence each. With any, the counts are lower bounds.
  returned: success, without O(take)
  type: list
  elements: str
bytes_read:
  description: Bytes read since the cursor was taken.
  returned: success, without O(take)
  type: int
seconds:
  description: How long this call took to read, in seconds.
  returned: success
  type: float
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.bot_log_info_options import SPECIFICATION
from ansible.module_utils.webex_rollout.questions.log import answer


def main() -> None:
    """Run the module."""
    module = AnsibleModule(**SPECIFICATION, supports_check_mode=True)
    result = answer(module.params, module.check_mode)
    module.fail_json(**result) if result.get("failed") else module.exit_json(**result)


if __name__ == "__main__":
    main()
