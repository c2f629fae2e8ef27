"""Every error a lab raises on purpose.

LabError
├── Unable            the machine or the user cannot run a lab
├── CommandFailed     a command ended with an error
├── Died              a daemon ended while it was needed
├── Late              what was waited for did not come in time
├── Refused           the API answered with an error status
├── Unsteady          some of several pings were answered, or one was twice
├── Deaf              a capture lost frames, so it proves nothing
└── Unsettled         a switch does not hold what the model says
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence


class LabError(Exception):
    """Base of all errors of a lab; `str()` of each is one sentence, with the evidence below it."""


class Unable(LabError):
    """Raised when this machine or this user cannot run a lab."""


class CommandFailed(LabError):
    """Raised when a command ends with an error."""

    def __init__(self, command: Sequence[str], code: int, output: str) -> None:
        super().__init__(f"`{shlex.join(command)}` ended with {code}.\n{output.strip()}")
        self.command, self.code, self.output = tuple(command), code, output


class Died(LabError):
    """Raised when a daemon ended while it was needed."""

    def __init__(self, name: str, code: int, log: str) -> None:
        super().__init__(f"{name} ended with {code}; the end of its log:\n{log.strip()}")
        self.name, self.code, self.log = name, code, log


class Late(LabError):
    """Raised when what was waited for did not come in time; `lacking` says what was still missing."""

    def __init__(self, what: str, timeout_s: float, lacking: str) -> None:
        super().__init__(f"{what} did not come within {timeout_s:g} s: {lacking.strip()}")
        self.what, self.timeout_s, self.lacking = what, timeout_s, lacking


class Refused(LabError):
    """Raised when the API answers with an error status."""

    def __init__(self, method: str, path: str, status: int, body: str) -> None:
        super().__init__(f"{method} {path} was answered {status}: {body.strip()}")
        self.method, self.path, self.status, self.body = method, path, status, body


class Unsteady(LabError):
    """Raised when pings were neither all answered once nor all unanswered."""

    def __init__(self, sender: str, target: str, sent: int, received: int, duplicates: int) -> None:
        super().__init__(
            f"{sender} pinged {target} {sent} times: {received} were answered, {duplicates} more than once."
        )
        self.sender, self.target = sender, target
        self.sent, self.received, self.duplicates = sent, received, duplicates


class Deaf(LabError):
    """Raised when the kernel dropped frames of a capture."""

    def __init__(self, place: str, lost: int) -> None:
        super().__init__(f"The capture at {place} lost {lost} frames.")
        self.place, self.lost = place, lost


class Unsettled(LabError):
    """Raised when installed and desired flows differ, or a recompute changed something."""
