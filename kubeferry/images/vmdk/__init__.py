"""What a VMDK says of itself: its `header`, where it is sparse, and its `descriptor`, the text that names its extents.
`whole` says whether all of one is there. Pure: bytes in, values out.
"""
