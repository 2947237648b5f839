"""The pool module with one promise broken at a time, and the tests that must notice."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """`old` occurs once in the module and becomes `new`, which breaks `promise`; each of `tests` must then fail."""

    name: str
    promise: str
    old: str
    new: str
    tests: tuple[str, ...]


def apply(mutant: Mutant, source: str) -> str:
    """The mutated source; an assertion if the module no longer has the place."""
    assert source.count(mutant.old) == 1, f"{mutant.name}: {source.count(mutant.old)} places instead of one"
    return source.replace(mutant.old, mutant.new)


IDLE, REPEATS, LIMIT = "test_idle.py::", "test_repeats.py::", "test_rate_limit.py::"
HOSTS = "test_hosts.py::"
TIMEOUTS, EVIDENCE, INTERFACE, BOT = "test_timeouts.py::", "test_evidence.py::", "test_interface.py::", "test_bot.py::"
SILENCE, CHANNEL, KINDS = "test_silence.py::", "test_channel.py::", "test_kinds.py::"
LOST = "test_lost_answer.py::"

MUTANTS = (
    Mutant(
        "no keep-alive",
        "Idle connections are kept alive below the NAT's limit.",
        '"keepalive": (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)',
        '"keepalive": (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 0)',
        (
            IDLE + "test_socket_options_of_a_direct_connection",
            SILENCE + "test_answer_that_got_lost_ends_by_the_probes",
        ),
    ),
    Mutant(
        "idle connections are used again",
        "A connection idle for longer than `max_idle` is not used again.",
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
        "no recycling through a proxy",
        "The same holds through a proxy.",
        "        manager.pool_classes_by_scheme = _pool_classes(self.settings, self.socket_options)\n",
        "",
        (
            IDLE + "test_idle_connection_through_a_proxy_is_not_used_again",
            IDLE + "test_plain_request_through_a_proxy",
        ),
    ),
    Mutant(
        "unanswered probes are ignored",
        "A connection whose probes go unanswered is not used again.",
        "socket.TCP_INFO, 4)[3])",
        "socket.TCP_INFO, 4)[3] > 99)",
        (SILENCE + "test_connection_with_an_unanswered_probe_is_not_used",),
    ),
    Mutant(
        "a POST takes any connection",
        "What cannot be repeated goes over a connection that has just worked, or over a new one.",
        "_attempt.careful, _attempt.sent = not twice, True",
        "_attempt.careful, _attempt.sent = False, True",
        (IDLE + "test_post_goes_only_over_a_connection_that_has_just_worked",),
    ),
    Mutant(
        "no user timeout",
        "Sent data stays unacknowledged for `user_timeout` at most.",
        "round(settings.user_timeout * 1000)",
        "0",
        (
            SILENCE + "test_request_into_the_void_ends_by_the_user_timeout[GET]",
            SILENCE + "test_request_into_the_void_ends_by_the_user_timeout[POST]",
        ),
    ),
    Mutant(
        "the bare session has no timeout",
        "Every wait is bounded, also where the caller set no time-out.",
        "read = read_timeout",
        "read = None",
        (
            TIMEOUTS + "test_bare_session_gets_a_timeout",
            TIMEOUTS + "test_open_parts_of_a_pair_are_filled",
            TIMEOUTS + "test_client_without_a_timeout_gets_one",
        ),
    ),
    Mutant(
        "connecting may take as long as reading",
        "Every wait is bounded: connecting by a time-out of its own.",
        "connect = min(connect_timeout, read)",
        "connect = read",
        (
            TIMEOUTS + "test_connect_timeout_is_short_and_separate[30]",
            TIMEOUTS + "test_connect_timeout_is_short_and_separate[timeout1]",
            TIMEOUTS + "test_connect_timeout_is_short_and_separate[None]",
        ),
    ),
    Mutant(
        "the bare session is forgotten",
        "Every session of a bot is covered, the bare one too.",
        "        _mount(bare, chosen, BARE_SESSION)\n",
        "        pass\n",
        (BOT + "test_both_sessions", BOT + "test_hanging_fetch_of_a_message_ends"),
    ),
    Mutant(
        "a POST of unknown outcome is repeated",
        "What could act twice is not repeated after an error.",
        "        return _may_act_twice(request) and _rewind(request)\n\n    def _may_repeat_answer",
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
        "a written request counts as not sent",
        "What could act twice is not repeated after an error: written is sent.",
        "        _evidence.track(self)\n\n",
        "        _evidence.track(self)\n        _attempt.sent = False\n\n",
        (REPEATS + "test_request_that_could_act_twice_is_not_repeated_and_fails_as_by_default[POST-close]",),
    ),
    Mutant(
        "a POST is repeated on any status",
        "What could act twice is not repeated on a status that leaves it open.",
        "request.method in RETRY_METHODS if status in NOT_PROCESSED_STATUSES else _may_act_twice(request)",
        "request.method in RETRY_METHODS",
        tuple(f"{REPEATS}test_post_is_repeated_only_if_it_was_not_processed[{status}-1]" for status in (500, 502, 504)),
    ),
    Mutant(
        "repeats do not end",
        "A request is repeated `max_retries` times at most.",
        "if repeats >= self.settings.max_retries or not self._may_repeat_answer",
        "if repeats > 5 or not self._may_repeat_answer",
        (REPEATS + "test_number_of_repeats[1-2]",),
    ),
    Mutant(
        "the adapter also waits for the SDK's 429",
        "A 429 is the SDK's to handle.",
        "if status == 429 and self.label != BARE_SESSION:",
        "if False:",
        (
            LIMIT + "test_sdk_that_does_not_wait_sees_the_429_at_once[webexteamssdk.WebexTeamsAPI]",
            LIMIT + "test_sdk_that_does_not_wait_sees_the_429_at_once[webexpythonsdk.WebexAPI]",
        ),
    ),
    Mutant(
        "Retry-After is not capped",
        "`Retry-After` is obeyed up to `retry_after_cap`.",
        "return min(max(0.0, seconds), self.settings.retry_after_cap)",
        "return min(max(0.0, seconds), 10)",
        (LIMIT + "test_cap_is_a_setting[webexteamssdk.WebexTeamsAPI]",),
    ),
    Mutant(
        "twice makes a second pool",
        "Configuring twice is harmless.",
        "    if isinstance(current, _Adapter) and (current.settings, current.label) == (settings, label):\n",
        "    if False:\n",
        (INTERFACE + "test_twice_is_harmless",),
    ),
    Mutant(
        "the shared clients are not locked",
        "One client per token, whichever threads ask for it.",
        "    with _shared.lock:\n        key = ",
        "    if True:\n        key = ",
        (INTERFACE + "test_one_client_per_token_across_threads[webexteamssdk.WebexTeamsAPI]",),
    ),
    Mutant(
        "a ready line without a handler is lost",
        "The ready line reaches the log, whenever logging is set up.",
        "        if not logger.hasHandlers():\n            return\n",
        "",
        (EVIDENCE + "test_ready_line_waits_for_logging_to_be_set_up",),
    ),
    Mutant(
        "the level is the root's",
        "The evidence reaches the log, whatever the root's level is.",
        "        if logger.getEffectiveLevel() > logging.INFO:\n            logger.setLevel(logging.INFO)\n",
        "",
        (EVIDENCE + "test_ready_line", EVIDENCE + "test_stats_line"),
    ),
    Mutant(
        "the URL is in a line",
        "No line holds a token or a URL.",
        'reason=%s wait=%.1f", repeats + 1, request.method, reason, wait)',
        'reason=%s url=%s", repeats + 1, request.method, reason, request.url)',
        (EVIDENCE + "test_neither_token_nor_url_in_any_line",),
    ),
    Mutant(
        "a request is written only as it ends",
        "The channel shows a request while it is in flight.",
        "self._in_flight[number] = now = _now()\n                self._publish(self._channel, now, 1)\n",
        "self._in_flight[number] = _now()\n",
        (CHANNEL + "test_request_in_flight_is_seen_with_its_beginning",),
    ),
    Mutant(
        "a child writes into its parent's file",
        "Each process has a channel of its own.",
        "self._channel = _Channel(directory, inherited.sessions if inherited else []) if directory else None",
        "self._channel = inherited or (_Channel(directory, []) if directory else None)",
        (CHANNEL + "test_child_has_a_file_of_its_own",),
    ),
    Mutant(
        "a child keeps its parent's connections",
        "A child does not go on with what its parent made.",
        "os.register_at_fork(after_in_child=_shared.reset)",
        "pass",
        (INTERFACE + "test_client_made_in_a_child_does_not_use_the_parent_s_connection",),
    ),
    Mutant(
        "the channel is not summed up",
        "A reader notices what was being written.",
        "        counts[_SUM] += more + 1 + now",
        "        counts[_SUM] += more + now",
        (CHANNEL + "test_request_in_flight_is_seen_with_its_beginning", CHANNEL + "test_outcomes_by_kind"),
    ),
    Mutant(
        "what is counted between is not summed up",
        "A reader notices what was being written, and nothing else.",
        "            self._counts[_SUM] += number\n",
        "",
        (CHANNEL + "test_outcomes_by_kind", CHANNEL + "test_repeats_and_recycled_connections"),
    ),
    Mutant(
        "a sum that is broken stays broken",
        "A reader notices what was being written, and nothing else.",
        "            counts[_SUM], more = sum(counts[:_SUM]), 0\n",
        "",
        (CHANNEL + "test_what_a_signal_breaks_off_is_whole_again_within_a_second",),
    ),
    Mutant(
        "the channel can be cut off",
        "Who cuts a mapped file off ends the bot: nobody may by its name.",
        "os.O_EXCL | os.O_NOFOLLOW, 0o400)",
        "os.O_EXCL | os.O_NOFOLLOW, 0o600)",
        (CHANNEL + "test_file_is_small_private_and_named_after_the_process",),
    ),
    Mutant(
        "a mapping that goes closes its descriptor",
        "A bot's own file is not closed that has got the number of a mapping's.",
        "            self._maps.append(self.map)\n",
        "            pass\n",
        (CHANNEL + "test_descriptor_that_is_another_file_s_is_not_written_to_nor_closed",),
    ),
    Mutant(
        "what a bot says counts as an error",
        "Only records at ERROR, or with a traceback, are errors.",
        "if record.levelno >= logging.ERROR or",
        "if 'ERROR' in record.getMessage() or record.levelno >= logging.ERROR or",
        (CHANNEL + "test_errors_that_the_bot_logs_are_counted_whatever_takes_them",),
    ),
    Mutant(
        "the channel is readable by all",
        "The channel is a new file that only the bot's user can read.",
        "os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o400",
        "os.O_RDWR | os.O_CREAT, 0o644",
        (CHANNEL + "test_file_is_small_private_and_named_after_the_process",),
    ),
    Mutant(
        "the channel's errors reach the bot",
        "Nothing that is wrong with the channel reaches the bot.",
        "        except Exception as error:\n            self._fail(error, now)\n\n    def describe",
        "        except ZeroDivisionError as error:\n            self._fail(error, now)\n\n    def describe",
        (CHANNEL + "test_channel_that_cannot_be_written_is_off_and_said_once[missing]",),
    ),
    Mutant(
        "files of ended processes stay",
        "The channel's directory is bounded.",
        "        for file in ended[: max(0, len(files) + 1 - self.MOST_FILES)]:\n            file.unlink()\n",
        "",
        (CHANNEL + "test_files_of_ended_processes_are_bounded",),
    ),
    Mutant(
        "every client has its line kept",
        "A bot without logging is heard in bounded memory.",
        "if session not in self._reported and len(self._reported) < _MOST_LINES:",
        "if True:",
        (
            CHANNEL + "test_bot_without_any_logging_is_heard_in_bounded_memory",
            CHANNEL + "test_many_clients_alike_are_one_line",
        ),
    ),
    Mutant(
        "every client has pools of its own",
        "Clients made for each call share their connections.",
        "self.adapters.pop((settings, label), None) or _Adapter(settings, label)",
        "_Adapter(settings, label)",
        (INTERFACE + "test_clients_made_for_each_call_share_their_connections[webexteamssdk.WebexTeamsAPI]",),
    ),
    Mutant(
        "what is no client is an error",
        "A mock is passed through, with one warning.",
        "    if strict:\n        raise TypeError(text)\n",
        "    raise TypeError(text)\n",
        (
            INTERFACE + "test_what_a_bot_has_is_configured_and_what_it_has_not_is_named[session-bot.teams]",
            INTERFACE + "test_what_is_no_client_is_passed_through_with_one_warning[None]",
        ),
    ),
    Mutant(
        "cards get clients of their own",
        "The clients that a TeamsBot makes are covered.",
        "            if isinstance(module.WebexTeamsAPI, type):\n",
        "            if False:\n",
        (KINDS + "test_webexteamsbot_and_the_clients_it_makes",),
    ),
    Mutant(
        "the first attempt has all the time",
        "A lost answer does not take the whole time-out.",
        "    short = first if first <= whole[1] / 2 else 0.0\n",
        "    short = 0.0\n",
        tuple(
            f"{LOST}test_lost_answer_does_not_take_the_whole_timeout[{method}]" for method in ("GET", "PUT", "DELETE")
        )
        + (LOST + "test_attempts_share_what_the_caller_gave",),
    ),
    Mutant(
        "the repeat is as short as the first attempt",
        "A slow answer is waited for.",
        "        if spent >= self._short:\n            self._short = self._left\n",
        "",
        (LOST + "test_slow_answer_is_waited_for_by_the_repeat_and_at_once_from_then_on",),
    ),
    Mutant(
        "the last attempt may be short",
        "A slow answer is waited for, by the last attempt too.",
        "self._left if last else min(self._short, self._left)",
        "min(self._short, self._left)",
        (LOST + "test_last_attempt_has_all_that_is_left",),
    ),
    Mutant(
        "what a host took is forgotten",
        "A slow answer is cut once at most.",
        "max(first, 2 * _pace.slowest(request, self._began))",
        "first",
        (
            LOST + "test_slow_answer_is_waited_for_by_the_repeat_and_at_once_from_then_on",
            LOST + "test_host_that_used_up_everything_gets_its_whole_time_next",
        ),
    ),
    Mutant(
        "the budget is not kept",
        "Attempts share what the caller gave.",
        "        return self._left > 0\n",
        "        return True\n",
        (LOST + "test_host_that_used_up_everything_gets_its_whole_time_next",),
    ),
    Mutant(
        "what cannot be repeated is short too",
        "What cannot be repeated has the whole time-out.",
        "_Patience(request, timeout, settings, twice and not stream)",
        "_Patience(request, timeout, settings, True)",
        (LOST + "test_what_cannot_be_repeated_has_the_whole_timeout[POST]",),
    ),
    Mutant(
        "a body that cannot be sent again is short too",
        "What cannot be repeated has the whole time-out.",
        " or not (request.body is None or isinstance(request.body, (str, bytes))):",
        ":",
        (LOST + "test_what_cannot_be_repeated_has_the_whole_timeout[generator]",),
    ),
    Mutant(
        "what is not to be repeated is short too",
        "What cannot be repeated has the whole time-out.",
        "again = again and settings.max_retries > 0",
        "pass",
        (LOST + "test_what_cannot_be_repeated_has_the_whole_timeout[no-repeats]",),
    ),
    Mutant(
        "trust is no part of what a pool is for",
        "A request goes over connections of the trust that it asks for.",
        ":3], verify)  #",
        ":3], True)  #",
        (HOSTS + "test_trust_of_one_request_is_not_that_of_the_next[another-authority]",),
    ),
    Mutant(
        "a proxy is passed by",
        "A request goes through its proxy.",
        "if proxies or cert is not None or not verify:",
        "if cert is not None or not verify:",
        (HOSTS + "test_proxy_of_one_request_is_not_that_of_the_next",),
    ),
    Mutant(
        "a certificate is shown to nobody",
        "A request shows its certificate, and no other does.",
        "if proxies or cert is not None or not verify:",
        "if proxies or not verify:",
        (HOSTS + "test_certificate_of_one_request_is_not_shown_by_the_next",),
    ),
    Mutant(
        "the scheme is no part of what a pool is for",
        "A request goes over connections to its host.",
        '.split("/", 3)[:3]',
        '.split("/", 3)[1:3]',
        (HOSTS + "test_scheme_belongs_to_the_host",),
    ),
    Mutant(
        "pools outlive their session",
        "A closed session has no connection.",
        "weakref.WeakValueDictionary()",
        "{}",
        (HOSTS + "test_closed_and_copied_sessions_go_on",),
    ),
)
