"""What is done with two opened disks. It knows the seam (`converters.endpoints`), and no scheme behind it.

    digest ── fingerprint ── checkpoint, earlier     one digest a block; the durable record of copies
    buffers ── transfer                              memory, and workers: chunks handed out, the first error raised
    copying, verify, repair, sending, measuring      the five things that are done
    marks                                            which blocks, one bit each
    landing                                          what a target has already, and what is written to it
    held, witness                                    one copy a fingerprint; a source that stays what it is
    targets                                          whose a target is, asked before it is written
    trial                                            what a copy opens, opened before; nothing is written
    disks                                            the same by reference: what a mover and a person ask for

A digest stands in a checkpoint only after its block was flushed to the target.
"""
