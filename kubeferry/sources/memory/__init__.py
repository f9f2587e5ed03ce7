"""A source in a folder of files, a double for tests of what stands around sources: it has no hypervisor, no guest.
`source` opens it; `views` are what rounds of its "running" machines hold.
"""
