"""Rules of an operator's own: what the language means, what it refuses, and that they hold in place of the table's."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.errors import Invalid
from controller.model.records import Network, Port
from controller.model.store import Model, Transaction
from northbound.auth import Tokens, caller
from northbound.policy import Target
from northbound.policy_file import read_policy
from tests.northbound.identity import tokens
from tests.northbound.served import Answer, Client, serving

RED, BLUE, OPS = caller("p-red", ["member"], "rosa"), caller("p-blue", ["reader"], "bob"), caller("ops", ["admin"])


def written(path: Path, text: str) -> Path:
    file = path / "policy.yaml"
    file.write_text(text)
    return file


@pytest.mark.parametrize(
    ("rule", "allowed"),
    [
        ("", "red blue ops"),
        ("@", "red blue ops"),
        ("!", ""),
        ("role:member", "red ops"),
        ("ROLE:Reader", "red blue ops"),
        ("not role:member", "blue"),
        ("role:admin or role:member and !", "ops"),
        ("(role:admin or role:member) and not role:admin", "red"),
        ("not (role:admin or role:member)", "blue"),
        ("project_id:%(project_id)s", "red"),
        ("tenant_id:%(tenant_id)s and role:admin", ""),
        ("project_id:%(network:tenant_id)s", "blue"),
        ("rule:admin_or_owner", "red ops"),
        ("rule:network_owner", "blue"),
        ("project_id:%(ext_parent:project_id)s", "red"),
        ("rule:shared or rule:external or rule:external_network or rule:network_device", ""),
        ("field:networks:shared=False and not rule:network_device", "red blue ops"),
        ("rule:mine", "red"),
        ("rule:delete_port", "red ops"),
        ("project_id:p-blue", "blue"),
        ("user_id:rosa", "red"),
        ("is_admin:True", "ops"),
        ("field:ports:device_owner=~^compute:", "red blue ops"),
        ("field:ports:device_owner=network:dhcp", ""),
        ("not field:ports:device_owner=~^network:", "red blue ops"),
        ("field:ports:admin_state_up=true", "red blue ops"),
        ("field:ports:shared=True", ""),
    ],
)
def test_a_rule_means_what_it_says(tmp_path: Path, rule: str, allowed: str) -> None:
    more = "mine: 'project_id:%(project_id)s'\ndelete_network: 'rule:mine'"
    policy = read_policy(written(tmp_path, f"update_port: {rule!r}\n{more}"))
    tx = Transaction(Model())
    tx.insert(Network(id="n", network_type="vxlan", segmentation_id=1, project_id="p-blue"))
    port = Port(id="p", network_id="n", project_id="p-red", mac_address="", device_owner="compute:nova")  # type: ignore[arg-type]
    callers = {"red": RED, "blue": BLUE, "ops": OPS}
    found = [name for name, each in callers.items() if policy.changed["update_port"](each, Target(tx, port))]
    assert found == allowed.split()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- a", "needs lines"),
        ("create_port: 5", "needs lines"),
        ("create_port: [a", "cannot be read"),
        ("creat_port: '@'", "nothing is called 'creat_port'"),
        ("create_port:no_name: '@'", "nothing is called 'create_port:no_name'"),
        ("create_port: 'role:a role:b'", "has 'role:b' where and, or, or the end must be"),
        ("create_port: 'role:a and'", "ends too early"),
        ("create_port: '(role:a'", "lacks a ')'"),
        ("create_port: 'admin'", "has 'admin' where a check"),
        ("create_port: 'rule:nobody_knows'", "names 'nobody_knows', and no rule is called so"),
        ("create_port: 'rule:create_port'", "leads back to itself by create_port"),
        ("create_port: 'rule:a'\na: 'not rule:create_port'", "leads back to itself by create_port and a"),
        ("create_port: 'http://example.org/'", "which is none of the checks"),
        ("create_port: 'user_id:%(user_id)s'", "which is none of the checks"),
        ("create_port: 'field:ports:name=~['", "a regular expression that is none"),
        ("get_port:binding:host_id: 'rule:admin_or_owner'", "can only speak of the caller"),
    ],
)
def test_what_cannot_be_read_is_told_with_the_line(tmp_path: Path, text: str, said: str) -> None:
    file = written(tmp_path, text)
    with pytest.raises(Invalid, match="policy") as refusal:
        read_policy(file)
    assert str(file) in str(refusal.value)
    assert said in str(refusal.value)


def test_the_rules_hold_in_place_of_the_tables(tmp_path: Path) -> None:
    policy = read_policy(
        written(
            tmp_path,
            """
            create_network: "role:builder"
            create_network:provider:network_type: "role:builder"
            create_network:name: "not role:intern"
            get_network:provider:network_type: "role:builder or role:admin"
            delete_network: "!"
            add_router_interface: "rule:admin_only"
            """,
        )
    )
    people = {
        "red": ("p-red", ["member"]),
        "builder": ("p-red", ["member", "builder"]),
        "intern": ("p-red", ["member", "builder", "intern"]),
        "admin": ("ops", ["admin"]),
    }
    with serving(identity=Tokens(tokens(tmp_path / "t.toml", **people)), policy=policy) as api:

        def ask(who: str, method: str, path: str, **body: object) -> Answer:
            return api.ask(method, path, body or None, X_Auth_Token=who)

        path = "/v2.0/networks"
        assert ask("red", "POST", path, network={}).fault[:2] == (403, "PolicyNotAuthorized")
        assert ask("admin", "POST", path, network={}).status == 403, "they hold for administrators, too"
        made = ask("builder", "POST", path, network={"name": "n", "provider:network_type": "geneve"}).body["network"]
        assert made["provider:network_type"] == "geneve"
        assert "provider:segmentation_id" not in made
        assert ask("intern", "POST", path, network={"name": "n"}).status == 403
        assert ask("intern", "POST", path, network={}).status == 201
        one = Client.path("network", made["id"])
        assert "provider:network_type" not in ask("red", "GET", one).body["network"]
        assert "provider:segmentation_id" in ask("admin", "GET", one).body["network"]
        assert {who: ask(who, "DELETE", one).status for who in people} == dict.fromkeys(people, 403)
        router = ask("red", "POST", "/v2.0/routers", router={}).body["router"]["id"]
        add = f"/v2.0/routers/{router}/add_router_interface"
        assert ask("red", "PUT", add, port_id=made["id"]).status == 403
        assert ask("admin", "PUT", add, port_id=made["id"]).status == 404
