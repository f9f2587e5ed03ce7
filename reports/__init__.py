"""What a plan came to, as pages: from the plan and the journal alone, with neither source nor target at hand.

    plan, events, ledger ── facts ──> Report ──┬── pages ──> report.html
                                               ├── markdown ──> report.md
                                               └──────────────> report.json

    facts: verdicts (what may be claimed), disks, sets, rounds, rehearsals,
           timeline, history;  shapes: what a `Report` holds
    decisions: what persons decided
    pages: charts, picture;  wording: numbers and foreign text made fit to print

Everything up to `Report` is pure. A claim stands in it only with the event that it rests on; the rest is "not seen".
"""
