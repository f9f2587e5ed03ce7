"""Reading libvirt's domain XML: one module a part of the machine, all of it pure.

dialect ─> (facts.xml_tree) ─> processor, disks, nics, firmware, devices ─> machine.parse_domain
network              disks on servers: where they are, and how the hypervisor is let in
units, addresses     libvirt's words for amounts and places
filters              a network filter's XML as lines in the order in which they decide
leftovers            what nobody read becomes the machine's `unmodelled` facts
"""
