"""From JSON to values: what one attribute may hold, said as Neutron says it.

A parser answers the value in its canonical form, or raises `Unfit` with the reason, which the attribute's name is
put before (neutron-lib, `api/validators`). Booleans and integers are converted rather than checked, from words and
digits too, and their refusal names no attribute (neutron-lib, `api/converters`).
"""

from __future__ import annotations

import json
import socket
import sys
import unicodedata
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from ipaddress import ip_address, ip_interface, ip_network
from typing import TypeAlias, TypeVar
from uuid import UUID

import netaddr

from controller.errors import Inconsistent, NoServiceType, PairWithoutAddress, RepeatedPair, TooManyPairs, Unreadable
from controller.model.addresses import block, version
from controller.model.ipam import Wanted
from controller.model.records import Address, Cidr, HostRoute, Mac, Pool
from northbound.resources import schemas
from northbound.resources.schemas import (
    ADDRESS,
    BLOCK,
    BOOLEAN,
    DIGITS,
    INTEGER,
    MAC,
    STRING,
    Schema,
    list_of,
    nullable,
    one_of,
    says,
    shape,
    table,
)

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
T = TypeVar("T")
Parser: TypeAlias = Callable[[Json], T]

ECHO = 255
"""How many characters of a wrong value are said back."""

MOST_FIXED_IPS = 500
"""How many addresses a port may be given; each is looked up, so a request with too many would hold up all others."""

MOST_PAIRS = 10
"""The most address pairs that a port may have (Neutron, `max_allowed_address_pair`)."""

PROFILE = 4095
"""The most characters that `binding:profile` may have as JSON (Neutron, `ml2_port_bindings`)."""

LAST_PORT = 65_535

_TRUE = frozenset({"1", "t", "true", "on", "y", "yes"})
_FALSE = frozenset({"0", "f", "false", "off", "n", "no"})


_BOOLEANS: Schema = {
    "anyOf": [
        BOOLEAN,
        {"enum": [0, 1]},
        {
            "type": "string",
            "pattern": "^([tT]([rR][uU][eE])?|[oO][nN]|[yY]([eE][sS])?|1|"
            "[fF]([aA][lL][sS][eE])?|[oO][fF][fF]|[nN][oO]?|0)$",
        },
    ]
}
_RANGE = table(("start", "end"), start=ADDRESS, end=ADDRESS)
_ROUTE = table(("destination", "nexthop"), destination=BLOCK, nexthop=ADDRESS)
_PAIR = table(
    ("ip_address",), ip_address={"type": "string", "description": "ADDRESS or ADDRESS/LENGTH"}, mac_address=MAC
)


class Unfit(ValueError):
    """Raised when a value is not one that an attribute may hold; the text is the reason."""


def _said(value: Json) -> str:
    return str(value)[:ECHO]


@says(_BOOLEANS, BOOLEAN)
def boolean(value: Json) -> bool:
    """JSON's own, or a word for it."""
    word = str(value).strip().lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise Inconsistent(f"'{_said(value)}' cannot be converted to boolean")


@says({"anyOf": [INTEGER, DIGITS]}, INTEGER)
def integer(value: Json) -> int:
    """A number, or its digits."""
    if isinstance(value, int | float | str):
        try:
            return int(value)
        except (ValueError, OverflowError):
            pass
    raise Inconsistent(f"'{_said(value)}' is not an integer")


@says({"anyOf": [{"type": "integer", "minimum": 0}, DIGITS]}, INTEGER)
def count(value: Json) -> int:
    """A number that is not negative."""
    number = integer(value)
    if number < 0:
        raise Unfit(f"'{number}' should be non-negative")
    return number


def text(limit: int) -> Parser[str]:
    """Any string of at most `limit` characters."""

    @says({"type": "string", "maxLength": limit})
    def parse(value: Json) -> str:
        if not isinstance(value, str) or not _is_unicode(value):
            raise Unfit(f"'{_said(value)}' is not a valid string")
        if len(value) > limit:
            raise Unfit(f"'{_said(value)}' exceeds maximum length of {limit}")
        return value

    return parse


string = text(255)
"""What Neutron has most strings be."""


@says({"type": "string", "maxLength": 255, "pattern": r"^([!-~]([ -~]*[!-~])?)?$"}, STRING)
def name(value: Json) -> str:
    """Printable, and not wrapped in blanks."""
    parsed = string(value)
    if not parsed.isprintable() and not all(_is_printable(each) for each in parsed):
        raise Unfit(f"'{_said(value)}' is not a valid string")
    if parsed != parsed.strip():
        raise Unfit(f"'{_said(value)}' is not a valid string")
    return parsed


@says({"type": "string", "minLength": 1, "maxLength": 255, "pattern": r"^[!-~]([ -~]*[!-~])?$"}, STRING)
def given_name(value: Json) -> str:
    """A name that is not empty."""
    parsed = name(value)
    if not parsed:
        raise Unfit(f"'{parsed}' Blank strings are not permitted")
    return parsed


def _is_unicode(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    return True


def _is_printable(character: str) -> bool:
    category = unicodedata.category(character)
    return category == "Zs" or category[0] not in "CZ"


def choice(values: Collection[str | int], convert: Parser[T]) -> Parser[T]:
    """One of few values."""

    @says(one_of(values, {}))
    def parse(value: Json) -> T:
        converted = convert(value)
        if converted not in values:
            raise Unfit(f"{_said(value)} is not in valid_values")
        return converted

    return parse


def or_none(parse: Parser[T]) -> Parser[T | None]:
    """`null` is a value, too."""
    known = shape(parse)

    @says(nullable(known.takes), nullable(known.gives))
    def parse_or_none(value: Json) -> T | None:
        return None if value is None else parse(value)

    return parse_or_none


@says(schemas.UUID)
def uuid(value: Json) -> str:
    """The id of a resource, in canonical form; one object for all who name it."""
    if isinstance(value, str):
        try:
            return sys.intern(str(UUID(value)))
        except ValueError:
            pass
    raise Unfit(f"'{_said(value)}' is not a valid UUID")


@says(nullable(list_of(schemas.UUID)), list_of(schemas.UUID))
def uuids(value: Json) -> tuple[str, ...]:
    """Ids, each once; `null` is none."""
    return tuple(_each_once([] if value is None else value, uuid))


@says(list_of({"type": "string", "maxLength": 255}))
def tags(value: Json) -> tuple[str, ...]:
    """Short strings, each once, in their order."""
    return tuple(sorted(texts(value)))


def texts(value: Json) -> tuple[str, ...]:
    """Short strings, each once."""
    return tuple(_each_once(value, tag))


@says({"type": "string", "maxLength": 255})
def tag(value: Json) -> str:
    """One of them."""
    return string(value)


def _each_once(value: Json, parse: Parser[T]) -> dict[T, None]:
    """A list without duplicates, in its order."""
    if not isinstance(value, list):
        raise Unfit(f"'{_said(value)}' is not a list")
    parsed: dict[T, None] = {}
    for each in value:
        item = parse(each)
        if item in parsed:
            raise Unfit(f"Duplicate items in the list: '{_said(each)}'")
        parsed[item] = None
    return parsed


@lru_cache(maxsize=4096)
def _mac(value: str) -> Mac | None:
    if any(each.isspace() for each in value) or not netaddr.valid_mac(value):
        return None
    octets = netaddr.EUI(value, version=48, dialect=netaddr.mac_unix_expanded)
    return None if octets.words[0] & 1 or not int(octets) else Mac(str(octets))


SERVICES = ("network:", "neutron:", *"compute:")
"""What owners of ports begin with that a subnet may be for: neutron-lib's `validate_subnet_service_types` adds the
prefix `compute:` letter by letter, so that a type may begin with any of these, and there are clients that use it."""


@says(nullable(list_of({"type": "string", "pattern": "^(network:|neutron:|[compute:])"})), list_of(STRING))
def service_types(value: Json) -> tuple[str, ...]:
    """Owners of ports, each once; `null` is none. Raises Unreadable, NoServiceType."""
    if not value:
        return ()
    if not isinstance(value, list):
        raise Unreadable("Subnet service types must be a list.")
    for each in value:
        if not isinstance(each, str) or not each.startswith(SERVICES):
            raise NoServiceType(_said(each), isinstance(each, str))
    return tuple(dict.fromkeys(map(str, value)))


@says(MAC)
def mac(value: Json) -> Mac:
    """The address of one interface: not a group, not all zeros."""
    parsed = _mac(value) if isinstance(value, str) else None
    if parsed is None:
        raise Unfit(f"'{_said(value)}' is not a valid MAC address")
    return parsed


@says(ADDRESS)
def address(value: Json) -> Address:
    """An IPv4 address of four decimal numbers, or an IPv6 address."""
    if isinstance(value, str):
        family = socket.AF_INET6 if ":" in value else socket.AF_INET
        try:
            return Address(socket.inet_ntop(family, socket.inet_pton(family, value)))
        except (OSError, ValueError):
            pass
    raise Unfit(f"'{_said(value)}' is not a valid IP address")


def address_or_text(value: str) -> str:
    """A filter's value: an address in its canonical form, or what cannot match."""
    try:
        return address(value)
    except Unfit:
        return value


@says(BLOCK)
def cidr(value: Json) -> Cidr:
    """A block of addresses, without host bits."""
    if isinstance(value, str) and "%" not in value:
        try:
            return Cidr(str(block(Cidr(ip_interface(value).with_prefixlen))))
        except ValueError:
            pass
    raise Inconsistent(f"{_said(value)} is not in a CIDR format")


@says(BLOCK)
def subnet(value: Json) -> Cidr:
    """A block of addresses with its prefix length, as neutron-lib's `validate_subnet`; host bits are cut off."""
    if isinstance(value, str) and "/" in value and "%" not in value:
        try:
            parsed = ip_interface(value)
        except ValueError:
            pass
        else:
            if parsed.version == 6 or parsed.with_prefixlen == value:
                return Cidr(str(parsed.network))
    raise Unfit(f"'{_said(value)}' is not a valid IP subnet")


@says(list_of(BLOCK))
def subnet_list(value: Json) -> tuple[Cidr, ...]:
    """Blocks, each written once; those that differ in host bits alone are one."""
    return tuple(dict.fromkeys(subnet(each) for each in _each_once(value, _written)))


def _written(value: Json) -> str:
    subnet(value)
    return str(value)


@says(nullable(list_of(BLOCK)), list_of(BLOCK))
def subnet_list_or_none(value: Json) -> tuple[Cidr, ...]:
    """`null` is none."""
    return subnet_list([] if value is None else value)


def route_cidr(value: Json) -> Cidr:
    """The destination of a route: a block, written without host bits."""
    try:
        parsed = cidr(value)
    except Inconsistent:
        raise Unfit(f"'{_said(value)}' is not a valid CIDR") from None
    if "/" not in str(value) or ip_interface(str(value)).network.network_address != ip_interface(str(value)).ip:
        raise Unfit(f"'{_said(value)}' is not a valid CIDR")
    return parsed


def _table(value: Json, what: str, keys: tuple[str, str]) -> list[tuple[Json, Json]]:
    """A list of objects that have exactly these keys."""
    if not isinstance(value, list):
        raise Unfit(f"Invalid data format for {what}: '{_said(value)}'")
    rows = []
    for each in value:
        if not isinstance(each, dict):
            raise Unfit(f"Invalid input. '{_said(each)}' must be a dictionary with keys: {list(keys)}")
        if each.keys() != set(keys):
            raise Unfit(
                f"Validation of dictionary's keys failed. Expected keys: {list(keys)} "
                f"Provided keys: {_said(list(each))}"
            )
        rows.append((each[keys[0]], each[keys[1]]))
    return rows


def keyed(value: Json, needed: Sequence[str], allowed: Sequence[str]) -> dict[str, Json]:
    """An object that has all of some keys, and none but these and others (neutron-lib, `validate_dict`)."""
    if not isinstance(value, dict):
        raise Unfit(f"'{_said(value)}' is not a dictionary")
    if not value.keys() >= set(needed):
        raise Unfit(
            f"Validation of dictionary's keys failed. Expected keys: {_braced(needed)} "
            f"Provided keys: {_said(_braced(value))}"
        )
    if unexpected := [key for key in value if key not in (*needed, *allowed)]:
        raise Unfit(f"Unexpected keys supplied: {_said(', '.join(unexpected))}")
    return value


def _braced(keys: Iterable[str]) -> str:
    """As Python writes a set."""
    return f"{{{', '.join(map(repr, keys))}}}"


@says(nullable(list_of(_RANGE)), list_of(_RANGE))
def pools(value: Json) -> tuple[Pool, ...]:
    """Ranges of addresses; `null` is no range."""
    rows = _table([] if value is None else value, "IP pool", ("start", "end"))
    return tuple(Pool(address(start), address(end)) for start, end in rows)


@says(nullable(list_of(_ROUTE)), list_of(_ROUTE))
def host_routes(value: Json) -> tuple[HostRoute, ...]:
    """Routes, each once."""
    routes: dict[HostRoute, None] = {}
    for destination, nexthop in _table([] if value is None else value, "hostroute", ("destination", "nexthop")):
        route = HostRoute(route_cidr(destination), address(nexthop))
        if route in routes:
            raise Unfit(f"Duplicate hostroute '{route.destination} via {route.nexthop}'")
        routes[route] = None
    return tuple(routes)


@says(nullable(list_of(ADDRESS)), list_of(ADDRESS))
def nameservers(value: Json) -> tuple[Address, ...]:
    """Addresses, each once."""
    if value is None:
        return ()
    if not isinstance(value, list):
        raise Unfit(f"Invalid data format for nameserver: '{_said(value)}'")
    parsed: dict[Address, None] = {}
    for each in value:
        try:
            host = address(each)
        except Unfit as reason:
            raise Unfit(f"'{_said(each)}' is not a valid nameserver. {reason}") from None
        if host in parsed:
            raise Unfit(f"Duplicate nameserver '{host}'")
        parsed[host] = None
    return tuple(parsed)


@says(list_of(table(ip_address=ADDRESS, subnet_id=schemas.UUID), maxItems=MOST_FIXED_IPS))
def fixed_ips(value: Json) -> tuple[Wanted, ...]:
    """What a client asks for: subnets, addresses, or both."""
    if not isinstance(value, list):
        raise Unfit(f"Invalid data format for fixed IP: '{_said(value)}'")
    if len(value) > MOST_FIXED_IPS:
        raise Unfit(f"a port may have {MOST_FIXED_IPS} fixed IPs, not {len(value)}")
    wanted: list[Wanted] = []
    seen: set[Address] = set()
    for each in value:
        if not isinstance(each, dict):
            raise Unfit(f"Invalid data format for fixed IP: '{_said(each)}'")
        ip = address(each["ip_address"]) if "ip_address" in each else None
        if ip is not None and ip in seen:
            raise Unfit(f"Duplicate IP address '{ip}'")
        if ip is not None:
            seen.add(ip)
        wanted.append(Wanted(uuid(each["subnet_id"]) if "subnet_id" in each else None, ip))
    return tuple(wanted)


@says(nullable(list_of(_PAIR, maxItems=MOST_PAIRS)), list_of(_PAIR))
def address_pairs(value: Json) -> tuple[tuple[Mac | None, Address | Cidr], ...]:
    """What a port may use beside its own addresses; `null` is none. Raises Unreadable, TooManyPairs, RepeatedPair."""
    if value is None:
        return ()
    if not isinstance(value, list):
        raise Unreadable("Allowed address pairs must be a list.")
    if len(value) > MOST_PAIRS:
        raise TooManyPairs(MOST_PAIRS)
    parsed: dict[tuple[Mac | None, Address | Cidr], None] = {}
    for each in value:
        pair = _address_pair(each)
        if pair in parsed:
            raise RepeatedPair(str(pair[0]), pair[1])
        parsed[pair] = None
    return tuple(parsed)


def _address_pair(value: Json) -> tuple[Mac | None, Address | Cidr]:
    if not isinstance(value, dict):
        raise Unfit(f"'{_said(value)}' is not a dictionary")
    if "ip_address" not in value:
        raise PairWithoutAddress
    if unknown := value.keys() - {"ip_address", "mac_address"}:
        raise Unreadable(f"Unrecognized attribute(s) '{', '.join(sorted(unknown))}'")
    try:
        return mac(value["mac_address"]) if "mac_address" in value else None, _paired(value["ip_address"])
    except Unfit as reason:
        raise Unreadable(f"{reason}.") from None


def _paired(value: Json) -> Address | Cidr:
    """An address or a block that one interface may send from: no group's. 0.0.0.0/0 is any."""
    if not isinstance(value, str) or "/" not in value:
        host = address(value)
        if ip_address(host).is_multicast:
            raise Unfit(f"IP {host} is a multicast address, which is not supported")
        return host
    net = subnet(value)
    groups = "ff00::/8" if ":" in net else "224.0.0.0/4"
    if net != "0.0.0.0/0" and ip_network(net).overlaps(ip_network(groups)):
        raise Unfit(f"Subnet {net} overlaps with multicast range {groups}, which is not supported")
    return net


@says(nullable({"type": "object"}), {"type": "object"})
def profile(value: Json) -> str:
    """`binding:profile`, kept as JSON text."""
    if value is None:
        return "{}"
    if not isinstance(value, dict):
        raise Unfit(f"'{_said(value)}' is not a dictionary")
    kept = json.dumps(value)
    if len(kept) > PROFILE:
        raise Inconsistent("binding:profile value too large")
    return kept


@says({"anyOf": [{"type": "integer", "minimum": 1, "maximum": LAST_PORT}, DIGITS]}, INTEGER)
def port(value: Json) -> int:
    """A TCP or UDP port (neutron-lib, `validate_range`)."""
    try:
        number = integer(value)
    except Inconsistent:
        raise Unfit(f"'{_said(value)}' is not an integer") from None
    if number < 1:
        raise Unfit(f"'{number}' is too small - must be at least '1'")
    if number > LAST_PORT:
        raise Unfit(f"'{number}' is too large - must be no larger than '{LAST_PORT}'")
    return number


@says({"type": ["string", "integer"]}, STRING)
def port_range(value: Json) -> tuple[int, int]:
    """Ports as `FIRST:LAST`, both of them included, or one port (neutron-lib, `validate_port_range_or_none`)."""
    ends = str(value).split(":")
    if len(ends) > 2 or not all(ends):
        raise Unfit("Port range must be two integers separated by a colon")
    for end in ends:
        if not (end.isascii() and end.isdigit() and len(end) < 6 and int(end) <= LAST_PORT):
            raise Unfit(f"Invalid port: {_said(end)}")
        if int(end) < 1:
            raise Unfit(f"Invalid port: {end}, the port must be in the range [1, {LAST_PORT}]")
    first, last = int(ends[0]), int(ends[-1])
    if first > last:
        raise Unfit("First port in a port range must be lower than the second port")
    return first, last


def of_version(number: int, what: str, value: str) -> None:
    """An address or CIDR is of its subnet's IP version. Raises Inconsistent."""
    if version(value) != number:
        raise Inconsistent(f"{what} '{value}' does not match the ip_version '{number}'")


def changed_since(given: Sequence[str]) -> Callable[[Json], bool]:
    """A test of a time in seconds: not before the first of the times given (neutron, `standard-attr-timestamp`)."""
    try:
        moment = datetime.fromisoformat(given[0])
    except ValueError:
        raise Inconsistent("The input changed_since must be in the following format: YYYY-MM-DDTHH:MM:SSZ") from None
    seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    return lambda value: isinstance(value, int) and value >= seconds
