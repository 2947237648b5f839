# SPDX-License-Identifier: GPL-3.0-or-later
"""The lock: one rollout of a machine at a time, fenced by a token that is never used twice."""

from __future__ import annotations

import contextlib
import re
import time
from dataclasses import asdict, dataclass
from typing import Any

from .clock import Deadline
from .disk import make_directory, unseal
from .errors import RolloutError
from .store import Vm
from .system import utc


@dataclass(frozen=True)
class Holder:
    """Who holds the lock. ``place`` names host, boot and process namespace: inside it pid and start time are proof."""

    who: str
    host: str
    pid: int = 0
    start_time: str = ""
    place: str = ""

    def same_run(self, other: Holder) -> bool:
        """Whether both are one run of one program, whoever it names as the user."""
        return self.pid != 0 and (self.place, self.pid, self.start_time) == (other.place, other.pid, other.start_time)


@dataclass(frozen=True)
class Lock:
    """The lock, or its last holder's traces. ``token`` grows with every new holder and is never used twice."""

    token: int = 0
    holder: Holder | None = None
    since: float = 0.0
    expiry: Deadline | None = None

    @classmethod
    def load(cls, data: Any) -> Lock:
        """Read back what `asdict` wrote."""
        holder = None if data["holder"] is None else Holder(**data["holder"])
        return cls(data["token"], holder, data["since"], Deadline.load(data["expiry"]))

    @property
    def held(self) -> bool:
        """Whether somebody holds it and has not let it expire."""
        return self.holder is not None and self.expiry is not None and not self.expiry.past()

    def described(self) -> str:
        """Who, from where, since when, until when."""
        if self.holder is None or self.expiry is None:
            return "free"
        process = f" (pid {self.holder.pid})" if self.holder.pid else " (by hand)"
        until = utc(time.time() + self.expiry.remaining()) if self.held else "expired"
        return f"{self.holder.who} on {self.holder.host}{process} since {utc(self.since)} until {until}"


def read_lock(vm: Vm) -> Lock:
    """The lock as it is now."""
    try:
        return Lock.load(unseal(vm.path / "lock.json"))
    except FileNotFoundError:
        return Lock()
    except (KeyError, TypeError, ValueError) as error:
        raise RolloutError(f"{vm.path / 'lock.json'} is not what this program writes ({error})") from None


def _write_lock(vm: Vm, lock: Lock) -> Lock:
    make_directory(vm.path)
    vm.write(vm.path / "lock.json", asdict(lock))
    return lock


@dataclass(frozen=True)
class LockResult:
    """What came of asking for the lock."""

    lock: Lock
    got: bool
    changed: bool


def acquire_lock(
    vm: Vm, holder: Holder, seconds: float | None = None, dead: int = 0, check: bool = False
) -> LockResult:
    """Acquire the lock for `seconds`, or renew it. `dead` is the token of a holder that the caller knows to be dead.

    Another one's lock is not an error here: the caller may know more about the holder.
    """
    with vm.mutex() if not check else contextlib.nullcontext():
        lock = read_lock(vm)
        expiry = Deadline.after(vm.timing.lock if seconds is None else seconds)
        if lock.holder is not None and lock.holder.same_run(holder):  # expired or not: nobody took it meanwhile
            renewed = lock if check else _write_lock(vm, Lock(lock.token, lock.holder, lock.since, expiry))
            return LockResult(renewed, True, False)
        if lock.held and lock.token != dead:
            return LockResult(lock, False, False)
        if check:
            return LockResult(lock, True, True)
        taken = _write_lock(vm, Lock(lock.token + 1, holder, time.time(), expiry))
        why = "free" if lock.holder is None else ("holder died" if lock.held else "expired")
        vm.audit("lock", "", "taken", token=taken.token, holder=taken.described(), was=why, before=lock.described())
        return LockResult(taken, True, True)


def release_lock(vm: Vm, token: int, force: bool = False, check: bool = False) -> LockResult:
    """Release the lock with this token; with `force` anybody's. Someone else's is left alone."""
    with vm.mutex() if not check else contextlib.nullcontext():
        lock = read_lock(vm)
        mine = lock.holder is not None and (force or lock.token == token)
        if not mine or check:
            return LockResult(lock, mine, mine)
        freed = _write_lock(vm, Lock(lock.token, None, 0.0, None))
        vm.audit("unlock", "", "forced" if force else "released", token=lock.token, before=lock.described())
        return LockResult(freed, True, True)


def repair_lock(vm: Vm) -> Lock:
    """Replace a damaged lock by a free one whose tokens continue above every token that was ever used."""
    with vm.mutex():
        used = [0]
        for name in vm.bot_names():
            with contextlib.suppress(RolloutError):
                used.append(vm.store(name).need().token)
        used += [int(n) for line in vm.audit_tail(100000) for n in re.findall(r"\btoken=(\d+)", line)]
        lock = _write_lock(vm, Lock(max(used) + 1, None, 0.0, None))
        vm.audit("unlock", "", "repaired", token=lock.token)
        return lock


def act_under_lock(vm: Vm, token: int | None) -> None:
    """Hold the lock on for the run that has this token, and act in its holder's name from now on (`vm.who`).

    Without a token this does nothing: who acts by hand needs no lock.

    :raises RolloutError: when the run has lost the lock; nothing was done then.
    """
    if token is None:
        return
    with vm.mutex():
        lock = read_lock(vm)
        if lock.token != token or lock.holder is None:
            now = f"held by {lock.described()}" if lock.held else "free"
            raise RolloutError(
                f"this run's lock (token {token}) is stale: the lock of this machine is {now} (token {lock.token}). "
                "Nothing was done. Run again; a refused run reports who holds the lock"
            )
        # Nobody took it over meanwhile, so it is still ours even if it had just expired
        seconds = lock.expiry.seconds if lock.expiry else vm.timing.lock
        _write_lock(vm, Lock(lock.token, lock.holder, lock.since, Deadline.after(seconds)))
        vm.who = f"{lock.holder.who}@{lock.holder.host}" if "@" not in lock.holder.who else lock.holder.who
