"""A target in this process's memory: a double for tests of what stands around targets. It boots nothing.

target ── blocks   the seam; what a source holds, and digests
"""
