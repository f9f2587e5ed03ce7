"""Reading what others wrote, for every source: pure, but for names of files.

xml_tree      XML as a tree that remembers what was read of it; hostile text is refused
settings      the same for keys and values of one level: VMX, Proxmox
leftovers     what of it nobody read, as facts without secrets;  lists: how many of them a machine may have
single_names  names of machines that are theirs alone;  clashes: names and MACs that two of them have
readings      what became of files: machines, and what is left out;  same_machines: one that stands in several of them
file_names    names of files that can stand in a document;  byte_marks: encodings that their first bytes name
packing       what a file is packed with;  signs: what it may be, by its beginning, whatever it is called
escaped_names names without vCenter's escapes
"""
