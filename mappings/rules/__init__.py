"""What a person should know before a machine moves: tables of rules, one module a topic, all of them in `table`.

rule ─> machine, system, hardware, instancetypes, disks, devices, storage, traffic ─┐
     ─> proof, downtime, libvirt, ec2, ovf, vmx, vsphere, proxmox ──────────────────┴─> table.concerns_of
between: rules between machines       covers: the concerns of Forklift, and what covers each here
"""
