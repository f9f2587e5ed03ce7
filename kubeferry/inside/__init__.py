"""What a system says of itself from the inside, before the move and after it.

said       what it said at one moment: cards with their addresses, mounts, time zone, clock, services
agent      the QEMU guest agent's answers as what was said;  programs: one of the guest's, run by it
compared   two of them beside each other: what stayed, what did not

What comes from a guest was made by the guest: it is bounded here, and only ever shown as text.
"""
