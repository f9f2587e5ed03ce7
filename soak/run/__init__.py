"""Kinds of the run around the data plane, one module each: lives, plans, journals, sleepers, ova. Beside them: world,
what all of them live in; faults, what breaks there."""
