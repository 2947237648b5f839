"""What of AWX's API the project uses, with its refusals as AWX's own sources have them; no AWX runs here."""

from __future__ import annotations

import json
import re
import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "awx-token-of-the-test"
# The writable fields of each resource that the project may use, as AWX 24 documents them.
FIELDS = {
    "projects": {"name", "description", "organization", "scm_type", "scm_url", "scm_branch", "scm_update_on_launch"},
    "execution_environments": {"name", "description", "organization", "image", "credential", "pull"},
    "job_templates": {
        *("name", "description", "job_type", "inventory", "project", "playbook", "scm_branch", "forks", "limit"),
        *("verbosity", "extra_vars", "job_tags", "skip_tags", "timeout", "execution_environment"),
        *("ask_limit_on_launch", "ask_variables_on_launch", "ask_job_type_on_launch", "ask_diff_mode_on_launch"),
        *("become_enabled", "diff_mode", "allow_simultaneous", "job_slice_count", "survey_enabled"),
    },
    "schedules": {"name", "description", "rrule", "enabled", "extra_data", "limit", "job_type", "diff_mode"},
}
TYPES: dict[str, type] = {
    **dict.fromkeys(("text", "textarea", "password", "multiplechoice", "multiselect"), str),
    "integer": int,
    "float": float,
}


def survey_problem(spec: dict[str, Any]) -> str:
    """Why AWX refuses a survey; empty where it takes it."""
    for name, kind in (("name", str), ("description", str), ("spec", list)):
        if not isinstance(spec.get(name), kind):
            return f"Field '{name}' is missing from survey spec."
    seen = set()
    for question in spec["spec"]:
        for name in ("type", "question_name", "variable"):
            if not isinstance(question.get(name), str):
                return f"'{name}' missing from survey question"
        if not isinstance(question.get("required"), bool):
            return "'required' expected to be boolean."
        if question["variable"] in seen:
            return f"'variable' '{question['variable']}' duplicated"
        seen.add(question["variable"])
        kind, default = question["type"], question.get("default", "")
        if kind not in TYPES:
            return f"'{kind}' is not one of the allowed question types."
        if default != "" and not isinstance(default, TYPES[kind]):
            return f"Default value {default} expected to be {kind}."
        if any(not isinstance(question.get(limit), (int, type(None))) for limit in ("min", "max")):
            return "limit expected to be integer."
        if kind in ("multiplechoice", "multiselect"):
            if not question.get("choices"):
                return f"Survey question of type {kind} must specify choices."
            if any(choice not in question["choices"] for choice in default.splitlines()):
                return "Default choice must be answered from the choices listed."
    return "" if spec["spec"] else "'spec' doesn't contain any items."


def rrule_problem(rule: str) -> str:
    """Why AWX refuses a schedule's rule; empty where it takes it."""
    if len(re.findall(r"DTSTART:\d{8}T\d{6}Z", rule)) != 1:
        return "Valid DTSTART required in rrule."
    rules = re.findall(r"RRULE:(\S*)", rule)
    if not rules:
        return "One or more rule required in rrule."
    if not all(re.search(r"FREQ=(MINUTELY|HOURLY|DAILY|WEEKLY|MONTHLY|YEARLY)\b", each) for each in rules):
        return "rrule parsing failed validation"
    return "" if all("INTERVAL=" in each for each in rules) else "INTERVAL required in rrule"


class StandIn:
    """An AWX in memory. `writes` lists what changed it, as method and path."""

    def __init__(self) -> None:
        self.things: dict[str, list[dict[str, Any]]] = {
            "organizations": [{"id": 1, "name": "Default"}],
            "inventories": [{"id": 2, "name": "webex-bot-rollout"}],
            "credentials": [{"id": 3, "name": "webex-bot-rollout"}],
        }
        self.surveys: dict[int, dict[str, Any]] = {}
        self.writes: list[str] = []
        self.url = ""

    def listed(self, path: str) -> list[dict[str, Any]]:
        return self.things.setdefault(path, [])

    def answer(self, method: str, target: str, body: dict[str, Any]) -> tuple[int, Any]:
        """Status and body for a request."""
        parts = urllib.parse.urlsplit(target.removeprefix("/api/v2/"))
        path, query = parts.path.strip("/"), dict(urllib.parse.parse_qsl(parts.query))
        if method != "GET":
            self.writes.append(f"{method} {path}")
        survey = re.fullmatch(r"job_templates/(\d+)/survey_spec", path)
        if survey:
            return self._survey(method, int(survey[1]), body)
        one = re.fullmatch(r"([a-z_]+)/(\d+)", path)
        if one:
            every = [each for listed in self.things.values() for each in listed]
            found = next(each for each in every if each["id"] == int(one[2]))
            problem = self._problem(one[1], {**found, **body}, body)
            return (400, problem) if problem else (200, found | (found.update(body) or {}))
        if method == "GET":
            named = [each for each in self.listed(path) if query.get("name") in (None, each.get("name"))]
            return 200, {"count": len(named), "results": named}
        if path.endswith("/credentials"):
            self.listed(path).append(body)
            return 204, {}
        problem = self._problem(path.rsplit("/", 1)[-1], body, body)
        if problem:
            return 400, problem
        new = {"id": 100 + sum(map(len, self.things.values())), **body}
        self.listed(path).append(new)
        return 201, new

    def _survey(self, method: str, template: int, body: dict[str, Any]) -> tuple[int, Any]:
        if method == "GET":
            return 200, self.surveys.get(template, {})
        problem = survey_problem(body)
        if not problem:
            self.surveys[template] = body
        return (400, {"error": problem}) if problem else (200, {})

    @staticmethod
    def _problem(kind: str, whole: dict[str, Any], body: dict[str, Any]) -> dict[str, str]:
        # The API leaves unknown fields aside without a word; here that would hide a misspelt one.
        unknown = set(body) - FIELDS[kind]
        if unknown:
            return {"unknown": ", ".join(sorted(unknown))}
        if kind == "job_templates" and not (whole.get("project") and whole.get("playbook") and whole.get("inventory")):
            return {"project": "project, playbook and inventory are needed"}
        if kind == "schedules" and rrule_problem(whole["rrule"]):
            return {"rrule": rrule_problem(whole["rrule"])}
        return {}


@contextmanager
def awx() -> Iterator[StandIn]:
    """A stand-in that listens on this machine's loopback."""
    stand_in = StandIn()

    class Handler(BaseHTTPRequestHandler):
        def handle_one(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                status, content = 401, {"detail": "Authentication credentials were not provided."}
            else:
                status, content = stand_in.answer(self.command, self.path, body)
            data = b"" if status == 204 else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PATCH = handle_one

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    stand_in.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield stand_in
    finally:
        server.shutdown()
        server.server_close()
