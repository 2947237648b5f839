"""How long everything takes in the benchmark, and what it stands for in the field.

Everything that is waited for is shortened by the same factor for all three clients. Two things cannot be: the kernel
counts keep-alive in whole seconds, so the module's probes come after 1 s (20 s in the field; the default is 15), and
processor time is what it is, so the time to connect is left at 2 s.
"""

from __future__ import annotations


class Scale:
    """Seconds in the benchmark; in brackets the field's."""

    factor = 20
    nat_forgets_after = 3  # (60 s)
    gap = 4.0  # (80 s) between two bursts
    default_timeout = 3  # (60 s) the SDKs' single_request_timeout
    longer_timeout = 6  # (120 s) what the report and this project set
    backoff = 1 / 20  # (1 s)
    server_idle_limit = 1.0  # (20 s) case c
    closing_gap = 2.0  # (40 s) between two bursts of case c
    late_answer = 4.5  # (90 s) case d
    slow_answer = 0.4  # (8 s) case g

    # The module's settings; those not named here are the defaults.
    module = {  # noqa: RUF012 - constants
        "keepalive_idle": 1,
        "keepalive_interval": 1,
        "keepalive_count": 3,
        "user_timeout": 1.5,
        "max_idle": 9.0,
        "post_max_idle": 0.25,
        "connect_timeout": 2.0,
        "first_attempt": 0.5,
        "backoff": 0.05,
    }
