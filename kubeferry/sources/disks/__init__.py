"""Disks before anybody opens one, for every source.

drift        are they still those of the inventory; problems as concerns                     pure
local_disks  files and devices of this host: are they there, what references lead to them
exports      served read-only by qemu-nbd, for readers elsewhere
"""
