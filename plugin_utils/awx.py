"""Brings what is in controller/awx/ to an AWX or Automation Platform, by its API, and nothing that is there already.

`make awx AWX='--url https://awx.example.org --project-url https://git.example.org/webex-bot-rollout.git …'`; the token
is in the environment's AWX_TOKEN. docs/controllers.md has what must be there beforehand.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TEMPLATES = Path(__file__).resolve().parents[1] / "controller" / "awx"
NAME = "webex-bot-rollout"
SECONDS = 30


class AwxError(Exception):
    """What went wrong, with the next step."""


@dataclass
class Awx:
    """An API, asked by names; `done` is what was created or changed, or would be in check mode."""

    root: str
    token: str = field(repr=False)
    check: bool = False
    done: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        parts = urllib.parse.urlsplit(self.root)
        here = parts.hostname in ("localhost", "127.0.0.1", "::1")
        if parts.scheme != "https" and not (parts.scheme == "http" and here):
            raise AwxError(f"{self.root}: the token would travel in clear; name an https address")
        # A redirect could take the token elsewhere; there is none in this API.
        self._opener = urllib.request.build_opener(_NoRedirect)

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """One request; returns what came back as JSON."""
        request = urllib.request.Request(
            f"{self.root.rstrip('/')}/{path}",
            data=None if body is None else json.dumps(body).encode(),
            method=method,
            headers={"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"},
        )
        try:
            with self._opener.open(request, timeout=SECONDS) as answer:
                text = answer.read()
        except urllib.error.HTTPError as error:
            said = error.read(2000).decode(errors="replace")
            raise AwxError(f"{method} {path}: {error.code} {said}") from None
        except (urllib.error.URLError, TimeoutError) as error:
            raise AwxError(f"{self.root} cannot be reached: {error}") from None
        return json.loads(text) if text.strip() else {}

    def find(self, path: str, name: str) -> dict[str, Any] | None:
        """The thing of this name in a list."""
        found = self.call("GET", f"{path}?{urllib.parse.urlencode({'name': name})}")["results"]
        return dict(found[0]) if found else None

    def id_of(self, path: str, name: str) -> int:
        """The id of something that the operator has made.

        :raises AwxError: when it is not there.
        """
        found = self.find(path, name)
        if found is None:
            raise AwxError(f"there is no '{name}' among the {path.strip('/')}; make it first, or name another")
        return int(found["id"])

    def ensure(self, path: str, wanted: Mapping[str, Any]) -> int:
        """Create the thing of this name, or change what differs; returns its id, 0 where check mode created none."""
        found = self.find(path, str(wanted["name"]))
        if found is None:
            self.done.append(f"{wanted['name']}: created")
            return 0 if self.check else int(self.call("POST", path, wanted)["id"])
        differs = {key: value for key, value in wanted.items() if found.get(key) != value}
        if differs:
            self.done.append(f"{wanted['name']}: changed ({', '.join(sorted(differs))})")
            if not self.check:
                self.call("PATCH", f"{path}{found['id']}/", differs)
        return int(found["id"])

    def ensure_survey(self, template: int, survey: Mapping[str, Any]) -> None:
        """Give a job template its questions."""
        path = f"job_templates/{template}/survey_spec/"
        if template == 0 or not _has(self.call("GET", path), survey):
            self.done.append(f"survey '{survey['name']}': written")
            if not self.check:
                self.call("POST", path, survey)

    def ensure_credential(self, template: int, credential: int) -> None:
        """Have a job template log in by this credential."""
        path = f"job_templates/{template}/credentials/"
        if template == 0 or credential in [each["id"] for each in self.call("GET", path)["results"]]:
            return
        self.done.append(f"credential {credential}: attached")
        if not self.check:
            self.call("POST", path, {"id": credential})


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


def _has(found: Any, wanted: Any) -> bool:
    """Whether all that is wanted is there; the API adds keys of its own."""
    if isinstance(wanted, Mapping):
        return isinstance(found, Mapping) and all(key in found and _has(found[key], wanted[key]) for key in wanted)
    if isinstance(wanted, list) and isinstance(found, list):
        return len(found) == len(wanted) and all(map(_has, found, wanted))
    return bool(found == wanted)


def apply(awx: Awx, given: argparse.Namespace) -> None:
    """Project, execution environment, job templates with their surveys, and schedules, in this order."""
    organization = awx.id_of("organizations/", given.organization)
    inventory, credential = awx.id_of("inventories/", given.inventory), awx.id_of("credentials/", given.credential)
    source = {"scm_type": "git", "scm_url": given.project_url, "scm_branch": given.branch}
    project = awx.ensure("projects/", {"name": NAME, "organization": organization, **source})
    image = {"image": given.image, "pull": "missing"}
    environment = awx.ensure("execution_environments/", {"name": NAME, "organization": organization, **image})
    uses = {"project": project, "inventory": inventory, "execution_environment": environment}
    for path in sorted(TEMPLATES.glob("*.json")):
        wanted = json.loads(path.read_text(encoding="utf-8"))
        template = awx.ensure("job_templates/", {**wanted["template"], **uses})
        awx.ensure_credential(template, credential)
        if wanted["survey"]:
            awx.ensure_survey(template, wanted["survey"])
        for schedule in wanted["schedules"]:
            if template:
                # Whether it is enabled is the operator's, once it is there.
                there = awx.find(f"job_templates/{template}/schedules/", schedule["name"])
                kept = {key: schedule[key] for key in schedule if not there or key != "enabled"}
                _ensure_schedule(awx, template, kept, there)


def _ensure_schedule(awx: Awx, template: int, wanted: Mapping[str, Any], there: Mapping[str, Any] | None) -> None:
    if there is None:
        awx.done.append(f"{wanted['name']}: created")
        if not awx.check:
            awx.call("POST", f"job_templates/{template}/schedules/", wanted)
    elif not _has(there, wanted):
        awx.done.append(f"{wanted['name']}: changed")
        if not awx.check:
            awx.call("PATCH", f"schedules/{there['id']}/", wanted)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; returns its exit status."""
    parser = argparse.ArgumentParser(prog="make awx", description=__doc__)
    parser.add_argument("--url", required=True, help="of the AWX; with an Automation Platform, of its gateway")
    parser.add_argument("--api", default="api/v2", help="where the API is (Automation Platform 2.5: api/controller/v2)")
    parser.add_argument("--organization", default="Default")
    parser.add_argument("--inventory", default=NAME, help="its name there, made before")
    parser.add_argument("--credential", default=NAME, help="name of the machine credential there, made before")
    parser.add_argument("--project-url", required=True, help="of your clone, as AWX reaches it")
    parser.add_argument("--branch", default="main")
    parser.add_argument("--image", default=f"localhost/{NAME}:latest", help="the execution environment's")
    parser.add_argument("--check", action="store_true", help="change nothing, show what would be")
    given = parser.parse_args(arguments)
    token = os.environ.get("AWX_TOKEN", "")
    try:
        if not token:
            raise AwxError("AWX_TOKEN is not set: put a token with write scope into the environment")
        awx = Awx(f"{given.url.rstrip('/')}/{given.api.strip('/')}", token, given.check)
        apply(awx, given)
    except AwxError as error:
        print(error, file=sys.stderr)
        return 1
    print("\n".join(awx.done) or "nothing to do")
    return 0


if __name__ == "__main__":
    sys.exit(main())
