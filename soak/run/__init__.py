"""Kinds of the run around the data plane, one module each: lives, sets, plans, waves, journals, sleepers, ova. Beside
them: world and pair, what they live in; faults, what breaks there."""
