"""The lab's one exception: what failed, why, and what to do next, ready to print."""


class LabError(Exception):
    """A user-visible failure of the lab; the message is complete as it stands."""
