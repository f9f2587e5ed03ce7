"""What a plan moves between, opened for a verb that cleans up: the journal, the target, and the way to the source."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator

from kubeferry.documents import Config, Plan
from kubeferry.journal import Journal
from kubeferry.sources import Source
from kubeferry.steps.accounts import Opener
from kubeferry.steps.sources import source_of
from kubeferry.targets import Target, open_target


@contextlib.contextmanager
def both_ends(settings: Config, plan: Plan) -> Iterator[tuple[Journal, Target, Opener]]:
    """Open until the block ends. The source is opened once, when it is first asked for: not every verb comes to it."""
    with contextlib.ExitStack() as held:
        journal = held.enter_context(contextlib.closing(Journal.open(settings.journal)))
        target = held.enter_context(contextlib.closing(open_target(settings.target)))

        @functools.cache
        def source() -> Source:
            return held.enter_context(contextlib.closing(source_of(plan, settings, journal)))

        yield journal, target, source
