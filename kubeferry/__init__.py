"""Words, documents and seams of kubeferry. Nothing in this package knows Prefect.

Read in this order: `model` (the nouns), `documents` (the files between steps), `states` and `actions` (one
machine's life), `sources` and `target` (the two seams), `steps` (what an action does).
"""

__version__ = "0.1.0"
