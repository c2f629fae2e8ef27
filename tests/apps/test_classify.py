"""Classification: a frame is its port's, or it is dropped with a reason."""

from __future__ import annotations

from controller.model.records import Network
from tests.cloud import Cloud, hypervisor, port


def of_ports(cloud: Cloud, chassis: str) -> list[str]:
    """What classifies frames by the interface they come from."""
    return [flow for flow in cloud.flows(chassis, "classify") if "in_port=" in flow]


def test_a_frame_from_an_interface_is_its_ports(cloud: Cloud) -> None:
    assert of_ports(cloud, "hv2") == [
        "table=0,priority=100,in_port=10,vlan_tci=0x0/0x1fff actions=set_field:0x3->reg1,set_field:0x1->reg6,goto_table:4",
        "table=0,priority=90,in_port=10 actions=set_field:0x2->reg8,goto_table:62",
    ]


def test_a_port_that_is_down_sends_nothing(cloud: Cloud) -> None:
    cloud.commit(port("vm3", "red", "02:00:00:00:00:03", "10.0.0.3", admin_state_up=False))
    assert of_ports(cloud, "hv2") == [
        "table=0,priority=100,in_port=10 actions=set_field:0x3->reg8,goto_table:62",
    ]


def test_ports_of_a_network_that_is_down_send_nothing(cloud: Cloud) -> None:
    cloud.commit(lambda tx: tx.put(Network(id="red", network_type="vxlan", segmentation_id=100, admin_state_up=False)))
    assert of_ports(cloud, "hv1") == [
        "table=0,priority=100,in_port=10 actions=set_field:0x3->reg8,goto_table:62",
        "table=0,priority=100,in_port=11 actions=set_field:0x3->reg8,goto_table:62",
    ]


def test_an_interface_without_a_port_is_not_classified(cloud: Cloud) -> None:
    cloud.commit(hypervisor(2, "vm3", "nobody"))
    assert not [flow for flow in cloud.flows("hv2", "classify") if "in_port=11" in flow]


def test_what_the_hypervisors_own_conntrack_said_is_forgotten_first(cloud: Cloud) -> None:
    assert [flow for flow in cloud.flows("hv1", "classify") if "in_port=" not in flow] == [
        "table=0,priority=200,ct_state=+trk actions=ct_clear,resubmit(,0)",
    ]


def test_an_openflow_port_that_changes_its_number_changes_the_classification_alone(cloud: Cloud) -> None:
    cloud.commit(hypervisor(2, "vm3", first=20))
    assert cloud.sent("hv1") == []
    assert cloud.engine.log == ["classify.guest[vm3]", "delivery.deliver[vm3]"]
