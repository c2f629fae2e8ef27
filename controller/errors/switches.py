"""Switches and their databases: they are gone, or do not do or say what they should.

    WeftError
    └── SouthboundError   a switch, or its database
        ├── Disconnected  the peer is gone
        ├── Malformed     the peer sent what its protocol does not allow
        ├── Rejected      a switch refused a message
        ├── Oversized     a flow or group fits into no message
        └── OvsdbError    an OVSDB operation failed

Each names the peer, or what was asked of it.
"""

from __future__ import annotations

from controller.errors.base import WeftError


class SouthboundError(WeftError):
    """Base of the errors of switches and of their databases."""


class Disconnected(SouthboundError):
    """Raised when the connection to a peer is gone or silent for too long."""

    def __init__(self, peer: str, reason: str) -> None:
        super().__init__(f"{peer} is disconnected: {reason}.")
        self.peer, self.reason = peer, reason


class Malformed(SouthboundError):
    """Raised when a peer sent bytes that its protocol does not allow."""

    def __init__(self, peer: str, reason: str) -> None:
        super().__init__(f"{peer} sent what cannot be read: {reason}.")
        self.peer, self.reason = peer, reason


class Rejected(SouthboundError):
    """Raised when a switch answers a message with an OpenFlow error (type and code, OpenFlow 1.4.1 section 7.5.4)."""

    def __init__(self, what: str, type: int, code: int) -> None:
        super().__init__(f"The switch refused {what} with error {type}/{code}.")
        self.what, self.type, self.code = what, type, code


class Oversized(SouthboundError):
    """Raised when a group has more buckets, or a flow more actions, than fit into one OpenFlow message."""

    def __init__(self, what: str, parts: str, count: int, fit: int) -> None:
        super().__init__(f"{what} has {count} {parts}, and one OpenFlow message holds {fit}.")
        self.what, self.parts, self.count, self.fit = what, parts, count, fit


class OvsdbError(SouthboundError):
    """Raised when an OVSDB operation fails (RFC 7047 section 4.1.3)."""

    def __init__(self, operation: str, error: str, details: str = "") -> None:
        super().__init__(f"OVSDB operation {operation} failed: {error}" + (f" ({details})" if details else "") + ".")
        self.operation, self.error, self.details = operation, error, details
