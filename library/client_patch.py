"""Documentation of the action plugin of the same name; the module itself never runs."""

DOCUMENTATION = r"""
module: client_patch
short_description: Route every Webex client of a bot through the connection pool
description:
  - Finds every construction of a Webex client in a bot's source by what the name means, not by its spelling, puts the
    pool's function around it and leaves every other byte as it is; and takes it back.
  - Reads the source from the managed machine, edits it on the controller, has the bot's own Python compile the result
    there, and writes it back with owner and mode kept. Nothing is written unless all of that succeeds.
  - Clients that are wrapped already, by this module or by hand, are recognised; of those only settings that differ
    are changed.
  - Follows the bot's imports inside the checkout and reports, or patches, the clients constructed there.
options:
  home:
    description: The bots' checkout on the managed machine. All paths are relative to it.
    type: path
    required: true
  script:
    description: The bot's script.
    type: str
    required: true
  state:
    description:
      - C(present) routes the clients through the pool, C(absent) takes them out again.
    type: str
    choices: [present, absent]
    default: present
  original:
    description:
      - For O(state=absent), a directory on the managed machine that has the files as they were, under the same paths as
        in O(home), such as an older checkout. Each construction then comes back exactly as it was there, whatever else
        has changed in the file since.
      - Without it the pool's function is taken off, and a time-out that was added or raised stays.
    type: path
  python:
    description: The bot's interpreter, which must compile the patched source before it is written. Not checked if
      left out.
    type: path
  scope:
    description: Patch the bot's script alone, or the modules of the checkout that it imports too.
    type: str
    choices: [script, imports]
    default: script
  search_paths:
    description: Directories in which imports are looked up after the script's own. The empty string is the checkout
      itself.
    type: list
    elements: str
    default: [""]
  request_timeout:
    description:
      - Seconds. C(single_request_timeout) of an API client is added or raised to this and never lowered.
      - One that is no number in the source is left and reported.
    type: int
    default: 120
  backup:
    description: Keep a copy of each changed file beside it, with the time in its name.
    type: bool
    default: false
  templates:
    description: The text to put into the source.
    type: dict
    required: true
    suboptions:
      api_client:
        description:
          - What a WebexTeamsAPI or WebexAPI construction becomes, with C(__construction__) in its place. Must be one
            call, of a plain name, with the construction as its first argument and keywords after it.
        type: str
        required: true
      bot_client:
        description: The same for WebexBot and its subclasses.
        type: str
        required: true
      import_line:
        description: The import of the functions that the other two call, with C(__names__) in their place.
        type: str
        required: true
author: [The webex-bot-rollout authors]
attributes:
  check_mode:
    description: Runs in full, compiling included, and writes nothing.
    support: full
  diff_mode:
    description: Shows each changed file; what looks like an access token is masked.
    support: full
"""

EXAMPLES = r"""
- name: Route jarvis's clients through the pool
  client_patch:
    home: /home/vinay/pub/IR
    script: webex_bots/jarvis.py
    python: /home/vinay/pub/IR/.venv/bin/python
    templates:
      api_client: "{{ lookup('template', 'api_client.j2', template_vars={'construction': '__construction__'}) }}"
      bot_client: "{{ lookup('template', 'bot_client.j2', template_vars={'construction': '__construction__'}) }}"
      import_line: from src.utils.webex_pool_config import __names__

- name: Take jarvis's clients out of the pool again
  client_patch:
    home: /home/vinay/pub/IR
    script: webex_bots/jarvis.py
    state: absent
    original: /tmp/checkout-before-the-patch
    templates: "{{ my_templates }}"
"""

RETURN = r"""
constructions:
  description: Every client construction in the patched files, where it was found and what was done.
  returned: success
  type: list
  elements: dict
  sample:
    - path: webex_bots/jarvis.py
      line: 57
      column: 13
      kind: api
      name: webexteamssdk.WebexTeamsAPI
      action: wrapped
findings:
  description: What was left as it is and should be looked at, such as clients in other modules that the bot imports.
  returned: success
  type: list
  elements: dict
  sample:
    - path: src/components/war_room.py
      line: 12
      column: 11
      kind: other-module
      message: webexteamssdk.WebexTeamsAPI is constructed in a module that the bot imports, and stays unpooled
files:
  description: The files that were (or in check mode would be) written, with checksum and the backup's name if there
    is one.
  returned: success
  type: list
  elements: dict
"""
