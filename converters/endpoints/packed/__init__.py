"""Disks that lie in parts of local files: members of an OVA, files beside an OVF, chunks, gzip, VMDK. `disk` opens
them, `parts` reads the bytes of several files as one, `slice` is the file of an image in them, `raw_stream` is a raw
disk of known size inside them.
"""
