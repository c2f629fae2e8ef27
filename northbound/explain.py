"""Turns flow dumps into logical words, by the cookies in them.

A line with a cookie of ours that the controller knows is explained; any other flow is foreign. What is no flow
(headers, blank lines) is passed through.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

_COOKIE = re.compile(r"\bcookie=(0x[0-9a-fA-F]+)")
_FLOW = re.compile(r"\b(actions=|table=)")


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a dump; `cookie` None: a flow without one, or no flow at all."""

    text: str
    is_flow: bool
    cookie: str | None
    why: str | None = None


def read(lines: Iterable[str]) -> list[Line]:
    """The lines of `ovs-ofctl dump-flows` (or of anything that prints cookies)."""
    found = []
    for text in lines:
        cookie = _COOKIE.search(text)
        is_flow = bool(_FLOW.search(text))
        found.append(Line(text, is_flow, f"{int(cookie[1], 16):#018x}" if is_flow and cookie else None))
    return found


def cookies(lines: Iterable[Line]) -> list[str]:
    """Each cookie once."""
    return sorted({line.cookie for line in lines if line.cookie})


def explain(lines: Sequence[Line], known: Mapping[str, Any]) -> list[Line]:
    """The lines with their reason, where `known` (by cookie) has one."""
    return [
        replace(line, why=sentence(known[line.cookie])) if line.cookie and line.cookie in known else line
        for line in lines
    ]


def sentence(entry: Mapping[str, Any]) -> str:
    """`app: table reason -> objects`, as one line."""
    objects = ", ".join(_object(each) for each in entry["objects"])
    return f"{entry['app']}: {entry['table']} {entry['reason']}" + (f" -> {objects}" if objects else "")


def _object(each: Mapping[str, str]) -> str:
    name = f'"{each["name"]}" ' if each["name"] else ""
    return f"{each['kind']} {name}{each['id']}"


def text(lines: Sequence[Line]) -> Iterator[str]:
    """The dump with a reason under every flow, and the count at the end."""
    for line in lines:
        yield line.text
        if line.is_flow:
            yield f"    # {line.why or 'foreign: no flow of this model'}"
    flows = [line for line in lines if line.is_flow]
    explained = sum(line.why is not None for line in flows)
    yield f"{len(flows)} flows, {explained} explained, {len(flows) - explained} foreign"


def as_json(lines: Sequence[Line]) -> dict[str, Any]:
    """The same for machines."""
    flows = [line for line in lines if line.is_flow]
    return {
        "flows": [{"text": line.text.strip(), "cookie": line.cookie, "why": line.why} for line in flows],
        "explained": sum(line.why is not None for line in flows),
        "foreign": sum(line.why is None for line in flows),
    }
