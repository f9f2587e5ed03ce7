"""A vCenter for the lab: govmomi's simulator with disks that hold bytes, behind a relay that makes it strict.

    kubeferry ── TLS ──> relay (Python) ── HTTP ──> simulator (Go, lab/vcenter/simulator)
                           │                          └─ a folder for each datastore, files for each disk
                           └─ changed areas, logins for files, leases with streams, and all that goes wrong

What both do not do: run a guest (disks change when a test writes to them), ask for privileges, move machines between
hosts, keep chains of snapshots below ours apart, hold real delta files (a delta holds the whole disk here), vSAN or
vVols, several vCenters. That a real ESXi answers as this one does was not proved.
"""
