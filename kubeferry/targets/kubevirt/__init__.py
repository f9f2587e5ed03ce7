"""The kubevirt target: claims, movers as Jobs, and VirtualMachines on a real cluster. `target.connect` opens it.

names, kinds, quantities     what things are called, the kinds of objects that we touch         pure
api ── answers               the one door to the cluster; its errors as ours
offer ── instancetypes       storage classes, what KubeVirt keeps, types and preferences, for a planner
capacity                     what its nodes and quotas have room for, in sums                   pure
preflight ── checks/         what speaks against a plan here: asked, then judged (pure)
trial                        the same tried: manifests and Jobs by dry run, a mover that writes nothing
claims ── binding            room for disks and UEFI variables; where it is made, if the first pod decides that
jobs ── job_spec, pods       movers as Jobs (job_secrets: what lets them in); why one does not run
uploads ── upload_spec       CDI's way in, for small cold disks
objects                      manifests: dry run, server-side apply, drift
machine ── fences            start and stop a VirtualMachine, each by the newest runner only
moved                        the mark of one that has moved, on its object and its claims
observing ── guest_access    what is seen of a running one: probes, screen; said: what its system says of itself
rehearsing ── rehearsal_spec one over the machine's claims, of its own name, and taken away
removal                      what goes, and what is still there
identity                     who somebody is, as an API server says
"""
