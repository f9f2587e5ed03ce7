"""Disks before anybody opens one, for every source.

drift        are they still those of the inventory; problems as concerns                     pure
local_disks  files and devices of this host: are they there, what references lead to them
writers      other machines that may write to a disk: until they are off no copy is the last one     pure
exports      served read-only by qemu-nbd, for readers elsewhere
"""
