"""Topologies as files: what `weft apply` makes true, and `weft export` writes.

    name: shop                       whose resources these are: what apply makes carries the tag weft-apply:shop
    security_groups:
      web:                           a section for each kind, by name; attributes are the API's
        rules:
          - {direction: ingress, protocol: tcp, port_range_min: 80, port_range_max: 80}
    networks: {red: {}}
    subnets: {red4: {network: red, cidr: 10.0.0.0/24}}
    ports: {vm1: {network: red, security_groups: [web], fixed_ips: [{subnet: red4, ip_address: 10.0.0.11}]}}
    routers: {r1: {interfaces: [red4], external_gateway_info: {network: public}}}
    floatingips: {web: {floating_network: public, port: vm1}}

`plan` compares a file with what there is, and is pure; `northbound.apply` takes the steps. What a file does not name
stays as it is: attributes, and resources that apply did not make. What apply made and the file no longer names goes
(address groups stay: they have no tags). Names stand for ids, of the file or of what there is already.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, Final

from controller.errors import Invalid

Value = Any
"""What YAML or JSON holds."""

TAG: Final = "weft-apply:"


@dataclass(frozen=True, slots=True)
class Ref:
    """A resource by its name, in place of its id."""

    section: str
    name: str


@dataclass(frozen=True, slots=True)
class Kind:
    """A section. `refs` are keys that name resources, with what the API calls them and their section; `apart` are
    keys that are no attribute of the resource itself."""

    section: str
    single: str
    refs: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    apart: frozenset[str] = frozenset()
    tagged: bool = True
    named: bool = True

    @property
    def path(self) -> str:
        """Where the API has them."""
        return f"/v2.0/{self.section.replace('_', '-')}"


GROUPS, RULES = "security_groups", "security_group_rules"
RULE_REFS: Final = {
    "remote_group": ("remote_group_id", GROUPS),
    "remote_address_group": ("remote_address_group_id", "address_groups"),
}
NETWORK: Final = ("network_id", "networks")
KINDS: Final = (
    Kind("address_groups", "address_group", tagged=False),
    Kind(GROUPS, "security_group", apart=frozenset({"rules"})),
    Kind("networks", "network"),
    Kind("subnets", "subnet", {"network": NETWORK}),
    Kind("routers", "router", {"network": NETWORK, "subnet": ("subnet_id", "subnets")}, frozenset({"interfaces"})),
    Kind(
        "ports",
        "port",
        {"network": NETWORK, "subnet": ("subnet_id", "subnets"), "security_groups": (GROUPS, GROUPS)},
    ),
    Kind(
        "floatingips",
        "floatingip",
        {"floating_network": ("floating_network_id", "networks"), "port": ("port_id", "ports")},
        named=False,
    ),
)
"""In the order in which each finds what it needs."""

BY_SECTION: Final = {kind.section: kind for kind in KINDS}


@dataclass(frozen=True, slots=True)
class Topology:
    """A file, read: by section and name, attributes with `Ref` for names."""

    name: str
    sections: Mapping[str, Mapping[str, Mapping[str, Value]]]


@dataclass(frozen=True, slots=True)
class Step:
    """One request. `path` and `body` may hold `Ref`; `makes` is what a later step may name by its new id. Without a
    path it can only be taken once the others are, by another plan."""

    sign: str
    text: str
    method: str
    path: tuple[str | Ref, ...]
    body: Mapping[str, Value] | None = None
    makes: Ref | None = None

    @property
    def names(self) -> Iterator[Ref]:
        """Whatever it names."""
        return _refs((self.path, self.body))


@dataclass(frozen=True, slots=True)
class State:
    """What there is, by section: the API's own lists, and those of ports and rules."""

    lists: Mapping[str, Sequence[Mapping[str, Value]]]

    def named(self, section: str, name: str, topology: str = "") -> Mapping[str, Value] | None:
        """The one of that name. Raises Invalid when there are several."""
        if BY_SECTION[section].named:
            found = [each for each in self.lists[section] if name in (each["name"], each["id"])]
        else:
            tag = f"{TAG}{topology}/{name}"
            found = [each for each in self.lists[section] if each["id"] == name or tag in each["tags"]]
        if len(found) > 1:
            raise Invalid(f"{section}.{name}", f"{len(found)} have this name; rename all but one")
        return found[0] if found else None


def read(text: Value, file: str) -> Topology:
    """A topology from what YAML made of a file. Raises Invalid, naming the place."""
    if not isinstance(text, dict) or not isinstance(text.get("name"), str) or not text["name"]:
        raise Invalid("name", f"{file} needs a name: what apply makes is known by it")
    sections: dict[str, dict[str, Mapping[str, Value]]] = {}
    for section, entries in text.items():
        if section == "name":
            continue
        if section not in BY_SECTION:
            raise Invalid(section, f"it is no section of a topology; there are {', '.join(BY_SECTION)}")
        if not isinstance(entries, dict):
            raise Invalid(section, "a mapping of names to attributes is needed")
        kind = BY_SECTION[section]
        sections[section] = {str(name): _read(kind, f"{section}.{name}", each or {}) for name, each in entries.items()}
    return Topology(text["name"], sections)


def _read(kind: Kind, place: str, entry: Value) -> Mapping[str, Value]:
    if not isinstance(entry, dict):
        raise Invalid(place, "a mapping of attributes to values is needed")
    apart = {name: entry[name] for name in entry if name in kind.apart}
    for name, value in apart.items():
        if not isinstance(value, list):
            raise Invalid(f"{place}.{name}", "a list is needed")
    own: dict[str, Value] = _refer(kind.refs, {name: value for name, value in entry.items() if name not in kind.apart})
    if kind.section == "subnets" and "cidr" in own:
        own.setdefault("ip_version", 6 if ":" in str(own["cidr"]) else 4)
    if "rules" in apart:
        own["rules"] = [_refer(RULE_REFS, each) if isinstance(each, dict) else each for each in apart["rules"]]
    if "interfaces" in apart:
        own["interfaces"] = [Ref("subnets", str(each)) for each in apart["interfaces"]]
    return own


def _refer(refs: Mapping[str, tuple[str, str]], value: Value) -> Any:
    """The same, with the API's names for keys that name resources."""
    if isinstance(value, list):
        return [_refer(refs, each) for each in value]
    if not isinstance(value, dict):
        return value
    found: dict[str, Value] = {}
    for key, inner in value.items():
        if key in refs and not isinstance(inner, dict):
            called, section = refs[key]
            found[called] = (
                [Ref(section, str(each)) for each in inner] if isinstance(inner, list) else Ref(section, str(inner))
            )
        else:
            found[str(key)] = _refer(refs, inner)
    return found


def plan(topology: Topology, state: State) -> list[Step]:
    """What to do, in an order in which it can be done; nothing when all is so already. Raises Invalid."""
    steps: list[Step] = []
    for kind in KINDS:
        for name, wanted in topology.sections.get(kind.section, {}).items():
            steps += _settle(kind, name, wanted, topology, state)
    for kind in reversed(KINDS):
        steps += _prune(kind, topology, state)
    _check_names(steps, topology, state)
    return steps


def _settle(kind: Kind, name: str, wanted: Mapping[str, Value], topology: Topology, state: State) -> Iterator[Step]:
    """One resource as it should be."""
    own = {key: value for key, value in wanted.items() if key not in kind.apart}
    found, me = state.named(kind.section, name, topology.name), Ref(kind.section, name)
    if found is None:
        body = {**own, **({"name": name} if kind.named else {})}
        yield Step("+", f"{kind.single} {name}{_told(own)}", "POST", (kind.path,), {kind.single: body}, me)
        if kind.tagged:
            tags = [f"{TAG}{topology.name}"] + ([] if kind.named else [f"{TAG}{topology.name}/{name}"])
            yield Step("", "", "PUT", (kind.path, me, "tags"), {"tags": tags})
    elif changed := {key: value for key, value in own.items() if not same(value, found.get(key), state)}:
        yield Step("~", f"{kind.single} {name}{_told(changed)}", "PUT", (kind.path, me), {kind.single: changed})
    if "rules" in wanted:
        yield from _settle_rules(name, wanted["rules"], found, topology, state)
    if "interfaces" in wanted:
        yield from _settle_interfaces(name, wanted["interfaces"], found, state)


def _settle_rules(
    name: str, wanted: Sequence[Value], group: Mapping[str, Value] | None, topology: Topology, state: State
) -> Iterator[Step]:
    """The rules of a group that apply made are those of the file; others that it was born with go."""
    held: list[Mapping[str, Value]] = [*BORN]
    if group is not None:
        held = [rule for rule in state.lists[RULES] if rule["security_group_id"] == group["id"]]
    path = "/v2.0/security-group-rules"
    left = list(held)
    for rule in wanted:
        match = next((each for each in left if _is_rule(rule, each, state)), None)
        if match is not None:
            left.remove(match)
            continue
        body = {"security_group_rule": {**rule, "security_group_id": Ref(GROUPS, name)}}
        yield Step("+", f"security_group {name} rule{_told(rule)}", "POST", (path,), body)
    if group is None or f"{TAG}{topology.name}" in group.get("tags", ()):
        for rule in left:
            shown = {key: rule[key] for key in _RULE if rule.get(key) is not None}
            where = (path, rule["id"]) if "id" in rule else ()
            yield Step("-", f"security_group {name} rule{_told(shown)}", "DELETE", where)


BORN: Final = tuple({"direction": "egress", "ethertype": ethertype} for ethertype in ("IPv4", "IPv6"))
"""The rules that a group has from its making on; what they are called is known only then."""
_RULE: Final = (
    "direction", "ethertype", "protocol", "port_range_min", "port_range_max", "remote_ip_prefix", "remote_group_id",
    "remote_address_group_id",
)  # fmt: skip


def _is_rule(wanted: Mapping[str, Value], held: Mapping[str, Value], state: State) -> bool:
    """Is it that rule? What a file does not say is Neutron's default."""
    whole = {**dict.fromkeys(_RULE), "ethertype": "IPv4", **{k: v for k, v in wanted.items() if k != "description"}}
    return all(same(value, held.get(key), state) for key, value in whole.items())


def _settle_interfaces(
    name: str, wanted: Sequence[Ref], router: Mapping[str, Value] | None, state: State
) -> Iterator[Step]:
    """The router is on exactly these subnets."""
    held = set()
    if router is not None:
        ports = [port for port in state.lists["ports"] if port["device_id"] == router["id"]]
        inside = [port for port in ports if port["device_owner"] != "network:router_gateway"]
        held = {ip["subnet_id"] for port in inside for ip in port["fixed_ips"]}
    ids = {ref: found["id"] for ref in wanted if (found := state.named("subnets", ref.name)) is not None}
    me = Ref("routers", name)
    for subnet in sorted(held - set(ids.values())):
        path = ("/v2.0/routers", me, "remove_router_interface")
        yield Step("-", f"router {name} interface {subnet}", "PUT", path, {"subnet_id": subnet})
    for ref in wanted:
        if ids.get(ref) not in held:
            path = ("/v2.0/routers", me, "add_router_interface")
            yield Step("+", f"router {name} interface {ref.name}", "PUT", path, {"subnet_id": ref})


def _prune(kind: Kind, topology: Topology, state: State) -> Iterator[Step]:
    """What apply made, and the file no longer names."""
    if not kind.tagged:
        return
    named = topology.sections.get(kind.section, {})
    made = [each for each in state.lists[kind.section] if f"{TAG}{topology.name}" in each["tags"]]
    found = [(each["name"] if kind.named else _called(each, topology.name), each) for each in made]
    for name, each in sorted(found, key=itemgetter(0)):
        if name in named:
            continue
        if kind.section == "routers":
            yield from _settle_interfaces(name, (), each, state)
        yield Step("-", f"{kind.single} {name}", "DELETE", (kind.path, each["id"]))


def _called(record: Mapping[str, Value], topology: str) -> str:
    """What a file called something that has no name."""
    prefix = f"{TAG}{topology}/"
    return next((str(tag).removeprefix(prefix) for tag in record["tags"] if tag.startswith(prefix)), record["id"])


def same(wanted: Value, held: Value, state: State) -> bool:
    """Is what there is what is wanted? Of objects only what is named counts, of lists the order does not."""
    if isinstance(wanted, Ref):
        found = state.named(wanted.section, wanted.name)
        return found is not None and found["id"] == held
    if isinstance(wanted, dict):
        return isinstance(held, dict) and all(same(value, held.get(key), state) for key, value in wanted.items())
    if isinstance(wanted, list):
        if not isinstance(held, list) or len(wanted) != len(held):
            return False
        left = list(held)
        for each in wanted:
            match = next((one for one in left if same(each, one, state)), None)
            if match is None:
                return False
            left.remove(match)
        return True
    if isinstance(wanted, bool) or isinstance(held, bool) or wanted is None or held is None:
        return bool(wanted == held)
    return str(wanted) == str(held)


def _check_names(steps: Iterable[Step], topology: Topology, state: State) -> None:
    """Every name that a step needs is one of the file, or of what there is. Raises Invalid."""
    for step in steps:
        for ref in step.names:
            there = ref.name in topology.sections.get(ref.section, {})
            if not there and state.named(ref.section, ref.name, topology.name) is None:
                raise Invalid(step.text, f"there is no {BY_SECTION[ref.section].single} called '{ref.name}'")


def _refs(value: Value) -> Iterator[Ref]:
    if isinstance(value, Ref):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _refs(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _refs(each)


def filled(value: Value, ids: Mapping[Ref, str]) -> Value:
    """The same with ids in place of names."""
    if isinstance(value, Ref):
        return ids[value]
    if isinstance(value, Mapping):
        return {key: filled(each, ids) for key, each in value.items()}
    if isinstance(value, list):
        return [filled(each, ids) for each in value]
    return value


def _told(attributes: Mapping[str, Value]) -> str:
    words = [f"{key}={_word(value)}" for key, value in attributes.items() if key != "rules"]
    return f" ({', '.join(words)})" if words else ""


def _word(value: Value) -> str:
    if isinstance(value, Ref):
        return value.name
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}={_word(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_word, value)) + "]"
    return str(value)
