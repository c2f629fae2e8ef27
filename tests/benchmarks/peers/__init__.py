"""Weft beside OVN: the same logical model, on the same machine, in turn, each by its own API.

`driver` is what a controller has to offer, `weft` and `ovn` are the two that do; `steps` measures one of them, each in
a process of its own (`worker`), and `__main__` has them take turns, writes what they found, and the table of it.
OVN is driven from outside, by Debian's packages: nothing of it is in here.
"""
