"""Runnable networks: real Open vSwitch hypervisors and guests on one machine, in network namespaces of their own.

errors.py        what can go wrong in a lab
processes.py     namespaces and child processes that never outlive the lab
frames.py        frames as bytes, to be sent
captures.py      what is heard at a place, each frame of it
pings.py         pings that are sent and counted
sockets.py       one question of one guest to another: a connection, a datagram, a raw packet
talk.py          conversations that go on, and the memory of both ends
stock.py         what is used of Mininet
nodes.py         the nodes that are no guests and have no switch: the underlay, the controller
machines.py      the nodes with an Open vSwitch: hypervisors, physical networks
hosts.py         guests, and hosts on physical networks
ofproto.py       what `ofproto/trace` of Open vSwitch prints, as values
traced.py        whether Open vSwitch goes the way that Weft foretells, for random packets
api.py           the API of the controller, as a lab asks it
rows.py          what was asked with packets, what was expected and what was seen
lab.py           the lab: nodes joined to a running controller, and the API to ask it
guarded.py       four guests under security groups, and what these must stand
two_networks.py  two tenants with the same addresses: the topology, and what must be seen in it
security_groups.py  three tiers: who may reach whom, and what a removed rule cuts
plain_mininet.py    the one switch of a plain Mininet, without OVSDB
controller_restart.py, hypervisor_restart.py  what a restart costs under traffic
demo.py          `make demo`: the same topology, made with the stock `openstack` client, shown as a table
"""
