"""A package, other than the folders beside it: its server lives as long as the tests in it."""
