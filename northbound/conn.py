"""Turns a conntrack dump into logical words: whose connection it is, who began it, and which rules allow it.

What is read is the text of `ovs-appctl dpctl/dump-conntrack`, of the userspace or the kernel's datapath:

    tcp,orig=(src=10.0.0.1,dst=10.0.0.2,sport=33000,dport=80),reply=(...),zone=5,mark=7,labels=0x1000000002,...

Its zone names the port, its label the policy it was judged under and the bundle of rules that admitted it
(`controller.flows.pipeline`, CONNECTION). Other zones are those in which addresses are translated; a connection in any
other zone is foreign.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from controller.model.protocols import NUMBERS
from controller.model.records import (
    Binding,
    Bundle,
    FloatingIp,
    Port,
    PortForwarding,
    Router,
    SecurityGroupRule,
    Translation,
)
from controller.model.store import Rows
from northbound.admission import Began, Remotes, admitted, fitting, named, remote_of, remotes, tagged

_HEAD = re.compile(r"^\s*(\w[\w-]*),orig=\(([^)]*)\)")
_VALUE = re.compile(r"\b(zone|mark|labels)=(0x[0-9a-fA-F]+|\d+)")
_STATE = re.compile(r"\bstate=([\w-]+)")
_WORD = (1 << 32) - 1


@dataclass(frozen=True, slots=True)
class Connection:
    """A line of the dump: the tuple in which the connection began, and what is kept with it."""

    text: str
    began: Began
    zone: int
    mark: int
    label: int
    state: str

    @property
    def bundle(self) -> int:
        """The tag of the bundle of rules that admitted it."""
        return self.label & _WORD

    @property
    def policy(self) -> int:
        """The tag of the policy it was judged under."""
        return self.label >> 32 & _WORD

    @property
    def opener(self) -> int:
        """The tag of the port that began it, 0 when that was on another hypervisor."""
        return self.label >> 64 & _WORD


def read(lines: Iterable[str]) -> list[Connection]:
    """The connections of a dump, in its order; lines that are none are left out."""
    return [found for found in map(_read_line, lines) if found is not None]


def _read_line(line: str) -> Connection | None:
    head = _HEAD.match(line)
    if head is None:
        return None
    name, original = head[1], dict(each.partition("=")[::2] for each in head[2].split(","))
    protocol = int(name) if name.isdigit() else NUMBERS.get(name)
    if protocol is None or "src" not in original or "dst" not in original:
        return None
    kept = {key: int(value, 0) for key, value in _VALUE.findall(line)}
    state = _STATE.search(line)
    low, high = ("type", "code") if "type" in original else ("sport", "dport")
    return Connection(
        text=line.strip(),
        began=Began(
            protocol, original["src"], original["dst"], _number(original.get(low)), _number(original.get(high))
        ),
        zone=kept.get("zone", 0),
        mark=kept.get("mark", 0),
        label=kept.get("labels", 0),
        state=state[1] if state else "",
    )


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdigit() else None


@dataclass(frozen=True, slots=True)
class Known:
    """A connection and what the model has of it; None and none where that is gone."""

    connection: Connection
    port: Port
    opener: Port | None
    bundle: Bundle | None
    rules: tuple[SecurityGroupRule, ...]
    words: str
    """By what it was admitted."""


@dataclass(frozen=True, slots=True)
class Translated:
    """A connection whose addresses are translated for `what` (see `records.Translation`), and what that is in words."""

    connection: Connection
    what: str
    words: str


def join(rows: Rows, chassis: str, connections: Iterable[Connection]) -> Iterator[Connection | Known | Translated]:
    """Each connection with its port, opener, bundle and the bundle's rules that fit it; a foreign one as it is."""
    about: dict[str, Remotes | None] = {}
    for connection in connections:
        claims = rows.where(Binding, zones=(chassis, connection.zone)) if connection.zone else ()
        port = rows.get(Port, claims[0].port_id) if claims else None
        if port is None:
            translations = rows.where(Translation, zones=(chassis, connection.zone))
            what = translations[0].what if translations else ""
            yield Translated(connection, what, _translated(rows, what, connection.began)) if what else connection
            continue
        bundle = tagged(rows, Bundle, "bundle", connection.bundle)
        opener = tagged(rows, Port, "port", connection.opener) or _holder(rows, port, connection.began.source)
        rules: tuple[SecurityGroupRule, ...] = ()
        if bundle is not None:
            if bundle.id not in about:
                about[bundle.id] = remotes(rows, bundle)
            rules = fitting(rows, bundle, about[bundle.id], connection.began)
        yield Known(connection, port, opener, bundle, rules, admitted(rows, bundle, rules))


def _holder(rows: Rows, port: Port, address: str) -> Port | None:
    """The port of the same network that holds an address."""
    found = rows.where(Port, reservations=(port.network_id, address))
    return found[0] if found else None


def _translated(rows: Rows, what: str, began: Began) -> str:
    """What a connection is translated for: a port forwarding of a router, or all of what it is (`translator`)."""
    _, router_id, *_ = what.split("/")
    for floating in rows.where(FloatingIp, floating_ip_address=began.destination):
        for each in rows.where(PortForwarding, floatingip_id=floating.id) if floating.router_id == router_id else ():
            alike = NUMBERS[each.protocol] == began.protocol
            if alike and each.external_port_first <= (began.high or 0) <= each.external_port_last:
                port, router = rows.get(Port, each.internal_port_id), rows.get(Router, router_id)
                to = named("port", each.internal_port_id, port.name if port else "")
                by = named("router", router_id, router.name if router else "")
                address = f"{floating.floating_ip_address} {floating.id}"
                return f"port forwarding {each.id} of floating IP {address} to {to}, by {by}"
    return translator(rows, what)


def translator(rows: Rows, what: str) -> str:
    """Whose a translation is: a floating IP's, with the port that it stands for, or a router's, with its address."""
    kind, id, *more = what.split("/")
    if kind == "router":
        router = rows.get(Router, id)
        return f"{named('router', id, router.name if router else '')}, as {more[0]}"
    floating, port = rows.get(FloatingIp, id), rows.get(Port, more[1])
    address = f" {floating.floating_ip_address}" if floating else ""
    return f"floating IP{address} {id}" + (f" of {named('port', port.id, port.name)}" if port else "")


def as_json(found: Connection | Known | Translated) -> dict[str, Any]:
    """One connection for machines; without `port` and `translation` it is foreign."""
    connection = found if isinstance(found, Connection) else found.connection
    answer: dict[str, Any] = {
        "text": connection.text,
        "protocol": connection.began.protocol,
        "source": connection.began.source,
        "destination": connection.began.destination,
        "zone": connection.zone,
        "state": connection.state,
        "port": None,
        "translation": found.what if isinstance(found, Translated) else None,
    }
    if isinstance(found, Translated):
        answer["words"] = f"translated for {found.words}"
    if isinstance(found, Known):
        answer |= {
            "port": _port(found.port),
            "opener": _port(found.opener) if found.opener else None,
            "bundle": _bundle(found.bundle) if found.bundle else None,
            "rules": [_rule(rule) for rule in found.rules],
            "words": found.words,
        }
    return answer


def _port(port: Port) -> dict[str, str]:
    return {"id": port.id, "name": port.name}


def _bundle(bundle: Bundle) -> dict[str, str]:
    return {
        "security_group_id": bundle.security_group_id,
        "direction": bundle.direction,
        "ethertype": bundle.ethertype,
        "remote": remote_of(bundle),
    }


def _rule(rule: SecurityGroupRule) -> dict[str, Any]:
    return {
        "id": rule.id,
        "protocol": rule.protocol,
        "port_range_min": rule.port_range_min,
        "port_range_max": rule.port_range_max,
    }


def text(answers: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The dump with whose each connection is, who began it and what allows it; the count at the end."""
    for each in answers:
        yield each["text"]
        yield f"    # {sentence(each)}"
    known = sum(is_known(each) for each in answers)
    yield f"{len(answers)} connections, {known} explained, {len(answers) - known} foreign"


def is_known(each: Mapping[str, Any]) -> bool:
    """Is it not foreign?"""
    return each["port"] is not None or each["translation"] is not None


def sentence(each: Mapping[str, Any]) -> str:
    """Whose it is, in one line."""
    if each["translation"] is not None:
        return str(each["words"])
    if each["port"] is None:
        return "foreign: its zone is no port's of this hypervisor"
    opener = named("port", **each["opener"]) if each["opener"] else each["source"]
    return f"{named('port', **each['port'])}, begun by {opener}; {each['words']}"
