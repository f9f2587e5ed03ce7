"""Keys and signatures of OpenSSH as they are read without it: the same as ssh-keygen says, and nothing that lies."""

from __future__ import annotations

import base64
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from kubeferry.documents import Policy
from kubeferry.documents.signers import allowed, fingerprint, key_of, public_key, signers_in
from tests.needs import needs

pytestmark = needs("ssh-keygen")
KINDS = ("ed25519", "ecdsa", "rsa")


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("keys")
    for kind in KINDS:
        argv = ["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "a comment", "-f", str(folder / kind)]
        subprocess.run(argv, check=True)
    return {kind: folder / kind for kind in KINDS}


def line_of(key: Path) -> str:
    return key.with_name(f"{key.name}.pub").read_text()


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_and_its_fingerprint_are_those_of_ssh_keygen(keys: dict[str, Path], kind: str) -> None:
    told = subprocess.run(["ssh-keygen", "-l", "-f", keys[kind]], check=True, capture_output=True, text=True).stdout
    key = public_key(line_of(keys[kind]))
    assert fingerprint(key) == told.split()[1]
    assert key == " ".join(line_of(keys[kind]).split()[:2])


@pytest.mark.parametrize("kind", KINDS)
def test_a_signature_names_the_key_that_made_it(keys: dict[str, Path], kind: str) -> None:
    argv = ["ssh-keygen", "-q", "-Y", "sign", "-n", "kubeferry", "-f", str(keys[kind])]
    signature = subprocess.run(argv, input="text", check=True, capture_output=True, text=True).stdout
    assert key_of(signature) == public_key(line_of(keys[kind]))


@given(st.text(max_size=300))
def test_what_is_no_signature_is_told_whatever_it_is(text: str) -> None:
    for one in (text, f"-----BEGIN SSH SIGNATURE-----{text}-----END SSH SIGNATURE-----"):
        with pytest.raises(ValueError, match="signature"):
            key_of(one)


@given(st.binary(max_size=200))
def test_no_bytes_in_an_armour_are_more_than_an_error(content: bytes) -> None:
    armour = f"-----BEGIN SSH SIGNATURE-----\n{base64.b64encode(content).decode()}\n-----END SSH SIGNATURE-----\n"
    with pytest.raises(ValueError, match="signature"):
        key_of(armour)


@pytest.mark.parametrize(
    "text",
    [
        *("", "ssh-ed25519", "ssh-ed25519 !!!!", "ssh-ed25519 AAAA", "ssh-dss AAAAB3NzaC1kc3M=", "nonsense " * 10_000),
        "ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIDJf8aFpYgFEm4IzJdtQ0rUq9FmFv7nHvbp0dPrEvj5h",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDJf8aFpYgFEm4IzJdtQ0rUq9FmFv7nHvbp0dPrEvj5h\neve ssh-ed25519 AAAA",
    ],
)
def test_what_is_no_key_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="public key"):
        public_key(text)


def test_a_list_of_signers_is_read_and_written(keys: dict[str, Path]) -> None:
    key = public_key(line_of(keys["ed25519"]))
    text = f'# who may\n\nann,ann@example.org {key} comment\nbob namespaces="kubeferry" {key}\n'
    assert signers_in(text) == [("ann", key), ("bob", key)]
    assert allowed([("ann", key)]) == f'ann namespaces="kubeferry" {key}\n'


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("*@example.org KEY", "names nobody"),
        ("!ann KEY", "names nobody"),
        ("ann cert-authority KEY", "is not understood"),
        ('ann namespaces="git" KEY', "is not understood"),
        ('ann valid-before="20300101" KEY', "is not understood"),
        ("ann", "public key"),
        ("ann nonsense", "public key"),
    ],
)
def test_what_would_say_less_than_it_seems_to_is_refused(keys: dict[str, Path], line: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        signers_in(line.replace("KEY", line_of(keys["ed25519"])))


def test_two_names_for_one_key_are_no_four_eyes(keys: dict[str, Path]) -> None:
    key = line_of(keys["ecdsa"])
    for approvers in (f"ann {key}bob {key}", [{"name": "ann", "key": key}, {"name": "bob", "key": key}]):
        with pytest.raises(ValidationError, match=r"stands for two approvers \(ann and bob\)"):
            Policy.model_validate({"approvers": approvers})
    with pytest.raises(ValidationError, match="stands for two approvers"):
        Policy.model_validate({"approvers": [{"name": "ann", "users": ["a"]}, {"name": "bob", "users": ["a"]}]})


def test_several_keys_of_one_name_are_one_person(keys: dict[str, Path]) -> None:
    policy = Policy.model_validate({"approvers": f"ann {line_of(keys['ecdsa'])}ann {line_of(keys['rsa'])}"})
    assert policy.approvers is not None
    assert [(one.name, len(one.keys)) for one in policy.approvers] == [("ann", 2)]
