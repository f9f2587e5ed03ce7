"""What a report tells of the probes that were asked."""

from __future__ import annotations

from kubeferry.documents import Observation
from reports.shapes import ProbeReport
from reports.wording import plain


def probe_reports(seen: Observation | None) -> tuple[ProbeReport, ...]:
    """The probes of what was seen; none where nobody looked."""
    return tuple(
        ProbeReport(
            kind=plain(probe.kind, 40),
            what=plain(probe.what),
            ok=probe.ok,
            evidence=plain(probe.evidence),
            seconds=probe.seconds,
        )
        for probe in (seen.probes if seen else ())
    )
