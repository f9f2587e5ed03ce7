"""The data plane: bytes from a source's disk to a target's disk, proven. Importable without the control plane.

    endpoints ── file, nbd, memory          an opened disk: size, extents, read, write, zero, flush
        │           ├── qemu_nbd, qcow2     other formats: header checked first, then served by qemu-nbd
        │           └── packed_disk ─ vmdk  disks in parts of files (OVA, OVF), unpacked as they are read
    extents ── digest ── fingerprint        pure: what to move; one digest a block; the durable record of both
        │
    transfer ── copying, verify, repair     workers; the three things that are done with a disk
                    └── disks ── job ── mover    by reference (for people); a job; a program of its own

A block is 1 MiB. A digest stands in a checkpoint only after its block was flushed to the target.
"""
