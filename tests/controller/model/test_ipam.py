"""Addresses are given once, found when there is one, and cost the same in every subnet."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import netaddr
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
)

from controller.errors import AddressInUse, NoAddress
from controller.model import ipam
from controller.model.addresses import (
    address_of,
    block,
    check_pools,
    default_gateway,
    default_pools,
    eui64,
    number,
)
from controller.model.ipam import Wanted
from controller.model.records import Address, Cidr, Counter, FixedIp, Mac, Pool, Port, Released, Subnet
from controller.model.store import Model, Rows, Transaction, Write


def subnet(cidr: str, pools: tuple[Pool, ...] | None = None, id: str = "s", ordinal: int = 0) -> Subnet:
    net = Cidr(cidr)
    gateway = default_gateway(net)
    found = default_pools(net, gateway) if pools is None else pools
    return Subnet(
        id=id,
        network_id="n",
        ip_version=6 if ":" in cidr else 4,
        cidr=net,
        gateway_ip=gateway,
        allocation_pools=found,
        ordinal=ordinal,
    )


def pool(start: str, end: str) -> Pool:
    return Pool(Address(start), Address(end))


class Cloud:
    """One network, with every operation in a transaction of its own."""

    def __init__(self, *subnets: Subnet) -> None:
        self.model = Model()
        self.made = 0
        tx = Transaction(self.model)
        for each in subnets:
            tx.insert(each)
        self._apply(tx)

    def _apply(self, tx: Transaction) -> tuple[Write, ...]:
        writes = tx.writes()
        for write in writes:
            if write.new is None:
                self.model.drop(write.kind, write.id)
            else:
                self.model.put(write.new)
        return writes

    def plug(self, *wanted: Wanted, mac: str = "") -> Port:
        """A new port; without arguments it gets what it gets."""
        tx = Transaction(self.model)
        self.made += 1
        port = Port(id=f"p{self.made}", network_id="n", mac_address=Mac(mac or f"02:00:00:{self.made:06x}"))
        port = replace(port, fixed_ips=ipam.assign(tx, port, wanted or None))
        tx.insert(port)
        self._apply(tx)
        return port

    def unplug(self, port: Port) -> None:
        tx = Transaction(self.model)
        tx.delete(Port, port.id)
        ipam.release(tx, port)
        self._apply(tx)

    def move(self, port: Port, *wanted: Wanted) -> Port:
        tx = Transaction(self.model)
        new = replace(port, fixed_ips=ipam.assign(tx, port, wanted))
        tx.put(new)
        ipam.release(tx, port)
        self._apply(tx)
        return new

    def held(self) -> set[str]:
        return {ip.ip_address for port in self.model.all(Port) for ip in port.fixed_ips}


def address(port: Port) -> str:
    (ip,) = port.fixed_ips
    return ip.ip_address


@given(st.integers(0, 2**128 - 1))
def test_addresses_are_written_as_netaddr_writes_them(value: int) -> None:
    assert address_of(6, value) == str(netaddr.IPAddress(value, 6))
    assert number(address_of(6, value)) == value
    assert address_of(4, value % 2**32) == str(netaddr.IPAddress(value % 2**32, 4))
    assert number(address_of(4, value % 2**32)) == value % 2**32


@pytest.mark.parametrize(
    ("cidr", "gateway", "pools"),
    [
        ("10.0.0.0/24", "10.0.0.1", [("10.0.0.2", "10.0.0.254")]),
        ("10.0.0.0/24", "10.0.0.100", [("10.0.0.1", "10.0.0.99"), ("10.0.0.101", "10.0.0.254")]),
        ("10.0.0.0/24", None, [("10.0.0.1", "10.0.0.254")]),
        ("10.0.0.0/24", "192.0.2.1", [("10.0.0.1", "10.0.0.254")]),
        ("10.0.0.0/30", "10.0.0.1", [("10.0.0.2", "10.0.0.2")]),
        ("10.0.0.0/31", None, [("10.0.0.0", "10.0.0.1")]),
        ("10.0.0.7/32", None, [("10.0.0.7", "10.0.0.7")]),
        ("2001:db8::/64", "2001:db8::1", [("2001:db8::2", "2001:db8::ffff:ffff:ffff:ffff")]),
        ("2001:db8::/64", "fe80::1", [("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff")]),
    ],
)
def test_a_subnet_without_pools_hands_out_every_host_address_but_its_gateway(
    cidr: str, gateway: str | None, pools: list[tuple[str, str]]
) -> None:
    found = default_pools(Cidr(cidr), None if gateway is None else Address(gateway))
    assert [(each.start, each.end) for each in found] == pools
    check_pools(Cidr(cidr), found, None if gateway is None else Address(gateway))


def test_an_automatic_address_is_what_the_guest_forms_itself() -> None:
    assert eui64(Cidr("2001:db8::/64"), Mac("fa:16:3e:00:00:01")) == "2001:db8::f816:3eff:fe00:1"


def test_addresses_come_in_order_and_rest_before_they_are_given_again() -> None:
    cloud = Cloud(subnet("10.0.0.0/29"))
    ports = [cloud.plug() for _ in range(3)]
    assert [address(port) for port in ports] == ["10.0.0.2", "10.0.0.3", "10.0.0.4"]
    cloud.unplug(ports[1])
    cloud.unplug(ports[0])
    assert [address(cloud.plug()) for _ in range(4)] == ["10.0.0.5", "10.0.0.6", "10.0.0.3", "10.0.0.2"]
    with pytest.raises(NoAddress):
        cloud.plug()


def test_an_address_that_was_asked_for_is_stepped_over() -> None:
    cloud = Cloud(subnet("10.0.0.0/29"))
    taken = cloud.plug(Wanted(address=Address("10.0.0.3")))
    assert [address(cloud.plug()) for _ in range(4)] == ["10.0.0.2", "10.0.0.4", "10.0.0.5", "10.0.0.6"]
    with pytest.raises(AddressInUse):
        cloud.plug(Wanted(address=Address("10.0.0.3")))
    cloud.unplug(taken)
    assert address(cloud.plug()) == "10.0.0.3"


def test_one_port_never_gets_an_address_that_it_also_asked_for() -> None:
    cloud = Cloud(subnet("10.0.0.0/29"))
    port = cloud.plug(Wanted("s"), Wanted(address=Address("10.0.0.2")), Wanted("s"))
    assert [ip.ip_address for ip in port.fixed_ips] == ["10.0.0.2", "10.0.0.3", "10.0.0.4"]


def test_a_full_subnet_hands_over_to_the_next() -> None:
    cloud = Cloud(subnet("10.0.0.0/30", id="a", ordinal=2), subnet("10.0.1.0/30", id="b", ordinal=1))
    assert [address(cloud.plug()) for _ in range(2)] == ["10.0.1.2", "10.0.0.2"]
    with pytest.raises(NoAddress):
        cloud.plug()


def test_a_port_gets_one_address_of_each_version() -> None:
    cloud = Cloud(subnet("10.0.0.0/24", id="four"), subnet("2001:db8::/64", id="six"))
    assert cloud.plug().fixed_ips == (
        FixedIp("four", Address("10.0.0.2")),
        FixedIp("six", Address("2001:db8::2")),
    )


def test_a_move_keeps_what_still_fits_and_frees_the_rest() -> None:
    cloud = Cloud(subnet("10.0.0.0/29", id="a"), subnet("10.0.1.0/29", id="b"))
    port = cloud.plug(Wanted("a"), Wanted("b"))
    moved = cloud.move(port, Wanted("b"), Wanted("b"))
    assert [ip.ip_address for ip in moved.fixed_ips] == ["10.0.1.2", "10.0.1.3"]
    assert cloud.held() == {"10.0.1.2", "10.0.1.3"}


def test_new_pools_start_over_without_giving_a_held_address() -> None:
    cloud = Cloud(subnet("10.0.0.0/29"))
    for _ in range(5):
        cloud.plug()
    tx = Transaction(cloud.model)
    tx.put(subnet("10.0.0.0/29", (pool("10.0.0.1", "10.0.0.6"),)))
    ipam.forget(tx, "s")
    cloud._apply(tx)
    assert address(cloud.plug()) == "10.0.0.1"


def test_the_line_of_released_addresses_does_not_grow_with_churn() -> None:
    cloud = Cloud(subnet("2001:db8::/64"))
    for _ in range(3 * ipam.RESTING):
        cloud.unplug(cloud.plug())
    assert len(cloud.model.all(Released)) <= ipam.RESTING + 1
    asked = Address("2001:db8::2")
    for _ in range(ipam.RESTING):
        cloud.unplug(cloud.plug(Wanted(address=asked)))
    assert len(cloud.model.all(Released)) <= ipam.RESTING + 1


def test_a_subnet_that_goes_leaves_nothing() -> None:
    cloud = Cloud(subnet("10.0.0.0/29"))
    for port in [cloud.plug() for _ in range(4)]:
        cloud.unplug(port)
    tx = Transaction(cloud.model)
    ipam.forget(tx, "s")
    cloud._apply(tx)
    assert cloud.model.all(Released) == ()
    assert cloud.model.all(Counter) == ()


@pytest.mark.parametrize("cidr", ["10.0.0.0/8", "2001:db8::/64"])
def test_an_allocation_writes_the_same_few_records_in_a_subnet_of_any_size(cidr: str) -> None:
    cloud = Cloud(subnet(cidr))
    for _ in range(50):
        cloud.plug()
    tx = Transaction(cloud.model)
    port = Port(id="last", network_id="n", mac_address=Mac("02:00:00:00:00:01"))
    tx.insert(replace(port, fixed_ips=ipam.assign(tx, port, None)))
    assert {write.kind.__name__ for write in tx.writes()} == {"Port", "Counter"}
    assert len(tx.writes()) == 2


def test_no_allocation_walks_through_the_subnet(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = Cloud(subnet("10.0.0.0/22", (pool("10.0.0.2", "10.0.1.99"), pool("10.0.1.100", "10.0.3.254"))))
    looked = 0
    holder_of = ipam.holder_of

    def counted(rows: Rows, network_id: str, address: Address) -> str | None:
        nonlocal looked
        looked += 1
        return holder_of(rows, network_id, address)

    monkeypatch.setattr(ipam, "holder_of", counted)
    ports = [cloud.plug() for _ in range(2**10 - 3)]
    assert looked == len(ports) == len(cloud.held())
    for place in (0, 1000, 200, 700):
        cloud.unplug(ports[place])
        ports[place] = cloud.plug()
    assert looked == len(ports) + 4 * 2, "once when it is released, once when it is given"
    assert len(cloud.held()) == len(ports)


class Churn(RuleBasedStateMachine):
    """Ports come and go with and without wishes, pools change: no address is doubled, none is lost."""

    ports: Bundle[Port] = Bundle("ports")
    POOLS = (
        (pool("10.0.0.2", "10.0.0.14"),),
        (pool("10.0.0.9", "10.0.0.11"), pool("10.0.0.1", "10.0.0.4")),
        (pool("10.0.0.3", "10.0.0.3"), pool("10.0.0.5", "10.0.0.5"), pool("10.0.0.7", "10.0.0.13")),
    )

    def __init__(self) -> None:
        super().__init__()
        self.pools: tuple[Pool, ...] = self.POOLS[0]
        self.cloud = Cloud(subnet("10.0.0.0/28", self.pools))
        self.before = ipam.RESTING

    @rule(resting=st.sampled_from([0, 2, 256]))
    def rest(self, resting: int) -> None:
        ipam.RESTING = resting

    def free(self) -> set[str]:
        inside = {
            str(ip_address(value)) for each in self.pools for value in range(number(each.start), number(each.end) + 1)
        }
        return inside - self.cloud.held()

    @rule(target=ports)
    def plug(self) -> Port | MultipleResults[Port]:
        free = self.free()
        try:
            port = self.cloud.plug()
        except NoAddress:
            assert not free, f"{free} were free"
            return multiple()
        assert address(port) in free
        return port

    @rule(target=ports, last=st.integers(1, 14))
    def ask(self, last: int) -> Port | MultipleResults[Port]:
        wanted = Address(f"10.0.0.{last}")
        held = wanted in self.cloud.held()
        try:
            port = self.cloud.plug(Wanted(address=wanted))
        except AddressInUse:
            assert held
            return multiple()
        assert not held
        return port

    @rule(port=consumes(ports))
    def unplug(self, port: Port) -> None:
        self.cloud.unplug(port)

    @rule(target=ports, port=consumes(ports), last=st.integers(1, 14))
    def move(self, port: Port, last: int) -> Port:
        try:
            return self.cloud.move(port, Wanted(address=Address(f"10.0.0.{last}")))
        except AddressInUse:
            return port

    @rule(pools=st.sampled_from(POOLS))
    def repool(self, pools: tuple[Pool, ...]) -> None:
        self.pools = pools
        tx = Transaction(self.cloud.model)
        tx.put(subnet("10.0.0.0/28", pools))
        ipam.forget(tx, "s")
        self.cloud._apply(tx)

    @invariant()
    def nothing_is_doubled(self) -> None:
        every = [ip.ip_address for port in self.cloud.model.all(Port) for ip in port.fixed_ips]
        assert len(every) == len(set(every))

    @invariant()
    def the_line_is_bounded_by_the_subnet(self) -> None:
        assert len(self.cloud.model.all(Released)) <= 14

    def teardown(self) -> None:
        try:
            while self.free():
                self.plug()
        finally:
            ipam.RESTING = self.before


TestChurn = Churn.TestCase


def test_a_block_knows_its_hosts() -> None:
    assert block(Cidr("10.0.0.0/29")).low == number(Address("10.0.0.1"))
    assert str(block(Cidr("2001:db8:0:0::5/64"))) == "2001:db8::/64"
