"""A proof about what switches hold: sets of packets, followed through dumped flows, against what the model says."""
