"""A large plan of somebody else's in our own form is read line by line: as PyYAML reads it, or not at all."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bench.commands import a_machine
from kubeferry.documents import (
    AppPolicy,
    Inventory,
    Plan,
    PlannedApproval,
    Policy,
    dump,
    files,
    freeze,
    load,
    load_outline,
    outline,
    parse,
    yaml_lines,
)
from kubeferry.documents.first_reading import lines_of
from kubeferry.documents.lines import to_lines
from kubeferry.documents.readings import text_of
from kubeferry.documents.yaml_lines import Irregular, document
from kubeferry.documents.yaml_read import parse_yaml, twice
from kubeferry.documents.yaml_text import to_yaml
from kubeferry.errors import InputInvalid
from kubeferry.model import Machine, Power
from kubeferry.sources.libvirt.domain.machine import parse_domain
from mappings.plan import make_plan

GOLDEN = sorted((Path(__file__).parents[1] / "golden" / "libvirt").glob("*.xml"))
MADE_AT = "2026-01-01T00:00:00Z"
SEED = 20260101


def a_plan(*machines: Machine, policy: Policy | None = None) -> Plan:
    inventory = Inventory(source="lab", source_kind="memory", observed_at="", machines=machines)
    return make_plan(inventory, policy or Policy(), name="lab", created_at=MADE_AT)


@pytest.fixture(autouse=True)
def _every_plan_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "LARGE_PLAN", 0)


@pytest.fixture
def whole(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of documents that PyYAML read as a whole."""
    names: list[str] = []

    def told(text: str, name: str) -> object:
        names.append(name)
        return parse_yaml(text, name)

    monkeypatch.setattr(files, "parse_yaml", told)
    return names


@pytest.fixture(scope="module")
def plan() -> Plan:
    return a_plan(*(a_machine(number) for number in range(3)))


def read(path: Path) -> list[str]:
    text = text_of(path)
    with path.open("rb") as stream:
        return list(lines_of(stream, text.digest, text.claims))


# --- plans -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda golden: golden.stem)
def test_plans_of_real_machines_are_read_so(tmp_path: Path, golden: Path) -> None:
    machine = parse_domain(golden.read_text(encoding="utf-8"), source="lab", power=Power.OFF, where=golden.name)
    disks = [one if one.uri is None else one.model_copy(update={"capacity_bytes": 1 << 30}) for one in machine.disks]
    made = a_plan(machine.model_copy(update={"disks": tuple(disks)}), a_machine(1))
    path = tmp_path / "plan.yaml"
    path.write_text(dump(made))
    assert read(path) == list(to_lines(made))


def test_so_is_a_plan_that_asks_for_an_approval(tmp_path: Path, plan: Plan) -> None:
    made = freeze(plan.model_copy(update={"approval": PlannedApproval()}))
    path = tmp_path / "plan.yaml"
    path.write_text(dump(made))
    assert read(path) == list(to_lines(made))


@pytest.mark.parametrize("ask", [load_outline, lambda path: load(path, Plan)], ids=["outline", "plan"])
def test_a_plan_with_apps_is_read_so(tmp_path: Path, whole: list[str], ask: Any) -> None:
    machines = [a_machine(number) for number in range(3)]
    shop = AppPolicy(members=tuple(one.name for one in machines[:2]), together=True, owner="Anna")
    made = a_plan(*machines, policy=Policy(apps={"shop": shop}))
    path = tmp_path / "plan.yaml"
    path.write_text(dump(made))
    assert read(path) == list(to_lines(made))
    for _ in range(2):
        assert ask(path) in (made, outline(made))
    assert [app.owner for app in ask(path).apps] == ["Anna"]
    assert whole == []


@pytest.mark.parametrize("ask", [load_outline, lambda path: load(path, Plan)], ids=["outline", "plan"])
@pytest.mark.parametrize("kept", [True, False])
def test_no_tree_of_the_whole_is_made(tmp_path: Path, plan: Plan, whole: list[str], ask: Any, kept: bool) -> None:
    """Whether the reading can be kept or not."""
    path = tmp_path / "plan.yaml"
    path.write_text(dump(plan))
    if not kept:
        (tmp_path / ".kubeferry").write_text("a file")
    assert ask(path) in (plan, outline(plan))
    assert ask(path) in (plan, outline(plan))
    assert whole == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("power: running", "power: &x running"),
        ("power: running", "power: !!str running"),
        ("power: running", "power: running\n    power: running"),
        ("power: running", "power:\trunning"),
        ("    power: running\n", "    power: running # on\n"),
        ("    power: running\n", "    power: running\n    # on\n"),
        ("power: running", "power: running\u2028    power: running"),
        ("power: running", "power: running\x85"),
        ("power: running", "power: [running"),
        ("power: running", "power: 'running"),
        ("power: running", "power: |\n      running"),
        ("power: running", "power: off"),
        ("power: running", "<<: {power: running}"),
        ("power: running", "colour: red"),
        ("vcpus: 2", "vcpus: 2.0"),
        ("vcpus: 2", "vcpus: '2'"),
        ("vcpus: 2", "vcpus: .inf"),
        ("rounds: 6", "rounds: " + "9" * 5000),
        ("entries:\n", "entries:\nentries:\n"),
        ("entries:\n", "entries:\n---\n"),
        ("source: lab\n", "source: lab\n...\n"),
        ("source: lab\n", "source: lab\nsource: lab\n"),
        ("source: lab\n", "source: prod\n"),
        ("kind: Plan", "kind: Inventory"),
        ("sourceVersion: ''\n", ""),
        ("sourceVersion: ''\n", "sourceVersion: ''\ncolour: red\n"),
        ("name: machine-0001\n  targetName", "name: machine-0000\n  targetName"),
        ("  mode: cold\n", ""),
        ("- name: machine-0001\n  targetName", "- - name: machine-0001\n  targetName"),
        ("- name: machine-0001\n", "- 5\n- name: machine-0001\n"),
        ("apiVersion:", "\ufeffapiVersion:"),
        ("\n", "\r\n"),
        ("\n", "\n\n"),
    ],
    ids=lambda text: repr(text)[:40],
)
def test_whatever_is_changed_is_told_as_it_would_be_of_a_small_plan(
    tmp_path: Path, plan: Plan, old: str, new: str
) -> None:
    """Read as PyYAML reads it, or refused with the same words; a digest that fits what was changed makes no
    difference to that."""
    assert old in dump(plan)
    path = tmp_path / "plan.yaml"
    path.write_text(dump(plan).replace(old, new), newline="")
    told = outcome(lambda: parse(path.read_text(encoding="utf-8"), Plan, name=str(path)))
    assert outcome(lambda: load(path, Plan)) == told
    wanted = outline(told) if isinstance(told, Plan) else told
    assert outcome(lambda: load_outline(path)) == wanted


def outcome(ask: Any) -> Any:
    try:
        return ask()
    except InputInvalid as error:
        return str(error)


@pytest.mark.parametrize("broken", ["waves", "name", "twice", "namespace"])
def test_a_plan_that_is_none_though_its_digest_fits_is_refused(tmp_path: Path, plan: Plan, broken: str) -> None:
    """An outline takes less of it, and refuses it all the same."""
    (wave,), (first, second, third) = plan.waves, plan.entries
    changes: dict[str, Any] = {
        "waves": (wave.model_copy(update={"machines": wave.machines[1:]}),),
        "name": "No Name",
        "twice": (first, second, third, second),
        "namespace": (first.model_copy(update={"namespace": "No Name"}), second, third),
    }
    field = {"twice": "entries", "namespace": "entries"}.get(broken, broken)
    path = tmp_path / "plan.yaml"
    path.write_text(dump(freeze(plan.model_copy(update={field: changes[broken]}))))
    with pytest.raises(Irregular):
        read(path)
    told = outcome(lambda: load(path, Plan))
    assert isinstance(told, str)
    assert outcome(lambda: load_outline(path)) == told


@pytest.mark.parametrize("form", ["json", "comment"])
def test_another_form_is_noticed_at_once(tmp_path: Path, plan: Plan, whole: list[str], form: str) -> None:
    """PyYAML reads it as a whole once, not twice."""
    text = {
        "json": plan.model_dump_json(by_alias=True, indent=1),
        "comment": f"# ours\n{dump(plan)}",
    }[form]
    asked = yaml_lines._asked.cache_info().misses
    with pytest.raises(Irregular):
        document(text)
    path = tmp_path / "plan.yaml"
    path.write_text(text)
    with pytest.raises(Irregular):
        read(path)
    assert yaml_lines._asked.cache_info().misses - asked == 0
    assert load(path, Plan) == plan
    assert whole == [str(path)]


def test_what_has_no_end_is_no_text_of_ours() -> None:
    with pytest.raises(Irregular, match="more than one text"):
        document("a: 'x\n" + "  y\n" * 2000 + "  z'\n")


def test_a_file_that_is_changed_while_it_is_read_is_none(tmp_path: Path, plan: Plan) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text(dump(plan))
    text = text_of(path)
    other = dump(freeze(plan.model_copy(update={"excluded": {"a": "b"}})))
    lines = [line.encode() for line in other.splitlines(keepends=True)]
    with pytest.raises(Irregular, match="changed meanwhile"):
        list(lines_of(lines, text.digest, text.claims))


# --- other documents -------------------------------------------------------------------------------------------------


def test_a_large_inventory_is_read_so_and_its_faults_are_told_with_their_lines(
    tmp_path: Path, whole: list[str]
) -> None:
    machines = tuple(a_machine(number) for number in range(100))
    inventory = Inventory(source="lab", source_kind="memory", observed_at="", machines=machines)
    path = tmp_path / "inventory.yaml"
    text = dump(inventory)
    assert len(text) > files.LARGE_TEXT
    path.write_text(text)
    assert load(path, Inventory) == inventory
    assert whole == []
    path.write_text(text.replace("power: running", "power: sleepy", 1))
    with pytest.raises(InputInvalid, match=r"inventory.yaml:11: machines\[0\].power"):
        load(path, Inventory)
    path.write_text(text)
    with pytest.raises(InputInvalid, match="is not a Policy"):
        load(path, Policy)


def test_an_entry_is_found_by_its_name_in_a_copy_as_well(plan: Plan) -> None:
    assert plan.entry("machine-0001") is plan.entries[1]
    assert plan.places is plan.places, "looked through once"
    copy = plan.model_copy(update={"entries": plan.entries[1:]})
    assert copy.entry("machine-0001") is plan.entries[1]
    with pytest.raises(KeyError):
        copy.entry("machine-0000")
    assert parse(dump(plan), Plan) == plan, "what was asked is no part of it"


# --- data ------------------------------------------------------------------------------------------------------------

TEXTS = st.one_of(
    st.text(max_size=12),
    st.text("ab :-#'\"[]{}|>&*!%@?,\\=<.~0123e_\n", max_size=140),
    st.sampled_from(["yes", "No", "null", "~", "2026-01-01", "1:30", "0x1F", "012", "1_0", ".inf", "1e3", "=", "<<"]),
    st.lists(st.sampled_from(["word", "it's", "a: b", "c #d", "-"]), max_size=60).map(" ".join),
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=12,
)
DATA = st.dictionaries(st.one_of(st.sampled_from(["name", "id", "kind"]), TEXTS), VALUES, min_size=1, max_size=4)


def told_by_lines(text: str) -> Any:
    return document(text)


@given(DATA)
def test_what_lines_say_is_what_was_written(content: dict[str, Any]) -> None:
    try:
        told = told_by_lines(to_yaml(content))
    except Irregular:
        return
    assert told == content


@given(st.dictionaries(st.sampled_from(["a", "b"]), st.one_of(TEXTS, st.integers(-9, 9), st.floats(0, 9)), min_size=1))
def test_texts_and_numbers_of_every_kind_are_read(content: dict[str, Any]) -> None:
    """Of what PyYAML itself reads back as it was."""
    text = to_yaml(content)
    if parse_yaml(text, "")[0] == content and "\\" not in text and "<<" not in text:
        assert told_by_lines(text) == content


@given(
    DATA, st.lists(st.tuples(st.integers(0, 10_000), st.sampled_from(" -:#'\"\n\t[]{}&*!|>%?,\\ax1\x85")), max_size=4)
)
@example({"a": "x"}, [(2, "&")])
def test_of_a_text_that_was_changed_they_say_what_pyyaml_says_or_nothing(
    content: dict[str, Any], changes: list[tuple[int, str]]
) -> None:
    text = to_yaml(content)
    for place, sign in changes:
        at = place % (len(text) + 1)
        text = text[:at] + sign + text[at + place % 2 :]
    check_same(text)


def test_the_same_of_a_plan_with_changes_at_random(plan: Plan) -> None:
    chance = random.Random(SEED)
    lines = dump(plan).split("\n")[:130]
    for _ in range(400):
        changed = list(lines)
        at = chance.randrange(len(changed))
        match chance.randrange(5):
            case 0:
                changed[at] = " " * chance.randrange(4) + changed[at]
            case 1:
                changed[at] = changed[at][chance.randrange(4) :]
            case 2:
                changed.insert(at, chance.choice(lines))
            case 3:
                del changed[at]
            case _:
                place = chance.randrange(len(changed[at]) + 1)
                changed[at] = changed[at][:place] + chance.choice("-: '\"#{[&*!\n") + changed[at][place:]
        check_same("\n".join(changed) + "\n")


@pytest.mark.parametrize(
    "text",
    [
        "a: b\n{c: d}\n",
        "a: b\n---\n    c: d\n",
        "a: |\n  b\n# c\n    d: e\nf: g\n",
        "a:\n  {b: c}\n  d: e\n",
        "a: |\n  b",
        "a: >\n  b\n  c: d",
    ],
    ids=repr,
)
def test_what_is_right_alone_and_otherwise_among_other_lines_is_not_read_so(text: str) -> None:
    """Braces, comments and marks of documents that stand where a pair does, and a text that ends without its line."""
    check_same(text)


def check_same(text: str) -> None:
    try:
        told = told_by_lines(text)
    except Irregular:
        return
    content, root = parse_yaml(text, "f")
    assert told == content
    assert twice(root, "f") == []
