"""`extra_dhcp_opts` of ports (api-ref, "Extra DHCP option"): checked and kept; nobody answers DHCP yet.

A request names options to set; one with the value null is removed, and those that are not named stay.
"""

from __future__ import annotations

from collections.abc import Sequence

from controller.errors import Inconsistent
from controller.model.records import DhcpOption, Port
from northbound.resources import values
from northbound.resources.attributes import Attribute
from northbound.resources.schemas import INTEGER, STRING, list_of, nullable, one_of, says, table
from northbound.resources.values import Json

BLANK = ("router", "classless-static-route")
"""The options whose value may be empty (neutron-lib, `VALID_BLANK_EXTRA_DHCP_OPTS`)."""

LONGEST_NAME, LONGEST_VALUE = 64, 255

Wish = tuple[str, int, str | None]
"""An option's name and IP version, and its value, None to have it no more."""

_TAKEN = table(
    ("opt_name", "opt_value"),
    opt_name={"type": "string", "minLength": 1, "maxLength": LONGEST_NAME},
    opt_value=nullable({"type": "string", "minLength": 1, "maxLength": LONGEST_VALUE}),
    ip_version=one_of((4, 6), INTEGER),
)
_SHOWN = table(("opt_name", "opt_value", "ip_version"), opt_name=STRING, opt_value=STRING, ip_version=INTEGER)


@says(nullable(list_of(_TAKEN)), list_of(_SHOWN))
def _options(value: Json) -> tuple[Wish, ...]:
    """What shall become of options; `null` is nothing. Raises Inconsistent."""
    if value is None:
        return ()
    if not isinstance(value, list):
        raise Inconsistent(f"'{str(value)[: values.ECHO]}' is not a list")
    return tuple(_option(each) for each in value)


def _option(value: Json) -> Wish:
    given = value if isinstance(value, dict) else {}
    name, wanted = given.get("opt_name"), given.get("opt_value")
    version = _version(given.get("ip_version", 4))
    known = given.keys() >= {"opt_name", "opt_value"} and not given.keys() - {"opt_name", "opt_value", "ip_version"}
    if not (known and version and _is_line(name, LONGEST_NAME) and _fits(name, wanted)):
        raise Inconsistent(f"No valid key specs matched for: {str(value)[: values.ECHO]}")
    return str(name), version, None if wanted is None else str(wanted)


def _version(value: Json) -> int | None:
    """4 or 6, also as text."""
    return {"4": 4, "6": 6}.get(str(value)) if not isinstance(value, bool) else None


def _is_line(value: Json, limit: int) -> bool:
    """Some text without a line feed (neutron-lib, `validate_oneline_not_empty_string`)."""
    return isinstance(value, str) and 0 < len(value.strip()) <= len(value) <= limit and "\n" not in value


def _fits(name: Json, value: Json) -> bool:
    """Whether an option may have a value."""
    return value is None or _is_line(value, LONGEST_VALUE) or (value == "" and name in BLANK)


def merged(held: Sequence[DhcpOption], wishes: Sequence[Wish]) -> tuple[DhcpOption, ...]:
    """The options of a port after a request, in order."""
    found = {(each.ip_version, each.opt_name): each.opt_value for each in held}
    for name, version, value in wishes:
        if value is None:
            found.pop((version, name), None)
        else:
            found[version, name] = value
    return tuple(DhcpOption(name, value, version) for (version, name), value in sorted(found.items()))


OPTIONS: Attribute[Port, tuple[Wish, ...]] = Attribute(
    name="extra_dhcp_opts",
    parse=_options,
    post=True,
    put=True,
    default=(),
    show=lambda _, port: [
        {"opt_name": each.opt_name, "opt_value": each.opt_value, "ip_version": each.ip_version}
        for each in port.extra_dhcp_opts
    ],
)
