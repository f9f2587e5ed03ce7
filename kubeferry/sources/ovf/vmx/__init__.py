"""Machines of VMware's as their products keep them: a VMX (or the VMTX of a template) with its disks beside it, copied
out of a datastore by hand. One file is one machine.

    files ─┬─ dictionary   the text of a VMX as settings                                       pure
           ├─ chains       what lies below a disk, and what it is known by
           ├─ leftovers    files of a machine that runs, or did when it was copied
           └─ machine      settings -> Machine, by disks, nics, devices;  usual: what is no loss     pure

What nobody read becomes the machine's `unmodelled` facts, under the keys of the VMX.
"""
