"""Words, documents, seams and steps of kubeferry. Nothing in this package knows Prefect.

What everybody knows: `values` (plain ones; a reference to bytes), `shapes` (what all others are made of), `model` (the
nouns), `jobs` (what a mover is told, and tells), `errors` and `faults` (what went wrong, for a person), `uris` and
`ranges` (how a reference names bytes), `ledger` (things outside the journal), `marks` (what is left at a machine that
is stopped), `kinds` (the tables of sources and targets), `versions` (what each version of KubeVirt takes), `passwords`
(in addresses: refused, and struck out of what is told).
`config` finds and reads the configuration. Read on in this order: `documents` (the files between steps), `life` (one
machine's), `schedule` (the order of all), `sources` and `targets` (the two seams), `steps` (what an action does);
`journal` is the memory, `images` what disk images ask for, `outside` the ways out of the process.
"""

__version__ = "0.1.0"
