# SPDX-License-Identifier: GPL-3.0-or-later
"""What a confirmed release was made from, as one hash: where it is the same again, the release would be, too.

The controller names the settings and the project, and the machine adds what of itself is in the files.
"""

from __future__ import annotations

import json
from pathlib import Path

from .become import account_of, group_name
from .disk import sha256, unseal
from .errors import RolloutError
from .processes import Bot
from .procfs import allowed_open_files
from .store import Store
from .systemd import systemd_version


def made_from(inputs: str, bot: Bot) -> str:
    """The hash for a bot of this machine.

    :param inputs: the controller's part.
    :raises RolloutError: when there is no such user.
    """
    account = account_of(bot.user)
    group = group_name(account.gid)
    known = [inputs, account.uid, group, account.home, allowed_open_files(), systemd_version()]
    return sha256(json.dumps(known).encode())


def keep_inputs(store: Store, release: str, inputs: str, bot: Bot) -> None:
    """Write down what the release that was confirmed is made from."""
    store.vm.write(_path(store), {"release": release, "made_from": made_from(inputs, bot)})


def same_inputs(store: Store, release: str, inputs: str, bot: Bot) -> bool:
    """Whether a release is known to be made from these. One that was confirmed without a word of them is not."""
    try:
        kept = unseal(_path(store))
    except (FileNotFoundError, RolloutError):  # damaged, or a newer program's: as good as none
        return False
    return kept == {"release": release, "made_from": made_from(inputs, bot)}


def _path(store: Store) -> Path:
    return store.path / "inputs.json"
