"""Documentation of the action plugin of the same name; the module itself never runs."""

DOCUMENTATION = r"""
module: known_settings
short_description: Refuse misspelt settings of this project
description:
  - Fails when a variable of one of the hosts begins with C(bot_), C(rollout_) or C(webex_) and no role documents it,
    and names the nearest one that is documented. Argument specifications check types and let unknown names pass.
  - Runs on the controller and changes nothing.
options: {}
author: [The webex-bot-rollout authors]
attributes:
  check_mode:
    description: Runs in full in check mode.
    support: full
"""

EXAMPLES = r"""
- name: Refuse unknown settings
  known_settings:
"""

RETURN = r"""
msg:
  description: One sentence for each unknown name.
  returned: failure
  type: str
"""
