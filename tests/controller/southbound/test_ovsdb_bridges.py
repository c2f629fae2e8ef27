"""What Weft sets up on a hypervisor, keeps so, and leaves alone."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

import pytest

from controller.southbound import ovsdb
from controller.southbound.ovsdb import OvsdbListener
from tests.controller.southbound.hypervisors import (
    TARGET,
    Host,
    Watcher,
    amendments,
    eventually,
    interface,
    play,
    settled,
    tunnel,
)


@pytest.mark.ovs
def test_the_controller_row_changes_in_place_and_no_flow_is_lost(host: Host) -> None:
    async def scene(listener: OvsdbListener, watcher: Watcher) -> None:
        await asyncio.to_thread(host.start_switch)
        host.sh("ovs-vsctl add-br br-int -- set Bridge br-int datapath_type=netdev fail_mode=secure")
        host.sh("ovs-vsctl set-controller br-int tcp:127.0.0.1:1 tcp:127.0.0.1:2")
        await eventually(lambda: (host.directory / "br-int.mgmt").exists())
        old = {row["_uuid"][1] for row in host.rows("Controller").values()}
        await asyncio.sleep(0.5)
        host.add_flow("br-int", "cookie=0x7,priority=5,actions=drop")
        host.join(listener.port)
        await eventually(lambda: settled(listener, watcher, host))
        await eventually(lambda: host.get("Interface", "weft-vxlan", "ofport") > 0)
        [kept] = host.rows("Controller").values()
        assert kept["_uuid"][1] in old
        assert "cookie=0x7" in host.flows("br-int")

    play(scene)
    assert list(host.rows("Controller")) == [TARGET]
    assert "cookie=0x7" in host.flows("br-int")


FOREIGN = (
    "ovs-vsctl add-br br-ex -- set Bridge br-ex fail_mode=standalone other_config:x=y -- set-controller br-ex tcp:192.0.2.9:6633"
    " -- add-port br-ex eth9 -- add-port br-ex vx9 -- set Interface vx9 type=vxlan options:remote_ip=192.0.2.99"
    " -- add-br br-int -- set Bridge br-int other_config:mac-table-size=99 external_ids:z=1"
    " -- add-port br-int gre0 -- set Interface gre0 type=gre options:remote_ip=192.0.2.98"
    " -- add-port br-int tap0 -- set Interface tap0 external_ids:iface-id=port-0"
    " -- set Open_vSwitch . other_config:flow-restore-wait=false"
)


@pytest.mark.ovs
def test_what_is_not_ours_is_left_alone(host: Host) -> None:
    names = {
        "Port": ("br-ex", "eth9", "vx9", "gre0", "tap0", "br-int"),
        "Bridge": ("br-ex",),
        "Controller": ("tcp:192.0.2.9:6633",),
    }

    def foreign() -> Any:
        rows = {
            table: [host.rows(table)[name] for name in some]
            for table, some in (*names.items(), ("Interface", names["Port"]))
        }
        return rows, host.get("Open_vSwitch", ".", "other_config")

    async def scene(listener: OvsdbListener, watcher: Watcher) -> None:
        host.sh(FOREIGN)
        before = foreign()
        host.join(listener.port)
        await eventually(lambda: TARGET in host.rows("Controller"))
        keys = host.get("Open_vSwitch", ".", "external_ids")
        await eventually(lambda: {"weft-geneve", "weft-vxlan", "gre0", "tap0"} == set(host.ports("br-int")))
        host.ctl("set", "Open_vSwitch", ".", "external_ids:weft-encap-type=vxlan")
        await eventually(lambda: {"weft-vxlan", "gre0", "tap0"} == set(host.ports("br-int")))
        assert foreign() == before
        assert host.get("Open_vSwitch", ".", "external_ids") == keys | {"weft-encap-type": "vxlan"}
        config = host.get("Bridge", "br-int", "other_config")
        assert config == {"mac-table-size": "99", "disable-in-band": "true"}
        assert host.get("Bridge", "br-int", "external_ids") == {"z": "1"}

    play(scene)


@pytest.mark.ovs
@pytest.mark.parametrize(
    "damage",
    [
        "del-port br-int weft-vxlan",
        "set Interface weft-vxlan type=gre options:key=7",
        "set Interface weft-vxlan options:df_default=false",
        "set-fail-mode br-int standalone",
        "set Bridge br-int other_config:disable-in-band=false",
        "remove Bridge br-int other_config disable-in-band",
        "set Bridge br-int datapath_type=netdev",
        "del-controller br-int",
        "set-controller br-int tcp:192.0.2.1:6653 tcp:192.0.2.2:6653",
        "set Controller br-int max_backoff=8000 inactivity_probe=0 connection_mode=in-band",
        "del-br br-int",
    ],
)
def test_what_is_ours_and_altered_by_hand_is_healed_within_5_s(host: Host, damage: str) -> None:
    def weft() -> Any:
        bridge = host.rows("Bridge")["br-int"]
        config = dict(bridge["other_config"][1])
        kept = {key: value for key, value in config.items() if key != "datapath-id"}
        [row] = host.rows("Controller").values()
        settings = [row[column] for column in ("target", "max_backoff", "inactivity_probe", "connection_mode")]
        tunnels = [interface(host, name) for name in ("weft-vxlan", "weft-geneve")]
        return bridge["fail_mode"], bridge["datapath_type"], kept, settings, tunnels, host.ports("br-int")

    async def scene(listener: OvsdbListener, watcher: Watcher) -> None:
        host.join(listener.port, "hv1", "192.0.2.11", "external_ids:weft-datapath-type=system")
        await eventually(lambda: settled(listener, watcher, host))
        before = weft()
        host.sh(f"ovs-vsctl {damage}")
        await eventually(lambda: weft() == before, within_s=5)
        assert listener.sessions["hv1"].trouble == ""

    play(scene)


@pytest.mark.ovs
def test_a_new_encapsulation_address_changes_the_tunnel_ports_in_place(host: Host) -> None:
    async def scene(listener: OvsdbListener, watcher: Watcher) -> None:
        host.join(listener.port)
        await eventually(lambda: settled(listener, watcher, host))
        before = host.get("Interface", "weft-vxlan", "_uuid")
        host.ctl("set", "Open_vSwitch", ".", "external_ids:weft-encap-ip=192.0.2.77")
        await eventually(lambda: interface(host, "weft-geneve") == tunnel("geneve", "192.0.2.77"))
        assert interface(host, "weft-vxlan") == tunnel("vxlan", "192.0.2.77")
        assert host.get("Interface", "weft-vxlan", "_uuid") == before
        assert watcher.last.encap_ip == "192.0.2.77"

    play(scene)


@pytest.mark.ovs
def test_the_tunnel_ports_follow_to_another_integration_bridge(host: Host) -> None:
    async def scene(listener: OvsdbListener, watcher: Watcher) -> None:
        host.join(listener.port)
        await eventually(lambda: settled(listener, watcher, host))
        host.ctl("set", "Open_vSwitch", ".", "external_ids:weft-bridge=br-two")
        await eventually(lambda: host.ports("br-two") == ["weft-geneve", "weft-vxlan"])
        assert (host.ports("br-int"), listener.sessions["hv1"].trouble) == ([], "")

    play(scene)


MAPPED = "external_ids:weft-datapath-type=system external_ids:weft-bridge-mappings=physnet1:br-ex"
A_LONG_NAME = "physnet-of-the-second-floor"


def patches(host: Host) -> dict[str, tuple[str, str]]:
    """Every patch port: its bridge, and the name of its peer."""
    rows = [row for row in host.rows("Interface").values() if row["type"] == "patch"]
    return {row["name"]: (host.ctl("port-to-br", row["name"]).strip(), dict(row["options"][1])["peer"]) for row in rows}


@pytest.mark.ovs
def test_a_patch_port_leads_to_each_mapped_bridge_of_which_nothing_else_changes(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    host.sh("ovs-vsctl add-br br-ex -- add-port br-ex eth9 -- set bridge br-ex fail_mode=standalone external_ids:a=b")
    host.sh("ovs-vsctl add-br br-b -- add-port br-b wb-mine")
    whole, own = host.rows("Bridge")["br-ex"], host.ports("br-ex")

    def others() -> Any:
        bridge = host.rows("Bridge")["br-ex"]
        return {column: value for column, value in bridge.items() if column not in ("ports", "_version")}

    async def scene(listener: OvsdbListener, watcher: Watcher) -> None:
        host.join(listener.port, "hv1", "192.0.2.11", *MAPPED.split())
        await eventually(lambda: len(patches(host)) == 2)
        assert patches(host) == {
            "wp-physnet1": ("br-int", "wb-physnet1"),
            "wb-physnet1": ("br-ex", "wp-physnet1"),
        }
        assert watcher.last.bridge_mappings == (("physnet1", "br-ex"),)
        assert others() == {column: value for column, value in whole.items() if column not in ("ports", "_version")}
        assert host.ports("br-ex") == [*own, "wb-physnet1"]
        assert amendments(caplog) == 1

        more = f"physnet1:br-ex,{A_LONG_NAME}:br-b"
        host.ctl("set", "Open_vSwitch", ".", f"external_ids:weft-bridge-mappings={more}")
        await eventually(lambda: len(patches(host)) == 4)
        assert {name for name, (bridge, _) in patches(host).items() if bridge == "br-b"} == {"wb-phy-1d8766f4"}
        assert all(len(name) <= 15 for name in patches(host))

        host.ctl("set", "Open_vSwitch", ".", "external_ids:weft-bridge-mappings=physnet1:br-b")
        await eventually(lambda: patches(host).get("wb-physnet1") == ("br-b", "wp-physnet1"))
        await eventually(lambda: len(patches(host)) == 2)
        host.ctl("remove", "Open_vSwitch", ".", "external_ids", "weft-bridge-mappings")
        await eventually(lambda: patches(host) == {})
        assert (host.ports("br-ex"), host.ports("br-b")) == (own, ["wb-mine"])
        assert listener.sessions["hv1"].trouble == ""

    play(scene)


@pytest.mark.ovs
@pytest.mark.parametrize(
    "damage",
    [
        "del-port br-int wp-physnet1",
        "del-port br-ex wb-physnet1",
        "del-port wp-physnet1 -- del-port wb-physnet1",
        "set Interface wb-physnet1 options:peer=nobody",
        "set Interface wp-physnet1 type=internal",
        "del-port wb-physnet1 -- add-port br-b wb-physnet1 -- set Port wb-physnet1 external_ids:owner=weft",
        "del-br br-int",
        "del-br br-ex -- add-br br-ex",
    ],
)
def test_patch_ports_that_somebody_harms_are_healed_within_5_s(host: Host, damage: str) -> None:
    async def scene(listener: OvsdbListener, watcher: Watcher) -> None:
        host.sh("ovs-vsctl add-br br-ex -- add-br br-b")
        host.join(listener.port, "hv1", "192.0.2.11", *MAPPED.split())
        await eventually(lambda: len(patches(host)) == 2)
        before = patches(host)
        host.sh(f"ovs-vsctl {damage}")
        await eventually(lambda: patches(host) == before, within_s=5)

    play(scene)


@pytest.mark.ovs
def test_a_mapped_bridge_that_is_not_there_is_told_and_keeps_nothing_else_from_being_made(host: Host) -> None:
    async def scene(listener: OvsdbListener, watcher: Watcher) -> None:
        host.join(listener.port, "hv1", "192.0.2.11", *MAPPED.split())
        await eventually(lambda: settled(listener, watcher, host))
        assert watcher.last.lacks.startswith("weft-bridge-mappings maps physnet1 to br-ex, which is no bridge: run `")
        assert (watcher.last.bridge_mappings, patches(host)) == ((), {})
        host.sh("ovs-vsctl add-br br-ex")
        await eventually(lambda: len(patches(host)) == 2)
        assert (watcher.last.lacks, watcher.last.bridge_mappings) == ("", (("physnet1", "br-ex"),))
        host.sh("ovs-vsctl del-br br-ex")
        await eventually(lambda: watcher.last.lacks != "")
        await eventually(lambda: patches(host) == {})

    play(scene)


@pytest.mark.ovs
def test_a_guest_plugged_in_does_not_change_the_id_of_its_switch(host: Host) -> None:
    async def scene(listener: OvsdbListener, watcher: Watcher) -> None:
        await asyncio.to_thread(host.start_switch)
        host.sh("ovs-vsctl add-br br-int -- set Bridge br-int datapath_type=netdev")
        await eventually(lambda: host.get("Bridge", "br-int", "datapath_id"))
        chosen = host.get("Bridge", "br-int", "datapath_id")
        host.join(listener.port)
        await eventually(lambda: host.get("Bridge", "br-int", "other_config").get("datapath-id") == chosen)
        host.sh("ovs-vsctl add-port br-int tap0 -- set Port tap0 mac='\"00:11:22:33:44:55\"'")
        await eventually(lambda: host.get("Interface", "tap0", "ofport") > 0)
        host.sh("ovs-vsctl add-port br-int tap1 -- set Interface tap1 external_ids:iface-id=port-1")
        await eventually(lambda: watcher.last.claims)
        assert host.get("Bridge", "br-int", "datapath_id") == chosen == f"{watcher.last.datapath_id:016x}"

    play(scene)


@pytest.mark.ovs
def test_a_refused_transaction_is_shown_logged_once_and_tried_again(
    hosts: Callable[[], Host], caplog: pytest.LogCaptureFixture
) -> None:
    async def scene(listener: OvsdbListener, watcher: Watcher) -> None:
        blocked, other = hosts(), hosts()
        blocked.ctl("add-br", "br-ex", "--", "add-port", "br-ex", "weft-vxlan")
        blocked.join(listener.port, "hv1")
        await eventually(lambda: "constraint violation" in listener.sessions["hv1"].trouble)
        other.join(listener.port, "hv2", "192.0.2.12")
        await eventually(lambda: settled(listener, watcher, other, "hv2"))
        for number in range(5):
            blocked.ctl("set", "Open_vSwitch", ".", f"external_ids:other={number}")
            await asyncio.sleep(0.2)
        assert "br-int" not in blocked.rows("Bridge")
        blocked.ctl("del-port", "br-ex", "weft-vxlan")
        await eventually(lambda: settled(listener, watcher, blocked), within_s=6)

    play(scene)
    troubles = [record.message for record in caplog.records if "in trouble" in record.message]
    assert len(troubles) == 1
    assert "chassis=hv1" in troubles[0]
    assert "\n" not in troubles[0]


@pytest.mark.ovs
def test_a_tunnel_that_open_vswitch_cannot_make_is_trouble(host: Host) -> None:
    async def scene(listener: OvsdbListener, watcher: Watcher) -> None:
        host.join(listener.port)
        await eventually(lambda: settled(listener, watcher, host))
        host.ctl("set", "Interface", "weft-vxlan", 'error="could not add network device (File exists)"')
        await eventually(lambda: listener.sessions["hv1"].trouble)
        assert listener.sessions["hv1"].trouble == "weft-vxlan: could not add network device (File exists)."
        host.ctl("clear", "Interface", "weft-vxlan", "error")
        await eventually(lambda: not listener.sessions["hv1"].trouble)

    play(scene)


@pytest.mark.ovs
def test_software_that_keeps_undoing_our_settings_is_trouble_and_costs_little(
    host: Host, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(ovsdb._Pace, "LONGEST_S", 0.8)
    monkeypatch.setattr(ovsdb._Pace, "QUIET_S", 2.0)

    async def scene(listener: OvsdbListener, watcher: Watcher) -> None:
        host.join(listener.port)
        await eventually(lambda: settled(listener, watcher, host))
        began = time.monotonic()

        def told() -> bool:
            return "keeps undoing what Weft sets on br-int" in listener.sessions["hv1"].trouble

        while time.monotonic() < began + 4 or not told():
            assert time.monotonic() < began + 15
            await asyncio.to_thread(host.ctl, "set-fail-mode", "br-int", "standalone")
            await asyncio.sleep(0.02)
        await eventually(lambda: settled(listener, watcher, host))

    play(scene)
    assert amendments(caplog) < 15
    assert sum("in trouble" in record.message for record in caplog.records) == 1
