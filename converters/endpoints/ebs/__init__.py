"""EBS snapshots, read through the EBS direct APIs: the endpoint (`snapshot`), its calls (`api`), what is known of a
snapshot's blocks (`blocks`, pure).
"""
