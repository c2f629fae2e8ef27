"""What `weft trace` says is what the model alone says: of any first packet between guests under any rules."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

from hypothesis import event, given
from hypothesis import strategies as st

from controller.model.records import FixedIp, Port
from controller.model.store import Transaction
from northbound import tracing
from northbound.sending import question
from northbound.tracing import Answer
from tests.cloud import Cloud, hypervisor, network, subnet
from tests.oracle import WHOLE, Message, Oracle, is_attached, is_up
from tests.test_differential import HOMES, MACS, NAMES, V4, V6, World


def both_subnets(tx: Transaction) -> None:
    """Each port's IPv6 address is on a subnet of its own."""
    for port in tx.all(Port):
        on = ("red-subnet6" if ":" in ip.ip_address else "red-subnet4" for ip in port.fixed_ips)
        fixed = tuple(FixedIp(id, ip.ip_address) for id, ip in zip(on, port.fixed_ips, strict=True))
        tx.put(replace(port, fixed_ips=fixed))


def traced(cloud: Cloud, message: Message) -> Answer:
    asked: dict[str, Any] = {"from": message.sender, "to": message.target, "source": message.source}
    asked["proto"] = str(message.protocol)
    if message.icmp is not None:
        asked |= {"type": message.low, "code": message.high}
    elif message.ports is not None:
        asked |= {"sport": message.low, "dport": message.high}
    return tracing.trace(cloud.model, cloud.standing, question(asked))


def expected(cloud: Cloud, message: Message, target: str) -> tuple[str, tuple[str, ...]]:
    """The reason, "" of what arrives, and the rules that may be named; nobody knows a guest that is not attached."""
    sender, receiver = (cloud.model.get(Port, id) for id in (message.sender, target))
    assert sender is not None
    assert receiver is not None
    if is_up(cloud.model, sender) and not is_attached(cloud.model, receiver):
        ports = [port for port in cloud.model.all(Port) if is_attached(cloud.model, port)]
        if any(not port.port_security_enabled for port in ports):
            return "SOUGHT", ()  # who may use any address may have that one
        return "ARP_UNKNOWN" if message.version == 4 else "ND_UNKNOWN", ()
    said = Oracle().judge(cloud.model, message)
    return said.why.name if said.why else "", tuple(rule.id for rule in said.rules)


@given(st.sampled_from(["netdev", "system"]), st.randoms(use_true_random=True))
def test_a_trace_ends_as_the_rules_say_and_names_those_that_allow(datapath: str, chance: Random) -> None:
    cloud, world = Cloud(), World(chance)
    cloud.commit(network("red", 100), *world.begin())
    cloud.commit(subnet("red-subnet4", "red", "10.0.0.0/24"), subnet("red-subnet6", "red", "fd00::/64"), both_subnets)
    cloud.commit(*(hypervisor(number, *names, datapath=datapath) for number, names in HOMES.items()))
    for _ in range(8):
        drawn = world.message()
        target = next(name for name in NAMES if drawn.target in (V4[name], V6[name]))
        message = replace(drawn, source_mac=MACS[drawn.sender], target_mac=MACS[target], fragment=WHOLE)
        reason, rules = expected(cloud, message, target)
        answer = traced(cloud, message)
        assert answer.reason == reason, f"{message}\n{answer}"
        event(reason or "delivered")
        for words in (step.words for step in answer.steps if "gress allowed by " in step.words):
            assert any(f"rule {rule} (" in words for rule in rules), f"{message}\n{words}\n{rules}"
