"""Source words to KubeVirt words: pure functions and tables, no reading but of the packaged field tables.

    Machine + Policy ── choices ─┬─ names, sizing, claims, disks, nics, cpu, firmware, devices ── machine ──> manifests
                                 ├─ concerns (tables of rules)                                  ──> concerns
                                 └─ carried (what became of each field, read off the manifests) ──> carried
    manifests ── schema, admission ──> problems        Inventory + Policy ── plan, assessment ──> Plan, Assessment

Evidence comes from the manifest: `carried` compares the finished manifest with the machine, it does not repeat the
mapping's intentions.
"""
