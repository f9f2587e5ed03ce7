"""`python -m soak`: kill, break, fill, swap and lie at every named point of the data plane and of the run, at random,
for as long as is asked, and look whether a promise broke. Beside the wheel, like `bench/`; tests hold single promises,
this looks for what no test has thought of.

    kinds      the table: what is tried, what it needs, how long it may take
    trial      one trial: what it is given, what it holds, what is wrong
    batch      trials of one kind, as a program of its own
    running    batches, watched: one that hangs or dies is wrong, and nothing of it is left
    tally      points tried and survived; pure
    images     random disks, and what happens to them behind our back
    places     loop devices and thin storage of a trial's own
    data/      kinds of the data plane
    run/       kinds of the run around it
"""
