"""The data plane: bytes from a source's disk to a target's disk, proven. Importable without the control plane.

    uris, extents     what both sides of the seam speak of: where a disk is, what is data and what reads as zeros   pure
    endpoints/        the seam, and behind it every way to reach a disk: file, nbd, ssh, https, ebs, packed, upload
    engine/           copy, verify, repair, send, measure: what is done with opened disks, and how it is remembered
    mover/            one job as a program of its own: `python -m converters.mover JOB.json`

A block is 1 MiB. Arrows go from the mover to the engine to the seam, never back.
"""
