"""What Open vSwitch tells of a trace is read rightly, and compared with all that was foretold."""

from __future__ import annotations

from tests.controller.flows.test_trace_ovs import frames  # noqa: F401

MEASURED = """\
Flow: udp,in_port=5,vlan_tci=0x0000,dl_src=02:00:00:00:00:10,dl_dst=02:00:00:00:00:11,nw_src=10.0.0.10,nw_dst=10.0.0.11

bridge("br-int")
----------------
    resubmit(,31)
31. reg0=0x20/0x20, priority 110, cookie 0xa70a5b91baaf4868
    check_pkt_larger(1414)->NXM_NX_REG0[21]
    goto_table:32
    32. reg0=0x200000/0x200000, priority 100, cookie 0xa70abf9135d44da7
            set_field:0x28->reg8
            goto_table:60
        60. reg8=0x28, priority 100, cookie 0xa70a1030e6f5d5dd
            CONTROLLER:1294
    goto_table:32
32. priority 0, cookie 0xa70aded6722473c8
    group:7
     -> using bucket 0
        bucket 0
                resubmit(,53)
            53. reg0=0x1/0x7, priority 100, cookie 0xa703cb11bd531161
                    output:2
                     -> output to native tunnel

                bridge("br-phy")
                ----------------
                     0. priority 0
                            NORMAL
     -> using bucket 1
        bucket 1
                resubmit(,50)
            50. No match.
                    drop

Final flow: unchanged
Megaflow: recirc_id=0,eth,ip,in_port=5,nw_frag=no
Datapath actions: check_pkt_len(size=1414,gt(userspace(pid=0,controller(reason=1,max_len=1294))),le(2,ct(zone=3)))
"""
