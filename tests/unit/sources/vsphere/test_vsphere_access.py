"""Who logs in where, and whom to trust: govc's names, all problems at once, no password in any of them."""

from __future__ import annotations

import pytest

from kubeferry.documents import SourceConfig
from kubeferry.errors import InputInvalid
from kubeferry.sources.vsphere.access import Access, digest_of, known_files, read_access

SHA1 = "AB:" * 19 + "CD"
SHA256 = "0f" * 32
LOGIN = {"GOVC_USERNAME": "ann", "GOVC_PASSWORD": "s3cret"}


def read(uri: str = "https://vc.example.com/sdk", environ: dict[str, str] | None = None, **vmware: str) -> Access:
    config = SourceConfig.model_validate({"kind": "vmware", "uri": uri, "vmware": vmware})
    return read_access("vc", config, LOGIN if environ is None else environ, {})


def test_the_names_of_govc_say_all_that_the_configuration_leaves_open() -> None:
    environ = {
        "GOVC_URL": "https://ann%40corp:pa%2Fss@vc.example.com:8443/sdk",
        "GOVC_INSECURE": "true",
        "GOVC_TLS_CA_CERTS": "/etc/a.pem:/etc/b.pem",
        "GOVC_DATACENTER": "DC1",
    }
    found = read_access("vc", SourceConfig(kind="vmware"), environ, {})
    assert (found.host, found.port, found.user, found.password) == ("vc.example.com", 8443, "ann@corp", "pa/ss")
    assert (found.insecure, found.datacenter) == (True, "DC1")
    assert found.ca_files == ("/etc/a.pem", "/etc/b.pem")


def test_the_configuration_counts_before_the_environment() -> None:
    environ = LOGIN | {"GOVC_URL": "https://other/sdk", "GOVC_DATACENTER": "DC1", "GOVC_TLS_CA_CERTS": "/etc/a.pem"}
    found = read(environ=environ, datacenter="DC2", ca_file="/etc/c.pem", thumbprint=SHA1)
    assert (found.host, found.datacenter, found.ca_files) == ("vc.example.com", "DC2", ("/etc/c.pem",))
    assert found.pinned("vc.example.com", 443) == "ab" * 19 + "cd"
    assert found.pinned("esx1", 443) is None


def test_another_prefix_is_another_vcenter() -> None:
    environ = {"EAST_USERNAME": "bob", "EAST_PASSWORD": "x", **LOGIN}
    assert read(environ=environ, prefix="EAST").user == "bob"


def test_known_hosts_pin_servers_by_name_with_or_without_port() -> None:
    config = SourceConfig(kind="vmware", uri="https://vc/sdk")
    text = f"# ours\nvc:443 {SHA1}\nesx1 {SHA256}\n\n"
    found = read_access("vc", config, LOGIN, {"known": text})
    assert found.pinned("vc", 443) == "ab" * 19 + "cd"
    assert found.pinned("esx1", 902) == SHA256
    assert known_files(config, {"GOVC_TLS_KNOWN_HOSTS": "/a:/b"}) == ("/a", "/b")
    with pytest.raises(InputInvalid, match="known:1"):
        read_access("vc", config, LOGIN, {"known": "vc nonsense\n"})


def test_everything_that_is_wrong_is_told_at_once_and_no_password_with_it() -> None:
    with pytest.raises(InputInvalid) as told:
        read(uri="https://ann:hunter2@vc/sdk", environ={}, thumbprint="xyz")
    assert [problem.where for problem in told.value.problems] == ["sources.vc.uri", "sources.vc.vmware.thumbprint"]
    assert "hunter2" not in str(told.value)
    with pytest.raises(InputInvalid) as told:
        read(uri="http://vc/sdk", environ={})
    assert [problem.where for problem in told.value.problems] == ["sources.vc.uri", "GOVC_USERNAME", "GOVC_PASSWORD"]
    with pytest.raises(InputInvalid, match="names no https server"):
        read(uri="https://vc:port/sdk")


def test_an_address_that_nobody_gave_is_told_as_missing() -> None:
    with pytest.raises(InputInvalid) as told:
        read_access("vc", SourceConfig(kind="vmware"), LOGIN, {})
    assert [problem.what for problem in told.value.problems] == ["it is not set, nor is GOVC_URL"]


def test_a_password_is_not_shown_with_an_access() -> None:
    assert "s3cret" not in repr(read())


@pytest.mark.parametrize("text", [SHA1, SHA1.replace(":", ""), f"sha256:{SHA256}", f" {SHA256.upper()} "])
def test_thumbprints_come_in_several_spellings(text: str) -> None:
    assert digest_of(text) in {"ab" * 19 + "cd", SHA256}


def test_what_is_no_thumbprint_is_none() -> None:
    assert [digest_of(text) for text in ("", "ab", "g" * 40, "ab" * 33)] == [None] * 4
