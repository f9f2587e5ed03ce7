"""The directory target: raw disks, manifests for GitOps, and the proof of each machine in local QEMU.

target ─┬─ layout, gitops, capacity    its folder; manifests as files; whether the plan fits
        ├─ answering                   the file system's errors as the target's own
        └─ hypervisor ─┬─ qemu ── devices, shown     a manifest as a command line           pure
                       ├─ firmware, tpm              its code, and variables of the source; its TPM
                       ├─ qmp, local_access          the ways into the running machine
                       ├─ frames                     what its network cards have sent    pure
                       └─ accelerator                whether hardware virtualization works here
handing                                what only a mover may read
trial                                  a mover beside the machines, tried before a source is stopped
rehearsing                             a machine run for itself over its images, and taken away
  └─ switch ── segments                the network of those that are rehearsed together    segments: pure
sets                                   disks that several machines share lie once
fences                                 only the newest runner starts and stops
evidence                               what is seen of a running machine, and kept
"""
