"""Order and time, pure: which machines move together, and in which order; when sources may be stopped.

`waves` puts all in order; `wishes` is what it is given, and what moves in one wave whatever is wished; `packing` says
what a wave may hold, and fills those that nobody has named; `contradictions` are wishes that cannot all be fulfilled,
and `pulled` says what stands elsewhere than its name alone would have it, and why. `windows` knows when they are open,
and `slots` of what so many machines at once may be at work.
"""
