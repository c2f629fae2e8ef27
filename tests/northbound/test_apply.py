"""`weft apply` makes a file true, once; what it made and the file no longer names goes, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from northbound import cli
from tests.northbound.served import Client, serving

SHOP = """
name: shop
address_groups:
  office: {addresses: [198.51.100.0/24]}
security_groups:
  web:
    description: what the world may ask
    rules:
      - {direction: egress}
      - {direction: ingress, protocol: tcp, port_range_min: 80, port_range_max: 80}
      - {direction: ingress, protocol: icmp, remote_address_group: office}
      - {direction: ingress, ethertype: IPv6, remote_group: web}
networks:
  red: {mtu: 1400}
subnets:
  red4: {network: red, cidr: 10.0.0.0/24}
  red6: {network: red, cidr: "fd00::/64"}
ports:
  vm1: {network: red, security_groups: [web], fixed_ips: [{subnet: red4, ip_address: 10.0.0.11}]}
  vm2: {network: red}
routers:
  r1: {interfaces: [red4, red6], external_gateway_info: {network: public}}
floatingips:
  web: {floating_network: public, port: vm1}
"""


@pytest.fixture
def api() -> Iterator[Client]:
    with serving() as client:
        public = client.make("network", name="public", **{"router:external": True})["id"]
        client.make("subnet", network_id=public, cidr="203.0.113.0/24", ip_version=4)
        yield client


class Command:
    """`weft apply` and `weft export` of one project; the file is `topology`."""

    def __init__(self, api: Client, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.api, self.path, self.capsys = api, path, capsys

    def __call__(self, text: str, *options: str, code: int = 0) -> list[str]:
        self.path.write_text(text)
        return self.run("apply", str(self.path), *options, code=code)

    def run(self, *arguments: str, code: int = 0) -> list[str]:
        assert cli.main([*arguments, "--url", self.api.url, "--project", "p1"]) == code, self.capsys.readouterr()
        printed = self.capsys.readouterr()
        return (printed.err if code == 2 else printed.out).splitlines()


@pytest.fixture
def apply(api: Client, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(api, tmp_path / "topology.yaml", capsys)


def changed(text: str, change: Any) -> str:
    topology = yaml.safe_load(text)
    change(topology)
    return str(yaml.safe_dump(topology))


def test_a_file_is_made_true_and_then_there_is_nothing_to_do(api: Client, apply: Command) -> None:
    dry = apply(SHOP, "--dry-run", code=1)
    assert [each["name"] for each in api.get("/v2.0/networks")["networks"]] == ["public"]
    made = apply(SHOP)
    assert dry[:-1] == made[:-1]
    assert made[-1].endswith("changes made")
    assert "+ subnet red4 (network_id=red, cidr=10.0.0.0/24, ip_version=4)" in made
    assert "+ router r1 interface red6" in made
    (vm1,) = api.get("/v2.0/ports?name=vm1")["ports"]
    (group,) = api.get("/v2.0/security-groups?name=web")["security_groups"]
    assert (vm1["project_id"], vm1["security_groups"]) == ("p1", [group["id"]])
    assert {"subnet_id": vm1["fixed_ips"][0]["subnet_id"], "ip_address": "10.0.0.11"} in vm1["fixed_ips"]
    assert len(group["security_group_rules"]) == 4
    (floating,) = api.get("/v2.0/floatingips")["floatingips"]
    assert (floating["port_id"], floating["fixed_ip_address"]) == (vm1["id"], "10.0.0.11")
    assert apply(SHOP) == ["nothing to change"]
    assert apply(SHOP, "--dry-run") == ["nothing to change"]


def test_what_differs_is_changed_and_what_is_not_named_stays(api: Client, apply: Command) -> None:
    apply(SHOP)
    (vm2,) = api.get("/v2.0/ports?name=vm2")["ports"]
    api.put("port", vm2["id"], description="by hand")

    def change(topology: Any) -> None:
        topology["networks"]["red"]["mtu"] = 1300
        topology["security_groups"]["web"]["rules"].pop(1)

    told = apply(changed(SHOP, change))
    assert told[:-1] == [
        "- security_group web rule (direction=ingress, ethertype=IPv4, protocol=tcp, port_range_min=80, port_range_max=80)",
        "~ network red (mtu=1300)",
    ]
    assert api.get(f"/v2.0/ports/{vm2['id']}")["port"]["description"] == "by hand"


def test_what_apply_made_goes_with_its_name_and_nothing_else_does(api: Client, apply: Command) -> None:
    mine = api.make("network", name="mine", project_id="p1")["id"]
    apply(SHOP)
    apply("{name: other, networks: {blue: {}}, ports: {vm9: {network: blue}}}")
    assert apply("name: other") == ["- port vm9", "- network blue", "2 changes made"]
    assert apply(SHOP) == ["nothing to change"]
    gone = apply("name: shop")
    assert gone[:3] == ["- floatingip web", "- port vm1", "- port vm2"]
    assert [each["id"] for each in api.get("/v2.0/networks?project_id=p1")["networks"]] == [mine]
    assert api.get("/v2.0/ports?project_id=p1")["ports"] == []
    assert apply("name: shop") == ["nothing to change"]


def test_changes_and_what_there_is_are_told_to_machines_too(api: Client, apply: Command) -> None:
    told = json.loads("\n".join(apply(SHOP, "--dry-run", "--json", code=1)))
    assert (told["made"], told["changes"][0].keys()) == (False, {"sign", "text"})
    assert json.loads("\n".join(apply(SHOP, "--json"))) == {**told, "made": True}
    exported = "\n".join(apply.run("export", "copy", "--json"))
    assert json.loads(exported)["networks"].keys() == {"red"}
    assert json.loads("\n".join(apply(exported, "--json"))) == {"changes": [], "made": False}


def test_what_is_exported_is_true_already(api: Client, apply: Command) -> None:
    apply(SHOP)
    exported = "\n".join(apply.run("export", "copy"))
    assert yaml.safe_load(exported)["ports"]["vm1"]["fixed_ips"] == [{"subnet": "red4", "ip_address": "10.0.0.11"}]
    assert apply(exported) == ["nothing to change"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("networks: {red: {}}", "needs a name"),
        ("name: x\nnetwerks: {}", "it is no section of a topology"),
        ("name: x\nnetworks: [red]", "a mapping of names to attributes is needed"),
        ("name: x\nports: {a: {network: nowhere}}", "there is no network called 'nowhere'"),
        ("name: x\nnetworks: {red: {nonsense: 1}}", "network red (nonsense=1): Unrecognized attribute(s) 'nonsense'"),
        ("name: [", "is no YAML"),
    ],
)
def test_what_makes_no_sense_is_told_in_one_sentence(apply: Command, text: str, said: str) -> None:
    (told,) = apply(text, code=2)[-1:]
    assert said in told
