"""Flows and groups as bytes: by the specification's own drawings, and as os-ken, which knows nothing of us, reads them."""

from __future__ import annotations

import re
import struct
import typing
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from os_ken.lib import type_desc
from os_ken.ofproto import ofproto_parser, ofproto_protocol, ofproto_v1_4, oxm_fields

from controller.errors import Malformed, Oversized, Undeclared
from controller.flows import fields as f
from controller.flows import pipeline as p
from controller.flows.action import (
    Action,
    Apart,
    Bounce,
    Commit,
    Conjunction,
    DecrementTtl,
    Goto,
    Measure,
    Move,
    Output,
    PopVlan,
    Punt,
    PushVlan,
    Resubmit,
    Table,
    ToGroup,
    Track,
    Translate,
    Turn,
    Untrack,
    goto,
)
from controller.flows.flow import Bucket, Flow, Group
from controller.flows.match import ANY, Field, Match, Set, matching
from controller.model.records import Address, Mac
from controller.southbound import actions, messages, openflow, oxm
from controller.southbound.openflow import EncodedFlow, EncodedGroup, encode_flow, encode_group
from controller.southbound.oxm import encode_match
from tests.controller.southbound import strategies


class Ericsson(oxm_fields._OxmClass):  # type: ignore[misc]
    """ERICOXM_OF_*, an OXM class of its own (Open vSwitch's meta-flow.h), which os-ken 4.2.2 does not know."""

    _class = 0x1000


ofproto_v1_4.oxm_types += [
    Ericsson("nd_reserved", 1, type_desc.Int4),
    Ericsson("nd_options_type", 2, type_desc.Int1),
    # NXM_NX_CT_* of the tuple that began a connection (meta-flow.h), which os-ken 4.2.2 does not know either.
    oxm_fields.NiciraExtended1("ct_nw_proto", 119, type_desc.Int1),
    oxm_fields.NiciraExtended1("ct_nw_src", 120, type_desc.IPv4Addr),
    oxm_fields.NiciraExtended1("ct_nw_dst", 121, type_desc.IPv4Addr),
    oxm_fields.NiciraExtended1("ct_ipv6_src", 122, type_desc.IPv6Addr),
    oxm_fields.NiciraExtended1("ct_ipv6_dst", 123, type_desc.IPv6Addr),
    oxm_fields.NiciraExtended1("ct_tp_src", 124, type_desc.Int2),
    oxm_fields.NiciraExtended1("ct_tp_dst", 125, type_desc.Int2),
]
oxm_fields.generate(ofproto_v1_4.__name__)
OSKEN = ofproto_protocol.ProtocolDesc(messages.VERSION)
APP = 2


def laid_out(drawing: str) -> bytes:
    """The bytes of a drawing: hexadecimal, a comment after each `|`."""
    return bytes.fromhex("".join(line.partition("|")[0] for line in drawing.splitlines()))


# ---- golden bytes ---------------------------------------------------------------------------------------------


def test_a_guest_is_classified_by_its_port() -> None:
    flow = Flow(p.CLASSIFY, "guest", f.IN_PORT(3) & f.UNTAGGED, (p.SRC.set(5), p.ENCAP.set(2), goto(p.PORT_SECURITY)))
    assert openflow.flow_add(7, encode_flow(flow, APP)) == laid_out("""
        05 0e 0080 00000007                     | OpenFlow 1.4, OFPT_FLOW_MOD, 128 bytes, xid
        a7 02 db983b4af7c9                      | cookie: owner, app, BLAKE2b
        0000000000000000                        | cookie mask: not used when adding
        00 00 0000 0000 0064                    | table, OFPFC_ADD, idle and hard time-out, priority
        ffffffff ffffffff ffffffff              | OFP_NO_BUFFER, OFPP_ANY, OFPG_ANY
        0000 0000                               | flags, importance
        0001 0012                               | OFPMT_OXM, 18 bytes without padding
          8000 00 04 00000003                   |   in_port
          8000 0c 02 0000                       |   vlan_vid, no mask: 0 is OFPVID_NONE
          000000000000                          |   padding
        0004 0030 00000000                      | OFPIT_APPLY_ACTIONS, 48 bytes
          0019 0010 0001 02 04 00000005 00000000  | OFPAT_SET_FIELD: NXM_NX_REG1, padding
          ffff 0018 00002320 0007               |   NXAST_REG_LOAD
            0602 0001 00 04 0000000000000002    |     3 bits from bit 24 of NXM_NX_REG0, value
        0001 0008 04 000000                     | OFPIT_GOTO_TABLE 4
    """)


def test_a_request_becomes_a_reply() -> None:
    copies = Move(f.ETH_SRC, f.ETH_DST), f.ARP_OP.set(2), Move(p.NH4, f.ARP_SPA)
    flow = Flow(p.NEIGH_REPLY, "arp_reply", p.NEIGH_HIT(1) & f.ARP_REQUEST, (*copies, Bounce()))
    encoded = encode_flow(flow, APP)
    assert encoded.match == laid_out("""
        0001 001c                               | OFPMT_OXM, 28 bytes without padding
          8000 0a 02 0806                       |   eth_type, before the fields that require it
          8000 2a 02 0001                       |   arp_op
          0001 01 08 00000020 00000020          |   NXM_NX_REG0 with a mask: bit 5
          00000000                              |   padding
    """)
    assert encoded.instructions == laid_out("""
        0004 0058 00000000                      | OFPIT_APPLY_ACTIONS, 88 bytes
          ffff 0018 00002320 0006 0030 0000 0000  | NXAST_REG_MOVE: 48 bits from bit 0 to bit 0
            0000 04 06 0000 02 06               |     NXM_OF_ETH_SRC to NXM_OF_ETH_DST
          0019 0010 8000 2a 02 0002 000000000000  | OFPAT_SET_FIELD: arp_op, padding
          ffff 0018 00002320 0006 0020 0000 0000  | NXAST_REG_MOVE: 32 bits
            0001 08 04 0000 20 04               |     NXM_NX_REG4 to NXM_OF_ARP_SPA
          0000 0010 fffffff8 0000 000000000000  |   OFPAT_OUTPUT: OFPP_IN_PORT, no bytes to the controller, padding
    """)


def test_broadcast_goes_to_a_group() -> None:
    flow = Flow(p.L2_BUM, "flood", p.NET(7) & p.FROM_TUN(0), (ToGroup(p.FLOOD.id(7), p.FLOOD),))
    encoded = encode_flow(flow, APP)
    assert encoded.match == laid_out("""
        0001 0018                               | OFPMT_OXM, 24 bytes: no padding
          0001 01 08 00000000 00000001          |   NXM_NX_REG0 before NXM_NX_REG6, whatever was written first
          0001 0c 04 00000007                   |   NXM_NX_REG6
    """)
    assert encoded.instructions == laid_out("""
        0004 0010 00000000                      | OFPIT_APPLY_ACTIONS, 16 bytes
          0016 0008 30000007                    |   OFPAT_GROUP
    """)


def test_a_flow_that_matches_and_does_nothing_is_a_bare_header() -> None:
    encoded = encode_flow(Flow(p.L2_DISPATCH, "one", ANY), APP)
    assert encoded.match == laid_out("0001 0004 00000000")
    assert encoded.instructions == b""


def test_shares_of_conjunctive_matches_count_from_0() -> None:
    flow = Flow(p.DELIVER, "port", p.DST(7), (Conjunction(5, 1, 2), Conjunction(6, 3, 3)))
    assert encode_flow(flow, APP).instructions == laid_out("""
        0004 0028 00000000                      | OFPIT_APPLY_ACTIONS, 40 bytes
          ffff 0010 00002320 0022 00 02 00000005  | NXAST_CONJUNCTION: dimension 0 of 2
          ffff 0010 00002320 0022 02 03 00000006  | NXAST_CONJUNCTION: dimension 2 of 3
    """)


def test_a_conjunctive_match_that_holds_in_all_dimensions_is_tested_by_its_id() -> None:
    flow = Flow(p.EVALUATE, "rule", p.POLICY(3) & f.CONJ_ID(7), (p.VERDICT.set(p.Verdict.ALLOWED), p.WHY.set(7)))
    encoded = encode_flow(flow, APP)
    assert encoded.match == laid_out("""
        0001 0014                               | OFPMT_OXM, 20 bytes without padding
          0001 4a 04 00000007                   |   NXM_NX_CONJ_ID, before all others
          0001 16 04 00000003                   |   NXM_NX_REG11
          00000000                              |   padding
    """)
    assert encoded.instructions == laid_out("""
        0004 0030 00000000                      | OFPIT_APPLY_ACTIONS, 48 bytes
          ffff 0018 00002320 0007               |   NXAST_REG_LOAD
            0201 0001 00 04 0000000000000001    |     2 bits from bit 8 of NXM_NX_REG0, value
          0019 0010 0001 10 04 00000007 00000000  | OFPAT_SET_FIELD: NXM_NX_REG8
    """)


def test_a_connection_is_looked_up_in_the_zone_of_a_register() -> None:
    flow = Flow(p.OUT_TRACK, "guard", p.GUARD(p.Guard.STATEFUL) & f.IPV4, (Track(p.ZONE, p.OUT_RULES),))
    assert encode_flow(flow, APP).instructions == laid_out("""
        0004 0020 00000000                      | OFPIT_APPLY_ACTIONS, 32 bytes
          ffff 0018 00002320 0023               |   NXAST_CT: 24 bytes
            0000 0001 06 04 000f                |     no flags; zone: NXM_NX_REG3, 16 bits from bit 0
            0d 000000 0000                      |     recirculates to table 13, padding, no alg
    """)


def test_flags_of_tcp_are_a_field_of_an_experimenter() -> None:
    match = f.ct_state("+trk+inv") & f.TCP_FLAGS(f.SYN, f.SYN_ACK)
    encoded = encode_flow(Flow(p.OUT_RULES, "doubted", match, ()), APP).match
    assert encoded == laid_out("""
        0001 0027                               | OFPMT_OXM, 39 bytes without padding
          8000 0a 02 0800                       |   eth_type
          8000 14 01 06                         |   ip_proto
          ffff 55 08 4f4e4600 0002 0012         |   ONFOXM_ET_TCP_FLAGS with a mask: SYN without ACK
          0001 d3 08 00000030 00000030          |   NXM_NX_CT_STATE with a mask: inv and trk
          00                                    |   padding
    """)
    assert [*oxm.tests_text(encoded)][2] == "tcp_flags=0x0002/0x0012"


def test_a_connection_is_remembered_with_what_allowed_it() -> None:
    commit = Commit(p.ZONE, (Move(p.GEN, p.CT_GEN), p.CT_OPENER.set(5)), p.OUT_RULES)
    flow = Flow(p.OUT_DONE, "opened", f.ct_state("+trk+new") & f.IPV6, (commit,))
    encoded = encode_flow(flow, APP)
    assert encoded.match == laid_out("""
        0001 0016                               | OFPMT_OXM, 22 bytes without padding
          8000 0a 02 86dd                       |   eth_type
          0001 d3 08 00000021 00000021          |   NXM_NX_CT_STATE with a mask: new and trk
          0000                                  |   padding
    """)
    assert encoded.instructions == laid_out("""
        0004 0050 00000000                      | OFPIT_APPLY_ACTIONS, 80 bytes
          ffff 0048 00002320 0023               |   NXAST_CT: 72 bytes, with the actions in it
            0001 0001 06 04 000f                |     NX_CT_F_COMMIT; zone: NXM_NX_REG3, 16 bits from bit 0
            0d 000000 0000                      |     recirculates to table 13, padding, no alg
            ffff 0018 00002320 0006             |     NXAST_REG_MOVE
              001c 0000 0000                    |       28 bits from bit 0 to bit 0
              0001 0a 04 0001 d6 04             |       NXM_NX_REG5 to NXM_NX_CT_MARK
            ffff 0018 00002320 0007             |     NXAST_REG_LOAD
              101f 0001 d8 10 0000000000000005  |       32 bits from bit 64 of NXM_NX_CT_LABEL, value
    """)


def test_a_copy_goes_its_own_way() -> None:
    flow = Flow(p.IN_TRACK, "guard", f.IPV4, (Apart((Track(p.ZONE, p.IN_RULES),)),))
    assert encode_flow(flow, APP).instructions == laid_out("""
        0004 0030 00000000                      | OFPIT_APPLY_ACTIONS, 48 bytes
          ffff 0028 00002320 002a 000000000000  |   NXAST_CLONE: 40 bytes, with the action in it
            ffff 0018 00002320 0023             |     NXAST_CT: 24 bytes
              0000 0001 06 04 000f              |       no flags; zone: NXM_NX_REG3, 16 bits from bit 0
              2d 000000 0000                    |       recirculates to table 45, padding, no alg
    """)


def test_what_conntrack_said_is_forgotten() -> None:
    flow = Flow(p.CLASSIFY, "tracked", f.ct_state("+trk"), (Untrack(), Resubmit(p.CLASSIFY)))
    assert encode_flow(flow, APP).instructions == laid_out("""
        0004 0028 00000000                      | OFPIT_APPLY_ACTIONS, 40 bytes
          ffff 0010 00002320 002b 000000000000  |   NXAST_CT_CLEAR, padding
          ffff 0010 00002320 000e fff8 00 000000  | NXAST_RESUBMIT_TABLE: same in_port, table 0
    """)


def test_a_packet_goes_one_hop_and_may_go_back_the_way_it_came() -> None:
    flow = Flow(p.L3_IN, "hop", p.RTR(3) & f.IPV6, (DecrementTtl(), Turn(), goto(p.L3_DNAT)))
    assert encode_flow(flow, APP).instructions == laid_out("""
        0004 0028 00000000                      | OFPIT_APPLY_ACTIONS, 40 bytes
          0018 0008 00000000                    |   OFPAT_DEC_NW_TTL, padding
          ffff 0018 00002320 0007               |   NXAST_REG_LOAD
            000f 0000 00 02 0000000000000000    |     16 bits from bit 0 of NXM_OF_IN_PORT, value
        0001 0008 19 000000                     | OFPIT_GOTO_TABLE 25
    """)


def test_a_packet_is_measured() -> None:
    flow = Flow(p.L3_OUT, "measured", p.NET(3), (Measure(1464, p.TOO_BIG), goto(p.L3_MTU)))
    assert encode_flow(flow, APP).instructions == laid_out("""
        0004 0020 00000000                      | OFPIT_APPLY_ACTIONS, 32 bytes
          ffff 0018 00002320 0031 05b8          |   NXAST_CHECK_PKT_LARGER: 1464 bytes
            0015 0001 00 04 000000000000        |     into bit 21 of NXM_NX_REG0, padding
        0001 0008 20 000000                     | OFPIT_GOTO_TABLE 32
    """)


def test_the_start_of_a_packet_goes_to_the_controller() -> None:
    flow = Flow(p.TRAP, "reason", p.WHY(p.Why.NO_ROUTE), (Punt(1294),))
    assert encode_flow(flow, APP).instructions == laid_out("""
        0004 0018 00000000                      | OFPIT_APPLY_ACTIONS, 24 bytes
          0000 0010 fffffffd 050e 000000000000  |   OFPAT_OUTPUT: OFPP_CONTROLLER, 1294 bytes, padding
    """)


def test_a_group_gives_every_bucket_a_copy() -> None:
    remote = Bucket((f.TUN_DST.set(Address("192.0.2.12")), Resubmit(p.TUN_OUT)))
    group = Group(p.FLOOD, 7, (Bucket((p.DST.set(11), Resubmit(p.IN_PORT))), remote))
    assert openflow.group_add(9, encode_group(group)) == laid_out("""
        05 0f 0070 00000009                     | OpenFlow 1.4, OFPT_GROUP_MOD, 112 bytes, xid
        0000 00 00 30000007                     | OFPGC_ADD, OFPGT_ALL, group id
        0030 0000 ffffffff ffffffff 00000000    | bucket: 48 bytes, weight 0, watches nothing
          0019 0010 0001 04 04 0000000b 00000000  | OFPAT_SET_FIELD: NXM_NX_REG2
          ffff 0010 00002320 000e fff8 2b 000000  | NXAST_RESUBMIT_TABLE: same in_port, table 43
        0030 0000 ffffffff ffffffff 00000000    | bucket
          0019 0010 0001 40 04 c000020c 00000000  | OFPAT_SET_FIELD: NXM_NX_TUN_IPV4_DST
          ffff 0010 00002320 000e fff8 34 000000  | NXAST_RESUBMIT_TABLE: table 52
    """)


def test_a_group_chooses_between_buckets_of_one_weight() -> None:
    group = Group(p.ECMP, 0x12, (Bucket((p.NET.set(3), Resubmit(p.L3_ECMP))), Bucket((Resubmit(p.L3_ECMP),))))
    assert str(group) == (
        "group_id=536870930,type=select,bucket=weight:1,actions=set_field:0x3->reg6,resubmit(,28),"
        "bucket=weight:1,actions=resubmit(,28)"
    )
    assert openflow.group_add(9, encode_group(group)) == laid_out("""
        05 0f 0060 00000009                     | OpenFlow 1.4, OFPT_GROUP_MOD, 96 bytes, xid
        0000 01 00 20000012                     | OFPGC_ADD, OFPGT_SELECT, group id
        0030 0001 ffffffff ffffffff 00000000    | bucket: 48 bytes, weight 1, watches nothing
          0019 0010 0001 0c 04 00000003 00000000  | OFPAT_SET_FIELD: NXM_NX_REG6
          ffff 0010 00002320 000e fff8 1c 000000  | NXAST_RESUBMIT_TABLE: same in_port, table 28
        0020 0001 ffffffff ffffffff 00000000    | bucket
          ffff 0010 00002320 000e fff8 1c 000000  | NXAST_RESUBMIT_TABLE: table 28
    """)


def test_a_group_fails_over_to_the_first_bucket_whose_port_is_alive() -> None:
    group = Group(p.GATE, 7, (Bucket((p.STANDBY.set(1), Resubmit(p.GATED)), 92), Bucket((Resubmit(p.GATED),), 1)))
    assert str(group) == (
        "group_id=1073741831,type=ff,bucket=watch_port:92,actions=load:0x1->NXM_NX_REG0[3],resubmit(,22),"
        "bucket=watch_port:1,actions=resubmit(,22)"
    )
    assert openflow.group_add(9, encode_group(group)) == laid_out("""
        05 0f 0068 00000009                     | OpenFlow 1.4, OFPT_GROUP_MOD, 104 bytes, xid
        0000 03 00 40000007                     | OFPGC_ADD, OFPGT_FF, group id
        0038 0000 0000005c ffffffff 00000000    | bucket: 56 bytes, weight 0, watches port 92
          ffff 0018 00002320 0007               |   NXAST_REG_LOAD
            00c0 0001 00 04 0000000000000001    |     1 bit from bit 3 of NXM_NX_REG0, value
          ffff 0010 00002320 000e fff8 16 000000  | NXAST_RESUBMIT_TABLE: same in_port, table 22
        0020 0000 00000001 ffffffff 00000000    | bucket: watches port 1
          ffff 0010 00002320 000e fff8 16 000000  | NXAST_RESUBMIT_TABLE: table 22
    """)


def test_a_source_is_translated_to_an_address_and_a_range_of_ports() -> None:
    how = Translate(p.ZONE, p.L3_SNATTED, source=Address("172.24.0.10"), ports=(1024, 65535))
    flow = Flow(p.L3_SNAT, "translate", f.IPV4, (how,))
    assert str(flow).endswith("actions=ct(commit,table=33,zone=NXM_NX_REG3[0..15],nat(src=172.24.0.10:1024-65535))")
    assert encode_flow(flow, APP).instructions == laid_out("""
        0004 0038 00000000                      | OFPIT_APPLY_ACTIONS, 56 bytes
          ffff 0030 00002320 0023 0001          |   NXAST_CT: NX_CT_F_COMMIT
            0001 06 04 000f 21 000000 0000      |     zone: 16 bits from bit 0 of NXM_NX_REG3; table 33; no helper
            ffff 0018 00002320 0024 0000        |     NXAST_NAT
              0001 0031                         |       NX_NAT_F_SRC; IPV4_MIN, PROTO_MIN, PROTO_MAX
              ac18000a 0400 ffff                |       172.24.0.10, 1024, 65535
    """)


def test_a_connection_that_is_known_is_translated_as_it_began() -> None:
    flow = Flow(p.L3_DNAT, "own_address", f.IPV4, (Translate(p.ZONE, p.L3_DNATTED),))
    assert str(flow).endswith("actions=ct(table=26,zone=NXM_NX_REG3[0..15],nat)")
    assert encode_flow(flow, APP).instructions == laid_out("""
        0004 0030 00000000                      | OFPIT_APPLY_ACTIONS, 48 bytes
          ffff 0028 00002320 0023 0000          |   NXAST_CT
            0001 06 04 000f 1a 000000 0000      |     zone: 16 bits from bit 0 of NXM_NX_REG3; table 26; no helper
            ffff 0010 00002320 0024 0000        |     NXAST_NAT
              0000 0000                         |       nothing of it given
    """)


def test_a_flow_is_removed_by_its_key_alone() -> None:
    match = encode_match(f.GROUP_BIT)
    assert openflow.flow_delete(3, 20, 100, match) == laid_out("""
        05 0e 0048 00000003                     | OpenFlow 1.4, OFPT_FLOW_MOD, 72 bytes, xid
        0000000000000000 0000000000000000       | any cookie
        14 04 0000 0000 0064                    | table, OFPFC_DELETE_STRICT, time-outs, priority
        ffffffff ffffffff ffffffff 0000 0000    | no buffer, any port, any group, no flags
        0001 0014                               | OFPMT_OXM, 20 bytes without padding
          8000 07 0c 010000000000 010000000000  |   eth_dst with a mask
          00000000                              |   padding
    """)


@pytest.mark.parametrize(
    ("message", "command"),
    [(openflow.group_add, "0000"), (openflow.group_modify, "0001"), (openflow.group_put, "8000")],
)
def test_a_group_is_written_by_one_of_three_commands(message: Any, command: str) -> None:
    assert message(1, EncodedGroup(0x30000001, 0, b"")) == laid_out(f"05 0f 0010 00000001 {command} 00 00 30000001")


def test_a_group_is_removed_by_its_id_alone() -> None:
    assert openflow.group_delete(1, 0x30000001) == laid_out("05 0f 0010 00000001 0002 00 00 30000001")


def test_dumps_ask_for_everything() -> None:
    assert openflow.flow_dump_request(4) == laid_out("""
        05 12 0038 00000004 0001 0000 00000000  | OFPT_MULTIPART_REQUEST, OFPMP_FLOW
        ff 000000 ffffffff ffffffff 00000000    | OFPTT_ALL, OFPP_ANY, OFPG_ANY
        0000000000000000 0000000000000000       | any cookie
        0001 0004 00000000                      | any match
    """)
    assert openflow.group_desc_request(5) == laid_out("05 12 0010 00000005 0007 0000 00000000")


# ---- fields ---------------------------------------------------------------------------------------------------


def test_parts_of_a_register_become_one_field() -> None:
    assert encode_match(p.ENCAP(2) & p.FROM_TUN(1)) == laid_out("0001 0010 0001 01 08 02000001 07000001")


def test_a_register_tested_in_all_its_parts_has_no_mask() -> None:
    low, high = (Field("part", "reg3", 32, int, hex, shift, 16) for shift in (0, 16))
    assert encode_match(low(1) & high(2)) == encode_match(Field("whole", "reg3", 32, int, hex)(0x00020001))


def test_a_test_of_no_bit_is_no_test() -> None:
    assert encode_match(p.NET(7, 0)) == encode_match(ANY)


def test_the_order_of_tests_is_not_the_writers() -> None:
    one, other = f.ETH_DST(Mac("02:00:00:00:00:01")), f.TUN_ID(7)
    assert encode_match(one & p.NET(3) & other) == encode_match(other & p.NET(3) & one)
    tests = (one & p.NET(3) & other).tests
    assert encode_match(matching(*tests[::-1])) == encode_match(matching(*tests))


@pytest.mark.parametrize(
    "match",
    [
        Field("label", "mpls_label", 32, int, str)(64),
        f.IN_PORT(4, 0xFF),
        f.ARP_OP(1, 1),
        f.ND_RESERVED(1, 1),
        f.VLAN_TCI(0xE000, 0xE000),
        f.VLAN_TCI(0),
    ],
    ids=str,
)
def test_a_test_that_openflow_has_no_form_for_is_refused(match: Match) -> None:
    with pytest.raises(Undeclared):
        encode_match(match)


TOO_WIDE = Field("wide", "reg9", 32, int, hex)
ODD: list[Action] = [
    Set(Field("label", "mpls_label", 32, int, str), 64),
    Set(f.IN_PORT, 1),
    Set(f.IPV6_PROTO, 58),
    Set(f.VLAN_TCI, 0),
    Set(TOO_WIDE, 1 << 32),
    Set(p.ENCAP, 1 << 64),
    Move(f.ETH_SRC, TOO_WIDE),
    Move(f.IN_PORT, TOO_WIDE),
    Output(1 << 32),
    Conjunction(1 << 32, 1, 2),
    ToGroup(-1, p.FLOOD),
]


@pytest.mark.parametrize("action", ODD, ids=str)
def test_an_action_that_openflow_has_no_form_for_is_refused(action: Action) -> None:
    anything = Table(
        200, "anything", "", {"all": 1}, sets=frozenset(a.field for a in ODD if isinstance(a, Set)) | {TOO_WIDE},
        groups=frozenset({p.FLOOD}), outputs=True,
    )  # fmt: skip
    with pytest.raises(Undeclared):
        encode_flow(Flow(anything, "all", ANY, (action,)), APP)


# ---- cookies --------------------------------------------------------------------------------------------------


def test_a_cookie_names_owner_and_app() -> None:
    cookie = encode_flow(Flow(p.L2_DISPATCH, "one", ANY, (goto(p.L2_LOOKUP),)), 5).cookie
    assert (cookie >> 56, cookie >> 48 & 0xFF) == (p.OWNER, 5)


def test_everything_that_a_flow_is_changes_its_hash() -> None:
    flows = [
        Flow(p.L2_DISPATCH, "one", ANY, (goto(p.L2_LOOKUP),)),
        Flow(p.L2_DISPATCH, "many", ANY, (goto(p.L2_LOOKUP),)),
        Flow(p.L2_DISPATCH, "one", f.GROUP_BIT, (goto(p.L2_LOOKUP),)),
        Flow(p.L2_DISPATCH, "one", ANY, (goto(p.L2_BUM),)),
        Flow(p.TUNNEL, "miss", ANY, (goto(p.DROP),)),
        Flow(p.DELIVER, "miss", ANY, (goto(p.DROP),)),
    ]
    assert len({encode_flow(flow, APP).cookie for flow in flows}) == len(flows)


@given(strategies.flows())
def test_a_flow_is_encoded_alike_whenever_and_by_whomever(flow: Flow) -> None:
    once, again = encode_flow(flow, APP), encode_flow(flow, APP)
    assert (again, encode_flow(flow, APP) is again) == (once, True), "what is asked for twice is remembered"
    object.__setattr__(flow, "memo", None)
    assert encode_flow(flow, APP) == once
    other = encode_flow(flow, APP + 1)
    assert (other.key, other.instructions) == (once.key, once.instructions)
    assert other.cookie ^ once.cookie == (APP ^ APP + 1) << 48


# ---- sizes ----------------------------------------------------------------------------------------------------


def flood(members: int) -> Group:
    """A group of `members` buckets as L2 population makes them."""
    return Group(p.FLOOD, 7, (Bucket((p.DST.set(11), Resubmit(p.IN_PORT))),) * members)


def test_1364_members_fit_into_a_flood_group() -> None:
    added = openflow.group_add(1, encode_group(flood(1364)))
    assert messages.header(messages.bundle_add(1, 1, added)).length <= messages.MAX_MESSAGE


def test_a_larger_flood_group_is_refused_by_name() -> None:
    with pytest.raises(Oversized, match="The group flood 0x30000007 has 1400 buckets") as refused:
        encode_group(flood(1400))
    assert refused.value.fit == 1364


def conjunctive(shares: int) -> Flow:
    """A member of `shares` conjunctive matches."""
    return Flow(p.DELIVER, "port", p.DST(7), tuple(Conjunction(id, 1, 2) for id in range(shares)))


def test_4090_shares_of_conjunctive_matches_fit_into_a_flow() -> None:
    added = openflow.flow_add(1, encode_flow(conjunctive(4090), APP))
    assert messages.header(messages.bundle_add(1, 1, added)).length <= messages.MAX_MESSAGE


def test_a_larger_flow_is_refused_by_name() -> None:
    with pytest.raises(Oversized, match="The flow table=50,priority=100,reg2=0x7 has 5000 actions") as refused:
        encode_flow(conjunctive(5000), APP)
    assert refused.value.fit == 4090


# ---- os-ken ---------------------------------------------------------------------------------------------------

OSKEN_NAMES = {
    "vlan_tci": "vlan_vid",
    "nw_src": "ipv4_src",
    "nw_dst": "ipv4_dst",
    "nw_proto": "ip_proto",
    "icmp_type": "icmpv4_type",
    "icmp_code": "icmpv4_code",
    "nd_target": "ipv6_nd_target",
    "nd_sll": "ipv6_nd_sll",
    "nd_tll": "ipv6_nd_tll",
    "tun_id": "tunnel_id",
    "tun_src": "tun_ipv4_src",
    "tun_dst": "tun_ipv4_dst",
}
OSKEN_NXM_NAMES = {
    name: name for name in ("nd_target", "nd_sll", "nd_tll")
}  # in register moves, where they differ from OXM's
QUARTERS = {"xxreg3": ("reg12", "reg13", "reg14", "reg15")}  # ovs-fields(7): the first holds the highest bits
WHOLE = {"vlan_tci": 0x1FFF, "ip_frag": 3}
"""All bits of fields that have fewer than their bytes."""


def osken_name(wire: str) -> str:
    return OSKEN_NAMES.get(wire, wire)


def osken_nxm_name(wire: str) -> str:
    return OSKEN_NXM_NAMES.get(wire) or osken_name(wire)


MAC = re.compile("[0-9a-f]{2}(:[0-9a-f]{2}){5}")


def number(value: int | str) -> int:
    """os-ken shows addresses as text."""
    if isinstance(value, int):
        return value
    if ":" not in value:
        return f.ipv4_number(Address(value))
    if MAC.fullmatch(value):
        return int(value.replace(":", ""), 16)
    return f.ipv6_number(Address(value))


def osken_match(match: Any) -> dict[str, tuple[int, int | None]]:
    """What os-ken read: value and mask."""
    return {
        name: (number(value[0]), number(value[1])) if isinstance(value, tuple) else (number(value), None)
        for name, value in match.items()
    }


def meant_match(match: Match) -> dict[str, tuple[int, int | None]]:
    meant = {}
    for wire, value, mask, width in match.whole():
        for part, value_, mask_, width_ in quartered(wire, value, mask, width):
            full = WHOLE.get(part, (1 << width_) - 1)
            meant[osken_name(part)] = value_, None if mask_ == full else mask_
    return meant


def quartered(wire: str, value: int, mask: int, width: int) -> Iterator[tuple[str, int, int, int]]:
    """A test of four registers as tests of those in which a bit is tested; any other test as it is."""
    if wire not in QUARTERS:
        yield wire, value, mask, width
        return
    words = [struct.unpack("!4I", number.to_bytes(16)) for number in (value, mask)]
    for register, word, bits in zip(QUARTERS[wire], *words, strict=True):
        if bits:
            yield register, word, bits, 32


def osken_action(action: Any) -> tuple[object, ...]:
    match type(action).__name__:
        case "OFPActionSetField":
            return "set", action.key, number(action.value)
        case "NXActionRegLoad":
            return "load", action.dst, action.ofs_nbits >> 6, (action.ofs_nbits & 63) + 1, action.value
        case "NXActionRegMove":
            ends = action.src_field.removesuffix("_nxm"), action.dst_field.removesuffix("_nxm")
            return "move", action.n_bits, action.src_ofs, action.dst_ofs, *ends
        case "OFPActionOutput":
            return "output", action.port, action.max_len
        case "OFPActionGroup":
            return "group", action.group_id
        case "NXActionResubmitTable":
            return "resubmit", action.in_port, action.table_id
        case "NXActionConjunction":
            return "conjunction", action.id, action.clause, action.n_clauses
        case "NXActionCT":
            zone = action.zone_src.removesuffix("_nxm"), action.zone_ofs_nbits >> 6, (action.zone_ofs_nbits & 63) + 1
            return "ct", action.flags, *zone, action.recirc_table, action.alg, [*map(osken_action, action.actions)]
        case "NXActionCTClear":
            return ("forget",)
        case "NXActionNAT":
            first, last = action.range_proto_min, action.range_proto_max
            return "nat", action.flags, action.range_ipv4_min, first, last
        case "NXActionUnknown" if action.subtype == 49:  # NXAST_CHECK_PKT_LARGER, which os-ken 4.2.2 does not know
            most, offset, header = struct.unpack_from("!HHI", action.data)
            return "measure", most, offset, header
        case "NXActionUnknown" if action.subtype == 42:  # NXAST_CLONE: the actions that are in it, behind padding
            return "copy", [*osken_inner(action.data[6:])]
        case "OFPActionDecNwTtl":
            return ("decrement",)
        case "OFPActionPushVlan":
            return "push", action.ethertype
        case "OFPActionPopVlan":
            return ("pop",)
    return ("unknown", repr(action))


def osken_inner(data: bytes) -> Iterator[tuple[object, ...]]:
    at = 0
    while at < len(data):
        action = OSKEN.ofproto_parser.OFPAction.parser(data, at)
        yield osken_action(action)
        at += action.len


def meant_action(action: Action) -> tuple[object, ...]:
    match action:
        case Set(field, value) if field.partial:
            return "load", osken_name(field.wire), field.shift, field.bits, value
        case Set(field, value):
            return "set", osken_name(field.wire), value
        case Move(source, target):
            ends = osken_nxm_name(source.wire), osken_nxm_name(target.wire)
            return "move", strategies.bits(target), source.shift, target.shift, *ends
        case Output(port):
            return "output", port, 0
        case Bounce():
            return "output", 0xFFFFFFF8, 0
        case ToGroup(id, _):
            return "group", id
        case Resubmit(table):
            return "resubmit", 0xFFF8, table.number
        case Conjunction(id, k, n):
            return "conjunction", id, k - 1, n
        case Track(zone, table):
            return "ct", 0, osken_nxm_name(zone.wire), zone.shift, 16, table.number, 0, []
        case Commit(zone, writes, table, force):
            nested = [*map(meant_action, writes)]
            return "ct", 1 + 2 * force, osken_nxm_name(zone.wire), zone.shift, 16, table.number, 0, nested
        case Apart(inner):
            return "copy", [*map(meant_action, inner)]
        case Translate(zone, table, source, destination, ports):
            first, last = ports or (None, None)
            kind = 1 if source else 2 if destination else 0
            nat = ("nat", kind, source or destination or "", first, None if first == last else last)
            nested = [nat, *map(meant_action, action.writes)]
            return "ct", int(action.begins), osken_nxm_name(zone.wire), zone.shift, 16, table.number, 0, nested
        case Untrack():
            return ("forget",)
        case DecrementTtl():
            return ("decrement",)
        case Measure(most, target):
            return "measure", most, target.shift, 0x00010004 | int(target.wire.removeprefix("reg")) << 9
        case Turn():
            return "load", "in_port_nxm", 0, 16, 0
        case PushVlan():
            return "push", 0x8100
        case PopVlan():
            return ("pop",)
        case Punt(max_bytes):
            return "output", 0xFFFFFFFD, max_bytes
        case Goto(table):
            return "goto", table.number


def osken_actions(instructions: Any) -> list[tuple[object, ...]]:
    """All instructions as one list: apply-actions, then goto-table, as the specification orders them (5.10)."""
    found: list[tuple[object, ...]] = []
    for instruction in instructions:
        if type(instruction).__name__ == "OFPInstructionGotoTable":
            found.append(("goto", instruction.table_id))
        else:
            assert instruction.type == OSKEN.ofproto.OFPIT_APPLY_ACTIONS
            found += map(osken_action, instruction.actions)
    return found


def osken_message(data: bytes) -> Any:
    version, kind, length, xid = messages.header(data)
    assert length == len(data)
    return ofproto_parser.msg(OSKEN, version, kind, length, xid, data)


@given(strategies.flows(), st.integers(0, 0xFF), st.integers(0, 0xFFFFFFFF))
def test_osken_reads_the_flow_that_was_meant(flow: Flow, app: int, xid: int) -> None:
    encoded = encode_flow(flow, app)
    read = osken_message(openflow.flow_add(xid, encoded))
    assert (read.xid, read.table_id, read.priority, read.cookie) == (
        xid, flow.table.number, flow.priority, encoded.cookie,
    )  # fmt: skip
    assert (read.command, read.flags, read.idle_timeout, read.hard_timeout, read.importance) == (0, 0, 0, 0, 0)
    assert (read.buffer_id, read.out_port, read.out_group) == (0xFFFFFFFF,) * 3
    assert osken_match(read.match) == meant_match(flow.match)
    assert osken_actions(read.instructions) == [*map(meant_action, flow.actions)]


@given(strategies.flows())
def test_osken_reads_the_removal_that_was_meant(flow: Flow) -> None:
    read = osken_message(openflow.flow_delete(1, *encode_flow(flow, APP).key))
    assert read.command == OSKEN.ofproto.OFPFC_DELETE_STRICT
    assert (read.table_id, read.priority, read.cookie_mask) == (flow.table.number, flow.priority, 0)
    assert osken_match(read.match) == meant_match(flow.match)
    assert read.instructions == []


@given(strategies.groups())
def test_osken_reads_the_group_that_was_meant(group: Group) -> None:
    read = osken_message(openflow.group_modify(1, encode_group(group)))
    ofproto, kind = OSKEN.ofproto, group.kind
    type = ofproto.OFPGT_FF if kind.fails_over else ofproto.OFPGT_SELECT if kind.chooses else ofproto.OFPGT_ALL
    assert (read.command, read.type, read.group_id) == (1, type, group.id)
    assert [(bucket.weight, bucket.watch_port, bucket.watch_group) for bucket in read.buckets] == [
        (int(kind.chooses), 0xFFFFFFFF if bucket.watch is None else bucket.watch, 0xFFFFFFFF)
        for bucket in group.buckets
    ]
    found = [[*map(osken_action, bucket.actions)] for bucket in read.buckets]
    assert found == [[*map(meant_action, bucket.actions)] for bucket in group.buckets]


@pytest.mark.parametrize("field", strategies.FIELDS, ids=repr)
def test_osken_reads_every_declared_field(field: Field[Any]) -> None:
    """Random flows leave none out in the long run; this leaves none out at all."""
    full = WHOLE.get(field.wire, field.full)
    match = strategies.tested(field, 1, full)
    body = encode_match(match)
    assert osken_match(OSKEN.ofproto_parser.OFPMatch.parser(body, 0)) == meant_match(match)


def test_every_action_there_is_can_be_encoded() -> None:
    assert {*actions._ACTIONS, Goto} == {*typing.get_args(Action)}


# ---- skims ----------------------------------------------------------------------------------------------------


def flow_stats(flow: EncodedFlow) -> bytes:
    """One entry of a flow dump, by os-ken's idea of its head; counters hold something."""
    length = 48 + len(flow.match) + len(flow.instructions)
    head = (length, flow.table, 11, 12, flow.priority, 13, 14, 15, 16, flow.cookie, 17, 18)
    return struct.pack(OSKEN.ofproto.OFP_FLOW_STATS_0_PACK_STR, *head) + flow.match + flow.instructions


def group_desc(group: EncodedGroup) -> bytes:
    head = struct.pack(OSKEN.ofproto.OFP_GROUP_DESC_STATS_PACK_STR, 8 + len(group.buckets), group.type, group.id)
    return head + group.buckets


@given(st.lists(strategies.flows(), max_size=10))
def test_a_dump_is_skimmed_into_the_flows_it_holds(flows: list[Flow]) -> None:
    encoded = [encode_flow(flow, APP) for flow in flows]
    assert [*openflow.skim_flows(b"".join(map(flow_stats, encoded)))] == encoded


@given(st.lists(strategies.groups(), max_size=5))
def test_group_descriptions_are_skimmed_into_the_groups_they_hold(groups: list[Group]) -> None:
    encoded = [encode_group(group) for group in groups]
    assert [*openflow.skim_groups(b"".join(map(group_desc, encoded)))] == encoded


@given(st.binary(max_size=200), st.data())
def test_no_bytes_make_a_skim_raise_anything_but_malformed(noise: bytes, data: st.DataObject) -> None:
    flow, group = encode_flow(conjunctive(2), APP), encode_group(flood(2))
    for skim, good in ((openflow.skim_flows, flow_stats(flow) * 2), (openflow.skim_groups, group_desc(group) * 2)):
        at = data.draw(st.integers(0, len(good)))
        for payload in (noise, good[:at], good + noise, good[:at] + noise + good[at:], good[:at] + noise):
            try:
                found = [*skim(payload)]
            except Malformed:
                continue
            assert len(found) <= len(payload) // 8


@pytest.mark.parametrize("length", [0, 8, 47, 48, 55, 57, 0xFFFF])
def test_a_flow_that_lies_about_its_length_is_malformed(length: int) -> None:
    entry = flow_stats(encode_flow(Flow(p.L2_DISPATCH, "one", ANY), APP))
    with pytest.raises(Malformed):
        [*openflow.skim_flows(length.to_bytes(2) + entry[2:])]


@pytest.mark.parametrize("length", [0, 9, 0xFFF9, 0xFFFF])
def test_a_flow_that_lies_about_its_match_is_malformed(length: int) -> None:
    entry = flow_stats(encode_flow(Flow(p.L2_DISPATCH, "one", ANY), APP))
    with pytest.raises(Malformed):
        [*openflow.skim_flows(entry[:50] + length.to_bytes(2) + entry[52:])]


# ---- for operators --------------------------------------------------------------------------------------------


def test_a_foreign_flow_is_named_by_what_it_matches() -> None:
    drop_icmp = laid_out("""
        0001 0027                               | OFPMT_OXM, 39 bytes without padding
          8000 07 0c 010000000000 010000000000  |   eth_dst with a mask
          8000 0a 02 0800                       |   eth_type
          8000 12 01 01                         |   ip_ecn, which Weft does not use
          8000 14 01 01                         |   ip_proto
          00                                    |   padding
    """)
    assert EncodedFlow.of(3, 50, drop_icmp, b"", 0x1D).text == (
        "cookie=0x1d,table=3,priority=50,eth_dst=0x010000000000/0x010000000000,eth_type=0x0800,oxm_8000_9=0x01,nw_proto=0x01"
    )


@given(st.binary(max_size=60))
def test_any_match_has_a_text(noise: bytes) -> None:
    assert EncodedFlow.of(0, 0, noise, b"", 0).text
