"""What KubeVirt's and CDI's webhooks would refuse, and what they accept although it is wrong, told offline.

check ─┬─ machine, placement, affinity, devices     rules, over a view of the manifest;  keys: of labels, annotations
       └─ schema ── fields/    unknown fields, wrong types, closed lists, from field tables
"""
