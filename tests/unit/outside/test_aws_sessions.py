"""Sessions with AWS: each has its own profile and credentials, and none of them reads the descriptions again."""

from __future__ import annotations

import pytest
from botocore.loaders import JSONFileLoader

from kubeferry.outside import aws


def test_what_botocore_knows_of_a_service_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    aws._descriptions.cache_clear()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "none")
    read: list[str] = []
    load = JSONFileLoader.load_file

    def noted(loader: JSONFileLoader, path: str) -> object:
        found = load(loader, path)
        read.extend([path] if found is not None else [])
        return found

    monkeypatch.setattr(JSONFileLoader, "load_file", noted)
    for region in ("eu-west-1", "eu-central-1"):
        aws.client("ec2", aws.Access(region)).close()
    assert any("/ec2/" in path for path in read)
    assert len(read) == len(set(read))


def test_sessions_share_no_credentials() -> None:
    first, second = aws.session(), aws.session()
    first.set_credentials("a", "b")
    assert second.get_credentials() is None or second.get_credentials().access_key != "a"


@pytest.mark.parametrize(
    ("region", "suffix"),
    [
        ("eu-west-1", "amazonaws.com"),
        ("us-gov-west-1", "amazonaws.com"),
        ("cn-north-1", "amazonaws.com.cn"),
        ("eusc-de-east-1", "amazonaws.eu"),
        ("us-iso-east-1", "c2s.ic.gov"),
        ("us-isob-east-1", "sc2s.sgov.gov"),
    ],
)
def test_a_region_of_any_partition_is_entered_at_its_own_address(
    region: str, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "none")
    for service in ("ec2", "ebs", "sts", "kms"):
        client = aws.client(service, aws.Access(region))
        assert client.meta.endpoint_url == f"https://{service}.{region}.{suffix}"
        client.close()
