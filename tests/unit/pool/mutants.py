"""The pool module with one feature taken out at a time, and the tests that must notice."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """`old` occurs once in the module and becomes `new`; each of `tests` must then fail."""

    name: str
    old: str
    new: str
    tests: tuple[str, ...]


def apply(mutant: Mutant, source: str) -> str:
    """The mutated source; an assertion if the module no longer has the place."""
    assert source.count(mutant.old) == 1, f"{mutant.name}: {source.count(mutant.old)} places instead of one"
    return source.replace(mutant.old, mutant.new)


IDLE, REPEATS, LIMIT = "test_idle.py::", "test_repeats.py::", "test_rate_limit.py::"
TIMEOUTS, EVIDENCE, INTERFACE, BOT = "test_timeouts.py::", "test_evidence.py::", "test_interface.py::", "test_bot.py::"
SILENCE = "test_silence.py::"

MUTANTS = (
    Mutant(
        "idle connections are used again",
        "(idle > max_idle or ",
        "(",
        (
            IDLE + "test_connection_idle_for_longer_than_max_idle_is_not_used_again",
            IDLE + "test_the_same_under_tls",
            IDLE + "test_idle_connection_through_a_proxy_is_not_used_again",
            IDLE + "test_plain_request_through_a_proxy",
        ),
    ),
    Mutant(
        "connections are never used again",
        "        connection = super()._get_conn(timeout)\n",
        "        super()._get_conn(timeout)\n        connection = self._new_conn()\n",
        (IDLE + "test_connection_idle_for_less_is_used_again", IDLE + "test_pool_keeps_as_many_as_it_is_told"),
    ),
    Mutant(
        "a recycled connection is left open",
        '        connection.close()\n        _evidence.count("recycled")\n',
        "        globals().setdefault('leak', []).append(connection)\n        _evidence.count('recycled')\n",
        (IDLE + "test_connection_idle_for_longer_than_max_idle_is_not_used_again",),
    ),
    Mutant(
        "unanswered probes are ignored",
        "socket.TCP_INFO, 4)[3] > 0",
        "socket.TCP_INFO, 4)[3] > 99",
        (SILENCE + "test_connection_with_an_unanswered_probe_is_not_used",),
    ),
    Mutant(
        "a POST takes any connection",
        "_attempt.careful, _attempt.sent = request.method not in IDEMPOTENT_METHODS, True",
        "_attempt.careful, _attempt.sent = False, True",
        (IDLE + "test_post_goes_only_over_a_connection_that_has_just_worked",),
    ),
    Mutant(
        "nothing is swept",
        "            self._sweep(now)\n",
        "            pass\n",
        (
            IDLE + "test_connections_of_a_burst_are_closed_when_idle_though_only_the_top_is_in_use",
            IDLE + "test_recycled_and_open_are_counted",
        ),
    ),
    Mutant(
        "the pool keeps ten",
        "super().__init__(settings.pool_connections, settings.pool_maxsize,",
        "super().__init__(10, 10,",
        (
            INTERFACE + "test_report_signature[webexteamssdk.WebexTeamsAPI]",
            IDLE + "test_pool_keeps_as_many_as_it_is_told",
        ),
    ),
    Mutant(
        "no keep-alive",
        '"keepalive": (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)',
        '"keepalive": (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 0)',
        (
            IDLE + "test_socket_options_of_a_direct_connection",
            SILENCE + "test_answer_that_got_lost_ends_by_the_probes",
        ),
    ),
    Mutant(
        "no socket options through a proxy",
        "        manager.pool_classes_by_scheme = _pool_classes(self.settings, self.socket_options)",
        "        manager.pool_classes_by_scheme = _pool_classes(self.settings, {})",
        (IDLE + "test_socket_options_through_a_proxy",),
    ),
    Mutant(
        "no recycling through a proxy",
        "        manager.pool_classes_by_scheme = _pool_classes(self.settings, self.socket_options)\n",
        "",
        (
            IDLE + "test_idle_connection_through_a_proxy_is_not_used_again",
            IDLE + "test_plain_request_through_a_proxy",
        ),
    ),
    Mutant(
        "no user timeout",
        "round(settings.user_timeout * 1000)",
        "0",
        (
            SILENCE + "test_request_into_the_void_ends_by_the_user_timeout[GET]",
            SILENCE + "test_request_into_the_void_ends_by_the_user_timeout[POST]",
        ),
    ),
    Mutant(
        "urllib3's TCP_NODELAY is lost",
        '        "nodelay": (tcp, socket.TCP_NODELAY, 1),  # urllib3\'s own, which ours replace\n',
        "",
        (IDLE + "test_socket_options_of_a_direct_connection",),
    ),
    Mutant(
        "refused options are set all the same",
        "if option[1] is not None and _is_accepted(option)}",
        "if option[1] is not None}",
        (IDLE + "test_option_which_the_system_refuses_is_left_out",),
    ),
    Mutant(
        "pools have a name of their own in error messages",
        "type(base.__name__, (_RecyclingPool",
        'type("Pool", (_RecyclingPool',
        (REPEATS + "test_request_that_could_act_twice_is_not_repeated_and_fails_as_by_default[POST-never]",),
    ),
    Mutant(
        "the bare session has no timeout",
        "read = read_timeout",
        "read = None",
        (
            TIMEOUTS + "test_bare_session_gets_a_timeout",
            TIMEOUTS + "test_open_parts_of_a_pair_are_filled",
            TIMEOUTS + "test_client_without_a_timeout_gets_one",
        ),
    ),
    Mutant(
        "our timeout beats the caller's",
        "    if read is None:\n        read =",
        "    if True:\n        read =",
        (
            TIMEOUTS + "test_timeout_of_the_call_wins",
            TIMEOUTS + "test_single_request_timeout_of_a_client_stays[webexteamssdk.WebexTeamsAPI]",
        ),
    ),
    Mutant(
        "connecting may take as long as reading",
        "connect = min(connect_timeout, read)",
        "connect = read",
        (
            TIMEOUTS + "test_connect_timeout_is_short_and_separate[30]",
            TIMEOUTS + "test_connect_timeout_is_short_and_separate[timeout1]",
            TIMEOUTS + "test_connect_timeout_is_short_and_separate[None]",
        ),
    ),
    Mutant(
        "connecting may take longer than reading",
        "connect = min(connect_timeout, read)",
        "connect = connect_timeout",
        (TIMEOUTS + "test_connect_timeout_is_not_above_the_read_timeout",),
    ),
    Mutant(
        "our connect timeout beats the caller's",
        "    if connect is None and isinstance(read",
        "    if isinstance(read",
        (TIMEOUTS + "test_connect_timeout_of_the_call_wins",),
    ),
    Mutant(
        "the client inside a bot keeps its 60 s",
        "rest_session.single_request_timeout = math.ceil(chosen.request_timeout)",
        "pass",
        (
            TIMEOUTS + "test_timeout_of_the_client_inside_a_bot_is_raised_never_lowered"
            "[webexteamssdk.WebexTeamsAPI-60-120]",
            BOT + "test_timeout_of_the_inner_client",
        ),
    ),
    Mutant(
        "the client inside a bot is lowered",
        "if current is not None and current < chosen.request_timeout:",
        "if current is not None:",
        (
            TIMEOUTS + "test_timeout_of_the_client_inside_a_bot_is_raised_never_lowered"
            "[webexteamssdk.WebexTeamsAPI-300-300]",
        ),
    ),
    Mutant(
        "the SDK is given a float",
        "math.ceil(chosen.request_timeout)  # the SDKs",
        "chosen.request_timeout  # the SDKs",
        (TIMEOUTS + "test_fractional_timeout_is_rounded_up_for_the_sdk[webexteamssdk.WebexTeamsAPI]",),
    ),
    Mutant(
        "errors are not repeated",
        "        return request.method in IDEMPOTENT_METHODS and _rewind(request)\n\n    def _may_repeat_answer",
        "        return False\n\n    def _may_repeat_answer",
        tuple(
            f"{REPEATS}test_idempotent_request_is_repeated[{method}-{outcome}]"
            for method in ("GET", "PUT", "DELETE")
            for outcome in ("close", "reset", "truncate", "never")
        ),
    ),
    Mutant(
        "a POST of unknown outcome is repeated",
        "        return request.method in IDEMPOTENT_METHODS and _rewind(request)\n\n    def _may_repeat_answer",
        "        return _rewind(request)\n\n    def _may_repeat_answer",
        tuple(
            f"{REPEATS}test_request_that_could_act_twice_is_not_repeated_and_fails_as_by_default[{method}-{outcome}]"
            for method in ("POST", "PATCH")
            for outcome in ("close", "reset", "truncate", "never")
        )
        + (
            REPEATS + "test_post_through_a_proxy_is_not_repeated_once_sent[close]",
            REPEATS + "test_post_over_a_plain_proxy_is_not_repeated_once_sent[reset]",
        ),
    ),
    Mutant(
        "what was not sent is not repeated",
        "return request.method in RETRY_METHODS\n",
        "return False\n",
        tuple(
            f"{REPEATS}test_connection_that_failed_before_the_request_is_made_anew[{method}]"
            for method in ("GET", "POST", "PUT", "DELETE")
        )
        + (
            REPEATS + "test_post_is_repeated_when_nobody_listens",
            REPEATS + "test_post_is_repeated_when_the_proxy_cannot_connect",
            REPEATS + "test_upload_is_repeated_when_the_connection_failed_before_it",
        ),
    ),
    Mutant(
        "CONNECT and handshake count as sent",
        "            _attempt.sent = False\n\n    def send",
        "            _attempt.sent = True\n\n    def send",
        (
            REPEATS + "test_post_is_repeated_when_the_proxy_cannot_connect",
            REPEATS + "test_connection_that_failed_before_the_request_is_made_anew[POST]",
        ),
    ),
    Mutant(
        "a written request counts as not sent",
        "        _attempt.sent = True\n        super().send(data)",
        "        super().send(data)",
        (REPEATS + "test_request_that_could_act_twice_is_not_repeated_and_fails_as_by_default[POST-close]",),
    ),
    Mutant(
        "what is sent over a plain connection counts as not sent",
        "        if self.sock is None and self.auto_open:\n            self.connect()\n        _attempt.sent = True",
        "        _attempt.sent = True",
        (REPEATS + "test_post_without_a_body_is_not_repeated_once_sent",),
    ),
    Mutant(
        "every error is repeated",
        "            return False\n        if not _attempt.sent:",
        "            pass\n        if not _attempt.sent:",
        (REPEATS + "test_answer_that_makes_no_sense_is_not_asked_for_again",),
    ),
    Mutant(
        "statuses are not repeated",
        "        return request.method in methods and _rewind(request)",
        "        return False",
        (
            *(
                f"{REPEATS}test_idempotent_request_is_repeated_on_a_status[{method}-{status}]"
                for method in ("GET", "PUT", "DELETE")
                for status in (500, 502, 503, 504)
            ),
            REPEATS + "test_post_is_repeated_only_if_it_was_not_processed[503-4]",
            LIMIT + "test_bare_session_waits_as_told[GET]",
            LIMIT + "test_bare_session_waits_as_told[POST]",
        ),
    ),
    Mutant(
        "a POST is repeated on any status",
        "methods = RETRY_METHODS if status in NOT_PROCESSED_STATUSES else IDEMPOTENT_METHODS",
        "methods = RETRY_METHODS",
        tuple(f"{REPEATS}test_post_is_repeated_only_if_it_was_not_processed[{status}-1]" for status in (500, 502, 504)),
    ),
    Mutant(
        "a PATCH is repeated",
        'RETRY_METHODS = ("GET", "POST", "PUT", "DELETE")',
        'RETRY_METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH")',
        (REPEATS + "test_patch_is_never_repeated[429]", REPEATS + "test_patch_is_never_repeated[503]"),
    ),
    Mutant(
        "the adapter also waits for the SDK's 429",
        "if status == 429 and self.label != BARE_SESSION:",
        "if False:",
        (
            LIMIT + "test_sdk_that_does_not_wait_sees_the_429_at_once[webexteamssdk.WebexTeamsAPI]",
            LIMIT + "test_sdk_that_does_not_wait_sees_the_429_at_once[webexpythonsdk.WebexAPI]",
        ),
    ),
    Mutant(
        "urllib3 repeats by itself",
        "return Retry(0, read=False).increment(*args, **kwargs)",
        "return super().increment(*args, **kwargs)",
        (
            REPEATS + "test_number_of_repeats[1-2]",
            REPEATS + "test_request_that_could_act_twice_is_not_repeated_and_fails_as_by_default[POST-close]",
        ),
    ),
    Mutant(
        "the answer is hidden by a RetryError",
        "raise_on_status=False,",
        "raise_on_status=True,",
        (REPEATS + "test_no_retry_error_reaches_the_sdk[webexteamssdk.WebexTeamsAPI-get]",),
    ),
    Mutant(
        "repeats do not end",
        "if repeats >= self.settings.max_retries or not self._may_repeat_answer",
        "if repeats > 5 or not self._may_repeat_answer",
        (REPEATS + "test_number_of_repeats[1-2]",),
    ),
    Mutant(
        "repeats of errors do not end",
        "if repeats >= self.settings.max_retries or not self._may_repeat_error",
        "if repeats > 5 or not self._may_repeat_error",
        (REPEATS + "test_number_of_repeats[1-2]",),
    ),
    Mutant(
        "no back-off",
        "self.settings.backoff * 2**repeats",
        "self.settings.backoff * 0",
        (REPEATS + "test_waits_grow_and_the_first_after_a_lost_connection_is_none",),
    ),
    Mutant(
        "the first repeat waits",
        "wait = 0 if repeats == 0 else self._backoff(repeats)",
        "wait = self._backoff(repeats)",
        (REPEATS + "test_first_repeat_after_a_lost_connection_waits_for_nothing",),
    ),
    Mutant(
        "a body is not rewound",
        "        rewind_body(request)\n",
        "        pass\n",
        (
            REPEATS + "test_file_is_sent_from_its_start_again",
            REPEATS + "test_upload_that_was_read_is_not_sent_again_empty",
            REPEATS + "test_generator_is_not_repeated",
        ),
    ),
    Mutant(
        "broken bodies are left to the caller",
        "                    if not stream:\n"
        "                        response.content  # noqa: B018 - reads it; one that breaks off is a failure too\n",
        "",
        (REPEATS + "test_idempotent_request_is_repeated[GET-truncate]",),
    ),
    Mutant(
        "streams are read at once",
        "        if not stream:\n",
        "        if True:\n",
        (INTERFACE + "test_cookies_and_streaming_work_as_ever",),
    ),
    Mutant(
        "Retry-After is not read",
        "wait = self._backoff(repeats) if after is None else after",
        "wait = self._backoff(repeats)",
        (LIMIT + "test_bare_session_waits_as_told[GET]", LIMIT + "test_bare_session_waits_as_told[POST]"),
    ),
    Mutant(
        "Retry-After is not capped",
        "return min(max(0.0, seconds), self.settings.retry_after_cap)",
        "return min(max(0.0, seconds), 10)",
        (LIMIT + "test_cap_is_a_setting[webexteamssdk.WebexTeamsAPI]",),
    ),
    Mutant(
        "Retry-After is obeyed with any status",
        " or response.status_code not in NOT_PROCESSED_STATUSES",
        "",
        (LIMIT + "test_retry_after_of_other_statuses_is_not_obeyed",),
    ),
    Mutant(
        "Retry-After reaches the SDK as it came",
        "            self._mend_retry_after(response)\n",
        "            pass\n",
        (
            LIMIT + "test_sdk_can_read_and_survive_any_retry_after[webexteamssdk.WebexTeamsAPI-soon-15]",
            LIMIT + "test_sdk_can_read_and_survive_any_retry_after[webexpythonsdk.WebexAPI-7200-300]",
            LIMIT + "test_sdk_can_read_a_date[webexteamssdk.WebexTeamsAPI]",
        ),
    ),
    Mutant(
        "ranges are not checked",
        "if not low <= value <= high:",
        "if False:",
        (INTERFACE + "test_setting_out_of_range[pool_connections-0-ValueError]",),
    ),
    Mutant(
        "types are not checked",
        "if isinstance(value, bool) or not isinstance(value, (int, kind)):",
        "if not isinstance(value, (int, float)):",
        (
            INTERFACE + "test_setting_out_of_range[pool_maxsize-50.0-TypeError]",
            INTERFACE + "test_setting_out_of_range[max_retries-True-TypeError]",
        ),
    ),
    Mutant(
        "unknown settings are Python's to refuse",
        "    if unknown:\n",
        "    if False:\n",
        (INTERFACE + "test_unknown_setting_names_the_known",),
    ),
    Mutant(
        "a session is not asked for",
        '    if not isinstance(getattr(rest_session, "_req_session", None), requests.Session):\n',
        "    if False:\n",
        (INTERFACE + "test_object_without_a_session[None]",),
    ),
    Mutant(
        "a bot's bare session is not asked for",
        "    if not isinstance(session, requests.Session):\n",
        "    if False:\n",
        (INTERFACE + "test_bot_without_a_session_is_left_as_it_was[session]",),
    ),
    Mutant(
        "a bot is half configured before it is refused",
        "    if not isinstance(session, requests.Session):\n",
        '    _mount(bot.teams._session._req_session, chosen, "bot.teams") if bot.teams else None\n'
        "    if not isinstance(session, requests.Session):\n",
        (INTERFACE + "test_bot_without_a_session_is_left_as_it_was[session]",),
    ),
    Mutant(
        "twice makes a second pool",
        "    if isinstance(current, _Adapter) and (current.settings, current.label) == (settings, label):\n",
        "    if False:\n",
        (INTERFACE + "test_twice_is_harmless",),
    ),
    Mutant(
        "other settings are ignored",
        "(current.settings, current.label) == (settings, label)",
        "current.label == label",
        (INTERFACE + "test_other_settings_replace_and_close_the_old_pool",),
    ),
    Mutant(
        "a client of a bot keeps its first name",
        "(current.settings, current.label) == (settings, label)",
        "current.settings == settings",
        (INTERFACE + "test_client_of_a_bot_is_named_as_such_even_if_it_was_configured_before",),
    ),
    Mutant(
        "the old pool stays open",
        "        old.close()\n",
        "        globals().setdefault('leak', []).append(old)\n",
        (
            INTERFACE + "test_default_pool_is_closed_when_replaced",
            INTERFACE + "test_other_settings_replace_and_close_the_old_pool",
            BOT + "test_connections_made_while_it_started_are_closed",
        ),
    ),
    Mutant(
        "the bare session is forgotten",
        "    _mount(session, chosen, BARE_SESSION)\n",
        "",
        (BOT + "test_both_sessions", BOT + "test_hanging_fetch_of_a_message_ends"),
    ),
    Mutant(
        "the inner client is forgotten",
        '_mount(rest_session._req_session, chosen, "bot.teams", ',
        "str(",
        (BOT + "test_both_sessions",),
    ),
    Mutant(
        "one client per call",
        "        if key not in _shared_apis:\n",
        "        if True:\n",
        (
            INTERFACE + "test_one_client_per_token_across_threads[webexteamssdk.WebexTeamsAPI]",
            INTERFACE + "test_shared_client_is_configured",
        ),
    ),
    Mutant(
        "the shared clients are not locked",
        "    with _shared_apis_lock:\n",
        "    if True:\n",
        (INTERFACE + "test_one_client_per_token_across_threads[webexteamssdk.WebexTeamsAPI]",),
    ),
    Mutant(
        "one client for all tokens",
        "key = (api_class, access_token)",
        "key = api_class",
        (INTERFACE + "test_one_client_per_token_across_threads[webexteamssdk.WebexTeamsAPI]",),
    ),
    Mutant(
        "an SDK is needed to start",
        "import requests\nimport urllib3\n",
        "import requests\nimport urllib3\nimport webexteamssdk\n",
        (INTERFACE + "test_bot_starts_without_either_sdk",),
    ),
    Mutant(
        "only one SDK will do",
        "    except ImportError:\n        from webexpythonsdk",
        "    except ZeroDivisionError:\n        from webexpythonsdk",
        (INTERFACE + "test_shared_client_uses_the_sdk_that_is_installed",),
    ),
    Mutant(
        "a copy lacks the settings",
        '[*HTTPAdapter.__attrs__, "settings", "label", "socket_options"]',
        "[*HTTPAdapter.__attrs__]",
        (INTERFACE + "test_configured_client_can_be_copied_and_pickled",),
    ),
    Mutant(
        "a thread writes the stats",
        "    def used(self, interval: float) -> None:\n",
        "    def used(self, interval: float) -> None:\n        threading.Timer(60, print).start()\n",
        (INTERFACE + "test_no_thread_of_its_own",),
    ),
    Mutant(
        "the level is the root's",
        "        if logger.getEffectiveLevel() > logging.INFO:\n            logger.setLevel(logging.INFO)\n",
        "",
        (EVIDENCE + "test_ready_line", EVIDENCE + "test_stats_line"),
    ),
    Mutant(
        "a disabled logger stays disabled",
        "        logger.disabled = False\n        if",
        "        if",
        (EVIDENCE + "test_lines_survive_a_later_logging_configuration",),
    ),
    Mutant(
        "a ready line nobody hears is lost",
        "        if not logger.hasHandlers():\n            return\n",
        "",
        (EVIDENCE + "test_ready_line_waits_for_logging_to_be_set_up",),
    ),
    Mutant(
        "a ready line is told with each request",
        "lines, self._unheard = self._unheard, []",
        "lines = list(self._unheard)",
        (EVIDENCE + "test_ready_line_waits_for_logging_to_be_set_up",),
    ),
    Mutant(
        "stats with every request",
        "            self._last_stats = now\n",
        "            pass\n",
        (EVIDENCE + "test_default_interval_lets_one_line_through",),
    ),
    Mutant(
        "requests are not counted",
        '            self._counts["requests"] += 1\n',
        "",
        (EVIDENCE + "test_counters", EVIDENCE + "test_counters_across_threads"),
    ),
    Mutant(
        "repeats are not counted",
        '                _evidence.count("retried")\n',
        "",
        (EVIDENCE + "test_counters",),
    ),
    Mutant(
        "failures are not counted",
        '            _evidence.count("failed")\n',
        "            pass\n",
        (EVIDENCE + "test_counters",),
    ),
    Mutant(
        "recycled connections are not counted",
        '        _evidence.count("recycled")\n',
        "",
        (IDLE + "test_recycled_and_open_are_counted",),
    ),
    Mutant(
        "swept connections are not counted",
        '        _evidence.count("recycled", len(unusable))\n',
        "",
        (IDLE + "test_recycled_and_open_are_counted",),
    ),
    Mutant(
        "closed connections count as open",
        "sum(1 for connection in self._connections if connection.sock is not None)",
        "len(self._connections) + 1",
        (IDLE + "test_recycled_and_open_are_counted",),
    ),
    Mutant(
        "a child goes on with its parent's counts",
        "    os.register_at_fork(after_in_child=_evidence.reset)\n",
        "    pass\n",
        (EVIDENCE + "test_child_counts_for_itself",),
    ),
    Mutant(
        "the URL is in a line",
        'reason=%s wait=%.1f", repeats + 1, request.method, reason, wait)',
        'reason=%s url=%s", repeats + 1, request.method, reason, request.url)',
        (EVIDENCE + "test_neither_token_nor_url_in_any_line",),
    ),
    Mutant(
        "urllib3 stays at ERROR",
        '    for each in (logging.getLogger("urllib3.connectionpool"), logger):\n',
        "    for each in (logger,):\n",
        (EVIDENCE + "test_enable_pool_logging",),
    ),
    Mutant(
        "loggers stay disabled when debugging",
        "        each.disabled = False  # as",
        "        pass  # as",
        (EVIDENCE + "test_enable_pool_logging",),
    ),
)
