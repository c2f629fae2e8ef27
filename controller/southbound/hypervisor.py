"""What a hypervisor's database says of it, and what that database should say: pure, both ways.

    database ── read() ──> Hypervisor                       what it says of itself, faults as sentences
             ── amend() ─> operations, for one transaction  what is not as wanted, if anything is not

Weft owns the integration bridge, that bridge's one controller, its tunnel ports, and a pair of patch ports to each
bridge of `weft-bridge-mappings` (all marked `owner=weft`), and writes nothing else: no key of the host, and nothing of
a mapped bridge, which is the operator's, but its end of that pair. The controller's row changes in place and stays when
Weft stops: the first controller added to a bridge and the last one removed flush its flows (OVS, ofproto/connmgr.c).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from operator import attrgetter

import netaddr

from controller.flows.pipeline import (
    PATCHED_BACK,
    PROBED,
    PROBES,
    PROBING,
    TUNNEL_PORTS,
    patch_port,
    patch_port_back,
    probe_port,
)
from controller.flows.presence import Watched
from controller.model.bindings import Claim, Hypervisor
from controller.model.records import Address
from controller.southbound.jsonrpc import Json, Object, Replica, Row, map_of, new_ref, row_ref, set_of

OWNER = "weft"
CONTROLLER: Mapping[str, Json] = {
    "inactivity_probe": 5000,
    "max_backoff": 1000,
    "connection_mode": "out-of-band",
    "controller_rate_limit": 500,
    "controller_burst_limit": 125,
}
"""Every controller's columns; milliseconds, and packets a second. The backoff decides how soon a restarted switch is
back; the limits, how much of a flood a switch hands over, which it shares out among its ports."""

WATCHED: Mapping[str, tuple[str, ...]] = {
    "Open_vSwitch": ("datapath_types", "external_ids", "ovs_version"),
    "Bridge": (
        "name",
        "ports",
        "datapath_id",
        "datapath_type",
        "fail_mode",
        "protocols",
        "controller",
        "other_config",
        "external_ids",
    ),
    "Controller": ("target", *CONTROLLER, "external_ids"),
    "Manager": ("target", "connection_mode"),
    "Port": ("name", "interfaces", "external_ids"),
    "Interface": ("name", "type", "options", "bfd", "external_ids", "error"),
}
"""What is monitored of a database, by table (ovs-vswitchd.conf.db(5)); nothing that changes by itself."""

SETS = frozenset({"datapath_types", "ports", "controller", "interfaces", "protocols"})
"""Of these columns, those that may have several elements."""

BFD: Mapping[str, str] = {"enable": "true", "min_tx": "100", "min_rx": "100"}
"""How gateways are watched (ovs-vswitchd.conf.db(5), Interface, BFD); milliseconds. Three in a row may be lost."""

BRIDGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,14}")
"""What a bridge can be called: it is an interface, too."""

UNREACHABLE = netaddr.IPSet(["0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/3", "::/127", "fe80::/10", "ff00::/8"])
"""No tunnel comes from elsewhere to these (RFC 6890 section 2.2.2, 2.2.3); a link-local one names no link."""

FOLLOWS: Mapping[tuple[int, int], int] = {(2, 17): 8, (3, 0): 5, (3, 1): 3}
"""From which patch of these versions on, and in all later ones, user space follows each change of flows: before, a
cached decision that overlaps another can stay as it was (lib/dpif-netdev.c, `flow_put_on_pmd`)."""


# What a database says ------------------------------------------------------------------------------------------


class _Keys:
    """The keys in `Open_vSwitch.external_ids`, read with a sentence for each that is missing or senseless."""

    def __init__(self, database: Replica) -> None:
        roots = iter(database.rows("Open_vSwitch").values())
        self.root = next(roots, Row("", {}))
        self._keys = self.root.map("external_ids")
        self.problems: list[str] = []

    def get(self, key: str) -> str | None:
        return self._keys.get(key)

    def fault(self, key: str, why: str, mend: str) -> None:
        """Note that `key` cannot be used, and a value that could."""
        command = f"ovs-vsctl set Open_vSwitch . external_ids:{key}={mend}"
        self.problems.append(f"external_ids:{key} {why}: run `{command}` on the hypervisor.")


def read_system_id(database: Replica) -> tuple[str, str]:
    """A hypervisor's name, or "" and one sentence on why it has none."""
    keys = _Keys(database)
    value = keys.get("system-id")
    if value is None:
        keys.fault("system-id", "is not set, so this hypervisor has no name", "NAME")
    elif not re.fullmatch(r"[!-.0-~]{1,255}", value):
        keys.fault("system-id", f"is {_shown(value)}, which is no name without spaces and slashes", "NAME")
    else:
        return value, ""
    return "", keys.problems[0]


def read(database: Replica, system_id: str) -> Hypervisor:
    """What the database of a hypervisor says of it; `problem` names each key to mend, with the command.

    Of `weft-bridge-mappings` those count that a bridge is there for; `lacks` tells of the others.
    """
    keys = _Keys(database)
    bridge_name = _read_bridge(keys)
    bridge = _bridge(database, bridge_name)
    datapath_id = bridge.text("datapath_id") if bridge else ""
    datapath_type = _read_datapath_type(keys, bridge)
    mappings = _read_bridge_mappings(keys, bridge_name)
    lacks = {
        physical: f"weft-bridge-mappings maps {physical} to {mapped}, {why}"
        for physical, mapped in mappings
        if (why := _unfit(database, mapped, datapath_type))
    }
    return Hypervisor(
        system_id=system_id,
        hostname=keys.get("hostname") or "",
        encap_ip=_read_encap_ip(keys),
        encap_types=_read_encap_types(keys),
        bridge=bridge_name,
        datapath_type=datapath_type,
        bridge_mappings=tuple(mapping for mapping in mappings if mapping[0] not in lacks),
        gateway_priority=_read_gateway_priority(keys),
        availability_zone=_read_availability_zone(keys),
        datapath_id=int(datapath_id, 16) if re.fullmatch(r"[0-9a-f]{16}", datapath_id) else None,
        claims=_claims(database, bridge_name),
        problem=" ".join(keys.problems),
        lacks=" ".join(lacks.values()),
        advice=_advise(database, keys.root.text("ovs_version")) if datapath_type == "netdev" else "",
    )


def _advise(database: Replica, version: str) -> str:
    """What could be better with an Open vSwitch in user space, a sentence each, or ""."""
    return " ".join(filter(None, (_advise_upgrade(version), _advise_out_of_band(database))))


def _advise_out_of_band(database: Replica) -> str:
    """One sentence on a manager that is reached in-band, as by default: it has hidden flows on every bridge.

    Open vSwitch makes these anew at each turn of its main loop, which in user space is what forwards
    (ofproto/in-band.c, `in_band_run`). One that listens has none (vswitchd/bridge.c, `collect_in_band_managers`).
    """
    for row in database.rows("Manager").values():
        target = row.text("target")
        if target.startswith(("tcp:", "ssl:")) and row.text("connection_mode") != "out-of-band":
            return (
                "Its manager is in-band, which makes forwarding dearer: unless the way to the controller leads through "
                f"a bridge whose flows do not let it through, run `ovs-vsctl set manager {target} "
                "connection_mode=out-of-band` on the hypervisor."
            )
    return ""


def _advise_upgrade(version: str) -> str:
    """One sentence on a defect of this Open vSwitch that flows cannot make up for, or ""; who tells none has none."""
    numbers = re.match(r"(\d{1,9})\.(\d{1,9})\.(\d{1,9})", version, re.ASCII)
    if numbers is None:
        return ""
    major, minor, patch = map(int, numbers.groups())
    if (major, minor) > max(FOLLOWS) or patch >= FOLLOWS.get((major, minor), patch + 1):
        return ""
    mended = ", ".join(f"{major}.{minor}.{patch}" for (major, minor), patch in FOLLOWS.items())
    return (
        f"Open vSwitch {numbers[0]} in user space may go on as before a change of rules, as long as there is traffic: "
        f"upgrade it to {mended}, 3.2 or newer."
    )


def _read_encap_ip(keys: _Keys) -> Address | None:
    value, mend = keys.get("weft-encap-ip"), "ITS-UNDERLAY-ADDRESS"
    if value is None:
        keys.fault("weft-encap-ip", "is not set, so no tunnel can end here", mend)
        return None
    try:
        address = netaddr.IPAddress(value.strip())
    except (netaddr.AddrFormatError, ValueError):
        keys.fault("weft-encap-ip", f"is {_shown(value)}, which is no IP address", mend)
        return None
    if address in UNREACHABLE:
        keys.fault("weft-encap-ip", f"is {address}, which no other hypervisor can send to", mend)
        return None
    return Address(str(address))


def _read_encap_types(keys: _Keys) -> tuple[str, ...]:
    value, known = keys.get("weft-encap-type"), ",".join(sorted(TUNNEL_PORTS))
    words = tuple(dict.fromkeys(word for part in (value or "").split(",") if (word := part.strip())))
    if not words:
        keys.fault("weft-encap-type", "is not set, so no tunnel can end here", known)
    if unknown := [word for word in words if word not in TUNNEL_PORTS]:
        which = " and ".join(map(_shown, unknown))
        keys.fault("weft-encap-type", f"names {which}, but the known encapsulations are {known}", known)
    return tuple(word for word in words if word in TUNNEL_PORTS)


def _read_bridge(keys: _Keys) -> str:
    value = keys.get("weft-bridge") or "br-int"
    if BRIDGE.fullmatch(value):
        return value
    keys.fault("weft-bridge", f"is {_shown(value)}, which no bridge can be called", "br-int")
    return "br-int"


def _read_datapath_type(keys: _Keys, bridge: Row | None) -> str:
    """The type that is asked for, else the one that the bridge has, else Open vSwitch's default."""
    value, present = keys.get("weft-datapath-type"), bridge.text("datapath_type") if bridge else ""
    offered = keys.root.texts("datapath_types")
    wanted = value or present or "system"
    if value and value not in ("system", "netdev"):
        keys.fault("weft-datapath-type", f"is {_shown(value)}, neither system nor netdev", "system")
        return present or "system"
    if offered and wanted not in offered:
        mend = "system" if "system" in offered else "netdev"
        keys.fault("weft-datapath-type", f"means {wanted}, which Open vSwitch does not offer here", mend)
    return wanted


def _read_bridge_mappings(keys: _Keys, integration: str) -> tuple[tuple[str, str], ...]:
    value, mend = keys.get("weft-bridge-mappings") or "", "physnet1:br-ex"
    mappings: dict[str, str] = {}
    for part in filter(None, map(str.strip, value.split(","))):
        network, _, bridge = part.partition(":")
        taken = network in mappings or bridge in (integration, *mappings.values())
        if not re.fullmatch(r"[!-~]{1,64}", network) or not BRIDGE.fullmatch(bridge) or taken:
            why = f"contains {_shown(part)}, which maps no further network to a bridge of its own"
            keys.fault("weft-bridge-mappings", why, mend)
            return ()
        mappings[network] = bridge
    return tuple(sorted(mappings.items()))


def _unfit(database: Replica, name: str, datapath_type: str) -> str:
    """Why no patch port can lead to a bridge from one of this datapath type, and how to mend it, or ""."""
    bridge = _bridge(database, name)
    if bridge is None:
        return f"which is no bridge: run `ovs-vsctl add-br {name}` on the hypervisor, and give it an interface."
    found = bridge.text("datapath_type") or "system"
    if found != datapath_type:
        mend = f"ovs-vsctl set bridge {name} datapath_type={datapath_type}"
        return f"whose datapath type is {found}, not {datapath_type}: run `{mend}` on the hypervisor."
    return ""


def _read_gateway_priority(keys: _Keys) -> int | None:
    value = keys.get("weft-gateway-priority")
    if not value:
        return None
    if re.fullmatch(r"[0-9]{1,5}", value) and int(value) <= 0xFFFF:
        return int(value)
    keys.fault("weft-gateway-priority", f"is {_shown(value)}, which is no number from 0 to 65535", "100")
    return None


def _read_availability_zone(keys: _Keys) -> str:
    value = keys.get("weft-availability-zone") or "nova"
    if re.fullmatch(r"[!-+.-~\-]{1,64}", value):
        return value
    keys.fault("weft-availability-zone", f"is {_shown(value)}, which is no name without spaces and commas", "nova")
    return "nova"


def _claims(database: Replica, bridge: str) -> tuple[Claim, ...]:
    """The interfaces on the bridge that say whose they are, by name (OVS, topics/integration.rst)."""
    here = database.once(_interfaces, TOPOLOGY, bridge)
    found = [claim for uuid, claim in database.column("Interface", _claim).items() if uuid in here]
    return tuple(sorted(found, key=attrgetter("interface")))


def _claim(interface: Row) -> Claim | None:
    ids = interface.map("external_ids")
    port_id = ids.get("iface-id")
    if not port_id:
        return None
    return Claim(interface.text("name"), port_id, _mac(ids.get("attached-mac", "")), interface.uuid)


def _mac(value: str) -> str:
    """A MAC as records write it; "" for what is none, since the claim does not depend on it."""
    try:
        return str(netaddr.EUI(value, version=48, dialect=netaddr.mac_unix_expanded))
    except (netaddr.AddrFormatError, ValueError):
        return ""


def _bridge(database: Replica, name: str) -> Row | None:
    return next((row for row in database.rows("Bridge").values() if row.text("name") == name), None)


TOPOLOGY = ("Bridge", "Port")
"""Who has read no other tables need look again when an interface says that it is a port."""


def _ports(database: Replica, bridge: str) -> Mapping[str, Row]:
    """The ports of a bridge, by name."""
    found = _bridge(database, bridge)
    names = database.column("Port", _name)
    return {names[row.uuid]: row for row in database.follow("Port", found.texts("ports"))} if found else {}


def _own_ports(database: Replica, bridge: str) -> Mapping[str, Row]:
    """Those of them that are ours."""
    ours = database.column("Port", _ours)
    return {name: row for name, row in database.once(_ports, TOPOLOGY, bridge).items() if row.uuid in ours}


def _interfaces(database: Replica, bridge: str) -> frozenset[str]:
    """The interfaces of a bridge."""
    parts = database.column("Port", _parts)
    ports = database.once(_ports, TOPOLOGY, bridge).values()
    return frozenset(uuid for port in ports for uuid in parts[port.uuid])


def _parts(port: Row) -> tuple[str, ...]:
    return port.texts("interfaces")


def _name(row: Row) -> str:
    return row.text("name")


def _shown(value: str) -> str:
    """What somebody else wrote, quoted and short enough for a sentence."""
    return repr(value if len(value) <= 60 else value[:57] + "...")


# What a database should say ------------------------------------------------------------------------------------


def amend(database: Replica, seen: Hypervisor, target: str, watched: Collection[Watched] = ()) -> list[Object]:
    """The operations, for one transaction, that make the database of a hypervisor right; none when it is.

    `watched` are the gateways that it has to know dead or alive, by BFD on a port for each (see `apps.gateways`).
    A hypervisor with a problem is left as it is. The transaction fails if the bridge or its controllers are no
    longer those that were looked at.
    """
    if seen.problem:
        return []
    bridge = _bridge(database, seen.bridge)
    change = _Change(database, seen, bridge)
    change.controller(target)
    change.ports(watched)
    change.back_ports()
    change.settings()
    return change.operations()


@dataclass(frozen=True, slots=True)
class _Device:
    """What an interface of ours should be."""

    type: str
    options: Mapping[str, str]
    bfd: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class _Change:
    """Gathers what differs: rows to insert or update, and what of it the bridge is to refer to."""

    database: Replica
    seen: Hypervisor
    bridge: Row | None
    rows: list[Object] = field(default_factory=list)
    columns: Object = field(default_factory=dict)
    config: dict[str, str] = field(default_factory=dict)
    new_ports: list[Json] = field(default_factory=list)
    old_ports: list[Json] = field(default_factory=list)

    def controller(self, target: str) -> None:
        """Exactly one controller; of several rows the likeliest is changed in place and stays."""
        wanted: Object = {"target": target, **CONTROLLER}
        rows = self.database.follow("Controller", self.bridge.texts("controller")) if self.bridge else []
        if not rows:
            self._insert("Controller", {**wanted, "external_ids": map_of({"owner": OWNER})}, "controller")
            self.columns["controller"] = new_ref("controller")
            return
        kept = min(rows, key=lambda row: (row.text("target") != target, not _ours(row), row.uuid))
        if any(kept.text(column) != str(value) for column, value in wanted.items()):
            self._update("Controller", kept, wanted)
        if len(rows) > 1:
            self.columns["controller"] = row_ref(kept.uuid)

    def ports(self, watched: Collection[Watched]) -> None:
        """A flow-based port for each encapsulation, a patch port to each mapped bridge, one to each watched gateway;
        other ports of ours go."""
        flow = {"remote_ip": "flow", "key": "flow", "local_ip": str(self.seen.encap_ip)}
        wanted = {TUNNEL_PORTS[type]: _Device(type, flow) for type in self.seen.encap_types}
        for physical, _ in self.seen.bridge_mappings:
            wanted[patch_port(physical)] = _Device("patch", {"peer": patch_port_back(physical)})
        for each in watched:
            wanted[probe_port(each.chassis)] = self._probe(each)
        present = self.database.once(_ports, TOPOLOGY, self.seen.bridge)
        for name, device in wanted.items():
            self.new_ports += self._device(name, device, present.get(name))
        ours = self.database.once(_own_ports, TOPOLOGY, self.seen.bridge)
        self.old_ports += [row_ref(port.uuid) for name, port in ours.items() if name not in wanted]

    def _probe(self, watched: Watched) -> _Device:
        """What asks a gateway in one segment and is answered in another takes no frame of anybody else."""
        ends = {"remote_ip": watched.vtep, "local_ip": str(self.seen.encap_ip)}
        keys = {"out_key": str(PROBES[watched.encap]), "in_key": str(PROBED[watched.encap])}
        return _Device(watched.encap, {**ends, **keys}, BFD)

    def back_ports(self) -> None:
        """The other ends, each on its mapped bridge and on no other."""
        wanted = {bridge: physical for physical, bridge in self.seen.bridge_mappings}
        for bridge in self.database.rows("Bridge").values():
            name, at = "", bridge.text("name")
            mutations: list[Json] = []
            if physical := wanted.get(at):
                name = patch_port_back(physical)
                device = _Device("patch", {"peer": patch_port(physical)})
                if made := self._device(name, device, self.database.once(_ports, TOPOLOGY, at).get(name)):
                    mutations.append(["ports", "insert", set_of(made)])
            ours = self.database.once(_own_ports, TOPOLOGY, at).items()
            stale = [port for other, port in ours if other.startswith(PATCHED_BACK) and other != name]
            if stale:
                mutations.append(["ports", "delete", set_of([row_ref(port.uuid) for port in stale])])
            if mutations:
                self._mutate("Bridge", bridge, mutations)

    def _device(self, name: str, device: _Device, port: Row | None) -> list[Json]:
        """Make a port what it should be; the reference to a new one, if it is not there."""
        interface: Object = {"type": device.type, "options": map_of(device.options), "bfd": map_of(device.bfd)}
        if port is None:
            self._bring_home(name)
            return [self._port(name, interface, {"owner": OWNER})]
        for row in self.database.follow("Interface", port.texts("interfaces")):
            here = row.text("type"), row.map("options"), row.map("bfd")
            if here != (device.type, device.options, device.bfd):
                self._update("Interface", row, interface)
        return []

    def _bring_home(self, name: str) -> None:
        """Take our own port of that name off the bridge it is on: names are unique, and `weft-bridge` may change."""
        stray = next((row for row in self.database.rows("Port").values() if row.text("name") == name), None)
        if stray is not None and _ours(stray):
            for row in self.database.rows("Bridge").values():
                if stray.uuid in row.texts("ports"):
                    self._mutate("Bridge", row, [["ports", "delete", row_ref(stray.uuid)]])

    def settings(self) -> None:
        """The bridge's own columns; an id that a newly plugged interface cannot change is among them."""
        wanted = {"datapath_type": self.seen.datapath_type, "fail_mode": "secure"}
        config = {"disable-in-band": "true", **self._datapath_id()}
        if self.bridge is None:
            self.new_ports.append(self._port(self.seen.bridge, {"type": "internal"}, {}))
            self.columns |= {"name": self.seen.bridge, "external_ids": map_of({"owner": OWNER}), **wanted}
            self.config = config
            return
        present = {column: self.bridge.text(column) for column in wanted}
        present["datapath_type"] = present["datapath_type"] or "system"
        self.columns |= {column: value for column, value in wanted.items() if present[column] != value}
        if self.bridge.texts("protocols"):  # of some versions alone; none named is all of them
            self.columns["protocols"] = set_of(())
        present_config = self.bridge.map("other_config")
        self.config = {key: value for key, value in config.items() if present_config.get(key) != value}

    def _datapath_id(self) -> dict[str, str]:
        """Pins the id: by default it follows the lowest MAC plugged in, and a switch that changes it reconnects.

        Of a bridge that Weft made it follows the name: a hypervisor that was copied from another has one of its own.
        """
        if self.bridge is None or _ours(self.bridge):
            return {"datapath-id": own_datapath_id(self.seen.system_id, self.seen.bridge)}
        if "datapath-id" in self.bridge.map("other_config") or not self.seen.datapath_id:
            return {}
        return {"datapath-id": f"{self.seen.datapath_id:016x}"}

    def operations(self) -> list[Object]:
        """All of it as RFC 7047 section 5.2 writes it."""
        if self.bridge is None:
            self._new_bridge()
        else:
            self._changed_bridge(self.bridge)
        if not self.rows:
            return []
        comment: Object = {"op": "comment", "comment": f"weft: {self.seen.bridge} as {self.seen.system_id} needs it"}
        return [self._unchanged(), *self.rows, comment]

    def _new_bridge(self) -> None:
        ports, config = set_of(self.new_ports), map_of(self.config)
        self._insert("Bridge", {**self.columns, "ports": ports, "other_config": config}, "bridge")
        mutations: Json = [["bridges", "insert", new_ref("bridge")]]
        self.rows.append({"op": "mutate", "table": "Open_vSwitch", "where": [], "mutations": mutations})

    def _changed_bridge(self, bridge: Row) -> None:
        if self.columns:
            self._update("Bridge", bridge, self.columns)
        mutations: list[Json] = []
        if self.config:
            mutations.append(["other_config", "delete", set_of(list(self.config))])
            mutations.append(["other_config", "insert", map_of(self.config)])
        if self.old_ports:
            mutations.append(["ports", "delete", set_of(self.old_ports)])
        if self.new_ports:
            mutations.append(["ports", "insert", set_of(self.new_ports)])
        if mutations:
            self._mutate("Bridge", bridge, mutations)

    def _unchanged(self) -> Object:
        """Holds the transaction to the bridge and the controllers it was computed from."""
        rows: list[Json] = []
        if self.bridge is not None:
            rows.append({"controller": set_of([row_ref(uuid) for uuid in self.bridge.texts("controller")])})
        return {
            "op": "wait",
            "table": "Bridge",
            "where": [["name", "==", self.seen.bridge]],
            "columns": ["controller"],
            "until": "==",
            "rows": rows,
            "timeout": 0,
        }

    def _port(self, name: str, interface: Object, owner: Mapping[str, str]) -> Json:
        """Insert a port with one interface of its name; the reference to it."""
        symbol = str(len(self.rows))
        ids = map_of(owner)
        self._insert("Interface", {"name": name, "external_ids": ids, **interface}, f"interface_{symbol}")
        refer = new_ref(f"interface_{symbol}")
        self._insert("Port", {"name": name, "external_ids": ids, "interfaces": refer}, f"port_{symbol}")
        return new_ref(f"port_{symbol}")

    def _insert(self, table: str, row: Object, symbol: str) -> None:
        self.rows.append({"op": "insert", "table": table, "row": row, "uuid-name": symbol})

    def _update(self, table: str, row: Row, columns: Object) -> None:
        self.rows.append({"op": "update", "table": table, "where": _is(row), "row": columns})

    def _mutate(self, table: str, row: Row, mutations: list[Json]) -> None:
        self.rows.append({"op": "mutate", "table": table, "where": _is(row), "mutations": mutations})


def own_datapath_id(system_id: str, bridge: str) -> str:
    """The id of an integration bridge that Weft makes, in hexadecimal: no other hypervisor's bridge has it."""
    return hashlib.sha256(f"{system_id}/{bridge}".encode()).hexdigest()[:16]


def _is(row: Row) -> Json:
    return [["_uuid", "==", row_ref(row.uuid)]]


def _ours(row: Row) -> bool | None:
    """True of what we made; None of what others did."""
    return row.map("external_ids").get("owner") == OWNER or None


def realised(database: Replica, seen: Hypervisor) -> str:
    """What Open vSwitch says it could not do of what we wrote, or ""."""
    mine = {seen.bridge, *TUNNEL_PORTS.values()}
    for physical, _ in seen.bridge_mappings:
        mine |= {patch_port(physical), patch_port_back(physical)}
    failed: list[str] = []
    for bridge in (seen.bridge, *(bridge for _, bridge in seen.bridge_mappings)):
        ports = database.once(_ports, TOPOLOGY, bridge)
        ours = [ports[name] for name in (*mine, *database.once(_probing, TOPOLOGY, bridge)) if name in ports]
        for row in database.follow("Interface", [uuid for port in ours for uuid in _parts(port)]):
            if error := row.text("error"):
                failed.append(f"{_name(row)}: {' '.join(error.split())[:300]}.")
    return " ".join(sorted(failed))


def _probing(database: Replica, bridge: str) -> list[str]:
    """The ports of a bridge that watch gateways."""
    return [name for name in database.once(_ports, TOPOLOGY, bridge) if name.startswith(PROBING)]
