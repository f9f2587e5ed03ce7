"""The mover, a program: `python -m converters.mover JOB.json [--report FILE]`.

__main__ ── job ─┬─ state_folder     one live mover, a fence against old ones, its files
                 ├─ disk_file        the file of a disk on a claim that was given empty
                 └─ telling          progress and result where nobody reads that folder
"""
