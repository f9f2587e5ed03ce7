"""A target in this process's memory: a double for tests of what stands around targets. It boots nothing."""
