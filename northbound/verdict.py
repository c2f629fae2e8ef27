"""What `weft prove` prints of an answer of POST /v1/prove."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

CLAIMS: Final[Mapping[str, str]] = {
    "isolation": "tenants are apart",
    "spoofing": "guests send as themselves alone",
    "loop": "nothing goes round",
    "hole": "some flow is for everything",
    "astray": "tunnels lead to hypervisors",
    "missing": "what should arrive does",
    "excess": "what security groups do not allow does not",
    "rewritten": "what arrives is for whom it arrives at",
    "zone": "each port's connections are in a zone of its own",
    "reaches": "only those reach it",
}
"""By name, what is claimed."""


def text(answer: Mapping[str, Any]) -> Iterator[str]:
    """Each violation with its packet and its way, and at last what is proven, or not."""
    for each in answer["violations"]:
        yield f"{each['claim']}: {each['sentence']}"
        yield f"  from    {each['sender']}{_of(each['sender_network'])}"
        if each["receiver_port"]:
            yield f"  to      port {each['receiver_port']}{_of(each['receiver_network'])}"
        yield f"  packet  {each['packet']}"
        if each["sender_chassis"]:
            asked = f"ovs-appctl ofproto/trace {each['sender_bridge']} '{each['packet']}'"
            yield f"  trace   on {each['sender_chassis']}: {asked}"
        for met in each["way"]:
            yield f"  {met['chassis']} {met['flow']}"
            yield f"      # {met['why'] or 'foreign: no flow of this model'}"
        if "live" in each:
            yield f"  live    {happened(each)}"
    if answer["count"] > len(answer["violations"]):
        yield f"... and {answer['count'] - len(answer['violations'])} more"
    for note in answer["notes"]:
        yield f"not known: {note}"
    for what, count in answer["unjudged"].items():
        yield f"not judged: {what} ({count})"
    for name, reason in answer["unreachable"].items():
        yield f"{name} ? nothing is proven of it: {reason}"
    what = f"{answer['flows']} flows of {len(answer['chassis'])} hypervisors, {answer['senders']} senders"
    if "live" in answer:
        seen = answer["live"]
        yield f"{seen['sent']} sent: {seen['real']} as proven, {seen['unreal']} not so, or no more"
    took = f"{answer['seconds']:.1f} s, {answer['peak_bytes'] / 1e6:.0f} MB"
    if answer["proven"]:
        yield f"proven ({', '.join(answer['claims'])}): {what}, {took}"
    else:
        yield f"{'violated' if answer['count'] else 'not proven'}: {answer['count']} against it; {what}, {took}"


def happened(each: Mapping[str, Any]) -> str:
    """What became of a packet that was sent, in a sentence."""
    live = each["live"]
    if live["trouble"]:
        return str(live["trouble"])
    ends = [f"found on {end['chassis']}, table {end['table']}, {end['words']}" for end in live["seen"]]
    if left := live["left"]:
        ends += [*_counted(left, bool(ends))]
    said = "; ".join(ends) or "found at no end"
    return f"sent: {said}: {_REAL[live['real']]}"


_REAL: Final = {True: "as proven", False: "NOT so, or no more", None: "nobody can tell"}


def _counted(left: Mapping[str, Any], found: bool) -> Iterator[str]:
    """What the counter of a port says: nothing new if it was found elsewhere, and nothing left there."""
    place, bytes = f"{left['chassis']} by {left['interface']}", left["frame_bytes"]
    if left["packets"] == 1 and abs(left["bytes"] - bytes) in (0, 4):
        yield f"left {place}, whose counter has one packet more, of its {bytes} bytes"
    elif left["packets"] > 1 and left["bytes"] >= bytes:
        yield f"{left['packets']} packets left {place} meanwhile, of which it may be one"
    elif not found:
        yield f"found at no end, and not left {place}"


def _of(network: str) -> str:
    return f" of network {network}" if network else ""
