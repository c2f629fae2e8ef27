"""Who asks. With `--auth none` everybody is an administrator, and names the project that owns what is made.

Tokens and Keystone are to come: they will make a `Caller` from a token instead, and nothing else will notice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Caller:
    """The project a request speaks for ("" when it names none) and the roles its sender has there."""

    project_id: str = ""
    roles: frozenset[str] = frozenset()

    @property
    def is_admin(self) -> bool:
        """Whether the caller may see and change everything."""
        return "admin" in self.roles


def nobody_checked(headers: Mapping[str, str]) -> Caller:
    """The caller under `--auth none`: `X-Project-Id` (or the old `X-Tenant-Id`) is believed."""
    project = headers.get("X-Project-Id") or headers.get("X-Tenant-Id") or ""
    return Caller(project, frozenset({"admin"}))
