"""A bot's client of the benchmark, in a bot's environment: python client.py PLAN, which is JSON; prints JSON.

Runs outside the project's own environment, with the SDK, requests and urllib3 of a bot, and nothing of tests.*.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import random
import sys
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry
from webexpythonsdk import WebexAPI


def report_fix(api_instance, pool_connections=50, pool_maxsize=50, max_retries=3, backoff_factor=1):  # noqa: ANN201
    """`configure_webex_api_session` as the root-cause report prints it; only its back-off can be scaled here."""
    session = api_instance._session._req_session

    retry_strategy = Retry(
        total=max_retries,
        backoff_factor=backoff_factor,
        status_forcelist=[429, 500, 502, 503, 504],
        allowed_methods=["GET", "POST", "PUT", "DELETE"],
    )

    adapter = HTTPAdapter(
        pool_connections=pool_connections,
        pool_maxsize=pool_maxsize,
        max_retries=retry_strategy,
        pool_block=False,
    )

    session.mount("https://", adapter)
    return api_instance


def make_client(kind: str, plan: dict) -> WebexAPI:
    """The default client, the report's fix, this module, or this module with its channel."""
    timeout = plan["default_timeout"] if kind == "default" else plan["longer_timeout"]
    api = WebexAPI(access_token="t", base_url=plan["url"], single_request_timeout=timeout)
    if kind == "report":
        return report_fix(api, backoff_factor=plan["module_settings"]["backoff"])
    if kind in ("module", "channel"):
        os.environ.pop("WEBEX_POOL_CHANNEL", None)
        if kind == "channel":
            os.environ["WEBEX_POOL_CHANNEL"] = plan["channel"]
        spec = importlib.util.spec_from_file_location("webex_pool_config", plan["module"])
        module = sys.modules["webex_pool_config"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.configure_webex_api_session(api, **plan["module_settings"])
    return api


def call(api: WebexAPI, number: int, post_every: int) -> tuple:
    """One call as bots make it: seconds until the answer or the error, and the error's name."""
    start = time.perf_counter()
    try:
        if post_every and number % post_every == 0:
            api.messages.create(roomId="r", text=f"message {number}")
        else:
            api.messages.get(f"m{number}")
        error = None
    except Exception as failure:  # whatever reaches a bot is what is counted
        error = type(failure).__name__
    return time.perf_counter() - start, error


def bursts(plan: dict) -> dict:
    """Bursts of calls on a pool of threads, with gaps in which nothing is sent."""
    api = make_client(plan["client"], plan)
    calls, busy, number = [], 0.0, 0
    with ThreadPoolExecutor(plan["threads"]) as threads:
        for burst in range(plan["bursts"]):
            if burst:
                time.sleep(plan["gap"])
            start = time.perf_counter()
            numbers = range(number, number + plan["calls"])
            calls += threads.map(lambda each: call(api, each, plan["post_every"]), numbers)
            busy += time.perf_counter() - start
            number += plan["calls"]
    return {"calls": calls, "busy": busy}


def steady(plan: dict) -> dict:
    """Calls one after the other, in short blocks that take turns between the clients: noise meets all alike."""
    kinds = ["default", "report", "module", "channel"]
    rounds, order = [], random.Random(1)
    for _ in range(plan["rounds"]):
        # New clients in each round, for a connection may have luck with its processor for as long as it lasts.
        clients = {kind: make_client(kind, plan) for kind in kinds}
        measured = {kind: {"wall": [], "processor": 0.0} for kind in kinds}
        for block in range(plan["blocks"] + 1):
            for kind in order.sample(kinds, len(kinds)):
                before = time.thread_time()
                calls = [call(clients[kind], number, 0) for number in range(1, plan["calls"] + 1)]
                used = time.thread_time() - before
                assert not any(error for _seconds, error in calls), calls
                if block:  # the first one connects
                    measured[kind]["wall"] += [seconds for seconds, _error in calls]
                    measured[kind]["processor"] += used
        rounds.append(measured)
        for client in clients.values():
            client._session._req_session.close()
    return {"rounds": rounds}


def main() -> None:
    """Run the plan; the SDK's own words go nowhere."""
    plan = json.loads(sys.argv[1])
    os.environ["REQUESTS_CA_BUNDLE"] = plan["authority"]
    warnings.simplefilter("ignore")
    logging.getLogger().addHandler(logging.NullHandler())
    result = steady(plan) if plan["case"] == "steady" else bursts(plan)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
