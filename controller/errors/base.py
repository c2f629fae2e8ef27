"""What every error that Weft raises on purpose is."""

from __future__ import annotations


class WeftError(Exception):
    """Base of all errors raised on purpose; `str()` of each is one sentence for an operator."""
