"""A file system of a user's own that never answers: root's child waits for it and cannot be ended, root does not."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest
from ansible.module_utils.webex_rollout import hanging
from ansible.module_utils.webex_rollout.become import account_of, as_account, run_as
from ansible.module_utils.webex_rollout.errors import LogError, RolloutError
from ansible.module_utils.webex_rollout.logs import reader as readers

from tests.unit.people import NAMES
from tests.unit.security.silent_mount import SilentMount

if TYPE_CHECKING:
    from tests.unit.people import People

# A look may take this long in these tests, and whoever waits for it a second longer.
SECONDS = 1.0


@pytest.fixture
def mount(people: People, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], SilentMount]]:
    monkeypatch.setattr(hanging, "PATIENCE", 1.0)
    mounts: list[SilentMount] = []

    def make(name: str) -> SilentMount:
        mounts.append(SilentMount(people.base / name / "mounted", NAMES[name]))
        return mounts[-1]

    yield make
    for each in mounts:
        each.close()


def test_a_child_that_cannot_be_ended_is_left_behind_once(mount: Callable[[str], SilentMount]) -> None:
    mounted, account = mount("botuser"), account_of("botuser")
    path = str(mounted.where / "log")

    for match, most in (
        ("no answer within 1 s, so it was ended, in vain: it waits for a file system that does not answer", 10.0),
        ("acting as botuser: an earlier look still waits for a file system that does not answer", 0.5),
    ):
        begun = time.monotonic()
        with pytest.raises(RolloutError, match=match):
            as_account(account, os.stat, path, seconds=SECONDS)
        assert time.monotonic() - begun < most
    assert as_account(account, os.getuid) == 4242, "what does not touch it"
    mounted.close()
    until = time.monotonic() + 20
    while hanging.hangs("4242.stat"):
        assert time.monotonic() < until
        time.sleep(0.05)
    with pytest.raises(OSError, match="No such file"):
        as_account(account, os.stat, path, seconds=20)
    assert not os.listdir(hanging.DIRECTORY)  # noqa: PTH208


def test_a_log_on_it_is_no_evidence(mount: Callable[[str], SilentMount], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "SECONDS", SECONDS)
    link = mount("botuser").where.with_name("jarvis.log")
    link.symlink_to("mounted/jarvis.log")
    for match in ("no answer within 1 s", "an earlier look"):
        with pytest.raises(LogError, match=match):
            readers.LogReader("botuser").look_at_all(str(link), rotated=False)


def test_a_program_on_it_is_left_behind_once(mount: Callable[[str], SilentMount]) -> None:
    python = str(mount("botuser").where / "python")
    for match in ("no answer|did not answer", "an earlier look"):
        with pytest.raises(RolloutError, match=match):
            run_as(account_of("botuser"), [python], seconds=SECONDS)
