"""What KubeVirt's and CDI's webhooks would refuse, and what they accept although it is wrong, told offline.

check ─┬─ machine, devices     rules, over a view of the manifest
       └─ schema ── fields/    unknown fields, wrong types, closed lists, from field tables
"""
