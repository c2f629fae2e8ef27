"""Real databases join, say who they are and whose guests they have, go and come back."""

from __future__ import annotations

import asyncio
import itertools
import logging
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable

import pytest

from controller.errors import Unavailable
from controller.model.bindings import Claim
from controller.southbound.ovsdb import OvsdbListener
from tests.controller.southbound.hypervisors import (
    JOIN,
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


def claimed(watcher: Watcher) -> set[tuple[str, str]]:
    """The ports that are claimed, with the MACs that go with the claims."""
    return {(claim.port_id, claim.attached_mac) for claim in watcher.last.claims}


@pytest.mark.ovs
def test_a_hypervisor_joins_with_one_command(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def scene(listener: OvsdbListener, watcher: Watcher) -> None:
        await asyncio.to_thread(host.start_switch)
        host.join(
            listener.port, "hv1", "192.0.2.11", "external_ids:weft-datapath-type=netdev", "external_ids:hostname=n1"
        )
        await eventually(lambda: watcher.last.datapath_id)
        await eventually(lambda: host.get("Interface", "weft-geneve", "ofport") > 0)
        assert (watcher.last.system_id, watcher.last.hostname, watcher.last.problem) == ("hv1", "n1", "")
        session = listener.sessions["hv1"]
        assert (session.trouble, session.system_id) == ("", "hv1")
        assert session.address.startswith("127.0.0.1:")
        assert session.since <= time.time()

    watcher = play(scene)
    assert f"{watcher.last.datapath_id:016x}" == host.get("Bridge", "br-int", "datapath_id")
    assert host.get("Bridge", "br-int", "datapath_type") == "netdev"
    assert host.get("Bridge", "br-int", "fail_mode") == "secure"
    assert host.get("Bridge", "br-int", "other_config")["disable-in-band"] == "true"
    assert host.get("Bridge", "br-int", "protocols") == []
    assert interface(host, "weft-vxlan") == tunnel("vxlan")
    assert interface(host, "weft-geneve") == tunnel("geneve")
    [(target, row)] = host.rows("Controller").items()
    assert (target, row["inactivity_probe"], row["max_backoff"]) == (TARGET, 5000, 1000)
    assert row["connection_mode"] == "out-of-band"
    assert amendments(caplog) == 1


@pytest.mark.ovs
def test_nothing_is_written_when_everything_is_right(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def join(listener: OvsdbListener, watcher: Watcher) -> None:
        host.join(listener.port)
        await eventually(lambda: settled(listener, watcher, host))

    async def change_something_else(listener: OvsdbListener, watcher: Watcher) -> None:
        host.join(listener.port)
        await eventually(lambda: settled(listener, watcher, host))
        host.ctl("add-br", "br-ex", "--", "set", "Open_vSwitch", ".", "external_ids:hostname=n2")
        await eventually(lambda: watcher.last.hostname == "n2")

    play(join)
    written = (host.directory / "conf.db").stat().st_size
    play(join)
    play(change_something_else)
    assert amendments(caplog) == 1
    comment = subprocess.run(
        ["ovsdb-tool", "-m", "show-log", host.directory / "conf.db"], capture_output=True, text=True, check=True
    ).stdout
    assert comment.count("weft: br-int as hv1 needs it") == 1
    assert written


@pytest.mark.ovs
@pytest.mark.parametrize(
    ("key", "value"), [("weft-encap-ip", "192.0.2.11"), ("weft-encap-type", "geneve,vxlan")], ids=["ip", "type"]
)
def test_a_missing_key_is_mended_by_the_command_in_the_sentence(host: Host, key: str, value: str) -> None:
    async def scene(listener: OvsdbListener, watcher: Watcher) -> None:
        host.sh("ovs-vsctl set Open_vSwitch . " + JOIN.format(name="hv1", ip="192.0.2.11"))
        host.ctl(
            "remove", "Open_vSwitch", ".", "external_ids", key, "--", "set-manager", f"tcp:127.0.0.1:{listener.port}"
        )
        await eventually(lambda: f"external_ids:{key} is not set" in watcher.last.problem)
        assert host.rows("Bridge") == {}
        command = re.search("`(.*)`", watcher.last.problem)
        assert command
        host.sh(command[1].replace("ITS-UNDERLAY-ADDRESS", value))
        await eventually(lambda: settled(listener, watcher, host))

    play(scene)


@pytest.mark.ovs
def test_a_senseless_key_leaves_an_existing_bridge_as_it_is(host: Host) -> None:
    async def scene(listener: OvsdbListener, watcher: Watcher) -> None:
        host.ctl("add-br", "br-int", "--", "set-controller", "br-int", "tcp:192.0.2.1:6653")
        before = host.rows("Bridge"), host.rows("Controller")
        host.join(listener.port, "hv1", "192.0.2.11", "external_ids:weft-datapath-type=kernel")
        await eventually(lambda: "'kernel'" in watcher.last.problem)
        assert (host.rows("Bridge"), host.rows("Controller")) == before
        host.ctl("remove", "Open_vSwitch", ".", "external_ids", "weft-datapath-type")
        await eventually(lambda: settled(listener, watcher, host))

    play(scene)


@pytest.mark.ovs
def test_a_hypervisor_without_a_name_is_shown_and_joins_when_it_gets_one(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    async def scene(listener: OvsdbListener, watcher: Watcher) -> None:
        host.ctl("set-manager", f"tcp:127.0.0.1:{listener.port}")
        await eventually(lambda: listener.unidentified)
        [unidentified] = listener.unidentified
        assert unidentified.address.startswith("127.0.0.1:")
        command = re.search("`(.*)`", unidentified.reason)
        assert command
        assert not listener.sessions
        host.sh(command[1].replace("NAME", "hv7"))
        await eventually(lambda: "weft-encap-ip" in watcher.last.problem)
        assert (listener.unidentified, list(listener.sessions)) == ((), ["hv7"])

    play(scene)
    [line] = [record.message for record in caplog.records if "unidentified" in record.message]
    assert "address=127.0.0.1:" in line
    assert "run `ovs-vsctl set Open_vSwitch . external_ids:system-id=NAME`" in line


@pytest.mark.ovs
def test_a_hypervisor_that_changes_its_name_comes_back_as_another_one(host: Host) -> None:
    async def scene(listener: OvsdbListener, watcher: Watcher) -> None:
        host.join(listener.port)
        await eventually(lambda: settled(listener, watcher, host))
        host.ctl("set", "Open_vSwitch", ".", "external_ids:system-id=hv2")
        await eventually(lambda: list(listener.sessions) == ["hv2"] and watcher.last.system_id == "hv2")
        host.ctl("remove", "Open_vSwitch", ".", "external_ids", "system-id")
        await eventually(lambda: listener.unidentified and not listener.sessions)

    watcher = play(scene)
    heard = [event for event, _ in itertools.groupby(watcher.heard)]
    assert heard == ["observed hv1", "lost hv1", "observed hv2", "lost hv2"]


@pytest.mark.ovs
def test_an_interface_claims_its_port_whether_it_is_plugged_before_or_after_joining(host: Host) -> None:
    async def scene(listener: OvsdbListener, watcher: Watcher) -> None:
        host.sh("ovs-vsctl add-br br-int -- add-port br-int tap1 -- set Interface tap1 external_ids:iface-id=port-1")
        host.join(listener.port)
        (row,) = host.ctl("get", "Interface", "tap1", "_uuid").split()
        await eventually(lambda: watcher.last.claims == (Claim("tap1", "port-1", row=row),))
        host.sh(
            "ovs-vsctl add-port br-int tap2 -- set Interface tap2 external_ids:iface-id=port-2"
            " external_ids:attached-mac='\"fa:16:3e:00:00:02\"'"
        )
        await eventually(lambda: ("port-2", "fa:16:3e:00:00:02") in claimed(watcher))
        host.ctl("set", "Interface", "tap1", "external_ids:iface-id=port-3")
        await eventually(lambda: Claim("tap1", "port-3", row=row) in watcher.last.claims)
        host.ctl("del-port", "br-int", "tap1")
        await eventually(lambda: [claim.interface for claim in watcher.last.claims] == ["tap2"])
        host.ctl("remove", "Interface", "tap2", "external_ids", "iface-id")
        await eventually(lambda: watcher.last.claims == ())

    play(scene)


@pytest.mark.ovs
def test_many_rows_that_change_at_once_are_one_observation(host: Host) -> None:
    async def scene(listener: OvsdbListener, watcher: Watcher) -> None:
        host.join(listener.port)
        await eventually(lambda: settled(listener, watcher, host))
        before = len(watcher.seen)
        plugs = [
            f"-- add-port br-int tap{n} -- set Interface tap{n} external_ids:iface-id=port-{n}" for n in range(100)
        ]
        host.sh("ovs-vsctl " + " ".join(plugs))
        await eventually(lambda: len(watcher.last.claims) == 100)
        assert len(watcher.seen) == before + 1

    play(scene)


@pytest.mark.ovs
def test_what_a_hypervisor_says_twice_is_observed_once(host: Host) -> None:
    async def scene(listener: OvsdbListener, watcher: Watcher) -> None:
        host.join(listener.port)
        await eventually(lambda: settled(listener, watcher, host))
        host.ctl("set", "Open_vSwitch", ".", "external_ids:site=north")
        host.ctl("add-br", "br-ex")
        host.ctl("set", "Open_vSwitch", ".", "external_ids:hostname=n1")
        await eventually(lambda: watcher.last.hostname == "n1")

    watcher = play(scene)
    assert len(watcher.seen) == len({repr(seen) for seen in watcher.seen})


@pytest.mark.ovs
def test_the_switch_looks_for_its_controller_where_the_database_found_it(host: Host) -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.settimeout(10)
            listener = OvsdbListener(Watcher(), server.getsockname()[1])
            serving = asyncio.create_task(listener.serve("127.0.0.1", 0))
            await listener.listening.wait()
            await asyncio.to_thread(host.start_switch)
            host.join(listener.port)
            called, _ = await asyncio.to_thread(server.accept)
            called.close()
            serving.cancel()

    asyncio.run(main())


@pytest.mark.ovs
def test_a_stop_of_the_controller_leaves_everything_in_place_and_is_no_loss(host: Host) -> None:
    async def scene(listener: OvsdbListener, watcher: Watcher) -> None:
        host.join(listener.port)
        await eventually(lambda: settled(listener, watcher, host))

    watcher = play(scene)
    assert list(host.rows("Controller")) == [TARGET]
    assert host.ports("br-int") == ["weft-geneve", "weft-vxlan"]
    assert set(watcher.heard) == {"observed hv1"}


@pytest.mark.ovs
def test_a_hypervisor_that_goes_is_lost_and_comes_back_with_all_it_says(host: Host) -> None:
    async def scene(listener: OvsdbListener, watcher: Watcher) -> None:
        host.join(listener.port)
        await eventually(lambda: settled(listener, watcher, host))
        host.crash()
        await eventually(lambda: watcher.heard[-1] == "lost hv1")
        assert not listener.sessions
        seen = watcher.last
        host.start()
        await eventually(lambda: watcher.heard[-1] == "observed hv1")
        assert watcher.last == seen

    play(scene)


@pytest.mark.ovs
def test_of_two_hypervisors_with_one_name_the_second_is_refused_and_shown(
    hosts: Callable[[], Host], caplog: pytest.LogCaptureFixture
) -> None:
    async def scene(listener: OvsdbListener, watcher: Watcher) -> None:
        first, second = hosts(), hosts()
        first.join(listener.port)
        await eventually(lambda: settled(listener, watcher, first))
        second.join(listener.port, "hv1", "192.0.2.12")
        await eventually(lambda: listener.refused and listener.refused[0].last - listener.refused[0].since > 0.5)
        [refused] = listener.refused
        assert (refused.address, refused.system_id) == ("127.0.0.1", "hv1")
        assert "br-int" not in second.rows("Bridge")
        assert watcher.last.encap_ip == "192.0.2.11"
        assert set(watcher.heard) == {"observed hv1"}
        second.ctl("set", "Open_vSwitch", ".", "external_ids:system-id=hv2")
        await eventually(lambda: settled(listener, watcher, second, "hv2"), within_s=30)
        assert sorted(listener.sessions) == ["hv1", "hv2"]

    play(scene)
    assert sum("hypervisor refused" in record.message for record in caplog.records) == 1


@pytest.mark.ovs
def test_a_dead_connection_does_not_keep_a_hypervisor_out(hosts: Callable[[], Host]) -> None:
    async def scene(listener: OvsdbListener, watcher: Watcher) -> None:
        first, second = hosts(), hosts()
        first.join(listener.port)
        await eventually(lambda: settled(listener, watcher, first))
        first.signal(signal.SIGSTOP)
        second.join(listener.port, "hv1", "192.0.2.12")
        await eventually(lambda: watcher.last.encap_ip == "192.0.2.12", within_s=6)
        events = [event for event, _ in itertools.groupby(watcher.heard)]
        assert events == ["observed hv1", "lost hv1", "observed hv1"]
        first.signal(signal.SIGCONT)
        await eventually(lambda: listener.refused)
        assert watcher.last.encap_ip == "192.0.2.12"

    play(scene)


@pytest.mark.ovs
def test_a_hypervisor_that_cannot_be_recorded_is_recorded_later(host: Host) -> None:
    async def scene(listener: OvsdbListener, watcher: Watcher) -> None:
        watcher.failures = [Unavailable("disk full")]
        host.join(listener.port)
        await eventually(lambda: "disk full" in listener.sessions["hv1"].trouble)
        assert host.rows("Bridge") == {}
        await eventually(lambda: settled(listener, watcher, host))

    play(scene)


@pytest.mark.ovs
def test_a_fault_of_our_own_is_logged_and_the_hypervisor_tries_again(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    async def scene(listener: OvsdbListener, watcher: Watcher) -> None:
        watcher.failures = [ZeroDivisionError("a bug")]
        host.join(listener.port)
        await eventually(lambda: settled(listener, watcher, host))

    play(scene)
    [record] = [record for record in caplog.records if record.exc_info]
    assert "ovsdb connection failed" in record.message
