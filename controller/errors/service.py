"""What the programs of Weft cannot do where they run: write, listen, read a file, prove.

    WeftError
    ├── Unavailable   the store cannot be read or written just now
    ├── Unproven      a proof could not be made
    ├── BadArchive    a file is none of `weft bundle`, or is damaged
    └── CannotListen  an address is taken, or not this machine's

Of a change that the store is not available for, nothing happened.
"""

from __future__ import annotations

from controller.errors.base import WeftError


class Unavailable(WeftError):
    """Raised when the store cannot make a change durable; nothing of the change happened."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"The store is unavailable: {reason}.")
        self.reason = reason


class Unproven(WeftError):
    """Raised when a proof could not be made."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"Nothing could be proven: {reason}")
        self.reason = reason


class BadArchive(WeftError):
    """Raised when a file is no archive of `weft bundle`, or a part of it cannot be read."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path} cannot be used: {reason}.")
        self.path, self.reason = path, reason


class CannotListen(WeftError):
    """Raised when the controller cannot listen where an option says it should."""

    def __init__(self, option: str, address: str, reason: str) -> None:
        super().__init__(f"Weft cannot listen on {address} (option --{option}): {reason}.")
        self.option, self.address, self.reason = option, address, reason
