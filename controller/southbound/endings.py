"""What a connection held is let go when it ends, and not when a garbage collector comes by.

An error that ended it holds the frames that it came through, these hold tasks, and these the error: all that the
connection ever knew is in that circle. A collector that looks at everything comes late, and never looks again at what
it has frozen (`northbound.daemon.Survivors`).
"""

from __future__ import annotations


def let_go(error: BaseException) -> None:
    """Let an error that was told, those in it and those that it came of hold no frames any more."""
    found: list[BaseException | None] = [error]
    seen: set[int] = set()
    while found:
        each = found.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        each.__traceback__ = None
        found += (each.__cause__, each.__context__)
        if isinstance(each, BaseExceptionGroup):
            found += each.exceptions
