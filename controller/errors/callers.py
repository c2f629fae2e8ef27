"""Who may not: nobody knows who asks, or who asks may not do that.

    WeftError
    ├── Unauthorized         nobody knows who asks
    ├── Forbidden            the caller may not do that
    ├── Throttled            too many requests of callers that nobody knows
    └── IdentityUnavailable  whoever knows the callers does not answer

What a caller may not even see is not there for it, and in `absence`.
"""

from __future__ import annotations

from controller.errors.base import WeftError


class Unauthorized(WeftError):
    """Raised when a request shows no token, or none that is known."""

    def __init__(self) -> None:
        super().__init__("The request you have made requires authentication.")


class Forbidden(WeftError):
    """Raised when a caller sees what it may not change so; `rules` are those of `northbound.policy` that were asked."""

    def __init__(self, rules: tuple[str, ...]) -> None:
        said = " and ".join(f"rule:{rule}" for rule in rules)
        super().__init__(f"({said}) is disallowed by policy" if len(rules) > 1 else f"{said} is disallowed by policy")
        self.rules = rules


class Throttled(WeftError):
    """Raised when more requests without a known token come from one address than are looked at."""

    def __init__(self, wait: int) -> None:
        super().__init__(
            f"Too many requests without a valid token came from this address: try again in {wait} s, with one."
        )
        self.wait = wait


class IdentityUnavailable(WeftError):
    """Raised when it cannot be found out who asks."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"The identity service is unavailable: {reason}.")
        self.reason = reason
