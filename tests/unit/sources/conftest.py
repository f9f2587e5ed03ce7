"""A domain of which one thing is said at a time."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kubeferry.model import Machine
from kubeferry.sources.libvirt.domain.machine import parse_domain

OS = "<os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type></os>"


def domain_xml(
    inside: str = "", *, os: str = OS, memory: str = "<memory unit='GiB'>1</memory>", devices: str = ""
) -> str:
    return (
        "<domain type='kvm'><name>web</name><uuid>6f1d2b3c-1111-4222-8333-444455556666</uuid>"
        f"{memory}{os}{inside}<devices>{devices}</devices></domain>"
    )


@pytest.fixture(scope="session")
def xml() -> Callable[..., str]:
    return domain_xml


@pytest.fixture(scope="session")
def machine() -> Callable[..., Machine]:
    return lambda *inside, **parts: parse_domain(domain_xml(*inside, **parts), source="lab")


@pytest.fixture(scope="session")
def facts() -> Callable[[Machine], dict[str, str]]:
    """What the model has no word for, by path."""
    return lambda machine: {fact.path: fact.value for fact in machine.unmodelled}
