"""What speaks against a plan in a cluster: one module a field, each from facts to concerns. Pure, all of it.

    facts       what was seen of the cluster; what could not be seen, with the reason
    told        every concern that can come out: its id, severity and subject
    rights      what the pipeline may have to do, in one table
    apis        kinds, versions, KubeVirt and CDI, feature gates
    instancetypes  instance types and preferences that the plan names
    namespaces  there or not, pod security, names that are taken, networks, runtime classes
    storage     classes and profiles of the plan's claims
    launcher    what a machine's pod asks for                     demand   what a whole plan adds to a namespace
    quotas      demand against quotas and limit ranges            nodes    machines and movers against nodes
    movers      image, Secrets                               probes   what a cluster cannot answer
    affinity    which nodes a required node affinity admits
    priorities  priority classes that machines and movers name

`kubeferry.targets.kubevirt.preflight` asks the cluster and runs them.
"""
