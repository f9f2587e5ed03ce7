"""Machines of Proxmox VE, for an assessment: what `qm config VMID` prints, and files of /etc/pve/qemu-server. Their
disks lie on storages that only its hosts reach, so nothing of them is moved from here.

    config_files ─┬─ sections   the text: the machine as it is, its description, snapshots, what waits    pure
                  └─ machine    settings -> Machine, by hardware, disks, devices                          pure

What nobody read becomes the machine's `unmodelled` facts, under Proxmox's own keys.
"""
