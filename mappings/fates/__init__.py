"""What became of each fact of the source: carried, changed, lost, not needed. Read off the finished manifest, not off
intentions.

carried     the comparison: every fact that a machine states, and the verdict of its rule
table       the rule for each fact: of the usual kinds (`kinds`), or machine, hardware, disks, nics, devices
"""
