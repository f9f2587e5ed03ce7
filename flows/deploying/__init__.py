"""`kubeferry deploy`: what a plan needs on a Prefect server, set up there, changed, and taken away again.

    wanted      what a plan needs: a work pool, deployments, automations; pure
    wakings     when these run by themselves; pure
    pool        a work pool whose runs nobody can give a command of his own; pure
    compared    what is there against what is wanted: what would be made, changed, removed; pure
    server      what is there, and how it is changed

What of it exists stands on the server alone: each object carries our tag, its plan's and its journal's, so what is
ours is found there, and nothing of anybody else's is touched. The ledger is for what costs something or holds data when
it is forgotten, and is kept per machine under its lease; a deployment is neither.
"""
