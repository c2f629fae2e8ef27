"""Names of ports, and domains: what may be one, and what addresses are called."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from northbound.api import Settings
from tests.northbound.served import Client, serving


@pytest.fixture
def api() -> Iterator[Client]:
    with serving(Settings(dns_domain="example.org")) as client:
        yield client


@pytest.fixture
def port(api: Client) -> str:
    network = api.make("network")["id"]
    api.make("subnet", network_id=network, ip_version=4, cidr="10.0.0.0/24")
    api.make("subnet", network_id=network, ip_version=6, cidr="2001:db8::/64")
    return str(api.make("port", network_id=network)["id"])


def called(api: Client, port: str) -> list[tuple[str, str, str]]:
    found = api.get(f"/v2.0/ports/{port}?fields=dns_assignment")["port"]["dns_assignment"]
    return [(each["ip_address"], each["hostname"], each["fqdn"]) for each in found]


def test_an_address_is_called_by_itself_until_its_port_has_a_name(api: Client, port: str) -> None:
    assert called(api, port) == [
        ("10.0.0.2", "host-10-0-0-2", "host-10-0-0-2.example.org."),
        ("2001:db8::2", "host-2001-db8--2", "host-2001-db8--2.example.org."),
    ]
    assert api.put("port", port, dns_name="My-VM").body["port"]["dns_name"] == "my-vm"
    assert called(api, port)[0] == ("10.0.0.2", "my-vm", "my-vm.example.org.")
    assert api.put("port", port, dns_name="a.example.org.").status == 200
    assert called(api, port)[0] == ("10.0.0.2", "a.example.org.", "a.example.org.")
    assert api.put("port", port, dns_name="").status == 200
    assert called(api, port)[0][1] == "host-10-0-0-2"


def test_domains_are_kept_in_lower_case(api: Client, port: str) -> None:
    assert api.put("port", port, dns_domain="Foo.Bar.").body["port"]["dns_domain"] == "foo.bar."
    assert api.make("network", dns_domain="<project_id>.x.")["dns_domain"] == "<project_id>.x."
    assert api.make("network")["dns_domain"] == ""
    assert api.make("subnet", **four(api), dns_publish_fixed_ip=True)["dns_publish_fixed_ip"] is True


def four(api: Client) -> dict[str, object]:
    return {"network_id": api.make("network")["id"], "ip_version": 4, "cidr": "10.9.0.0/24"}


LABEL = "must be 1-63 characters long, each of which can only be alphanumeric or a hyphen"
LONG = ".".join(["a" * 60] * 5)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("a_b", f"'a_b' not a valid PQDN or FQDN. Reason: Name 'a_b' {LABEL}"),
        ("-a", "'-a' not a valid PQDN or FQDN. Reason: Name '-a' must not start or end with a hyphen"),
        ("a..b", "'a..b' not a valid PQDN or FQDN. Reason: Encountered an empty component"),
        ("a.1", "'a.1' not a valid PQDN or FQDN. Reason: TLD '1' must not be all numeric"),
        ("x" * 64, f"'{'x' * 64}' not a valid PQDN or FQDN. Reason: Name '{'x' * 64}' {LABEL}"),
        (LONG, f"'{LONG}' not a valid PQDN or FQDN. Reason: '{LONG}' exceeds the 255 character FQDN limit"),
        (
            "a.",
            "The dns_name passed is a FQDN. Its higher level labels must be equal to the dns_domain option in "
            "neutron.conf, that has been set to 'example.org.'. It must also include one or more valid DNS labels to "
            "the left of 'example.org.'",
        ),
        (".".join(["a" * 60] * 4), None),
    ],
)
def test_what_is_no_name_is_refused(api: Client, port: str, name: str, reason: str | None) -> None:
    status, kind, said = api.put("port", port, dns_name=name).fault
    assert (status, kind) == (400, "HTTPBadRequest")
    assert said == f"Invalid input for dns_name. Reason: {reason}." or reason is None
    assert api.post("port", network_id=api.make("network")["id"], dns_name=name).fault[:2] == (400, "HTTPBadRequest")


def test_what_is_no_domain_is_refused(api: Client, port: str) -> None:
    for domain, reason in (
        ("foo", "'foo' is not a FQDN"),
        ("a..", "'a..' not a valid PQDN or FQDN. Reason: Encountered an empty component"),
    ):
        fault = (400, "HTTPBadRequest", f"Invalid input for dns_domain. Reason: {reason}.")
        assert api.put("port", port, dns_domain=domain).fault == fault
        assert api.post("network", dns_domain=domain).fault == fault
    for name in ("dns_name", "dns_domain"):
        text = (400, "InvalidInput", "Invalid input for operation: Input value 5 must be string type.")
        assert api.put("port", port, **{name: 5}).fault == text
    assert api.put("port", port, dns_assignment=[]).fault[2] == "Cannot update read-only attribute dns_assignment"


def test_a_cloud_that_has_chosen_no_domain_keeps_names_too() -> None:
    with serving() as api:
        network = api.make("network")["id"]
        api.make("subnet", network_id=network, ip_version=4, cidr="10.0.0.0/24")
        made = api.make("port", network_id=network, dns_name="vm.elsewhere.")
        assert (made["dns_name"], made["dns_assignment"][0]["fqdn"]) == ("vm.elsewhere.", "vm.elsewhere.")
        assert api.make("port", network_id=network)["dns_assignment"][0]["fqdn"] == "host-10-0-0-3.openstacklocal."
    with serving(Settings(dns_domain="")) as api:
        network = api.make("network")["id"]
        api.make("subnet", network_id=network, ip_version=4, cidr="10.0.0.0/24")
        assert api.make("port", network_id=network)["dns_assignment"][0]["fqdn"] == "host-10-0-0-2"


def test_floating_ips_have_names_that_stay(api: Client) -> None:
    outside = api.make("network", **{"router:external": True})["id"]
    api.make("subnet", network_id=outside, ip_version=4, cidr="203.0.113.0/24")
    made = api.make("floatingip", floating_network_id=outside, dns_name="Web", dns_domain="<project_id>.A.org.")
    assert (made["dns_name"], made["dns_domain"]) == ("web", "<project_id>.a.org.")
    assert api.get(f"/v2.0/floatingips/{made['id']}")["floatingip"] == made
    plain = api.make("floatingip", floating_network_id=outside)
    assert (plain["dns_name"], plain["dns_domain"]) == ("", "")
    for attributes, told in (
        ({"dns_name": "web.a.org."}, "dns_name. Reason: 'web.a.org.' is a FQDN. It should be a relative domain name."),
        ({"dns_domain": "a.org"}, "dns_domain. Reason: 'a.org' is not a FQDN."),
    ):
        refused = api.post("floatingip", floating_network_id=outside, **attributes)
        assert refused.fault == (400, "HTTPBadRequest", f"Invalid input for {told}")
    assert api.put("floatingip", made["id"], dns_name="x").fault == (
        400,
        "HTTPBadRequest",
        "Cannot update read-only attribute dns_name",
    )
