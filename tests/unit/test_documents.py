"""Documents: there and back, and everything that is wrong with one told with its line."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from kubeferry.documents import (
    API_VERSION,
    KINDS,
    Config,
    Inventory,
    Plan,
    Policy,
    Probe,
    Wave,
    digest_of,
    dump,
    freeze,
    json_schema,
    load,
    parse,
    save,
    yaml_read,
)
from kubeferry.errors import InputInvalid
from kubeferry.model import Cpu, Machine, Memory

CONFIG = """\
apiVersion: kubeferry.io/v1alpha1
kind: Config
sources:
  lab: {kind: libvirt}
target:
  kind: directory
  path: out
"""


def machine(name: str) -> Machine:
    return Machine(id=name, name=name, source="lab", cpu=Cpu(vcpus=1), memory=Memory(size_bytes=1 << 30))


def plan() -> Plan:
    return freeze(
        Plan(name="p", created_at="2026-01-01T00:00:00Z", source="lab", inventory_digest="", waves=(), entries=())
    )


def test_a_document_survives_the_way_to_disk_and_back(tmp_path: Path) -> None:
    inventory = Inventory(
        source="lab", source_kind="libvirt", observed_at="2026-11-24T02:00:00Z", machines=(machine("Grüße"),)
    )
    for name in ("inventory.yaml", "inventory.json"):
        save(inventory, tmp_path / name)
        assert load(tmp_path / name, Inventory) == inventory
    assert sorted(path.name for path in tmp_path.iterdir()) == ["inventory.json", "inventory.yaml"]


def test_all_problems_are_told_at_once_with_their_lines() -> None:
    text = CONFIG + "  colour: red\njournal:\n  urll: x\nlimits:\n  concurrentMachines: 0\n"
    with pytest.raises(InputInvalid) as caught:
        parse(text, Config, name="kubeferry.yaml")
    places = {problem.where: problem.what for problem in caught.value.problems}
    assert places.keys() == {"kubeferry.yaml:8", "kubeferry.yaml:10", "kubeferry.yaml:12"}
    assert "target.colour: is not a field" in places["kubeferry.yaml:8"]
    assert all(problem.fix for problem in caught.value.problems)
    assert caught.value.exit_code == 2


def test_a_bus_that_kubevirt_has_not_and_a_size_that_is_none_are_told_with_their_lines() -> None:
    """Choices for single disks and for instance types are read as strictly as the rest."""
    text = """apiVersion: kubeferry.io/v1alpha1
kind: Policy
machines:
  web:
    instancetype: {name: U1 Medium}
    disks:
      - match: {sizeFrom: large}
        bus: ide
        bootOrder: 0
"""
    with pytest.raises(InputInvalid) as caught:
        parse(text, Policy, name="policy.yaml")
    places = [problem.where for problem in caught.value.problems]
    assert sorted(place.partition(" ")[0].rstrip(",:") for place in places) == [
        f"policy.yaml:{line}" for line in (5, 7, 8, 9)
    ]


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("kind: Plan\n", 1, "apiVersion is None"),
        (f"apiVersion: {API_VERSION}\nkind: Plan\n", 2, "kind is 'Plan'"),
        ("- 1\n", 1, "not a mapping"),
        ("a: [1\nb: 2\n", 2, "expected"),
        ("a: &x [1]\nb: *x\n", 2, "aliases"),
        ("a: 1\nb: !!binary aGVsbG8=\n", 2, "tags"),
        ("a: !!set {b, c}\n", 1, "tags"),
        ("a: !!int b\n", 1, "tags"),
        ("a: !!timestamp 2026-11-25\n", 1, "tags"),
        (f"a:\n  {'{b: ' * 5000}1{'}' * 5000}\n", 2, "nested more than 100 deep"),
        ("", 1, "not a mapping"),
        ("a: 1\n? [b, c]\n: 2\n", 2, "unhashable key"),
        ("? {b: c}\n: 2\n", 1, "unhashable key"),
        (f"<<: {{b: 1}}\napiVersion: {API_VERSION}\nkind: Plan\n", 3, "kind is 'Plan'"),
        (f"kind: Config\napiVersion: {API_VERSION}\n<<: {{kind: Plan}}\nb: 1\nb: 2\n", 5, "'b' is there twice"),
    ],
)
def test_what_is_no_such_document_is_refused_with_its_line(text: str, line: int, said: str) -> None:
    with pytest.raises(InputInvalid) as caught:
        parse(text, Config, name="f.yaml")
    assert f"f.yaml:{line}" in {problem.where for problem in caught.value.problems}
    assert said in str(caught.value)


@pytest.mark.parametrize("number", ["9" * 5000, "0x" + "f" * 5000])
def test_a_number_without_end_is_refused(number: str) -> None:
    with pytest.raises(InputInvalid, match="thousands of digits"):
        parse(f"{CONFIG}limits:\n  concurrentMachines: {number}\n", Config)


def test_a_number_where_text_is_meant_is_told_to_want_quotes() -> None:
    head = f"apiVersion: {API_VERSION}\nkind: Policy\n"
    for line in ("kubevirt: 1.6", "namespace: 12"):
        with pytest.raises(InputInvalid) as refused:
            parse(f"{head}{line}\n", Policy)
        assert "Put it in quotes" in refused.value.fix
    with pytest.raises(InputInvalid) as refused:
        parse(f"{head}kubevirt: 1.4\n", Policy)
    assert refused.value.fix == "Correct the value."


def test_all_problems_are_told_in_the_order_of_their_lines_with_what_to_write() -> None:
    text = f"""apiVersion: {API_VERSION}
kind: Policy
bogus: 1
networks: [{{target: multus, sourceName: a-very-long-name-of-a-network-that-nobody-wants-to-read-again}}]
probes:
  - {{kind: tcp, expect: SSH}}
rules:
  - match: {{name: web}}
    instancetype: u1.medium
"""
    with pytest.raises(InputInvalid) as refused:
        parse(text, Policy, name="p.yaml")
    assert [(one.where, one.what, one.fix) for one in refused.value.problems] == [
        (
            "p.yaml:3",
            "bogus: is not a field of this document",
            "Remove it or correct its spelling; `kubeferry schema` lists the fields.",
        ),
        ("p.yaml:4", "networks[0]: target multus needs multusName", "Correct the value."),
        ("p.yaml:6", "probes[0]: a probe of kind tcp needs port", "Correct the value."),
        (
            "p.yaml:9",
            "rules[0].instancetype: Input should be an object (got 'u1.medium')",
            "Write fields, as in `{name: value}`; `kubeferry schema` lists them.",
        ),
    ]


def test_a_document_of_another_kind_is_told_in_english() -> None:
    with pytest.raises(InputInvalid, match=r"policy\.yaml is not an Inventory that") as refused:
        parse(f"apiVersion: {API_VERSION}\nkind: Policy\n", Inventory, name="policy.yaml")
    assert refused.value.fix == "Give an Inventory document, `kind: Inventory`."


def test_a_key_that_is_there_twice_is_told_and_neither_value_taken() -> None:
    text = f"{CONFIG}limits:\n  concurrentMachines: 1\n  concurrentMachines: 0\n"
    with pytest.raises(InputInvalid) as caught:
        parse(text, Config, name="f.yaml")
    lines = len(text.splitlines())
    told = {problem.where: problem.what for problem in caught.value.problems}
    assert told[f"f.yaml:{lines}"] == "'concurrentMachines' is there twice"
    assert len(caught.value.problems) == 2


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00", "folder"])
def test_a_file_that_cannot_be_read_is_told(tmp_path: Path, content: bytes | str | None) -> None:
    path = tmp_path / "kubeferry.yaml"
    if content == "folder":
        path.mkdir()
    elif isinstance(content, bytes):
        path.write_bytes(content)
    with pytest.raises(InputInvalid, match=r"cannot be read"):
        load(path, Config)


def test_a_plan_that_was_edited_is_refused() -> None:
    text = dump(plan())
    assert parse(text, Plan) == plan()
    with pytest.raises(InputInvalid, match="changed after it was made"):
        parse(text.replace("source: lab", "source: prod"), Plan)


def test_a_plan_holds_each_machine_once() -> None:
    with pytest.raises(ValueError, match="each machine exactly once"):
        Plan(
            name="p",
            created_at="t",
            source="lab",
            inventory_digest="",
            waves=(Wave(name="wave-1", machines=("web",)),),
            entries=(),
        )


def test_two_machines_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="two machines are called 'web'"):
        Inventory(source="lab", source_kind="libvirt", observed_at="t", machines=(machine("web"), machine("web")))


def test_a_probe_names_what_it_needs() -> None:
    with pytest.raises(ValueError, match="http needs port"):
        Probe(kind="http")


def test_times_stay_text() -> None:
    text = f"apiVersion: {API_VERSION}\nkind: Inventory\nsource: lab\nsourceKind: x\nobservedAt: 2026-11-24T02:00:00Z\n"
    assert parse(text, Inventory).observed_at == "2026-11-24T02:00:00Z"


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_has_a_closed_schema(kind: str) -> None:
    schema = json_schema(kind)
    assert schema["additionalProperties"] is False
    assert {"apiVersion", "kind"} <= schema["properties"].keys()


@given(labels=st.dictionaries(st.text(min_size=1), st.text()), namespace=st.from_regex(r"[a-z]{1,20}", fullmatch=True))
def test_any_text_survives(labels: dict[str, str], namespace: str) -> None:
    policy = Policy(namespace=namespace, labels=labels)
    if all(_yaml_can_hold(text) for pair in labels.items() for text in pair):
        assert parse(dump(policy), Policy) == policy


def _yaml_can_hold(text: str) -> bool:
    return all(0x20 <= ord(c) < 0xD800 and c not in "\x7f\x85\u2028\u2029\ufeff" for c in text)


@given(st.text(max_size=200))
def test_no_text_crashes_the_reader(text: str) -> None:
    with pytest.raises(InputInvalid):
        parse(text, Plan)


def test_the_digest_is_of_the_content() -> None:
    assert digest_of(Policy()) == digest_of(Policy())
    assert digest_of(Policy()) != digest_of(Policy(namespace="other"))


PIECES = (
    *("a: 1\n", "b:\n", "  c: [x, {y: no}]\n", "- 2\n", "a: 2026-01-01\n", "<<: {a: 2, d: 0x1F}\n", "? [k]\n: 1\n"),
    *("'", '"q": "\\n"\n', "---\n", "e: |\n  text\n", "f: 1e3\n", "= : 1\n", "# note\n", "\n", "{", "]"),
    *("g: 1:30\n", "\t"),
)


@given(st.lists(st.sampled_from(PIECES), max_size=8).map("".join))
def test_what_is_read_at_once_is_what_yaml_s_own_readers_say(text: str) -> None:
    """Its content, that it is refused, and the lines of its nodes, all from going through the text once."""
    try:
        content = yaml.load(text, Loader=yaml_read.Loader)  # noqa: S506 (a safe loader)
        wanted = content, serialized(yaml.compose(text, Loader=yaml.CSafeLoader))
    except yaml.YAMLError:
        with pytest.raises(InputInvalid, match="is not valid YAML"):
            yaml_read.parse_yaml(text, "f")
        return
    content, root = yaml_read.parse_yaml(text, "f")
    assert (content, serialized(root)) == wanted


def serialized(node: yaml.Node | None) -> object:
    """A node with the line of each of its parts, as plain data."""
    if isinstance(node, yaml.ScalarNode | None):
        return None if node is None else (node.start_mark.line, node.value)
    if isinstance(node, yaml.MappingNode):
        return [node.start_mark.line, *((serialized(key), serialized(value)) for key, value in node.value)]
    return [node.start_mark.line, *map(serialized, node.value)]
