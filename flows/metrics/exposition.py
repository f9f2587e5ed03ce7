"""Samples as text: Prometheus' format 0.0.4, and OpenMetrics 1.0. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

PLAIN_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OPEN_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"
LONGEST_LABEL = 200


@dataclass(frozen=True, slots=True)
class Sample:
    """One figure. `suffix` is what of a family it is: `_sum` or `_count` of a summary, else empty."""

    labels: Mapping[str, str]
    value: float
    suffix: str = ""


@dataclass(frozen=True, slots=True)
class Family:
    """Figures of one name. A counter's name is without `_total`, which its samples have."""

    name: str
    kind: Literal["gauge", "counter", "summary"]
    about: str
    samples: tuple[Sample, ...]


def render(families: Iterable[Family], *, open_metrics: bool = False) -> str:
    """The text that is scraped; ends with a line's end."""
    lines = [line for family in families for line in _lines(family, open_metrics)]
    return "\n".join([*lines, *(["# EOF"] if open_metrics else [])]) + "\n"


def _lines(family: Family, open_metrics: bool) -> Iterator[str]:
    total = "_total" if family.kind == "counter" else ""
    name = family.name if open_metrics else f"{family.name}{total}"
    yield f"# HELP {name} {_escaped(family.about, quotes=open_metrics)}"
    yield f"# TYPE {name} {family.kind}"
    for sample in family.samples:
        labels = ",".join(f'{key}="{_escaped(_short(value))}"' for key, value in sample.labels.items())
        yield f"{family.name}{total}{sample.suffix}{labels and f'{{{labels}}}'} {_number(sample.value)}"


def _escaped(text: str, *, quotes: bool = True) -> str:
    """As both formats ask: what somebody at the source chose as a name ends no line and no label."""
    text = text.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", " ")
    return text.replace('"', '\\"') if quotes else text


def _short(text: str) -> str:
    return text.encode("utf-8", "replace").decode()[:LONGEST_LABEL]


def _number(value: float) -> str:
    if math.isfinite(value) and value == int(value) and abs(value) < 2**53:
        return str(int(value))
    return {math.inf: "+Inf", -math.inf: "-Inf"}.get(value, "NaN" if math.isnan(value) else repr(float(value)))
