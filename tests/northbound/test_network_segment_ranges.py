"""Network segment ranges: what networks are numbered from, and that it takes effect at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from controller.model.store import MemoryJournal
from northbound.api import Settings
from tests.northbound.served import Client, serving

PATH = "/v2.0/network-segment-ranges"
SETTINGS = Settings(segments=(1, 20), vlan_ranges=(("lan", 100, 102), ("wan", 1, 0)))


@pytest.fixture
def api() -> Iterator[Client]:
    with serving(SETTINGS) as client:
        yield client


def make(api: Client, first: int | str, last: int, **more: object) -> Any:
    return api.make("network_segment_range", **{"network_type": "vxlan", "minimum": first, "maximum": last, **more})


def numbers(api: Client, count: int, project: str, **more: object) -> list[int]:
    return [api.make("network", project_id=project, **more)["provider:segmentation_id"] for _ in range(count)]


def shown(api: Client, id: str) -> Any:
    return api.get(f"{PATH}/{id}")["network_segment_range"]


def test_a_range_is_what_was_asked_for(api: Client) -> None:
    made = make(api, "5", 7, shared=False, project_id="p", name="mine", description="d", physical_network="x")
    times = made.pop("created_at"), made.pop("updated_at")
    assert made == {
        "id": made["id"],
        "name": "mine",
        "description": "d",
        "project_id": "p",
        "tenant_id": "p",
        "default": False,
        "shared": False,
        "network_type": "vxlan",
        "physical_network": "",
        "minimum": 5,
        "maximum": 7,
        "used": {},
        "available": [5, 6, 7],
        "revision_number": 1,
        "tags": [],
    }
    assert times[0] == times[1]
    everybodys = make(api, 1, 2, project_id="p")
    assert (everybodys["shared"], everybodys["project_id"]) == (True, None)
    assert [each["id"] for each in api.get(f"{PATH}?name=mine&network_type=vxlan")["network_segment_ranges"]] == [
        made["id"]
    ]


def test_a_project_has_its_range_and_then_what_is_everybodys(api: Client) -> None:
    id = make(api, 3, 4, shared=False, project_id="p")["id"]
    assert numbers(api, 3, "q") == [1, 2, 5]
    assert numbers(api, 3, "p") == [3, 4, 6]
    assert shown(api, id)["used"] == {"3": "p", "4": "p"}
    assert shown(api, id)["available"] == []
    asked = {"provider:network_type": "vxlan", "provider:segmentation_id": 3}
    assert api.post("network", project_id="q", **asked).fault[1] == "TunnelIdInUse"
    assert api.make("network", project_id="q", **{**asked, "provider:network_type": "gre"})["id"]
    assert sorted(numbers(api, 14, "q")) == [*range(7, 21)]
    assert api.post("network", project_id="q").fault[1] == "NoNetworkAvailable"


def test_a_range_takes_effect_on_the_next_network(api: Client) -> None:
    wan = {"provider:network_type": "vlan", "provider:physical_network": "wan"}
    assert api.post("network", **wan).fault[1] == "NoNetworkAvailable"
    more = make(api, 7, 8, network_type="vlan", physical_network="wan")["id"]
    assert numbers(api, 2, "p", **wan) == [7, 8]
    assert api.put("network_segment_range", more, maximum=9).body["network_segment_range"]["maximum"] == 9
    assert numbers(api, 1, "p", **wan) == [9]
    anywhere = [api.make("network", **{"provider:network_type": "vlan"}) for _ in range(3)]
    assert [each["provider:physical_network"] for each in anywhere] == ["lan"] * 3
    new = {"provider:network_type": "vlan", "provider:physical_network": "new"}
    assert "unknown" in api.post("network", **new).fault[2]
    make(api, 1, 1, network_type="vlan", physical_network="new")
    assert numbers(api, 1, "p", **new) == [1]


def test_a_range_keeps_what_networks_have(api: Client) -> None:
    id = make(api, 5, 9, shared=False, project_id="p")["id"]
    network = api.make("network", project_id="p")
    assert network["provider:segmentation_id"] == 5
    said = f"Network Segment Range {id} is referenced by one or more project networks."
    refused = (409, "NetworkSegmentRangeReferencedByProject", said)
    assert api.delete("network_segment_range", id).fault == refused
    assert api.put("network_segment_range", id, minimum=6).fault == refused
    assert api.put("network_segment_range", id, minimum=5, maximum=5, name="n").status == 200
    assert api.delete("network", network["id"]).status == 204
    assert api.put("network_segment_range", id, minimum=6, maximum=6).status == 200
    assert api.delete("network_segment_range", id).status == 204
    assert api.ask("GET", f"{PATH}/{id}").fault == (
        404,
        "NetworkSegmentRangeNotFound",
        f"Network Segment Range {id} could not be found.",
    )


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"minimum": 0}, ("NetworkTunnelRangeError", "Invalid network tunnel range: '0:9' - 0 is not a valid vxlan identifier.")),
        ({"maximum": 21}, ("NetworkTunnelRangeError", "Invalid network tunnel range: '5:21' - 21 is not a valid vxlan identifier.")),
        ({"minimum": 10}, ("NetworkTunnelRangeError", "Invalid network tunnel range: '10:9' - End of tunnel range is less than start of tunnel range.")),
        ({"network_type": "vlan", "physical_network": "lan", "maximum": 4095}, ("NetworkVlanRangeError", "Invalid network VLAN range: '5:4095' - 4095 is not a valid vlan identifier.")),
        ({"network_type": "vlan"}, ("BadRequest", "Bad network_segment_range request: Network type vlan requires 'physical_network' to be specified while creating new range.")),
        ({"network_type": "flat"}, ("HTTPBadRequest", "Invalid input for network_type. Reason: flat is not in valid_values.")),
        ({"shared": False}, ("BadRequest", "Bad network_segment_range request: if NetworkSegmentRange is not shared, it must have a project_id.")),
        ({"minimum": "x"}, ("InvalidInput", "Invalid input for operation: 'x' is not an integer.")),
        ({"default": True}, ("HTTPBadRequest", "Attribute 'default' not allowed in POST")),
    ],
)  # fmt: skip
def test_what_is_no_range_is_refused(api: Client, given: dict[str, object], fault: tuple[str, str]) -> None:
    asked = {"network_type": "vxlan", "minimum": 5, "maximum": 9, **given}
    assert api.post("network_segment_range", **asked).fault == (400, *fault)


def test_ranges_are_apart(api: Client) -> None:
    one = make(api, 5, 9)["id"]
    other = make(api, 10, 12, shared=False, project_id="p")["id"]
    said = (409, "NetworkSegmentRangeOverlaps", f"Network segment range overlaps with range(s) with id {one}")
    assert api.post("network_segment_range", network_type="vxlan", minimum=9, maximum=9).fault == said
    assert api.put("network_segment_range", other, minimum=9).fault == said
    assert make(api, 5, 9, network_type="gre")["minimum"] == 5


def test_the_configurations_ranges_are_there_and_stay() -> None:
    journal = MemoryJournal()
    with serving(SETTINGS, journal=journal) as api:
        found = api.get(f"{PATH}?default=true")["network_segment_ranges"]
        told = {(each["network_type"], each["physical_network"], each["minimum"], each["maximum"]) for each in found}
        assert told == {("vxlan", "", 1, 20), ("geneve", "", 1, 20), ("gre", "", 1, 20), ("vlan", "lan", 100, 102)}
        assert {each["shared"] for each in found} == {True}
        for answer in (
            api.put("network_segment_range", found[0]["id"], name="x"),
            api.delete("network_segment_range", found[0]["id"]),
        ):
            assert answer.fault[:2] == (400, "NetworkSegmentRangeDefaultReadOnly")
        before = len(api.changes)
        assert shown(api, found[0]["id"]) == found[0]
        assert len(api.changes) == before, "a list that finds what it needs writes nothing"
    with serving(Settings(), journal=journal) as api:
        (vxlan,) = api.get(f"{PATH}?network_type=vxlan")["network_segment_ranges"]
        assert (vxlan["maximum"], len(vxlan["available"])) == (0xEFFFFF, 4096)
        assert {each["network_type"] for each in api.get(PATH)["network_segment_ranges"]} == {"vxlan", "geneve", "gre"}
        assert api.ask("GET", f"{PATH}/{found[0]['id']}").status == 404
        number = api.make(
            "network", project_id="p", **{"provider:segmentation_id": 999_999, "provider:network_type": "vxlan"}
        )
        assert shown(api, vxlan["id"])["used"] == {"999999": "p"}, number
