"""Keeps pytest out of `suite`, which runs inside the bots' environments (see runner.py)."""

collect_ignore = ["suite"]
