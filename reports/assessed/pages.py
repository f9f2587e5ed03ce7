"""The pages of an assessment: each with its place, and its text when somebody wants it."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import cache, partial
from typing import Any

from jinja2 import Environment

from kubeferry.documents.assessment import ACCEPT, policy_lines
from kubeferry.model import Severity
from kubeferry.targets.guest.probes import describe
from kubeferry.words import RUN_STRATEGIES, plain, plain_lines
from reports.assessed import telling
from reports.assessed.estate import AppOutlook, Estate, Member, Together
from reports.environment import environment
from reports.facts import hardware
from reports.hooks import what
from reports.wording import count, listed, size

Text = Callable[[], str]
Manifests = Callable[[Member], Iterable[tuple[str, str, str]]]
"""The manifests of a machine: each with its file beside the machine's page, what it is called, and its text."""


SHOWN = 8  # kinds of open decisions before the list is folded


def app_file(name: str) -> str:
    """The file of an app's page. Machines have folders, of names without dots, so it is nobody else's."""
    return f"app-{name}.html"


def html_pages(estate: Estate, manifests: Manifests) -> Iterator[tuple[str, Text]]:
    """Each page by its place, and the way to its text: pages of thousands are not held at once."""
    yield "index.html", partial(_index, estate)
    for app in estate.apps:
        yield app_file(app.name), partial(_app, estate, app)
    for member in estate.members:
        yield f"{member.folder}/index.html", partial(_machine, estate, member, manifests)


@cache
def _templates() -> Environment:
    made = environment().overlay()
    made.globals = dict(made.globals)
    made.globals.update(
        WORDS=telling.VERDICTS,
        TONES=telling.TONES,
        PLACES=telling.PLACES,
        SPOKEN=telling.SPOKEN,
        SENTENCES=telling.SENTENCES,
        RUN=RUN_STRATEGIES,
        app_file=app_file,
        sizes=telling.sizes,
        copy_time=telling.copy_time,
        amount=telling.amount,
        downtime=telling.downtime,
        goes=telling.card_goes,
        proofs=telling.proofs,
        hooked=what,
        back=telling.way_back,
        question=describe,
        hardware=hardware,
        quantity=_quantity,
        tier_of=_tier_of,
        shell=_in_shell,
        SHOWN=SHOWN,
        ACCEPT=ACCEPT,
    )
    return made


def _render(name: str, estate: Estate, **given: Any) -> str:
    folders = {member.name: member.folder for member in estate.members} if given.pop("links", False) else {}
    return _templates().get_template(f"assessed/{name}").render(estate=estate, place=folders.get, **given)


# --- the index --------------------------------------------------------------------------------------------------------


def _index(estate: Estate) -> str:
    every = Together("all", tuple(member for member in estate.members if member.verdict != "excluded"))
    return _render(
        "index.html",
        estate,
        all=every,
        owned=any(member.app or member.owner for member in estate.members),
        headline=_headline(estate),
        sentence=_sentence(estate),
        filters=[one for one in _filters(estate) if len(one[2]) > 1],
    )


def _headline(estate: Estate) -> str:
    verdicts, total = estate.verdicts, len(estate.members) - estate.verdicts["excluded"]
    if not total:
        return "No machine is to move"
    ready = verdicts["ready"] + verdicts["ready-with-warnings"] - sum(bool(member.held) for member in estate.members)
    return f"{ready} of {count(total, 'machine')} can move"


def _sentence(estate: Estate) -> str:
    verdicts = estate.verdicts
    told = {
        "blocked": "{} blocked until something is settled",
        "incomplete": "{} of disks whose size is not known",
        "ready-with-warnings": "{} with something to check first",
        "ready": "{} that nothing speaks against",
        "excluded": "{} left out by the policy",
    }
    parts = [text.format(verdicts[name]) for name, text in told.items() if verdicts[name]]  # type: ignore[index]
    held = sum(bool(member.held) for member in estate.members)
    parts += [f"{held} held back by another one"] if held else []
    return f"{'; '.join(parts)}." if parts else "The inventory holds no machine."


def _filters(estate: Estate) -> Iterator[tuple[str, str, list[tuple[str, str]]]]:
    """What can be picked: the field, what it is called, and its values with what is shown."""
    verdicts = estate.verdicts
    yield "app", "App", _values(member.app for member in estate.members)
    yield "wave", "Wave", [(wave.name, wave.name) for wave in estate.waves]
    yield "verdict", "Verdict", [(one, f"{telling.VERDICTS[one]} ({verdicts[one]})") for one in verdicts]
    yield "concern", "Concern", [(one.id, f"{one.id} ({one.machines})") for one in estate.common]
    places = Counter(member.told.triage.place for member in estate.members if member.told.triage)
    yield "place", "Fits as", [(one, f"{one} ({places[one]})") for one in ("vm", "container", "stay") if places[one]]
    yield "owner", "Owner", _values(member.owner for member in estate.members)


def _values(said: Iterable[str]) -> list[tuple[str, str]]:
    return [(one, plain(one)) for one in sorted({one for one in said if one})]


# --- a machine, an app ----------------------------------------------------------------------------------------------


def _machine(estate: Estate, member: Member, manifests: Manifests) -> str:
    told = member.told
    claims = {one["metadata"]["name"]: one["spec"] for one in told.manifests if one["kind"] == "PersistentVolumeClaim"}
    return _render(
        "machine.html",
        estate,
        links=True,
        member=member,
        claims=claims,
        accept_all=_accept_all([member]),
        infos=[one for one in told.concerns if one.severity == Severity.INFO],
        decided=list(_decided(member)),
        manifests=[(file, title, plain_lines(text)) for file, title, text in manifests(member)],
    )


def _app(estate: Estate, app: AppOutlook) -> str:
    members = [member for member in app.members if member.verdict != "excluded"]
    blocked = [member.name for member in members if member.verdict == "blocked"]
    if blocked:
        sentence = f"It does not move as a whole until {listed(blocked)} can."
    else:
        sentence = telling.SENTENCES[app.verdict]
    return _render("app.html", estate, links=True, app=app, sentence=plain(sentence), accept_all=_accept_all(members))


def _accept_all(members: Iterable[Member]) -> str:
    """The lines that accept all that can be accepted, of all these machines; empty where there are not several."""
    lines = {}
    for member in members:
        ids = [one.id for one in member.told.decisions if any(answer.means == ACCEPT for answer in one.answers)]
        if ids:
            lines[member.name] = {"accept": list(dict.fromkeys(ids))}
    if sum(len(one["accept"]) for one in lines.values()) < 2:
        return ""
    return policy_lines({"machines": lines})


def _decided(member: Member) -> Iterator[tuple[str, str, str]]:
    for place, rule in sorted(member.told.decided.items()):
        yield place, json.dumps(member.told.chosen.get(place), ensure_ascii=False).strip('"'), rule


def _tier_of(app: AppOutlook, name: str) -> str:
    return next((str(number) for number, tier in enumerate(app.tiers, start=1) if name in tier), "")


def _quantity(what: str, amount: float) -> str:
    """An amount in the words of what it is an amount of."""
    sized = any(word in what for word in ("memory", "storage")) or what == "claims"
    return size(amount) if sized else f"{amount:g}"


def _in_shell(name: str) -> str:
    """A name as a shell takes it, on one line."""
    return shlex.quote(plain(name))
