"""Several sources that are asked as one: each question goes to the one that has the machine, whose name the inventory
holds. `source.Estate` is that; it knows none of its members but by the seam.

    joined   one inventory of several: names told apart, a machine that stands in two of them;  pure
    places   where a machine is now, by the power that each member tells of it;                 pure

Hypervisors hand machines on to each other while they run. One that left its source is found again by its identity, at
a member of the same kind. Markers do not go with it: what changed since a round elsewhere is not known, so everything
is read and compared, and what is equal is kept.
"""
