"""Names of ports and floating IPs, domains of these and of networks (api-ref, "DNS integration"): checked and kept.

A name stands for its port's addresses in the domain of the cloud (`weft serve --dns-domain`). No DNS server is told of
names. Neutron forgets names while its `dns_domain` is the default; here they are always kept.
"""

from __future__ import annotations

import re

from controller.errors import Inconsistent, Invalid
from controller.model.records import FloatingIp, Network, Port
from northbound.resources import values
from northbound.resources.attributes import Attribute, Scene, Settings
from northbound.resources.schemas import STRING, list_of, says, table
from northbound.resources.values import Json

LONGEST = 255
"""The most characters of a name with its domain (RFC 1035, section 2.3.4)."""

DEFAULT_DOMAIN = "openstacklocal."
"""The domain of a cloud that has chosen none (neutron, `dns_domain`)."""

_NAME = {"type": "string", "maxLength": 63, "pattern": "^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)?$"}

_LABEL = re.compile(r"[a-z0-9-]{1,63}|<(?:project_id|project_name|user_name|user_id)>")


@says(_NAME, STRING)
def _name(value: Json) -> str:
    """A name of its labels (RFC 1123, section 2.1), with a dot at its end if it is whole; in lower case."""
    name = _lower(value)
    if reason := _flaw(name):
        raise values.Unfit(f"'{name}' not a valid PQDN or FQDN. Reason: {reason}")
    return name


@says({"anyOf": [{"const": ""}, {**_NAME, "pattern": r"^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.){1,8}$"}]}, STRING)
def _domain(value: Json) -> str:
    """A whole name, or nothing; in lower case."""
    domain = _lower(value)
    if domain and not domain.endswith("."):
        raise values.Unfit(f"'{domain}' is not a FQDN")
    _name(domain)
    if len(domain) > LONGEST - 2:
        raise values.Unfit(
            f"'{domain}' contains {len(domain)} characters. Adding a sub-domain will cause it to exceed the maximum "
            f"length of a FQDN of '{LONGEST}'"
        )
    return domain


@says(_NAME, STRING)
def _relative_name(value: Json) -> str:
    """A name in a domain that is not said."""
    name = _name(value)
    if name.endswith("."):
        raise values.Unfit(f"'{name}' is a FQDN. It should be a relative domain name")
    return name


def _lower(value: Json) -> str:
    if not isinstance(value, str):
        raise Inconsistent(f"Input value {str(value)[: values.ECHO]} must be string type")
    return value.lower()


def _flaw(name: str) -> str:
    """Why something is no name; "" if it is one, or empty."""
    trimmed = name.removesuffix(".")
    if not name:
        return ""
    if len(trimmed) > LONGEST:
        return f"'{trimmed}' exceeds the {LONGEST} character FQDN limit"
    labels = trimmed.split(".")
    for label in labels:
        if not label:
            return "Encountered an empty component"
        if label.startswith("-") or label.endswith("-"):
            return f"Name '{label}' must not start or end with a hyphen"
        if not _LABEL.fullmatch(label):
            return f"Name '{label}' must be 1-63 characters long, each of which can only be alphanumeric or a hyphen"
    return f"TLD '{labels[-1]}' must not be all numeric" if len(labels) > 1 and labels[-1].isdigit() else ""


def domain(settings: Settings) -> str:
    """The domain of the cloud, with its dot."""
    return f"{settings.dns_domain.removesuffix('.')}." if settings.dns_domain else ""


def check(name: str, settings: Settings) -> None:
    """A name fits the domain of the cloud. Raises Invalid."""
    own = domain(settings)
    if not name or own in ("", DEFAULT_DOMAIN):
        return
    if not name.endswith("."):
        if len(name) + 1 + len(own) > LONGEST:
            raise Invalid(
                "dns_name",
                f"The dns_name passed is a PQDN and its size is '{len(name)}'. The dns_domain option in neutron.conf "
                f"is set to {own}, with a length of '{len(own) + 1}'. When the two are concatenated to form a FQDN "
                f"(with a '.' at the end), the resulting length exceeds the maximum size of '{LONGEST}'",
            )
    elif not name.endswith(f".{own}"):
        raise Invalid(
            "dns_name",
            "The dns_name passed is a FQDN. Its higher level labels must be equal to the dns_domain option in "
            f"neutron.conf, that has been set to '{own}'. It must also include one or more valid DNS labels to the "
            f"left of '{own}'",
        )


def _assignment(scene: Scene, port: Port) -> Json:
    """What each address of a port is called."""
    own = domain(scene.settings)
    found: list[Json] = []
    for ip in port.fixed_ips:
        hostname = port.dns_name or "host-" + ip.ip_address.replace(".", "-").replace(":", "-")
        fqdn = hostname if hostname.endswith(".") or not own else f"{hostname}.{own}"
        found.append({"ip_address": ip.ip_address, "hostname": hostname, "fqdn": fqdn})
    return found


NAME: Attribute[Port, str] = Attribute(name="dns_name", parse=_name, post=True, put=True, default="", field="dns_name")
FLOATING_NAME: Attribute[FloatingIp, str] = Attribute(
    name="dns_name", parse=_relative_name, post=True, default="", field="dns_name"
)
FLOATING_DOMAIN: Attribute[FloatingIp, str] = Attribute(
    name="dns_domain", parse=_domain, post=True, default="", field="dns_domain"
)
ASSIGNMENT: Attribute[Port, object] = Attribute(
    name="dns_assignment",
    schema=list_of(table(("ip_address", "hostname", "fqdn"), ip_address=STRING, hostname=STRING, fqdn=STRING)),
    show=_assignment,
)
PORT_DOMAIN: Attribute[Port, str] = Attribute(
    name="dns_domain", parse=_domain, post=True, put=True, default="", field="dns_domain"
)
NETWORK_DOMAIN: Attribute[Network, str] = Attribute(
    name="dns_domain", parse=_domain, post=True, put=True, default="", field="dns_domain"
)
