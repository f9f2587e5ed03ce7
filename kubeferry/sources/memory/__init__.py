"""A source in a folder of files, a double for tests of what stands around sources: it has no hypervisor, no guest."""
