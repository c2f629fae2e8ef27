"""`weft apply` and `weft export`: a topology in a file made true through the API, and written from it.

    weft apply topology.yaml [--dry-run] [--project ID]
    weft export [NAME] [--project ID] > topology.yaml

The difference is shown before anything is done. A step that is refused ends it: what was done stays, and applying again
goes on from there.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import yaml

from controller.errors import Invalid
from northbound.client import Client, Unanswered
from northbound.resources import COLLECTIONS
from northbound.topology import BY_SECTION, GROUPS, KINDS, RULES, Kind, Ref, State, Step, filled, plan, read

Value = Any

UNOWNED: Final = ("network:",)
"""What the owner of ports begins with that are no resource of their own."""


def run(options: argparse.Namespace, client: Client) -> int:
    """Apply a file; 0 when all is as it says, or with --dry-run 1 when it is not. Raises Invalid, Unanswered."""
    text = sys.stdin.read() if options.file == "-" else Path(options.file).read_text()
    try:
        topology = read(yaml.safe_load(text), options.file)
    except yaml.YAMLError as error:
        raise Invalid("file", f"{options.file} is no YAML: {' '.join(str(error).split())}") from error
    state = look(client, options.project)
    steps = plan(topology, state)
    told = [step for step in steps if step.text]
    say = (lambda line: None) if options.json else print
    for step in told:
        say(f"{step.sign} {step.text}")
    made = bool(told) and not options.dry_run
    if made:
        _take_all(client, steps, state, topology.name)
        if any(not step.path for step in steps):
            state = look(client, options.project)
            _take_all(client, plan(topology, state), state, topology.name)
    say(f"{len(told)} changes{' made' if made else ''}" if told else "nothing to change")
    if options.json:
        changes = [{"sign": step.sign, "text": step.text} for step in told]
        print(json.dumps({"changes": changes, "made": made}, indent=2, ensure_ascii=False))
    return 1 if told and not made else 0


def _take_all(client: Client, steps: Sequence[Step], state: State, topology: str) -> None:
    named = {ref for step in steps for ref in step.names}
    found = {ref: state.named(ref.section, ref.name, topology) for ref in named}
    ids = {ref: record["id"] for ref, record in found.items() if record is not None}
    for step in steps:
        if step.path:
            _take(client, step, ids)


def _take(client: Client, step: Step, ids: dict[Ref, str]) -> None:
    path = "/".join(quote(str(filled(part, ids)), safe="/") for part in step.path)
    try:
        answer = client.send(step.method, path, None if step.body is None else filled(step.body, ids))
    except Unanswered as refusal:
        raise Unanswered(f"{step.text or path}: {refusal}") from refusal
    if step.makes is not None:
        ids[step.makes] = next(iter(answer.values()))["id"]


def look(client: Client, project: str = "") -> State:
    """What there is: the project's, or all that the caller sees; and networks that are everybody's."""
    lists = {}
    for section in (*BY_SECTION, RULES):
        found = client.get(f"/v2.0/{section.replace('_', '-')}")[section]
        lists[section] = [each for each in found if not project or _of(each, project)]
    return State(lists)


def _of(record: Mapping[str, Value], project: str) -> bool:
    """Whether it is the project's, or everybody's, or belongs to something that is."""
    return record["project_id"] in (project, "") or bool(record.get("shared") or record.get("router:external"))


# ---- export ---------------------------------------------------------------------------------------------------


def export(client: Client, name: str, project: str) -> dict[str, Value]:
    """What there is as a topology; apply of it changes nothing."""
    state = look(client, project)
    topology: dict[str, Value] = {"name": name}
    for kind in KINDS:
        entries = {_called(kind, each, state): _written(kind, each, state) for each in _own(kind, state, project)}
        if entries:
            topology[kind.section] = entries
    return topology


def text(topology: Mapping[str, Value]) -> str:
    """A topology as a file has it."""
    return yaml.safe_dump(topology, sort_keys=False, allow_unicode=True)


def _own(kind: Kind, state: State, project: str) -> Iterator[Mapping[str, Value]]:
    for each in state.lists[kind.section]:
        default = kind.section == GROUPS and each["name"] == "default"
        unowned = kind.section == "ports" and each["device_owner"].startswith(UNOWNED)
        if not default and not unowned and (not project or each["project_id"] == project):
            yield each


def _called(kind: Kind, record: Mapping[str, Value], state: State) -> str:
    """Its name, or its id when that is nobody's name, or several's."""
    if kind.named and record["name"]:
        alike = [each for each in state.lists[kind.section] if each["name"] == record["name"]]
        if len(alike) == 1:
            return str(record["name"])
    return str(record["id"])


def _written(kind: Kind, record: Mapping[str, Value], state: State) -> dict[str, Value]:
    """The attributes that a client chooses, but those that are as they are when nobody does."""
    table = next(each.table for each in COLLECTIONS if each.plural == kind.section)
    found: dict[str, Value] = {}
    for attribute in table.values():
        value = record.get(attribute.name)
        chosen = attribute.post and not attribute.hidden and attribute.name not in _LEFT_OUT
        if chosen and value not in (None, "", [], {}, attribute.default):
            found.update(_named(kind, attribute.name, value, state))
    if kind.section == GROUPS:
        rules = [rule for rule in state.lists[RULES] if rule["security_group_id"] == record["id"]]
        found["rules"] = [_rule(rule, state) for rule in rules]
    if kind.section == "routers":
        found |= _joined(record, state)
    return found


_LEFT_OUT: Final = frozenset({
    "name", "project_id", "tenant_id", "tags", "floating_port_id", "distributed", "ha", "binding:host_id",
})  # fmt: skip


def _named(kind: Kind, attribute: str, value: Value, state: State) -> dict[str, Value]:
    """An attribute with names for ids."""
    for key, (called, section) in kind.refs.items():
        if called == attribute:
            ids = value if isinstance(value, list) else [value]
            names = [_name_of(section, id, state) for id in ids]
            return {key: names if isinstance(value, list) else names[0]}
    if isinstance(value, dict):
        return {attribute: _inner(kind, value, state)}
    if isinstance(value, list):
        return {attribute: [_inner(kind, each, state) if isinstance(each, dict) else each for each in value]}
    return {attribute: value}


def _inner(kind: Kind, value: Mapping[str, Value], state: State) -> dict[str, Value]:
    found: dict[str, Value] = {}
    for key, each in value.items():
        found |= _named(kind, key, each, state)
    return found


def _name_of(section: str, id: str, state: State) -> str:
    record = next((each for each in state.lists[section] if each["id"] == id), None)
    return id if record is None else _called(BY_SECTION[section], record, state)


def _rule(rule: Mapping[str, Value], state: State) -> dict[str, Value]:
    found = {key: rule[key] for key in ("direction", "ethertype", "protocol", "port_range_min", "port_range_max",
                                        "remote_ip_prefix") if rule[key] is not None}  # fmt: skip
    if rule["remote_group_id"]:
        found["remote_group"] = _name_of(GROUPS, rule["remote_group_id"], state)
    if rule["remote_address_group_id"]:
        found["remote_address_group"] = _name_of("address_groups", rule["remote_address_group_id"], state)
    return found


def _joined(router: Mapping[str, Value], state: State) -> dict[str, Value]:
    ports = [port for port in state.lists["ports"] if port["device_id"] == router["id"]]
    inside = [port for port in ports if port["device_owner"] != "network:router_gateway"]
    subnets = [_name_of("subnets", ip["subnet_id"], state) for port in inside for ip in port["fixed_ips"]]
    return {"interfaces": sorted(subnets)} if subnets else {}
