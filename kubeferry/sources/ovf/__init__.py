"""Reading OVF descriptors: DMTF DSP0243 (1.x and 2.x), the older VMware 0.9, and what products make of them.

    words ─> references (files, disks), items (the hardware list, by configuration)
    items ─> processor, disks, nics, devices;  words ─> identity ─> ../ovf_xml.parse_ovf ─> Machine…
    manifest: the list of digests beside it

What nobody read becomes the machine's `unmodelled` facts. All of it is pure: text in, values out.
"""
