"""Which of the policy's windows a machine is stopped in, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from kubeferry.documents import ANY, Entry, MachinePolicy, Policy, Window
from kubeferry.errors import Problem
from kubeferry.schedule.windows import opens
from kubeferry.words import first_of, meant

SHOWN = 6


def window_of(name: str, policy: Policy) -> str | None:
    """The window of a machine, by its own word, else the policy's; None where it is stopped at any time."""
    said = policy.of(name).window
    own = policy.window if said is None else said
    return None if own in {ANY, ""} else own


def used(policy: Policy, entries: Iterable[Entry]) -> dict[str, Window] | None:
    """The windows of these machines, by name; None where they have none."""
    named = {entry.window for entry in entries}
    return {name: window for name, window in (policy.windows or {}).items() if name in named} or None


def wrong_windows(policy: Policy, sheet: Mapping[str, MachinePolicy]) -> Iterator[Problem]:
    """Windows that never open, and where the policy or the sheet names one that the policy does not define."""
    for name, window in (policy.windows or {}).items():
        if not opens(window):
            what = f"never opens: on that night clocks in {window.time_zone} skip all of it"
            yield Problem(f"policy windows.{name}", what, "Begin it earlier, or end it later.")
    places: list[tuple[str, str | None]] = [("policy window", policy.window)]
    places += [(f"policy rule {number}.window", rule.window) for number, rule in enumerate(policy.rules, start=1)]
    places += [(f"policy machines.{name}.window", choice.window) for name, choice in policy.machines.items()]
    places += [(f"policy apps.{name}.window", app.window) for name, app in (policy.apps or {}).items()]
    places += [(f"sheet, {name}: window", choice.window or None) for name, choice in sheet.items()]
    for where, named in places:
        if named is not None:
            yield from no_such_window(where, named, policy)


def no_such_window(where: str, name: str, policy: Policy) -> Iterator[Problem]:
    """What is wrong with a window's name that stands there."""
    known = [*(policy.windows or {}), ANY]
    if name in known:
        return
    near = meant(name, known)
    fix = near or (
        f"Write one of {first_of(known, SHOWN)}." if len(known) > 1 else "Define it in the policy's windows."
    )
    yield Problem(where, f"{name!r} is no window of the policy", fix)


def parted(entries: Iterable[Entry]) -> Iterator[Problem]:
    """Machines that move as one, and are to be stopped in different windows."""
    by_name: Mapping[str, Entry] = {entry.name: entry for entry in entries}
    for entry in by_name.values():
        for other in entry.moves_with or ():
            theirs = by_name[other.name].window if other.name in by_name else entry.window
            if entry.name < other.name and theirs != entry.window:
                what = (
                    f"{entry.name} is to be stopped in {_told(entry.window)} and {other.name} in {_told(theirs)}, and "
                    f"{'they share a disk' if entry.shares_disks else 'their app moves as one'}: they move together"
                )
                yield Problem(f"policy machines.{entry.name}.window", what, "Give all of them one window.")


def _told(window: str | None) -> str:
    return "any window" if window is None else f"window {window!r}"
