"""A Prefect server of our own, where the user has none.

server      started for the length of a command, on loopback
program     what is started: Prefect's server with pages that ask nobody but this machine
ports       which port is free, and who has one that is not
"""
