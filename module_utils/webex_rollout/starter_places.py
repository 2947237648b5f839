# SPDX-License-Identifier: GPL-3.0-or-later
"""The places where something may start a bot: of the system, of the bots' user, of supervisors, in the checkout.

An enumeration is never complete; docs/on-the-vm.md says what is looked at.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from .become import account_of, as_account
from .errors import RolloutError
from .paths import OWN_UNITS
from .processes import Bot
from .shell_lines import cron_command, shell_words, unit_settings
from .starter_kept import Kept, Texts
from .starter_search import Search, Starter, names_in, read_file
from .starters import starts_bot
from .tree import is_roots

SECONDS = 10.0  # for the notes: nobody waits longer for other users' crontabs

UNIT_DIRECTORIES = (
    "etc/systemd/system",
    "run/systemd/system",
    "run/systemd/transient",
    "usr/local/lib/systemd/system",
    "usr/lib/systemd/system",
    "lib/systemd/system",
    "etc/systemd/user",
    "run/systemd/user",
    "usr/lib/systemd/user",
)
USER_UNIT_DIRECTORIES = (".config/systemd/user", ".local/share/systemd/user")
CRON_WITH_USER = ("etc/crontab", "etc/cron.d")
CRON_SPOOLS = ("var/spool/cron/crontabs", "var/spool/cron")
START_SCRIPTS = (
    *("etc/rc.local", "etc/rc.d/rc.local", "etc/init.d", "etc/local.d", "etc/boot.d", "etc/network/if-up.d"),
    *("etc/NetworkManager/dispatcher.d", "etc/networkd-dispatcher/routable.d", "etc/ppp/ip-up.d"),
    *("etc/sv", "etc/service"),
    *("etc/cron.hourly", "etc/cron.daily", "etc/cron.weekly", "etc/cron.monthly", "etc/profile", "etc/profile.d"),
    *("etc/bash.bashrc", "etc/zsh/zprofile", "etc/update-motd.d", "var/spool/cron/atjobs", "var/spool/at"),
)
LOGIN_SCRIPTS = (
    *(".profile", ".bash_profile", ".bash_login", ".bashrc", ".bash_aliases", ".zprofile", ".zshrc", ".zlogin"),
    ".xprofile",
    *(".config/fish/config.fish", ".config/autostart-scripts", ".xsessionrc"),
)
# Configurations that hold commands among other words.
CONFIGURATIONS = (
    *("etc/monit/monitrc", "etc/monitrc", "etc/monit/conf.d", "etc/monit/conf-enabled", "etc/monit.d", "etc/inittab"),
    *("etc/incron.d", "var/spool/incron", "etc/init", "etc/xdg/autostart", "etc/anacrontab", "etc/circus"),
)
OWN_CONFIGURATIONS = (
    *(".pm2/dump.pm2", "ecosystem.config.js", ".config/autostart", "Procfile", ".tmuxinator", ".config/tmuxinator"),
    *("docker-compose.yml", "docker-compose.yaml", "compose.yml", "compose.yaml"),
    *(".config/supervisord.conf", "supervisord.conf"),
)
# Directories of the user's in which people keep what they start their bots with.
TOOL_PLACES = ("", "bin", "scripts", "tools", "deploy", ".local/bin")
TOOLS_LIMIT = 100
OWN_LIMIT = 8 << 20  # characters of all that is the user's own
SUPERVISOR_CONFIGS = (
    *("etc/supervisor/conf.d", "etc/supervisor/supervisord.conf", "etc/supervisord.d", "etc/supervisord.conf"),
    *("usr/local/etc/supervisord.conf", "etc/circus/conf.d"),
)


def _unit_files(search: Search) -> Iterator[tuple[str, str]]:
    """Service files and their drop-ins, of the system and of the bots' user."""
    places = [("unit" if "/user" not in d else "user unit", search.path(d)) for d in UNIT_DIRECTORIES]
    places += [("user unit", os.path.join(search.home, d)) for d in USER_UNIT_DIRECTORIES]
    seen = set()
    for kind, directory in places:
        # /lib is /usr/lib on a merged system.
        real = os.path.realpath(directory) if is_roots(os.path.join(directory, "x")) else directory
        for name in [] if real in seen else search.names_in(directory):
            path = os.path.join(directory, name)
            if name.endswith(".service"):
                yield kind, path
            elif name.endswith(".service.d"):
                yield from ((kind, os.path.join(path, conf)) for conf in search.names_in(path) if conf[-5:] == ".conf")
        seen.add(real)


def _unit_name(path: str) -> str:
    """The unit a unit file or drop-in belongs to."""
    name = os.path.basename(path)
    return name if name.endswith(".service") else os.path.basename(os.path.dirname(path))[: -len(".d")]


def _units(search: Search) -> Iterator[tuple[str, str, Any]]:
    """Kind, path and settings of each file but the rollout's own."""
    for kind, path in _unit_files(search):
        if not _unit_name(path).startswith(OWN_UNITS):
            yield kind, path, unit_settings(search.read(path), "Service")


def _search_units(search: Search) -> None:
    expand = _specifiers(search)
    uid = search.account.uid
    if uid not in search.kept.units:
        search.kept.units[uid] = list(_units(search))
    files = search.kept.units[uid]
    settings = {path: lines for _, path, lines in files}
    of_unit = {  # whichever of its files says so
        (_unit_name(path), key): value
        for path, lines in settings.items()
        for _, key, value in lines
        if key in ("WorkingDirectory", "User")
    }
    variables: dict[str, dict[str, list[str]]] = {}
    for path, lines in settings.items():
        for word in (word for _, key, value in lines if key == "Environment" for word in shell_words(expand(value))):
            name, equals, value = word.partition("=")
            if equals:
                variables.setdefault(_unit_name(path), {})[name] = [value]
    for kind, path, lines in files:
        name = _unit_name(path)
        user = search.account.name if kind == "user unit" else expand(of_unit.get((name, "User"), "")) or "root"
        directory = expand(of_unit.get((name, "WorkingDirectory"), "/").lstrip("-"))
        for number, key, value in lines:
            if key.startswith("ExecStart"):
                command = expand(value.lstrip("@-:+!"))
                answer = starts_bot(command, directory, search.of(path), variables=variables.get(name))
                search.add(kind, path, number, name, answer, user)


def _specifiers(search: Search) -> Callable[[str], str]:
    """Resolve the unit specifiers a template of bots would use, as for this bot."""
    values = {
        "%i": search.bot.name,
        "%I": search.bot.name,
        "%h": search.home,
        "%u": search.bot.user,
        "%%": "%",
    }

    def expand(text: str) -> str:
        return search.home if text == "~" else re.sub(r"%[iIhu%]", lambda match: values[match.group()], text)

    return expand


def _search_cron(search: Search) -> None:
    for path in (path for place in CRON_WITH_USER for path in search.files_in(search.path(place))):
        _search_crontab(search, path, "")
    own = {"root", search.account.name}
    spools = [path for place in CRON_SPOOLS for path in search.files_in(search.path(place))]
    for path in sorted(spools, key=lambda path: os.path.basename(path) not in own):
        if os.path.basename(path) == "root":
            _search_crontab(search, path, "root")
        elif os.path.basename(path) in own:
            _search_crontab(replace(search, effort=search.his), path, os.path.basename(path))
        elif time.monotonic() < search.notes_until:
            _search_crontab(replace(search, alone=True, effort=search.others), path, os.path.basename(path))


def _search_crontab(search: Search, path: str, owner: str) -> None:
    variables: dict[str, list[str]] = {}
    search = search.of(path)
    for number, line in enumerate(search.read(path).splitlines(), 1):
        name, equals, value = line.partition("=")
        if equals and re.fullmatch(r"\w+", name.strip()):
            variables[name.strip()] = [value.strip().strip("\"'")]
            continue
        user, command = cron_command(line, with_user=not owner)
        where = _home_of(user or owner) or "/"
        answer = starts_bot(command, where, search, variables=variables) if command else False
        search.add("cron", path, number, line.split(None, 1)[0] if answer is not False else "", answer, user or owner)


def _search_scripts(search: Search, own: Texts) -> None:
    """Shell texts that the machine, or a login of the bots' user, runs by itself."""
    for place in START_SCRIPTS:
        for path in (
            path for each in search.files_in(search.path(place)) for path in (each, os.path.join(each, "run"))
        ):
            _search_script(search.of(path), path, search.read(path), "/", "root")
    his = replace(search, effort=search.his)
    for path, content in own["login"].items():
        _search_script(his, path, content, search.account.home, search.account.name)


def _search_script(search: Search, path: str, content: str, directory: str, user: str) -> None:
    answer = starts_bot(content, directory, search) if content else False
    search.add("script", path, _line_of(content, search), os.path.basename(path), answer, user)


def _line_of(content: str, search: Search) -> int:
    """The first line that may be what starts the bot."""
    names = (os.path.basename(search.script), search.bot.name, "$")
    lines = content.splitlines()
    return next((n for name in names for n, line in enumerate(lines, 1) if name in line), 1)


def _search_configurations(search: Search, own: Texts) -> None:
    """Commands among other words: each quoted text, and each value, is judged as a shell would; else a path counts."""
    for place in CONFIGURATIONS:
        for path in search.files_in(search.path(place)):
            _search_configuration(search.of(path), path, search.read(path), "root")
    his = replace(search, effort=search.his)
    for path, content in own["configuration"].items():
        _search_configuration(his, path, content, search.account.name)


def _search_configuration(search: Search, path: str, content: str, user: str) -> None:
    relative = os.path.normpath(search.bot.script)
    written = (search.script, os.path.normpath(os.path.join(search.bot.home, relative)))
    for number, line in enumerate(content.splitlines(), 1):
        if not search.spend(4):
            break
        texts = [line.partition("=")[2], line.partition(":")[2], *re.findall(r'"([^"]*)"', line)]
        answers = [starts_bot(text, search.bot.home, search) for text in texts if len(text) > 2]
        named = any(re.search(rf"(?<![\w./-]){re.escape(each)}(?![\w.])", line) for each in (*written, relative))
        answer = True if True in answers else None if None in answers or named else False
        search.add("configuration", path, number, os.path.basename(path), answer, user)


# -- what people start their bots with -------------------------------------------------------------------------

EFFECTS = (
    (re.compile(r"\bgit\s+(restore|checkout|reset|stash|pull)\b|\brsync\b"), "takes the patch away (git or rsync)"),
    (re.compile(r"\bp?kill(all)?\b"), "ends the unit's process, which systemd starts again"),
)


def _search_tools(search: Search, own: Texts) -> None:
    """Shell scripts of the bots' user that start the bot when somebody calls them: no start by itself."""
    his = replace(search, effort=search.his)
    for path, content in own["tool"].items():
        inside = "/" + os.path.relpath(os.path.dirname(path), search.root)
        answers = [starts_bot(content, each, his) for each in dict.fromkeys((inside, search.bot.home))]
        answer = True if True in answers else None if None in answers else False
        does = [effect for pattern, effect in EFFECTS if pattern.search(content)]
        said = ", ".join([*does, "starts a second copy"])
        search.add("start script", path, _line_of(content, search), said, answer, search.account.name)


def _own_texts(home: str, checkout: str) -> Texts:
    """What the bots' user has of his own that may start a bot, by kind and path. To be called as him."""
    texts: Texts = {"login": {}, "configuration": {}, "tool": {}}
    places: list[tuple[str, Callable[[str], dict[str, str]], str]]
    places = [("login", _texts_at, os.path.join(home, place)) for place in LOGIN_SCRIPTS]
    for base in dict.fromkeys((home, checkout)):
        places += [("configuration", _texts_at, os.path.join(base, place)) for place in OWN_CONFIGURATIONS]
        places += [("tool", _shell_scripts_in, os.path.normpath(os.path.join(base, place))) for place in TOOL_PLACES]
    left = OWN_LIMIT
    for kind, texts_in, place in places:
        for path, content in texts_in(place).items():
            left -= len(content)
            if left > 0:
                texts[kind][path] = content
    return texts


def _texts_at(path: str) -> dict[str, str]:
    """The text of a file, or those of the files in a directory."""
    names = names_in(path)[:TOOLS_LIMIT]
    paths = [os.path.join(path, name) for name in names] if names else [path]
    return {each: content for each, content in ((each, read_file(each)) for each in paths) if content}


def _shell_scripts_in(directory: str) -> dict[str, str]:
    """The texts of the shell scripts in a directory, by path."""
    found: dict[str, str] = {}
    for name in names_in(directory):
        path = os.path.join(directory, name)
        script = name.endswith((".sh", ".bash"))
        if len(found) < TOOLS_LIMIT and (script or ("." not in name and os.access(path, os.X_OK))):
            content = read_file(path)
            if script or (content.startswith("#!") and "sh" in content.split("\n", 1)[0]):
                found[path] = content
    return found


def _search_supervisors(search: Search) -> None:
    for path in (path for place in SUPERVISOR_CONFIGS for path in search.files_in(search.path(place))):
        lines = [line.partition("=") for line in search.read(path).splitlines()]
        directory = next((value.strip() for key, _, value in lines if key.strip() == "directory"), "/")
        for number, (key, _, value) in enumerate(lines, 1):
            if key.strip() == "command":
                command = re.sub(r"%\((\w+)\)[sd]", r"${\1}", value)
                answer = starts_bot(command, directory, search.of(path))
                search.add("supervisor", path, number, os.path.basename(path), answer)


def _home_of(user: str) -> str:
    """A user's home directory, or nothing for an unknown user."""
    try:
        return pwd.getpwnam(user).pw_dir
    except (KeyError, ValueError):
        return ""


def search_for(bot: Bot, root: str = "/") -> Search:
    """A search with nothing found yet.

    :raises RolloutError: when the bot's user does not exist.
    """
    try:
        script = bot.script_path
    except RolloutError:  # preflight refuses that by itself
        script = os.path.normpath(os.path.join(bot.home, bot.script))
    return Search(bot, account_of(bot.user), script, root, notes_until=time.monotonic() + SECONDS)


def find_starters(bot: Bot, root: str = "/", kept: Kept | None = None) -> list[Starter]:
    """Everything but the rollout's own units that would start the bot's script.

    :param kept: for all bots of one look.
    """
    kept = kept or Kept()
    search = search_for(bot, root)
    search.kept = kept
    checkout = os.path.normpath(search.path(bot.home.lstrip("/")))
    if (bot.user, checkout) not in kept.texts:
        kept.texts[bot.user, checkout] = {"login": {}, "configuration": {}, "tool": {}}
        with contextlib.suppress(OSError, RolloutError):
            kept.texts[bot.user, checkout] = as_account(search.account, _own_texts, search.home, checkout)
    own = kept.texts[bot.user, checkout]
    _search_units(search)
    _search_scripts(search, own)
    _search_supervisors(search)
    _search_configurations(search, own)
    _search_cron(search)
    _search_tools(search, own)
    return list({(each.file, each.line, each.kind): each for each in search.found}.values())
