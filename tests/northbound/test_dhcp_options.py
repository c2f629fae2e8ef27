"""Extra DHCP options of ports: named ones are set or removed, the others stay."""

from __future__ import annotations

from typing import Any

import pytest

from tests.northbound.served import Client


def option(name: str, value: str | None, version: object = 4) -> dict[str, object]:
    return {"opt_name": name, "opt_value": value, "ip_version": version}


def test_options_are_set_changed_and_removed_one_by_one(api: Client) -> None:
    network = api.make("network")["id"]
    given = [{"opt_name": "router", "opt_value": ""}, option("foo", None), option("bar", "1", "6"), option("bar", "0")]
    port = api.make("port", network_id=network, extra_dhcp_opts=given)
    assert port["extra_dhcp_opts"] == [option("bar", "0"), option("router", ""), option("bar", "1", 6)]

    def put(options: object) -> Any:
        return api.put("port", port["id"], extra_dhcp_opts=options).body["port"]["extra_dhcp_opts"]

    assert put([]) == put(None) == port["extra_dhcp_opts"]
    assert put([option("bar", "2")]) == [option("bar", "2"), option("router", ""), option("bar", "1", 6)]
    assert put([option("router", None), option("bar", None, 6)]) == [option("bar", "2")]
    assert api.put("port", port["id"], name="x").body["port"]["extra_dhcp_opts"] == [option("bar", "2")]
    assert api.make("port", network_id=network)["extra_dhcp_opts"] == []


@pytest.mark.parametrize(
    "wrong",
    [
        "x",
        {},
        {"opt_name": "a"},
        option("", "x"),
        option(" ", "x"),
        option("a", ""),
        option("a", "x", 5),
        option("a", "x", True),
        {**option("a", "x"), "foo": 1},
        option("a" * 65, "x"),
        option("a", "x" * 256),
        option("a\nb", "x"),
        option("a", "x\ny"),
        {"opt_name": "a", "opt_value": 5},
    ],
)
def test_what_is_no_option_is_refused(api: Client, wrong: object) -> None:
    network = api.make("network")["id"]
    said = f"Invalid input for operation: No valid key specs matched for: {str(wrong)[:255]}."
    refused = api.post("port", network_id=network, extra_dhcp_opts=[option("ok", "1"), wrong])
    assert refused.fault == (400, "InvalidInput", said)


def test_options_are_a_list(api: Client) -> None:
    network = api.make("network")["id"]
    refused = api.post("port", network_id=network, extra_dhcp_opts={})
    assert refused.fault == (400, "InvalidInput", "Invalid input for operation: '{}' is not a list.")
