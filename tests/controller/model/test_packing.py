"""Records survive their way to bytes and back, and bytes that are no record are refused by name."""

from dataclasses import MISSING, fields, replace
from types import NoneType, UnionType
from typing import Any, NewType, Union, cast, get_args, get_origin, get_type_hints

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.errors import Unavailable
from controller.model import records as every
from controller.model.packing import pack, unpack
from controller.model.records import KINDS, Address, Chassis, FixedIp, Mac, Port, Record, Resource

PORT = Port(
    id="p1",
    network_id="red",
    mac_address=Mac("fa:16:3e:00:00:01"),
    fixed_ips=(FixedIp("s1", Address("10.0.0.5")),),
)


def values(hint: Any) -> st.SearchStrategy[Any]:
    """Any value of a type hint; text holds halves of surrogate pairs too, as JSON may."""
    if isinstance(hint, NewType):
        return values(hint.__supertype__)
    if hint is str:
        return st.text(st.characters())
    if hint is int:
        return st.integers(-(1 << 63), (1 << 64) - 1)
    if hint is bool:
        return st.booleans()
    if hint is NoneType:
        return st.none()
    if get_origin(hint) in (Union, UnionType):
        return st.one_of(*map(values, get_args(hint)))
    if get_origin(hint) is tuple:
        inner = get_args(hint)
        return st.lists(values(inner[0]), max_size=4).map(tuple) if inner[-1] is ... else st.tuples(*map(values, inner))
    return of_class(hint)


def of_class(kind: type) -> st.SearchStrategy[Any]:
    hints = get_type_hints(kind)
    return st.builds(kind, **{field.name: values(hints[field.name]) for field in fields(kind)})


def records(*kinds: type[Record]) -> st.SearchStrategy[Record]:
    """Any record of those kinds."""
    return st.one_of(*map(of_class, kinds))


def altered(record: Record, **changes: object) -> bytes:
    """The packed record with some attributes altered, or removed by `...`."""
    attributes = cast("dict[str, object]", msgpack.unpackb(pack(record))) | changes
    return cast("bytes", msgpack.packb({name: value for name, value in attributes.items() if value is not ...}))


@pytest.mark.parametrize("kind", KINDS)
@given(st.data())
def test_a_record_of_any_kind_is_read_back_as_it_was_written(kind: type[Record], data: st.DataObject) -> None:
    record = data.draw(records(kind))
    assert unpack(kind.__name__, record.id, pack(record)) == record


@pytest.mark.parametrize("kind", KINDS)
@given(st.data())
def test_an_attribute_with_a_default_may_be_missing_from_an_old_row(kind: type[Record], data: st.DataObject) -> None:
    record = data.draw(records(kind))
    for field in fields(kind):
        if field.default is not MISSING:
            attributes = msgpack.unpackb(pack(record), unicode_errors="surrogatepass")
            del attributes[field.name]
            old = msgpack.packb(attributes, unicode_errors="surrogatepass")
            assert unpack(kind.__name__, record.id, old) == replace(record, **{field.name: field.default})


def test_an_attribute_of_a_newer_version_is_refused_by_name() -> None:
    with pytest.raises(
        Unavailable, match=r"Port p1 cannot be read: the attribute qos is unknown, a newer Weft wrote it"
    ):
        unpack("Port", "p1", altered(PORT, qos="gold"))


def test_a_kind_of_a_newer_version_is_refused_by_name() -> None:
    with pytest.raises(Unavailable, match=r"Firewall f1 cannot be read: the kind is unknown, a newer Weft wrote it"):
        unpack("Firewall", "f1", pack(PORT))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"network_id": ...}, "missing 1 required keyword-only argument: 'network_id'"),
        ({"admin_state_up": 1}, "admin_state_up: int where bool belongs"),
        ({"revision_number": True}, "revision_number: bool where int belongs"),
        ({"fixed_ips": "10.0.0.5"}, "fixed_ips: str where tuple belongs"),
        ({"fixed_ips": [["s1", "10.0.0.5"]]}, "fixed_ips: tuple where map belongs"),
        (
            {"fixed_ips": [{"subnet_id": "s1"}]},
            "fixed_ips: .*missing 1 required positional argument: 'ip_address'",
        ),
    ],
)
def test_a_row_that_is_no_record_names_itself_and_its_attribute(changes: dict[str, object], reason: str) -> None:
    with pytest.raises(Unavailable, match=f"Port p1 cannot be read: .*{reason}"):
        unpack("Port", "p1", altered(PORT, **changes))


def test_a_pair_of_three_is_refused() -> None:
    hv1 = Chassis(id="hv1", bridge_mappings=(("physnet1", "br-ex"),))
    with pytest.raises(Unavailable, match=r"Chassis hv1 cannot be read: bridge_mappings: .*longer"):
        unpack("Chassis", "hv1", altered(hv1, bridge_mappings=[["physnet1", "br-ex", "br-ex2"]]))


@pytest.mark.parametrize(
    ("port", "reason"),
    [
        (replace(PORT, name=cast("str", None)), "name: NoneType where str belongs"),
        (
            replace(PORT, fixed_ips=(FixedIp("s1", cast("Address", 5)),)),
            "fixed_ips: ip_address: int where str belongs",
        ),
        (replace(PORT, fixed_ips=cast("tuple[FixedIp, ...]", [])), "fixed_ips: list where tuple belongs"),
        (replace(PORT, created_at=1 << 64), "Integer value out of range"),
    ],
)
def test_what_could_not_be_read_again_is_not_written(port: Port, reason: str) -> None:
    with pytest.raises(Unavailable, match=f"Port p1 cannot be written: {reason}"):
        pack(port)


@given(
    st.binary()
    | st.integers(0, len(pack(PORT)) - 1).flatmap(
        lambda at: st.binary(max_size=3).map(lambda new: pack(PORT)[:at] + new + pack(PORT)[at + 1 :])
    )
)
def test_damaged_bytes_are_read_as_some_port_or_refused(damaged: bytes) -> None:
    try:
        assert isinstance(unpack("Port", "p1", damaged), Port)
    except Unavailable as error:
        assert "Port p1 cannot be read" in error.reason  # noqa: PT017 - either outcome is right


def test_every_record_is_kept() -> None:
    """A kind that is not in the list would be gone after a restart."""
    kinds = {each for each in vars(every).values() if isinstance(each, type) and issubclass(each, Record)}
    assert kinds - {Record, Resource} == set(KINDS)
