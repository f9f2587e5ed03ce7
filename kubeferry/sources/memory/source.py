"""A source in a folder: a double for tests of what stands around sources.

It runs no machine: "running" is a word in a file, nobody but the test writes to a disk while it is said, and a stop
takes no time. It reads no image, so sizes and chains are what `machines.json` says. Several that call it at once change
power states one after the other; other words they may overwrite. One reads what the other wrote. A round of a "running"
machine is a copy of its images, made while nothing may write to them; it serves nothing, so that `remote` changes
nothing. With `ssh` in its configuration, the disks of a machine that is off are served for real, as libvirt's are. It
does keep the promises of the seam: idempotent, final rounds of machines that are off only, what changed told exactly or
not at all (raw disks only), disks that are really there and are those of the inventory, everything wrong at once.

    machines.json   the machines, as `Machine` is dumped; their disks are real files
    power.json      name -> power state; a machine that is not in it is as machines.json says, off if that is unknown
    starts.json     name -> how often it was started
    words.json      name -> {file in the guest: content}; a machine that is in it has an agent that answers
    addresses.json  name -> addresses at which such a machine is reached
    said.json       name -> what such a machine says of itself
    deaf.json       names of machines that do not stop unless they are forced
    went-off.json   name -> what is told of how a machine went off: `WentOff`; nothing of one that is not in it
    marks/          name -> the mark of a machine that kubeferry has stopped
    autostart.json  name -> what starts it by itself, as `Autostart.settings`
    notes.json      name -> what people have written about it; without, its description in machines.json
    NAME.variables  the UEFI variables of a machine
    NAME.tpm        what its TPM keeps
    views/          what rounds of running machines hold: views.py
    faults.json     method -> names of errors.py, raised one a call; each is taken off the list when it is raised
"""

from __future__ import annotations

import base64
import fcntl
import functools
import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from pydantic import TypeAdapter, ValidationError

from kubeferry import errors, marks
from kubeferry.documents import Inventory, SourceConfig, SshAccess, StopPolicy
from kubeferry.errors import InputInvalid, Problem, SourceRefused, SourceUnavailable
from kubeferry.inside.said import Said
from kubeferry.ledger import EXPORT, STOP_MARK, External, Ledger
from kubeferry.marks import StopMark
from kubeferry.model import UP, Autostart, Concern, DiskRef, Machine, Marker, Power
from kubeferry.outside import atomic, clock
from kubeferry.sources import RUNS_ON, Hear, Inside, Round, SourceCapabilities, Stopped, WentOff
from kubeferry.sources.disks import drift, exports, local_disks
from kubeferry.sources.memory.views import Views

MACHINES = TypeAdapter(tuple[Machine, ...])


def connect(name: str, config: SourceConfig) -> MemorySource:
    """The source in the folder of `config.uri`, `memory:///path`. Raises InputInvalid for any other URI."""
    parts = urlsplit(config.uri)
    if parts.scheme != "memory" or parts.netloc or not parts.path.startswith("/"):
        fix = "Write `memory:///` and the absolute path of a folder."
        raise InputInvalid(f"{config.uri} is no folder", [Problem(f"sources.{name}.uri", config.uri, fix)])
    return MemorySource(name, Path(unquote(parts.path)), config.ssh)


@functools.lru_cache(maxsize=8)
def _parsed(path: Path, _written_at: int, _inode: int) -> tuple[Machine, ...]:
    """The machines of a file as it was then: read once, however often one of thousands is asked for."""
    return MACHINES.validate_json(path.read_bytes())


class MemorySource:
    """See `kubeferry.sources.Source` for what each method promises."""

    capabilities = SourceCapabilities(
        warm=True, live_deltas=True, force_stop=True, last_words=True, tells_starts=True, autostarts=True
    )
    journal = ""

    def __init__(self, name: str, folder: Path, ssh: SshAccess | None = None) -> None:
        self._name = name
        self.folder = folder
        self._ssh = ssh

    # --- what a test sets up ---------------------------------------------------------------------------------------

    def write_machines(self, *machines: Machine) -> None:
        """Let these be the machines of the source."""
        self._write("machines", [machine.model_dump(mode="json", by_alias=True) for machine in machines])

    def write_power(self, name: str, power: Power) -> None:
        """Let a machine be in this power state; one that runs and did not is started."""
        with (self.folder / ".power.lock").open("w") as alone:
            fcntl.flock(alone, fcntl.LOCK_EX)
            known = self._read("power", {})
            if power is Power.RUNNING and known.get(name) not in UP:
                starts = self._read("starts", {})
                self._write("starts", starts | {name: starts.get(name, 0) + 1})
            self._write("power", known | {name: power})

    def write_words(self, name: str, words: dict[str, str]) -> None:
        """Let a machine's agent answer with these files."""
        self._write("words", self._read("words", {}) | {name: words})

    def write_addresses(self, name: str, *addresses: str) -> None:
        """Let the source tell these addresses of a machine."""
        self._write("addresses", self._read("addresses", {}) | {name: addresses})

    def write_said(self, name: str, said: Said) -> None:
        """Let a machine whose agent answers say this of itself."""
        self._write("said", self._read("said", {}) | {name: said.model_dump(mode="json", by_alias=True)})

    def write_deaf(self, *names: str) -> None:
        """Let these machines not stop unless they are forced."""
        self._write("deaf", names)

    def write_went_off(self, name: str, told: WentOff) -> None:
        """Let the source tell this of how a machine went off, whatever it was."""
        self._write("went-off", self._read("went-off", {}) | {name: asdict(told)})

    def write_autostart(self, name: str, **settings: str) -> None:
        """Let a machine be started by itself, with these settings; by nothing without any."""
        self._write("autostart", self._read("autostart", {}) | {name: settings})

    def write_faults(self, method: str, *faults: type[errors.KubeferryError]) -> None:
        """Let the next calls of a method raise these, one a call."""
        self._write("faults", self._read("faults", {}) | {method: [fault.__name__ for fault in faults]})

    # --- the seam --------------------------------------------------------------------------------------------------

    def discover(self) -> Inventory:
        self._fail("discover")
        machines = [self._as_seen(one) for one in self._machines()]
        return Inventory(
            source=self._name,
            source_kind="memory",
            observed_at=clock.now("seconds"),
            machines=tuple(sorted(machines, key=lambda one: one.name)),
        )

    def concerns(self, machine: Machine) -> list[Concern]:
        self._fail("concerns")
        current = self._current(machine)
        found = [*local_disks.problems(machine, current), *self._unstoppable(current)]
        return drift.as_concerns(machine, found)

    def way(self, machine: Machine, *, remote: bool) -> AbstractContextManager[DiskRef | None]:
        self._fail("way")
        if remote and self._ssh:
            return exports.trial(self._ssh, machine)
        current = self._current(machine)
        refs = local_disks.refs(machine, current) if self._power(current) is Power.OFF else {}
        return nullcontext(next(iter(refs.values()), None))

    def open_round(self, machine: Machine, *, since: Marker | None, final: bool, remote: bool, ledger: Ledger) -> Round:
        self._fail("open_round")
        current = self._current(machine)
        off = self._power(current) is Power.OFF
        if final and not off:
            fix = "Stop it first; the last copy reads a machine that is off."
            raise SourceRefused("the machine is not off", fix=fix, machine=machine.name)
        refs = local_disks.refs(machine, current)
        views = Views(self.folder, machine)
        if off and remote and self._ssh and since is None:
            return Round(machine, exports.open_all(self._ssh, machine, refs, ledger), served=True)
        if off:
            return Round(machine, views.changed(refs, since))
        marker, refs = views.opened(refs, since, ledger)
        return Round(machine, refs, marker, served=True, consistency=self._consistency(current))

    def close_round(self, opened: Round) -> None:
        self._fail("close_round")
        self._end_exports(opened.machine)
        Views(self.folder, opened.machine).end()

    def variables(self, machine: Machine) -> bytes | None:
        self._fail("variables")
        path = self.folder / f"{machine.name}.variables"
        return path.read_bytes() if path.exists() else None

    def tpm_state(self, machine: Machine) -> bytes | None:
        self._fail("tpm_state")
        path = self.folder / f"{machine.name}.tpm"
        return path.read_bytes() if path.exists() else None

    def power(self, machine: Machine) -> Power:
        self._fail("power")
        return self._power(self._current(machine))

    def inside(self, machine: Machine) -> Inside:
        self._fail("inside")
        name = self._current(machine).name
        addresses = tuple(self._read("addresses", {}).get(name, ()))
        return Inside(addresses, lambda command, **given: self._agent(name, command, given))

    def _agent(self, name: str, command: str, given: Mapping[str, Any]) -> Any:
        """An agent that gives the files of `words.json`."""
        words = self._read("words", {}).get(name)
        answers: dict[str, Any] = {
            "guest-ping": {},
            "guest-file-open": given.get("path") if given.get("path") in (words or {}) else None,
            "guest-file-read": {
                "buf-b64": base64.b64encode((words or {}).get(given.get("handle"), "").encode()).decode()
            },
            "guest-file-close": {},
        }
        return None if words is None else answers.get(command)

    def last_start(self, machine: Machine) -> str:
        self._fail("last_start")
        return str(self._read("starts", {}).get(self._current(machine).name, 0))

    def went_off(self, machine: Machine) -> WentOff:
        self._fail("went_off")
        return WentOff(**self._read("went-off", {}).get(self._current(machine).name, {}))

    def stop(self, machine: Machine, policy: StopPolicy, hear: Hear) -> Stopped:
        self._fail("stop")
        current = self._current(machine)
        if self._power(current) is Power.OFF:
            return Stopped("already-off", clock.now())
        for problem in self._unstoppable(current):
            raise SourceRefused(
                "the machine cannot be stopped", why=problem.what, fix=problem.fix, machine=machine.name
            )
        heard_at = self._listen(current, policy, hear)
        how = "acpi" if heard_at is None else "agent"
        if current.name in self._read("deaf", []):
            if not policy.force:
                raise SourceRefused("the machine does not stop", fix=RUNS_ON, machine=machine.name)
            how = "forced"
        self.write_power(current.name, Power.OFF)
        return Stopped(how, clock.now(), heard_at)

    def start(self, machine: Machine) -> None:
        self._fail("start")
        self.write_power(self._current(machine).name, Power.RUNNING)

    def powers(self, machines: Sequence[Machine]) -> dict[str, Power]:
        self._fail("powers")
        known = {one.id: self._power(one) for one in self._machines()}
        return {machine.id: known[machine.id] for machine in machines if machine.id in known}

    def autostart(self, machine: Machine) -> Autostart | None:
        self._fail("autostart")
        settings = self._read("autostart", {}).get(self._current(machine).name)
        return Autostart(words="with its folder", settings=settings) if settings else None

    def set_autostart(self, machine: Machine, wanted: Autostart | None) -> None:
        self._fail("set_autostart")
        self.write_autostart(self._current(machine).name, **(wanted.settings if wanted else {}))

    def notes(self, machine: Machine) -> str | None:
        self._fail("notes")
        return self._notes_of(self._current(machine))

    def write_notes(self, machine: Machine, notes: str | None, was: str | None) -> None:
        self._fail("write_notes")
        current = self._current(machine)
        if self._notes_of(current) != was:
            raise SourceUnavailable("what is written about it changes", fix="Run the same again.", machine=machine.name)
        self._write("notes", self._read("notes", {}) | {current.name: notes})

    def mark(self, machine: Machine, mark: StopMark, ledger: Ledger) -> str:
        self._fail("mark")
        path = self._mark_of(self._current(machine))
        ledger(External(STOP_MARK, machine.name, str(path)))
        path.parent.mkdir(exist_ok=True)
        atomic.replace_text(path, marks.written(mark))
        return ""

    def marked(self, machine: Machine) -> StopMark | None:
        self._fail("marked")
        return marks.read(self._mark_text(self._current(machine)))

    def unmark(self, machine: Machine) -> None:
        self._fail("unmark")
        self._mark_of(machine).unlink(missing_ok=True)

    def forget(self, machine: Machine) -> list[str]:
        self._fail("forget")
        dropped = [*self._end_exports(machine), *Views(self.folder, machine).forget()]
        mark = self._mark_of(machine)
        dropped += ["mark"] if mark.exists() else []
        mark.unlink(missing_ok=True)
        return dropped

    def exists(self, thing: External) -> bool:
        return exports.exists(thing) if thing.kind == EXPORT else Path(thing.where).exists()

    def close(self) -> None:
        """Nothing is held open."""

    # --- inside ----------------------------------------------------------------------------------------------------

    def _as_seen(self, machine: Machine) -> Machine:
        text = self._mark_text(machine)
        metadata = machine.metadata | ({marks.KEY: text} if text else {})
        notes = self._notes_of(machine)
        metadata |= {marks.MOVED: line} if (line := marks.line_in(notes)) else {}
        seen = {"power": self._power(machine), "metadata": metadata, "description": marks.without_line(notes)}
        return machine.model_copy(update=seen)

    def _notes_of(self, machine: Machine) -> str | None:
        told: str | None = self._read("notes", {}).get(machine.name, machine.description)
        return told

    def _mark_of(self, machine: Machine) -> Path:
        return self.folder / "marks" / quote(machine.id, safe="")

    def _mark_text(self, machine: Machine) -> str | None:
        path = self._mark_of(machine)
        return path.read_text(encoding="utf-8") if path.exists() else None

    def _end_exports(self, machine: Machine) -> list[str]:
        return exports.close_all(self._ssh, machine) if self._ssh else []

    def _machines(self) -> tuple[Machine, ...]:
        path = self.folder / "machines.json"
        try:
            seen = path.stat()
            return _parsed(path, seen.st_mtime_ns, seen.st_ino)
        except FileNotFoundError:
            return MACHINES.validate_python(self._read("machines"))  # which says so
        except ValidationError as error:
            fix = "Write it as `Machine` is dumped."
            where = str(self.folder / "machines.json")
            raise InputInvalid(f"{where} holds no machines", [Problem(where, str(error), fix)]) from error

    def _current(self, machine: Machine) -> Machine:
        found = next((one for one in self._machines() if one.id == machine.id), None)
        if found is None:
            fix = "Discover and plan again, or define it again."
            raise SourceRefused("the source has no such machine any more", fix=fix, machine=machine.name)
        return found

    def _power(self, machine: Machine) -> Power:
        told = self._read("power", {}).get(machine.name, machine.power)
        if told not in set(Power):
            fix = f"Write one of: {', '.join(Power)}."
            where = f"{self.folder / 'power.json'}: {machine.name}"
            raise InputInvalid("a power state is none", [Problem(where, f"{told!r} is no power state", fix)])
        return Power.OFF if told == Power.UNKNOWN else Power(told)

    def _consistency(self, machine: Machine) -> str:
        return "frozen" if machine.name in self._read("words", {}) else "crash"

    def _unstoppable(self, machine: Machine) -> list[Problem]:
        if self._power(machine) is not Power.PAUSED:
            return []
        return [Problem("power", "it is paused and cannot shut down", "Resume it, or power it off by hand.")]

    def _listen(self, machine: Machine, policy: StopPolicy, hear: Hear) -> str | None:
        words = self._read("words", {}).get(machine.name)
        if words is None:
            return None
        at = clock.now()
        told = self._read("said", {}).get(machine.name)
        hear(
            {path: words[path] for path in policy.last_words if path in words},
            at,
            None if told is None else Said.model_validate(told),
        )
        return at

    def _fail(self, method: str) -> None:
        faults = self._read("faults", {})
        if faults.get(method):
            name, *left = faults[method]
            self._write("faults", faults | {method: left})
            raise getattr(errors, name)(f"{method} was told to fail", fix="Call it again.")

    def _read(self, name: str, otherwise: Any = None) -> Any:
        path = self.folder / f"{name}.json"
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            if otherwise is not None:
                return otherwise
            raise SourceUnavailable(f"{path} is not there", fix="Write the machines of the source into it.") from error
        except (OSError, ValueError) as error:
            raise InputInvalid(f"{path} cannot be read", [Problem(str(path), str(error), "Write JSON.")]) from error

    def _write(self, name: str, content: Any) -> None:
        """A reader finds the old words or the new ones, never a part."""
        path = self.folder / f"{name}.json"
        atomic.replace_text(path, json.dumps(content, indent=1))
