"""Machines that were exported to files, as a source: DMTF DSP0243 (1.x and 2.x), VMware's older 0.9, and what products
make of them; and machines as VMware's products keep them (`vmx`). `source.connect` opens it.

    source ─> folder                    which files of a folder are exports, and who reads them
    folder ─┬─ vmx.files
            └─ files ─┬─ tar_members    an OVA's members, by their headers
                      ├─ headers        what its disks say of themselves
                      ├─ manifest       the list of digests beside it                        pure
                      └─ machines       descriptor -> Machine…, by:                          pure
    words ─> references (files, disks), items (the hardware list, by configuration), identity
    items ─> processor, disks, nics, devices;  units: amounts in OVF's words, properties: what they stand for by default
    usual: settings that are off, or as they always are

What nobody read becomes the machine's `unmodelled` facts.
"""
