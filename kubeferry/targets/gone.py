"""In place of a target that is gone for good, as a person has said: nobody asks it, and nobody waits for its answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

from kubeferry.documents import Entry, MoverJob, MoverProgress, MoverResult, Observation, Offer
from kubeferry.errors import TargetUnavailable
from kubeferry.inside.agent import Ask
from kubeferry.marks import MoveMark
from kubeferry.model import Concern
from kubeferry.targets import External, Ledger, Reach, Room, TargetCapabilities


class GoneTarget:
    """See `kubeferry.targets.Target`. It refuses whatever would need a target; of a thing of the ledger it says that it
    may still be there, since nobody has looked. `told_by` is who has said that the target is gone."""

    capabilities = TargetCapabilities()

    def __init__(self, told_by: str) -> None:
        self._told_by = told_by

    def offer(self) -> Offer:
        self._refuse()

    def concerns(self, entries: tuple[Entry, ...]) -> list[Concern]:
        self._refuse()

    def trial(self, entries: tuple[Entry, ...], reach: Reach) -> dict[str, list[Concern]]:
        self._refuse()

    def prepare(self, entry: Entry, ledger: Ledger) -> dict[str, Room]:
        self._refuse()

    def submit(self, job: MoverJob, ledger: Ledger, held: bytes | None = None) -> None:
        self._refuse()

    def watch(self, job: MoverJob, on_progress: Callable[[MoverProgress], None]) -> MoverResult:
        self._refuse()

    def variables_room(self, entry: Entry, size: int, fence: int, ledger: Ledger) -> Room:
        self._refuse()

    def tpm_room(self, entry: Entry, size: int, fence: int, ledger: Ledger) -> Room:
        self._refuse()

    def drop_tpm(self, entry: Entry) -> list[str]:
        self._refuse()

    def apply(self, entry: Entry, ledger: Ledger, *, dry_run: bool) -> list[str]:
        self._refuse()

    def start(self, entry: Entry, ledger: Ledger, fence: int = 0) -> None:
        self._refuse()

    def runs(self, entry: Entry) -> bool:
        self._refuse()

    def observe(self, entry: Entry, last_words: dict[str, str]) -> Observation:
        self._refuse()

    def agent(self, entry: Entry) -> Ask:
        self._refuse()

    def rehearse(self, entry: Entry, ledger: Ledger, fence: int = 0, beside: tuple[Entry, ...] = ()) -> None:
        self._refuse()

    def observe_rehearsal(self, entry: Entry) -> Observation:
        self._refuse()

    def end_rehearsal(self, entry: Entry, fence: int = 0) -> list[str]:
        self._refuse()

    def stop(self, entry: Entry, fence: int = 0) -> None:
        self._refuse()

    def hand_over(self, entry: Entry, fence: int = 0) -> str:
        self._refuse()

    def mark(self, entry: Entry, mark: MoveMark, fence: int = 0) -> None:
        self._refuse()

    def marked(self, entry: Entry) -> MoveMark | None:
        self._refuse()

    def unmark(self, entry: Entry, fence: int = 0) -> None:
        self._refuse()

    def tidy(self, entry: Entry) -> list[str]:
        self._refuse()

    def remove(self, entry: Entry, fence: int = 0) -> list[str]:
        self._refuse()

    def exists(self, thing: External) -> bool:
        return True

    def close(self) -> None:
        pass

    def _refuse(self) -> NoReturn:
        raise TargetUnavailable(
            "the target is gone for good, and is not asked",
            why=f"{self._told_by} has said so, with --target-is-down",
            fix="Leave that out where the target is there again.",
        )
