"""The rooms of the kubevirt target.

names      what things are called, their labels, the paths inside a mover's pod        pure
kinds      the kinds of objects that we touch                                          pure
quantities Kubernetes' quantities, exactly                                             pure
api        the one door to the cluster: the Kubernetes client, its errors as ours
offer      storage classes and their profiles, for a planner
preflight  what speaks against a plan here; judged by the modules of `checks` (pure)
claims     room for disks                   uploads    CDI's way in, for small cold disks
jobs       movers as Jobs, from job_spec (pure)
objects    manifests: dry run, server-side apply, drift
machine    start and stop a VirtualMachine
observing  what is seen of a running one: probes, guest, screen
removal    what goes, and what is still there
"""
