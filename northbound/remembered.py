"""A conntrack dump as what conntrack knows: so that a trace meets the connections that there are.

A dump does not say of all whether anybody answered: a TCP connection was answered unless it is in SYN_SENT, others are
taken to have been.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import ip_address

from controller.flows.conntrack import ANSWERS, Connection, Ends
from controller.model.protocols import NUMBERS

_HEAD = re.compile(r"^\s*(\w[\w-]*),orig=\(([^)]*)\),reply=\(([^)]*)\)")
_VALUE = re.compile(r"\b(zone|mark|labels)=(0x[0-9a-fA-F]+|\d+)")
_UNANSWERED = re.compile(r"\bstate(?:_orig)?=SYN_SENT\b|\bUNREPLIED\b")


def read(lines: Iterable[str]) -> Iterator[tuple[int, Connection]]:
    """The connections of a dump, each with its zone; lines that are none are left out."""
    for line in lines:
        head = _HEAD.match(line)
        protocol = _protocol(head[1]) if head else None
        if head is None or protocol is None:
            continue
        try:
            began, reply = (_ends(protocol, _words(text)) for text in (head[2], head[3]))
        except (KeyError, ValueError):
            continue
        seen = reply._replace(
            source=reply.destination, destination=reply.source, low=reply.high, high=reply.low
        )  # as who is answered sees it
        if protocol in ANSWERS:
            seen = seen._replace(low=began.low, high=began.high)
        kept = {key: int(value, 0) for key, value in _VALUE.findall(line[head.end() :])}
        answered = not _UNANSWERED.search(line)
        yield kept.get("zone", 0), Connection(began, seen, kept.get("mark", 0), kept.get("labels", 0), answered)


def _protocol(name: str) -> int | None:
    return int(name) if name.isdigit() else NUMBERS.get(name)


def _words(text: str) -> Mapping[str, str]:
    return dict(each.partition("=")[::2] for each in text.split(","))


def _ends(protocol: int, said: Mapping[str, str]) -> Ends:
    """Raises KeyError, ValueError."""
    source, destination = ip_address(said["src"]), ip_address(said["dst"])
    low, high = ("type", "code") if "type" in said else ("sport", "dport")
    family = 0x0800 if source.version == 4 else 0x86DD
    ports = int(said.get(low, 0)), int(said.get(high, 0))
    return Ends(family, int(source), int(destination), protocol, *ports, False)
