"""Command line of the lab: up, down, ssh, list, clean."""

from __future__ import annotations

import argparse
import os
import signal
import sys

from tests.lab import image
from tests.lab.accounts import ACCOUNTS
from tests.lab.errors import LabError
from tests.lab.lab import Lab, attach, existing


def _say(text: str) -> None:
    print(f"lab: {text}", flush=True)


def _up(arguments: argparse.Namespace) -> None:
    lab = Lab(arguments.name, arguments.accounts, arguments.suite).up(say=_say)
    try:
        _say("starting the six bots under nohup")
        lab.start_bots()
    except BaseException:
        lab.down()
        raise
    inventory = os.path.relpath(lab.inventory)
    named = f" LAB={arguments.name}" if arguments.name != "default" else ""
    _say(f"up. Next: ansible-playbook -i {inventory} rollout.yml, make lab-ssh{named}, make lab-down{named}")


def _ssh(arguments: argparse.Namespace) -> None:
    command = attach(arguments.name).ssh_command(arguments.user)
    os.execvp(command[0], [*command, *arguments.command])


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.lab", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    actions = {
        "up": _up,
        "down": lambda arguments: Lab(arguments.name).down(),
        "ssh": _ssh,
        "list": lambda _: [print(f"{lab.name} {lab.address}") for lab in existing()],
        "clean": lambda _: image.clean(),
    }
    for verb in actions:
        parser_of_verb = verbs.add_parser(verb)
        parser_of_verb.add_argument("--name", default="default", help="the lab's name (default: default)")
        if verb == "up":
            text = "who connects, and whether the bots' user has sudo (default: vinay, who has)"
            parser_of_verb.add_argument("--accounts", choices=list(ACCOUNTS), default="vinay", help=text)
            text = f"the VM's release of Debian (default: {image.SUITE})"
            parser_of_verb.add_argument("--suite", choices=list(image.SUITES), default=image.SUITE, help=text)
        if verb == "ssh":
            parser_of_verb.add_argument("--user", default="", help="as whom (default: the operator)")
            parser_of_verb.add_argument("command", nargs="*", help="a command instead of a shell")
    arguments = parser.parse_args()
    # SIGTERM and SIGHUP take the same way out as Ctrl-C: through the clean-up.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        actions[arguments.verb](arguments)
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("lab: interrupted; nothing was left behind", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
