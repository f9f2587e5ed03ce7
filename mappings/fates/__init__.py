"""What became of each fact of the source: carried, changed or lost. Read off the finished manifest, not off intentions.

table (a rule for each fact) ── rules (how one is found again in the manifest) ── carried (the comparison)
"""
