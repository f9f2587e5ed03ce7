"""VMDK images: streams that are read once, from the first byte on, and sparse files that are read anywhere. What their
headers and descriptors say reads `kubeferry.images.vmdk`.

    stream.Stream          streamOptimized, forward only, from anything that has `read(count) -> bytes`
    sparse.Sparse          monolithicSparse and streamOptimized in a file, by their grain tables

How a stream is read:

    stream = Stream(reader, "disk1.vmdk")     # reads the header and the tables in front: nothing else yet
    stream.capacity                           # bytes of the disk
    stream.read_into(offset, view)            # forward only; ranges may be left out; what is not in it reads as zeros
    stream.finish()                           # reads what is left, up to the reader's end, and checks the whole

`reader.read(count)` gives at least one and at most `count` bytes, none at its end; what it raises goes through. At most
a few MiB are held. Wrong streams raise HostileImage (numbers that lie) or SourceRefused (cut off, damaged), each with
the offset in the stream; that is the offset in what `reader` gives.
"""
