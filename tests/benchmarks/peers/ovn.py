"""OVN, asked by its northbound database over one connection: Debian's packages, run as their own services would.

Each change carries its own number (`NB_Global.nb_cfg`) in the same transaction, and is done when every chassis has said
that number (`hv_cfg`), as `ovn-nbctl --wait=hv` has it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from mininet_scenarios.lab import Lab
from mininet_scenarios.machines import BRIDGE
from mininet_scenarios.nodes import CONTROLLER, Controller
from mininet_scenarios.processes import Daemon, run, wait_until
from tests.benchmarks.peers.driver import (
    GUESTS,
    LATE,
    MANAGEMENT,
    NETWORKS,
    OUTSIDE,
    PHYSICAL,
    PORTS,
    SSH,
    Change,
    Dummied,
    Peer,
    Spot,
    gateway,
    halves,
    own,
    spots,
)
from tests.benchmarks.peers.ovsdb import Database, Json, Operation, insert, mapping, mutate, new, several

SCHEMAS = Path("/usr/share/ovn")
PATIENCE_MS, PATIENCE_S = 120_000, 120
"""How long silence is forgiven: longer than any computation here."""
ALLOW, DENY = 1002, 1001
"""Priorities of ACLs."""


class Central(Controller):
    """OVN's databases and ovn-northd, in the lab's own namespace."""

    def prepare(self, directory: Path, options: Sequence[str]) -> None:
        """Say where they stand."""
        self.directory = directory / "central"
        self.directory.mkdir()
        self.log = self.directory / "northd.log"
        self._environment = {"OVN_RUNDIR": str(self.directory), "OVS_RUNDIR": str(self.directory)}
        self.daemons: dict[str, Daemon] = {}

    def launch(self) -> None:
        """Make the databases, and start all."""
        for short, name in (("nb", "OVN_Northbound"), ("sb", "OVN_Southbound")):
            run("ovsdb-tool", "create", str(self.directory / f"{short}.db"), str(SCHEMAS / f"ovn-{short}.ovsschema"))
            remotes = (f"punix:{self.socket(short)}", f"db:{name},{short.upper()}_Global,connections")
            self._start(short, "ovsdb-server", str(self.directory / f"{short}.db"), *(f"--remote={r}" for r in remotes))
            wait_until(f"The {name} database", partial(self._silent, short), 10)
            self._control(short, "init")
        patience = f"--inactivity-probe={PATIENCE_MS}"
        self._control("sb", patience, "set-connection", "ptcp:6642:0.0.0.0")
        databases = (f"--ovnnb-db=unix:{self.socket('nb')}", f"--ovnsb-db=unix:{self.socket('sb')}")
        self._start("northd", "ovn-northd", *databases)

    def socket(self, database: str) -> Path:
        """Where a database listens."""
        return self.directory / f"{database}.sock"

    def _silent(self, database: str) -> str:
        self.daemons[database].must_run()
        return "" if self.socket(database).exists() else "it does not listen"

    def _control(self, database: str, *arguments: str) -> None:
        run(f"ovn-{database}ctl", f"--db=unix:{self.socket(database)}", *arguments, env=self._environment)

    def _start(self, name: str, program: str, *arguments: str) -> None:
        files = (f"--pidfile={self.directory}/{name}.pid", f"--unixctl={self.directory}/{name}.ctl")
        log = self.directory / f"{name}.log"
        command = (program, *arguments, *files, f"--log-file={log}", "-vconsole:off")
        self.daemons[name] = Daemon(name, *command, env=self._environment, log=log)

    def ready(self, timeout_s: float = 20.0) -> None:
        """Nothing is waited for: what is asked before will be done."""

    def kill(self) -> None:
        """End all."""
        for daemon in self.daemons.values():
            daemon.kill()


class Host(Dummied):
    """A hypervisor with ovn-controller."""

    agent: Daemon

    def join(self, keys: Mapping[str, str | None] | None = None) -> None:
        """Tell ovn-controller where it is, and start it."""
        settings = {
            **self._mappings(),
            "system-id": self.name,
            "hostname": self.name,
            "ovn-remote": f"tcp:{CONTROLLER}:6642",
            "ovn-encap-type": "geneve",
            "ovn-encap-ip": self.vtep,
            "ovn-bridge-datapath-type": "netdev",
            "ovn-remote-probe-interval": str(PATIENCE_MS),
            "ovn-openflow-probe-interval": str(PATIENCE_S),
        }
        keys_set = [f'external_ids:{key}="{value}"' for key, value in settings.items()]
        self.vsctl("set", "Open_vSwitch", ".", *keys_set)
        self.environment["OVN_RUNDIR"] = str(self.directory)
        self.start_agent()

    def start_agent(self) -> None:
        """Start ovn-controller."""
        self.agent = self._daemon("ovn-controller", f"unix:{self.directory}/db.sock")

    def _mappings(self) -> dict[str, str]:
        return {key.replace("weft-", "ovn-"): value for key, value in super()._mappings().items()}

    def terminate(self) -> None:
        """Stop ovn-controller, then the rest."""
        if hasattr(self, "agent"):
            self.agent.kill()
        super().terminate()


class OvnLab(Lab):
    """A lab that OVN controls."""

    controller_type = Central
    hypervisor_type = Host

    def converged(self, timeout_s: float = 20.0) -> None:
        """Nothing that the lab could wait for: `Ovn.settled` does."""


class Ovn(Peer):
    """Central databases, ovn-northd, and ovn-controller on each hypervisor."""

    name = "ovn"

    def __init__(self) -> None:
        super().__init__()
        self.lab = OvnLab(hypervisors=2)
        self._asked = 0
        self._done = 0
        self._up: set[str] = set()

    @property
    def _central(self) -> Central:
        assert isinstance(self.lab.controller, Central)
        return self.lab.controller

    # ---- before

    def prepare(self) -> None:
        """Connect, and make the outside network."""
        self._nb = Database(self._central.socket("nb"), "OVN_Northbound")
        self._nb.monitor("NB_Global", ["hv_cfg"], self._hear_done)
        self._nb.monitor("Logical_Switch_Port", ["name", "up"], self._hear_up)
        wire = {"type": "localnet", "addresses": "unknown", "options": mapping({"network_name": PHYSICAL})}
        self._ask(
            insert("Logical_Switch_Port", "wire", name="ln-outside", **wire),
            insert("Logical_Switch", name="outside", ports=new("wire")),
            insert("Address_Set", name="management", addresses=several(MANAGEMENT)),
        )

    def _hear_done(self, tables: Json, _at: float) -> None:
        for row in tables.get("NB_Global", {}).values():
            self._done = row["new"]["hv_cfg"]

    def _hear_up(self, tables: Json, _at: float) -> None:
        for row in tables.get("Logical_Switch_Port", {}).values():
            shown = row.get("new") or row["old"]
            if "new" in row and shown["up"] is True:
                self._up.add(shown["name"])
            elif "name" in shown:
                self._up.discard(shown["name"])

    def plug(self, tenants: int, bound: bool) -> None:
        """Put interfaces on the bridges with the names that their ports will have."""
        for name, guest in self.guests.items():
            if name in GUESTS:
                guest.plug()
            else:
                guest.hypervisor.vsctl("add-port", BRIDGE, guest.tap)
        if bound:
            for name, half in halves(tenants).items():
                self.dummies[name].plug([f"d{n}" for n in range(len(half))], [spot.name for spot in half])
        self._late = self.dummies["hv2"].row(self.guests["late"])

    def _ask(self, *operations: Operation) -> None:
        """One transaction, which is done when every hypervisor says its number."""
        self._asked += 1
        number: Operation = {"op": "update", "table": "NB_Global", "where": [], "row": {"nb_cfg": self._asked}}
        self._nb.transact(*operations, number)

    def settled(self, timeout_s: float) -> None:
        """Wait for the newest number."""
        self._nb.wait("All changes on all hypervisors", lambda: self._done >= self._asked, timeout_s)

    def active(self, timeout_s: float, ports: int) -> None:
        """Wait for ports that are up; those of routers are no ports of guests."""
        self._nb.wait("Ports that are up", lambda: len(self._guests_up()) >= ports, timeout_s)

    def _guests_up(self) -> list[str]:
        return [name for name in self._up if "-p" in name]

    # ---- the model

    def build(self, tenants: int, bound: bool) -> None:
        """One transaction a tenant."""
        self.tenants = tenants
        for tenant in range(tenants):
            self._nb.transact(*self._tenant(tenant))
        self._ask()

    def _tenant(self, tenant: int) -> Iterator[Operation]:
        yield from (self._port(spot, f"p{spot.network}_{spot.number}") for spot in spots(tenant))
        for network in range(NETWORKS):
            yield from self._network(tenant, network)
        yield from self._gateway(tenant)
        yield from self._router(tenant)
        yield from self._group(tenant)

    def _port(self, spot: Spot, called: str, name: str = "") -> Operation:
        address = f"{spot.mac} {spot.ip}"
        named = {"name": name or spot.name, "addresses": address, "port_security": address}
        return insert("Logical_Switch_Port", called, **named)

    def _network(self, tenant: int, network: int) -> Iterator[Operation]:
        peer, mac = f"t{tenant}-lrp{network}", f"0e:{tenant >> 8:02x}:{tenant & 255:02x}:00:00:{network + 1:02x}"
        yield self._to_router(f"r{network}", f"t{tenant}-n{network}-r", peer)
        ports = [new(f"p{network}_{number}") for number in range(PORTS)]
        yield insert("Logical_Switch", name=f"t{tenant}-n{network}", ports=several([*ports, new(f"r{network}")]))
        yield insert("Logical_Router_Port", f"l{network}", name=peer, mac=mac, networks=f"{gateway(network)}/24")

    def _to_router(self, called: str, name: str, peer: str, **options: str) -> Operation:
        keys = mapping({"router-port": peer, **options})
        return insert("Logical_Switch_Port", called, name=name, type="router", addresses="router", options=keys)

    def _gateway(self, tenant: int) -> Iterator[Operation]:
        peer = f"t{tenant}-lrpx"
        for chassis, priority in (("hv1", 20), ("hv2", 10)):
            named = {"name": f"t{tenant}-{chassis}", "chassis_name": chassis, "priority": priority}
            yield insert("Gateway_Chassis", chassis, **named)
        yield insert(
            "Logical_Router_Port",
            "lx",
            name=peer,
            mac=f"0e:{tenant >> 8:02x}:{tenant & 255:02x}:00:00:ff",
            networks=f"{own(tenant)}/16",
            gateway_chassis=several([new("hv1"), new("hv2")]),
        )
        told = {"nat-addresses": "router", "exclude-lb-vips-from-garp": "true"}
        yield self._to_router("rx", f"t{tenant}-out", peer, **told)
        yield mutate("Logical_Switch", "name", "outside", ["ports", "insert", new("rx")])

    def _router(self, tenant: int) -> Iterator[Operation]:
        for network in range(NETWORKS):
            hidden = {"external_ip": own(tenant), "logical_ip": f"10.0.{network}.0/24"}
            yield insert("NAT", f"s{network}", type="snat", **hidden)
        yield self._floating(Spot(tenant, 0, 0), "f")
        yield insert("Logical_Router_Static_Route", "d", ip_prefix="0.0.0.0/0", nexthop=OUTSIDE)
        ports, nat = [new("l0"), new("l1"), new("lx")], [new("s0"), new("s1"), new("f")]
        rows = {"ports": several(ports), "nat": several(nat), "static_routes": new("d")}
        yield insert("Logical_Router", name=f"t{tenant}-r", **rows)

    def _floating(self, spot: Spot, called: str) -> Operation:
        return insert(
            "NAT",
            called,
            type="dnat_and_snat",
            external_ip=spot.floating,
            logical_ip=spot.ip,
            external_mac=spot.mac.replace("0a:", "0c:", 1),
            logical_port=spot.name,
        )

    def _group(self, tenant: int) -> Iterator[Operation]:
        group = _group(tenant)
        from_, to = f"inport == @{group}", f"outport == @{group}"
        rules = (
            _acl("a0", "from-lport", f"{from_} && ip4"),
            _acl("a1", "to-lport", f"{to} && ip4 && ip4.src == $management && tcp && tcp.dst == {SSH}"),
            _acl("a2", "to-lport", f"{to} && ip4 && icmp4"),
            _acl("a3", "to-lport", f"{to} && ip4 && ip4.src == ${group}_ip4"),
            _acl("a4", "from-lport", f"{from_} && ip", "drop"),
            _acl("a5", "to-lport", f"{to} && ip", "drop"),
        )
        yield from rules
        ports = [new(f"p{spot.network}_{spot.number}") for spot in spots(tenant)]
        acls = [new(f"a{number}") for number in range(len(rules))]
        yield insert("Port_Group", name=group, ports=several(ports), acls=several(acls))

    # ---- single changes

    def _change(self, *operations: Operation) -> Change:
        return lambda: self._ask(*operations)

    def _port_uuid(self, name: str) -> object:
        return self._nb.select("Logical_Switch_Port", "name", name)

    def add_port(self, spot: Spot, name: str = "") -> Change:
        """A port on its switch and in its group."""
        return self._change(
            self._port(spot, "p", name),
            mutate("Logical_Switch", "name", f"t{spot.tenant}-n{spot.network}", ["ports", "insert", new("p")]),
            mutate("Port_Group", "name", _group(spot.tenant), ["ports", "insert", new("p")]),
        )

    def remove_port(self, spot: Spot, name: str = "") -> Change:
        """That port no more."""
        port = self._port_uuid(name or spot.name)
        return self._change(
            mutate("Port_Group", "name", _group(spot.tenant), ["ports", "delete", port]),
            mutate("Logical_Switch", "name", f"t{spot.tenant}-n{spot.network}", ["ports", "delete", port]),
        )

    def add_rule(self, tenant: int, port: int) -> Change:
        """An ACL of the group."""
        return self._change(
            _acl("a", "to-lport", _for_port(tenant, port)),
            mutate("Port_Group", "name", _group(tenant), ["acls", "insert", new("a")]),
        )

    def remove_rule(self, tenant: int, port: int) -> Change:
        """That ACL no more."""
        acl = self._nb.select("ACL", "match", _for_port(tenant, port))
        return self._change(mutate("Port_Group", "name", _group(tenant), ["acls", "delete", acl]))

    def join(self, spot: Spot) -> Change:
        """A member of the group."""
        port = self._port_uuid(spot.name)
        return self._change(mutate("Port_Group", "name", _group(spot.tenant), ["ports", "insert", port]))

    def leave(self, spot: Spot) -> Change:
        """No member of the group."""
        port = self._port_uuid(spot.name)
        return self._change(mutate("Port_Group", "name", _group(spot.tenant), ["ports", "delete", port]))

    def add_floating(self, spot: Spot) -> Change:
        """A translation of the router's."""
        where = mutate("Logical_Router", "name", f"t{spot.tenant}-r", ["nat", "insert", new("f")])
        return self._change(self._floating(spot, "f"), where)

    def remove_floating(self, spot: Spot) -> Change:
        """That translation no more."""
        nat = self._nb.select("NAT", "external_ip", spot.floating)
        return self._change(mutate("Logical_Router", "name", f"t{spot.tenant}-r", ["nat", "delete", nat]))

    # ---- a guest whose port is made while it waits

    def ready(self, name: str) -> None:
        """Its interface has the name that its port will have."""
        self.claim(name)()

    def appear(self, name: str) -> Change:
        """Make the port."""
        return self.add_port(LATE, name)

    def key(self, name: str) -> str:
        """The name of the port itself."""
        return name

    # ---- faults, and what runs

    def kill(self) -> None:
        """kill -9 of ovn-controller."""
        self._host("hv2").agent.kill()

    def revive(self) -> None:
        """Start it again, and ask for nothing, so that there is something to be done."""
        self._host("hv2").start_agent()
        self._ask()

    def _host(self, name: str) -> Host:
        host = self.lab.hypervisors[name]
        assert isinstance(host, Host)
        return host

    def processes(self) -> dict[str, int]:
        """Databases, ovn-northd, the agents, and Open vSwitch."""
        central = {name: daemon.pid for name, daemon in self._central.daemons.items()}
        agents = {f"{name} ovn-controller": self._host(name).agent.pid for name in self.lab.hypervisors}
        databases = {f"{name} ovsdb": each.database.pid for name, each in self.lab.hypervisors.items()}
        return {**central, **agents, **databases, **self.switches()}


def _group(tenant: int) -> str:
    return f"pg_t{tenant}"


def _for_port(tenant: int, port: int) -> str:
    return f"outport == @{_group(tenant)} && ip4 && tcp && tcp.dst == {port}"


def _acl(called: str, direction: str, match: str, action: str = "allow-related") -> Operation:
    priority = DENY if action == "drop" else ALLOW
    return insert("ACL", called, direction=direction, priority=priority, match=match, action=action)
