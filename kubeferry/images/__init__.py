"""Disk images of others, before anything opens them: what a header asks for, and a chain in QEMU's own words.

    qcow2 (its header), bitmaps (the dirty ones that it keeps) ──> nodes (a chain in QEMU's words, and its confinement)
    clusters                    where the bytes are, of an image so plain that no QEMU is needed
    whole                       whether files hold all that the images of a chain name, before QEMU opens them
    network                     disks that a server has and QEMU reads: iSCSI and RBD, in QEMU's words
    vhd, vmdk/                  what a VHD's footer asks for, and a VMDK's header and descriptor
    contents, variables         a small image whole, and UEFI variables in it
    uefi_data                   UEFI variables as EC2 hands them over
    tpm                         what a TPM of swtpm keeps over a stop
    writers                     who writes to an image, or wrote to it

Images are hostile: formats are given, never probed; what an image names is opened only if its owner names it too.
"""
