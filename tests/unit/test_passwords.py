"""Passwords in addresses are refused in words that do not tell them, and struck out of what is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flows.cli.output import Session, print_error
from kubeferry.config import read_config
from kubeferry.documents import Config, JournalConfig, Policy, load, parse
from kubeferry.errors import InputInvalid, TargetUnavailable
from kubeferry.journal import Journal
from kubeferry.passwords import carried, struck
from kubeferry.sources.libvirt.domain.machine import parse_domain

HEAD = "apiVersion: kubeferry.io/v1alpha1\nkind: Config\n"


def config_of(source: str = "{kind: libvirt}", journal: str = "sqlite:///j.db", target: str = "") -> str:
    rest = f"target: {{kind: directory, path: out{target}}}\njournal: {{url: '{journal}'}}\n"
    return f"{HEAD}sources:\n  lab: {source}\n{rest}"


@pytest.mark.parametrize(
    "text",
    [
        config_of("{kind: libvirt, uri: 'qemu+tcp://ann:hunter2@host/system'}"),
        config_of("{kind: ova, uri: 'file://ann:hunter2@host/folder'}"),
        config_of("{kind: memory, uri: 'memory://ann:hunter2@/folder'}"),
        config_of("{kind: vmware, uri: 'https://ann:hunter2@vc/sdk'}"),
        config_of("{kind: libvirt, uri: 'qemu:///system?token=hunter2'}"),
        config_of("{kind: libvirt, uri: 'qemu+ssh://ann:hunter2/x@host/system'}"),
        *(
            config_of(f"{{kind: libvirt, uri: 'qemu+tcp://host/system?{name}=hunter2'}}")
            for name in ("pass", "pwd", "auth")
        ),
        config_of("{kind: vmware, vmware: {reader: 'nbd+ssh://ann:hunter2@host/?socket=/run/x'}}"),
        config_of("{kind: aws, aws: {endpointUrl: 'https://ann:hunter2@host'}}"),
        config_of("{kind: aws, aws: {endpointUrl: 'https://host/?secretKey=hunter2'}}"),
        config_of(journal="postgresql://ann:hunter2@host/db"),
        config_of(journal="postgresql://host/db?sslpassword=hunter2"),
        config_of(target=", uploadUrl: 'https://host/?api_key=hunter2'"),
        config_of(target=", uploadUrl: 'https://ann:hunter2@host/'"),
    ],
)
def test_a_configuration_with_a_secret_is_refused_without_telling_it(tmp_path: Path, text: str) -> None:
    path = tmp_path / "kubeferry.yaml"
    path.write_text(text)
    with pytest.raises(InputInvalid) as refused:
        read_config(path)
    assert "hunter2" not in str(refused.value)
    assert all(problem.fix for problem in refused.value.problems)


def test_a_configuration_without_one_is_read(tmp_path: Path) -> None:
    path = tmp_path / "kubeferry.yaml"
    path.write_text(config_of("{kind: libvirt, uri: 'qemu+ssh://ann@host/system?keyfile=/k&sshauth=privkey'}"))
    assert read_config(path).sources["lab"].uri.startswith("qemu+ssh://ann@host")


def test_a_journal_with_a_secret_in_its_parameters_is_refused() -> None:
    with pytest.raises(InputInvalid) as refused:
        Journal.open(JournalConfig(url="postgresql://127.0.0.1:1/db?sslpassword=hunter2"))
    assert "it holds a password" in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_what_is_told_has_no_password_of_an_address(capsys: pytest.CaptureFixture[str]) -> None:
    error = TargetUnavailable("https://ann:hunter2@host is away", why='GET "https://host/?a=1&token=hunter2\\" failed')
    for as_json in (False, True):
        print_error(error, Session(as_json=as_json))
        told = capsys.readouterr().err
        assert "hunter2" not in told
        assert told.count("***") == 2
        assert not as_json or json.loads(told)["error"]["kind"] == "TargetUnavailable"
    assert struck("nothing of that") == "nothing of that"
    assert carried("nbd+unix:///?socket=/run/x") == ""


@pytest.mark.parametrize(
    "inside",
    [
        "<q:commandline><q:arg value='-fw_cfg'/><q:arg value='name=opt/key,string=hunter2'/></q:commandline>",
        "<sysinfo type='fwcfg'><entry name='opt/org.example/key'>hunter2</entry></sysinfo>",
    ],
)
def test_what_a_guest_is_given_by_its_firmware_is_not_shown(inside: str) -> None:
    domain = (
        "<domain type='kvm' xmlns:q='http://libvirt.org/schemas/domain/qemu/1.0'><name>web</name><uuid>4dea22b3-1d52-d8f3-2516-782e98ab3fa0</uuid>"
        "<memory unit='KiB'>65536</memory><vcpu>1</vcpu><os><type arch='x86_64'>hvm</type></os>"
        f"{inside}</domain>"
    )
    assert "hunter2" not in parse_domain(domain, source="lab").model_dump_json()


# --- seconds that never end ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [".inf", ".nan", "-.inf", "1e999"])
@pytest.mark.parametrize(
    "line",
    [
        "stop: {{agentSeconds: {}}}",
        "stop: {{acpiSeconds: {}}}",
        "probes: [{{kind: agent, timeoutSeconds: {}}}]",
        "warm: {{gain: {}}}",
        "storage: {{filesystemOverhead: {}}}",
        "machines: {{web: {{stop: {{agentSeconds: {}}}}}}}",
    ],
)
def test_a_number_without_end_is_refused_in_a_policy(number: str, line: str) -> None:
    with pytest.raises(InputInvalid):
        parse(f"apiVersion: kubeferry.io/v1alpha1\nkind: Policy\n{line.format(number)}\n", Policy)


@pytest.mark.parametrize("number", [".inf", ".nan"])
@pytest.mark.parametrize("field", ["startSeconds", "stopSeconds"])
def test_a_number_without_end_is_refused_in_a_configuration(tmp_path: Path, number: str, field: str) -> None:
    path = tmp_path / "kubeferry.yaml"
    path.write_text(config_of(target=f", {field}: {number}"))
    with pytest.raises(InputInvalid, match="finite"):
        load(path, Config)


@pytest.mark.parametrize(
    "uri",
    [
        "http://host:8080/path@2",
        "rbd://mon1:6789,mon2:6789/pool/image@snapshot",
        "nbd://[::1]:10809/name@1",
        "iscsi://san/iqn.2026-11.example:disk/1",
        "qemu+ssh://ann@host:2222/system?passfile=/p&sshauth=privkey",
    ],
)
def test_an_address_with_a_port_or_a_name_with_an_at_sign_carries_none(uri: str) -> None:
    assert not carried(uri)
    assert struck(uri) == uri
