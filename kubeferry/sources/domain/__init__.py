"""Reading libvirt's domain XML: a tree that knows what was read of it, and one module a part of the machine.

    tree ─> processor, firmware, disks, nics, devices ─> ../domain_xml.parse_domain ─> Machine
    tree ─> leftovers: what no module read becomes the machine's `unmodelled` facts

All of it is pure: text in, values out.
"""
