"""Source words to KubeVirt words: pure functions and tables, no reading but of the packaged field tables.

In the order in which a machine passes:

    wishes                which of the policy's rules are for it;  disk_wishes: and what they say of single disks
    apps, constraints     which machines belong together, and what one wave may hold
    choices               what the policy says about it, defaults filled in
    approvals             whether enough persons may approve what asks for that
    names, marks          what it is called, how its objects are known
    storage, sizing, claims                     where its disks go, how large
    sharing                                     disks that several machines have: one for all of a set
    instancetypes         what decides about its processors and memory in its place
    provenance            what tells of the source's own place, and is missed by nobody
    systems, virtio       what is known of the system inside, and which virtio it gets
    neighbours, boxes     who is in the groups that filters name; sets of connections, taken from one another
    traffic               filters of the source as a NetworkPolicy, and what none can say
    cpu, firmware, ec2, disks, nics, devices    the parts of its manifest;  quantities: Kubernetes' numbers
    tpm                   whether what its TPM holds goes with it
    variables             the claim that its UEFI variables and what its TPM holds lie on
    machine               all of them put together; versions: without what this KubeVirt refuses; the user's patches
    rules/                what speaks against it, or should be known before
    fates/                what became of each of its facts: carried, changed, lost or not needed
    admission/            what a cluster would say to the manifests
    refusals              that, as concerns of the machine that it is about
    windows, hooks        when it may be stopped, and what is run around that
    triage/               where it fits: as a VM, as a container, or where it is; and in which sandbox
    decisions             what is open, and the lines of the policy that settle it
    policy_problems       what is wrong with the policy for an inventory
    sheet                 what people have changed in the wave sheet, cell by cell (sheet_cells); sheet_rows: its rows
    plan, assessment      all machines of an inventory, with estimate: decided, or only told

Evidence comes from the manifest: `fates` compares the finished manifest with the machine, it does not repeat the
mapping's intentions.
"""
