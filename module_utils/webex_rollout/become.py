# SPDX-License-Identifier: GPL-3.0-or-later
"""Becoming a bot's user. Whatever lies below a path that this user controls is touched by a child that has become him.

Links, FIFOs and directories that change while they are looked at are then his own affair: the kernel gives the child
what he could do himself. Root waits for a bounded time, takes a bounded answer, and treats it as data.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import grp
import json
import os
import pwd
import resource
import select
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn

from . import errors
from .errors import RolloutError
from .hanging import end_child, hangs, note_hanging
from .system import run_command
from .tree import is_roots

SECONDS = 60.0
ANSWER_LIMIT = 128 * 1024 * 1024
MEMORY_LIMIT = 2 * 1024 * 1024 * 1024
WAITS = "waits for a file system that does not answer (`findmnt` shows them; end what serves it, or `umount -l -f`)"
# What a program that is run as the user gets: nothing of root's session, of which some variables are secrets.
PATH = "/usr/local/bin:/usr/bin:/bin"


@dataclass(frozen=True)
class Account:
    """Who a bot runs as, as the machine knows him now."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str


def account_of(user: str) -> Account:
    """Look a user up.

    :raises RolloutError: when there is none of that name.
    """
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise RolloutError(f"there is no user {user} on the VM; set bot_user to the one who runs the bot") from None
    groups = tuple(sorted(os.getgrouplist(user, entry.pw_gid)))
    return Account(user, entry.pw_uid, entry.pw_gid, groups, entry.pw_dir)


def expanded(path: str, account: Account) -> str:
    """A path as its owner's shell would have it: ``~`` is the home of the bot's user, ``~name`` somebody else's.

    :raises RolloutError: when there is nobody of that name.
    """
    if not path.startswith("~"):
        return path
    name, slash, rest = path[1:].partition("/")
    try:
        home = pwd.getpwnam(name).pw_dir if name else account.home
    except KeyError:
        raise RolloutError(f"{path} begins with the home of {name}, and there is no such user on the VM") from None
    return home + slash + rest


def uid_of(user: str) -> int | None:
    """The number of a user, who may be given by it; None where there is none of the name."""
    if user.isdecimal() and user.isascii():
        return int(user[:10])
    try:
        return pwd.getpwnam(user).pw_uid
    except (KeyError, ValueError):
        return None


def group_name(gid: int) -> str:
    """Name of a group, or its number where it has none."""
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def account_for(user: str, directory: str) -> Account:
    """Who acts on a checkout: whoever runs this; for root its bots' user, or its owner where no user is named.

    :raises RolloutError: when there is no such user or directory, or nothing tells whose it is.
    """
    if os.geteuid() != 0:
        own = os.geteuid()
        name = next((entry.pw_name for entry in pwd.getpwall() if entry.pw_uid == own), str(own))
        return Account(name, own, os.getegid(), tuple(os.getgroups()), directory)
    if user:
        return account_of(user)
    try:
        status = os.stat(directory)
    except OSError as error:
        raise RolloutError(f"{directory}: {error.strerror}") from None
    if status.st_uid == 0 and not is_roots(os.path.join(directory, "any")):
        raise RolloutError(f"whose {directory} is cannot be told; set bot_user to the one who runs its bots")
    return Account(str(status.st_uid), status.st_uid, status.st_gid, (status.st_gid,), directory)


def root_account() -> Account:
    """Whoever this process is: for a child that shall have its bounds, but reads what only root can read in /proc."""
    return Account("root", os.geteuid(), os.getegid(), tuple(os.getgroups()), "/")


def become(account: Account) -> None:
    """Make this process the user's, for good: groups, all gids, all uids. Only root can, and only becomes less."""
    if os.geteuid() == 0:
        os.setgroups(list(account.groups))
        os.setresgid(account.gid, account.gid, account.gid)
        os.setresuid(account.uid, account.uid, account.uid)
    if os.getresuid() != (account.uid,) * 3:
        raise PermissionError(1, f"only root can act as {account.name}")


def as_account(account: Account, function: Callable[..., Any], *arguments: Any, seconds: float = SECONDS) -> Any:
    """What a function returns when a child that has become the user calls it.

    The child has no terminal, no inherited descriptor and no root left; it is ended with everything that it started
    when its time is over. Its answer consists of what JSON knows, and of bytes; tuples become lists.

    :param seconds: how long it may take.
    :raises RolloutError: as the function does, or when it was ended, took too long, or said too much.
    :raises OSError: as the function does.
    """
    with Child(account, function, *arguments, seconds=seconds) as child:
        return child.answer()


class Child:
    """What `as_account` does, in two steps: the child works from here on, and `answer` waits for it.

    A context manager, at whose end there is no child any more.
    """

    def __init__(
        self, account: Account, function: Callable[..., Any], *arguments: Any, seconds: float = SECONDS
    ) -> None:
        self._account, self._seconds, self._pid = account, seconds, 0
        self._kind = f"{account.uid}.{getattr(function, '__qualname__', '')}"
        if os.geteuid() == 0 and hangs(self._kind):
            raise RolloutError(f"acting as {account.name}: an earlier look still {WAITS}")
        self._reading, writing = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            _child(account, writing, seconds, function, arguments)
        os.close(writing)

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def answer(self) -> Any:
        """What the function returned.

        :raises RolloutError: as the function did, or when it was ended, took too long, or said too much.
        :raises OSError: as the function did.
        """
        data, problem = _answer(self._reading, self._seconds)
        if not self._end():
            problem = f"{problem}, in vain: it {WAITS}"
        if problem:
            raise RolloutError(f"acting as {self._account.name}: {problem}")
        return _taken(self._account, data)

    def _end(self) -> bool:
        """End the child; whether it is gone."""
        pid, self._pid = self._pid, 0
        if not pid:
            return True
        os.close(self._reading)
        if end_child(pid):
            return True
        note_hanging(self._kind, pid)
        return False


class Ran(NamedTuple):
    """How a program ended, and the ends of what it wrote."""

    status: int
    output: bytes
    errors: bytes


def run_as(account: Account, argv: Sequence[str], stdin: bytes | None = None, seconds: float = SECONDS) -> Ran:
    """Run a program as the user, from his home directory, without a shell and without root's environment.

    :raises RolloutError: when it cannot be run, or did not answer in time.
    """
    return Ran(*as_account(account, _run, list(argv), stdin, account.name, account.home, seconds, seconds=seconds + 5))


def _run(argv: list[str], stdin: bytes | None, name: str, home: str, seconds: float) -> list[Any]:
    environment = {"PATH": PATH, "HOME": home, "USER": name, "LOGNAME": name, "LANG": "C.UTF-8"}
    done = run_command(argv, timeout=seconds, stdin=stdin, environment=environment)
    return [done.returncode, done.stdout, done.stderr[-65536:]]


def _child(
    account: Account, writing: int, seconds: float, function: Callable[..., Any], arguments: Sequence[Any]
) -> NoReturn:
    """Become the user, call the function, answer, and leave without anything of the parent's being run or flushed."""
    try:
        os.setsid()
        writing = _leave_descriptors(writing)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGALRM):
            signal.signal(number, signal.SIG_DFL)
        signal.alarm(int(seconds) + 5)  # also without the parent
        os.chdir("/")
        os.umask(0o077)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        _limit_memory()
        become(account)
        answer = {"value": _plain(function(*arguments))}
    except OSError as error:
        name = None if error.filename is None else os.fsdecode(error.filename)
        answer = {"os": [error.errno, error.strerror or str(error), name]}
    except RolloutError as error:
        answer = {"error": [type(error).__name__, str(error)]}
    except BaseException as error:
        answer = {"error": ["RolloutError", f"{type(error).__name__}: {error}"]}
    with contextlib.suppress(BaseException):
        data = json.dumps(answer).encode("ascii")
        while data:
            data = data[os.write(writing, data) :]
    os._exit(0)


def _leave_descriptors(writing: int) -> int:
    """Keep no descriptor but the pipe's; standard streams go nowhere."""
    null = os.open("/dev/null", os.O_RDWR)
    kept = fcntl.fcntl(writing, fcntl.F_DUPFD_CLOEXEC, 3)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2 and int(name) != kept:
            with contextlib.suppress(OSError):
                os.close(int(name))
    return kept


def _limit_memory() -> None:
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    limit = MEMORY_LIMIT if hard == resource.RLIM_INFINITY else min(hard, MEMORY_LIMIT)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _answer(reading: int, seconds: float) -> tuple[bytes, str]:
    """All that the child says until it is done, and what is wrong with it."""
    until = time.monotonic() + seconds
    blocks: list[bytes] = []
    size = 0
    poll = select.poll()
    poll.register(reading, select.POLLIN)
    while True:
        left = until - time.monotonic()
        if left <= 0 or not poll.poll(left * 1000):
            return b"", f"no answer within {seconds:.0f} s, so it was ended"
        block = os.read(reading, 1 << 16)
        if not block:
            return b"".join(blocks), "" if blocks else "it was ended before it could answer"
        blocks.append(block)
        size += len(block)
        if size > ANSWER_LIMIT:
            return b"", f"an answer of more than {ANSWER_LIMIT >> 20} MiB"


def _taken(account: Account, data: bytes) -> Any:
    """What the child's function returned, or its error, raised here."""
    try:
        answer = json.loads(data)
    except ValueError:
        raise RolloutError(f"acting as {account.name}: it was ended while it answered") from None
    if "os" in answer:
        number, text, name = answer["os"]
        raise OSError(number, text, name) if name is not None else OSError(number, text)
    if "error" in answer:
        kind, text = answer["error"]
        raise getattr(errors, kind, RolloutError)(text)
    return _given(answer["value"])


def as_plain(value: Any) -> Any:
    """A value as a child's answer would bring it."""
    return _given(json.loads(json.dumps(_plain(value))))


_BYTES = "\0bytes"


def _plain(value: Any) -> Any:
    """A value as JSON knows it; bytes in base64 under a key that no other answer has."""
    if isinstance(value, bytes):
        return {_BYTES: base64.b64encode(value).decode("ascii")}
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def _given(value: Any) -> Any:
    """The value that `_plain` was given, but for tuples."""
    if isinstance(value, dict):
        if _BYTES in value:
            return base64.b64decode(value[_BYTES])
        return {key: _given(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_given(item) for item in value]
    return value
