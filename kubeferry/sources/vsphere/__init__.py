"""VMware vSphere as a source. `source.connect` opens it.

    access ──> trust ──> client ──> inventory ─┐           names, who logs in, whom to trust; pages of properties
                           │                   ├─> machine, devices, disks, nics, leftovers    plain values -> Machine
                           └──> views: snapshots, leases, areas, datastore_files              rounds
    marks ──> marking                                       the setting, or line of its notes, that says that we stop it
    autostart, notes                                        what its host starts; what people have written of it
    starts                                                  when it was started last, and how it went off, from events
    stops                                                   what a stop meets, and the way back: asked without doing it
    said                                                    what the guest says of itself, through Tools
    tab_files ──> tabs ──> machine                          inventories that were exported in tabs;  plain: no pyVmomi
    tags                                                    what vCenter tells through its REST interface only

pyVmomi is imported in `source`, `client`, `inventory`, `snapshots`, `leases`, `marking`, `autostart`, `notes`, `starts`
and `views` only; every property comes through the property collector, in pages, and becomes plain dictionaries before
anybody looks at it.
"""
