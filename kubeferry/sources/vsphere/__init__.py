"""vSphere as a source, in parts: pure ones that know plain values only, and edges that talk to a server.

    access ──> trust ──> client ──> inventory ─┐           names, who logs in, whom to trust; pages of properties
                           │                   ├─> machine, devices, disks, nics, leftovers    plain values -> Machine
                           └──> snapshots, leases, areas, datastore_files                     rounds

pyVmomi is imported in `client`, `inventory`, `snapshots` and `leases` only; every property comes through the property
collector, in pages, and becomes plain dictionaries before anybody looks at it.
"""
