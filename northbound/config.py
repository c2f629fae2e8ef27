"""How `weft serve` is told what to do: options, `WEFT_*` variables and a TOML file, in that order of precedence."""

from __future__ import annotations

import argparse
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

from controller.errors import Invalid
from controller.model.quotas import COUNTED, UNLIMITED
from controller.model.segments import TYPES


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address to listen on."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def loopback(self) -> bool:
        """Can only this machine reach it?"""
        return self.host in ("::1", "localhost") or self.host.startswith("127.")


@dataclass(frozen=True, slots=True)
class VlanRanges:
    """The physical networks that have VLANs: each with the first and the last one that may be handed out, or (1, 0)."""

    ranges: tuple[tuple[str, int, int], ...]

    def __str__(self) -> str:
        return ",".join(name if last < first else f"{name}:{first}:{last}" for name, first, last in self.ranges)

    @classmethod
    def read(cls, text: str) -> VlanRanges:
        """Raises ValueError."""
        return cls(tuple(map(_vlan_range, _words(text))))


@dataclass(frozen=True, slots=True)
class Names:
    """A set of names."""

    names: tuple[str, ...]

    def __str__(self) -> str:
        return ",".join(self.names)

    @classmethod
    def read(cls, text: str) -> Names:
        """Never fails."""
        return cls(tuple(_words(text)))


@dataclass(frozen=True, slots=True)
class Sizes:
    """A size in bytes a name."""

    sizes: tuple[tuple[str, int], ...]

    def __str__(self) -> str:
        return ",".join(f"{name}:{size}" for name, size in self.sizes)

    @classmethod
    def read(cls, text: str) -> Sizes:
        """Raises ValueError."""
        return cls(tuple(map(_size, _words(text))))


def _words(text: str) -> list[str]:
    return [word for part in text.split(",") if (word := part.strip())]


def _vlan_range(word: str) -> tuple[str, int, int]:
    name, *ends = word.split(":")
    type = TYPES["vlan"]
    if name and not ends:
        return name, 1, 0
    if name and len(ends) == 2 and all(end.isdecimal() and end.isascii() for end in ends):
        first, last = map(int, ends)
        if type.first <= first <= last <= type.last:
            return name, first, last
    raise ValueError(f"'{word}' is not NAME or NAME:FIRST:LAST with VLANs from {type.first} to {type.last}")


def _size(word: str) -> tuple[str, int]:
    name, _, size = word.rpartition(":")
    if not name or not size.isdecimal() or not size.isascii():
        raise ValueError(f"'{word}' is not NAME:BYTES")
    return name, int(size)


@dataclass(frozen=True, slots=True)
class Config:
    """What `weft serve` runs with; every attribute is an option, a key of the file and a variable."""

    api: Endpoint = Endpoint("127.0.0.1", 9696)
    openflow: Endpoint = Endpoint("0.0.0.0", 6653)
    ovsdb: Endpoint = Endpoint("0.0.0.0", 6640)
    no_ovsdb: bool = False
    store: str = "sqlite:///weft.db"
    auth: str = "none"
    keystone_url: str = ""
    keystone_user: str = "neutron"
    keystone_password: str = field(default="", repr=False)
    keystone_project: str = "service"
    keystone_domain: str = "Default"
    policy: str = ""
    insecure: bool = False
    foreign_flows: str = "keep"
    underlay_mtu: int = 1500
    gateway_hold: int = 30
    keep_history: int = 7
    underlay_ip_version: int = 4
    network_type: str = "vxlan"
    vlan_ranges: VlanRanges = VlanRanges(())
    flat_networks: Names = Names(("*",))
    physical_network_mtus: Sizes = Sizes(())
    dns_domain: str = "openstacklocal"
    quotas: str = ""
    log_level: str = "info"


HELP: Mapping[str, str] = {
    "api": "where the Networking API listens (HOST:PORT)",
    "openflow": "where switches connect (HOST:PORT)",
    "ovsdb": "where hypervisors' databases connect (HOST:PORT)",
    "no_ovsdb": "serve switches without OVSDB, as under plain Mininet: no tunnels, ports by name (tap + 11 characters)",
    "store": "sqlite:///relative.db, sqlite:////absolute.db, or memory:// which forgets at exit",
    "auth": "none: every caller is admin; tokens FILE: who shows a token of the file (see weft token); keystone",
    "keystone_url": "where OpenStack's identity service is, ending in /v3",
    "keystone_user": "as whom Keystone is asked about tokens",
    "keystone_password": "the password of that user; as a variable or in the file, ps does not show it",
    "keystone_project": "the project of that user",
    "keystone_domain": "the domain of that user and project",
    "policy": "a YAML file of rules in place of Neutron's default ones, as oslo.policy has them",
    "insecure": "allow --auth none beyond loopback",
    "foreign_flows": "flows and groups of others on the integration bridge: keep (and report) or remove",
    "underlay_mtu": "bytes that the network between hypervisors carries",
    "gateway_hold": "for so many seconds a gateway that comes back leaves routers to those who took over",
    "keep_history": "for so many days it is remembered what changed, and on whose behalf; 0: it is not",
    "underlay_ip_version": "4 or 6: what the hypervisors' weft-encap-ip are, all of them; 6 takes 20 bytes more",
    "network_type": "what a network is when its maker does not say: vxlan, geneve, gre or vlan",
    "vlan_ranges": "VLANs for networks whose maker names none, NAME:FIRST:LAST of each physical network, with commas; "
    "of a NAME alone only those that are asked for; without any, all VLANs of whatever physical network is asked for",
    "flat_networks": "the physical networks that may have a flat one, with commas; * is any",
    "physical_network_mtus": "bytes that a physical network carries, NAME:BYTES, with commas, if not underlay-mtu",
    "dns_domain": "the domain that the names of ports are in, as example.org",
    "quotas": "what a project may have by default, as port=1000,network=-1 (-1 is unlimited); else as in Neutron, and "
    "with --auth none, where every caller is admin, as much as it likes",
    "log_level": "debug, info, warning or error",
}

CHOICES: Mapping[str, tuple[str, ...]] = {
    "foreign_flows": ("keep", "remove"),
    "underlay_ip_version": ("4", "6"),
    "network_type": ("vxlan", "geneve", "gre", "vlan"),
    "log_level": ("debug", "info", "warning", "error"),
}


LEAST_MTU: Mapping[int, tuple[int, str]] = {4: (576, "RFC 791"), 6: (1280, "RFC 8200")}
"""By the underlay's IP version: what every network of it carries, in bytes, and who says so."""
MOST_MTU = 65535
"""What an IP packet is at most, in bytes."""

AUTH = ("none", "tokens", "keystone")
"""How callers are known: the first word of `auth`."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of `weft serve`, one an attribute."""
    parser.add_argument("--config", metavar="FILE", help="a TOML file with any of the other options as keys")
    for each in fields(Config):
        option = "--" + each.name.replace("_", "-")
        text = f"{HELP[each.name]} (default {getattr(Config(), each.name)})"
        words = "+" if each.name == "auth" else None
        if isinstance(getattr(Config(), each.name), bool):
            parser.add_argument(option, action="store_true", default=None, help=text)
        else:
            metavar = "|".join(CHOICES.get(each.name, ("VALUE",)))
            parser.add_argument(option, metavar=metavar, nargs=words, help=text)


def read(options: argparse.Namespace, environment: Mapping[str, str] = os.environ) -> Config:
    """The configuration from all its sources. Raises Invalid, naming the source."""
    path = options.config or environment.get("WEFT_CONFIG")
    file = _file(Path(path)) if path else {}
    names = {each.name for each in fields(Config)}
    if unknown := sorted(file.keys() - names):
        raise Invalid(unknown[0], f"it is no option of weft serve (in {path})")
    chosen: dict[str, object] = {}
    for name in names:
        for source, value in (
            ("option --" + name.replace("_", "-"), getattr(options, name)),
            (f"variable WEFT_{name.upper()}", environment.get(f"WEFT_{name.upper()}")),
            (f"{name} in {path}", file.get(name)),
        ):
            if value is not None:
                chosen[name] = _parse(name, value, source)
                break
    config = Config(**chosen)  # type: ignore[arg-type]  # each value is what the parser of its name made
    least, source = LEAST_MTU[config.underlay_ip_version]
    if not least <= config.underlay_mtu <= MOST_MTU:
        between = f"{least}, which every network carries ({source}), and {MOST_MTU}"
        raise Invalid("underlay_mtu", f"{config.underlay_mtu} bytes are not between {between}")
    _check_auth(config)
    if config.auth == "none" and not config.api.loopback and not config.insecure:
        raise Invalid(
            "api",
            f"with --auth none whoever reaches {config.api} is admin; listen on 127.0.0.1, or say --insecure if "
            "that network is yours alone",
        )
    return config


def _check_auth(config: Config) -> None:
    """Raises Invalid."""
    way, _, file = config.auth.partition(" ")
    if way not in AUTH:
        raise Invalid("auth", f"'{way}' is not one of {', '.join(AUTH)}")
    if (way == "tokens") != bool(file):
        raise Invalid("auth", "tokens needs a FILE behind it, and nothing else does")
    if way == "keystone" and not config.keystone_url.startswith(("http://", "https://")):
        raise Invalid("keystone_url", "with --auth keystone it is needed, like https://identity.example/v3")


def _file(path: Path) -> dict[str, object]:
    try:
        read = tomllib.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise Invalid("config", f"{path} cannot be read: {error}") from error
    return {key.replace("-", "_"): value for key, value in read.items()}


def _parse(name: str, value: object, source: str) -> object:
    default = getattr(Config(), name)
    if name == "auth" and isinstance(value, list):
        value = " ".join(map(str, value))
    try:
        if isinstance(default, Endpoint):
            return _endpoint(str(value))
        if isinstance(default, bool):
            return _boolean(value)
        if isinstance(default, VlanRanges | Names | Sizes):
            return type(default).read(",".join(map(str, value)) if isinstance(value, list) else str(value))
        if isinstance(default, int):
            value = _number(str(value))
    except ValueError as error:
        raise Invalid(source, str(error)) from error
    if name == "quotas":
        read_quotas(str(value), source)
    if name in CHOICES and str(value) not in CHOICES[name]:
        raise Invalid(source, f"'{value}' is not one of {', '.join(CHOICES[name])}")
    return value if isinstance(default, int) else str(value)


def default_quotas(config: Config) -> dict[str, int]:
    """What projects may have; where every caller is an administrator, whatever nobody limited."""
    unlimited = dict.fromkeys(COUNTED, UNLIMITED) if config.auth == "none" else {}
    return {**unlimited, **read_quotas(config.quotas)}


def read_quotas(text: str, source: str = "quotas") -> dict[str, int]:
    """Limits by name. Raises Invalid."""
    limits = {}
    for each in filter(None, text.split(",")):
        name, _, limit = each.partition("=")
        if name not in COUNTED:
            raise Invalid(source, f"'{name}' has no quota; these have: {', '.join(COUNTED)}")
        try:
            limits[name] = int(limit)
        except ValueError:
            raise Invalid(source, f"'{limit}' of {name} is not a number") from None
        if limits[name] < UNLIMITED:
            raise Invalid(source, f"{limit} of {name} is below {UNLIMITED}, which is unlimited")
    return limits


def _endpoint(text: str) -> Endpoint:
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit() or not 0 <= int(port) <= 65535:
        raise ValueError(f"'{text}' is not HOST:PORT")
    return Endpoint(host.strip("[]"), int(port))


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise ValueError(f"'{text}' is not a number")
    return int(text)


def _boolean(value: object) -> bool:
    words = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
    found = words.get(str(value).lower())
    if found is None:
        raise ValueError(f"'{value}' is neither true nor false")
    return found
