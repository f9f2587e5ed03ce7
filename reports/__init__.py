"""What a plan came to, as pages: from the plan and the journal alone, with neither source nor target at hand.

    plan, events, ledger ── facts ──> Report ──┬── pages ──> report.html, machines/NAME.html
                                               ├── markdown ──> report.md
                                               └──────────────> report.json

    facts: verdicts (what may be claimed), disks, probes, sets, rounds, rehearsals, hooks, timeline, projections,
           history, programme (waves, progress, what went back)
    shapes: what a `Report` holds;  pages: charts, picture;  wording: numbers and foreign text made fit to print
    decisions: what persons decided;  environment: templates, styles, the one script

What an assessment came to has pages of its own, in `assessed`: they share the style and know no report.

Everything up to `Report` is pure. A claim stands in it only with the event that it rests on; the rest is "not seen".
"""
