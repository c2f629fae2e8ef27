"""Turns what Open vSwitch prints into logical words, line by line.

    ovs-ofctl dump-flows, of any version, --names or not, --no-stats or not    by the cookie
    ovs-ofctl dump-groups, dump-group-stats                                    by the id of the group
    ovs-appctl ofproto/trace                                                   by the cookies, and the ids of groups
    ovs-appctl dpctl/dump-flows -m                                             by ports, zones and tunnels (`datapath`)
    ovs-appctl dpctl/dump-conntrack                                            by zone, label and tuple (`conn`)

A line with a cookie of ours that the controller knows is explained; any other flow is foreign, and likewise with the
others. What is none of these (headers, blank lines, actions) is passed through.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

_COOKIE = re.compile(r"\bcookie[ =](0x[0-9a-fA-F]+)")
_FLOW = re.compile(r"\bactions=")
_GROUP = re.compile(r"^\s*group_id=(\d+),")
_VISITED = re.compile(r"^ *\d+\. .*\bpriority \d+")
_TO_GROUP = re.compile(r"^\s*group:(\d+)$")
_DATAPATH = re.compile(r"\bin_port\([^)]*\).*\bactions:")
_CONNECTION = re.compile(r"^\s*\w[\w-]*,orig=\(")
_BRIDGE = re.compile(r'^bridge\("([^"]+)"\)$')
_COLOUR = re.compile(r"\x1b\[[0-9;]*[mK]")
_WITHOUT = re.compile(r"^\s*(table_id=\d+, )?duration=\d+s, n_packets=")


class Sort(Enum):
    """What a line is; only of the last two nothing is counted."""

    FLOW = "a flow, or one that a traced packet met"
    GROUP = "a group"
    DATAPATH = "a flow of the datapath"
    CONNECTION = "a connection"
    MENTION = "a group that a traced packet came to"
    OTHER = "anything else"


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a dump; `key` is what its reason is found by, None where it has nothing to be found by."""

    text: str
    sort: Sort = Sort.OTHER
    key: str | None = None
    why: str | None = None
    bridge: str = ""
    """Whose flow it is, of one that a traced packet met."""

    @property
    def counts(self) -> bool:
        """Is it something that is Weft's, or is not?"""
        return self.sort not in (Sort.MENTION, Sort.OTHER)


def group_key(id: int) -> str:
    """The key of a group."""
    return f"group_id={id}"


def read(lines: Iterable[str]) -> list[Line]:
    """The lines of a dump, without colours."""
    found, bridge = [], ""
    for text in lines:
        line = _line(_COLOUR.sub("", text))
        if begins := _BRIDGE.search(line.text):
            bridge = begins[1]
        found.append(replace(line, bridge=bridge) if bridge and line.sort is Sort.FLOW else line)
    return found


def _line(text: str) -> Line:
    if _CONNECTION.search(text):
        return Line(text, Sort.CONNECTION, text.strip())
    if _DATAPATH.search(text):
        return Line(text, Sort.DATAPATH, text.strip())
    if group := _GROUP.search(text):
        return Line(text, Sort.GROUP, group_key(int(group[1])))
    if group := _TO_GROUP.search(text):
        return Line(text, Sort.MENTION, group_key(int(group[1])))
    cookie = _COOKIE.search(text)
    if cookie or _FLOW.search(text) or _VISITED.search(text):
        return Line(text, Sort.FLOW, f"{int(cookie[1], 16):#018x}" if cookie else None)
    return Line(text)


def cookies(lines: Iterable[Line]) -> list[str]:
    """Each cookie once."""
    return sorted({line.key for line in lines if line.sort is Sort.FLOW and line.key})


def groups(lines: Iterable[Line]) -> list[int]:
    """The id of each group once."""
    ids = (line.key for line in lines if line.sort in (Sort.GROUP, Sort.MENTION) and line.key)
    return sorted({int(key.partition("=")[2]) for key in ids})


def of(lines: Iterable[Line], sort: Sort) -> list[str]:
    """Each line of a sort."""
    return [line.key for line in lines if line.sort is sort and line.key]


def explain(lines: Sequence[Line], known: Mapping[str, Any]) -> list[Line]:
    """The lines with their reason, where `known` (by key) has one: an entry of the dictionary, or words."""
    return [replace(line, why=_words(known[line.key])) if line.key and line.key in known else line for line in lines]


def _words(found: Any) -> str:
    return found if isinstance(found, str) else sentence(found)


def sentence(entry: Mapping[str, Any]) -> str:
    """`app: table reason -> objects`, as one line."""
    whose = objects(entry)
    return f"{entry['app']}: {entry['table']} {entry['reason']}" + (f" -> {whose}" if whose else "")


def objects(entry: Mapping[str, Any]) -> str:
    """The objects that want an entry, with commas between them."""
    return ", ".join(map(_object, entry["objects"]))


def _object(each: Mapping[str, str]) -> str:
    name = f'"{each["name"]}" ' if each["name"] else ""
    return f"{each['kind']} {name}{each['id']}"


FOREIGN: Mapping[Sort, str] = {
    Sort.FLOW: "foreign: no flow of this model",
    Sort.GROUP: "foreign: no group of this model",
    Sort.DATAPATH: "foreign: no end of it is a port, a zone or a tunnel of this model (names want -m or --names)",
    Sort.CONNECTION: "foreign: its zone is no port's of this hypervisor",
}


def text(lines: Sequence[Line]) -> Iterator[str]:
    """The dump with a reason under every line that has or wants one, and the count at the end."""
    for line in lines:
        yield line.text
        if line.counts or line.why:
            yield f"    # {_said(line)}"
    found = [line for line in lines if line.counts]
    explained = sum(line.why is not None for line in found)
    yield f"{len(found)} flows, {explained} explained, {len(found) - explained} foreign"


def _said(line: Line) -> str:
    if line.why is None and _WITHOUT.search(line.text):
        return "foreign, for all that is known: bridge/dump-flows prints no cookies, ovs-ofctl dump-flows does"
    return line.why or FOREIGN[line.sort] + (f", on bridge {line.bridge}" if line.bridge else "")


def as_json(lines: Sequence[Line]) -> dict[str, Any]:
    """The same for machines."""
    found = [line for line in lines if line.counts]
    return {
        "flows": [
            {
                "text": line.text.strip(),
                "cookie": line.key if line.sort is Sort.FLOW else None,
                "sort": line.sort.name.lower(),
                "why": line.why,
            }
            for line in found
        ],
        "explained": sum(line.why is not None for line in found),
        "foreign": sum(line.why is None for line in found),
    }
