"""The system inside, read from the words of every source."""

from __future__ import annotations

import pytest

from kubeferry.model import Guest
from mappings.systems import is_windows, knows_virtio_1


@pytest.mark.parametrize(
    ("guest", "known"),
    [
        (Guest(os_id="http://centos.org/centos/6.10"), False),
        (Guest(os_id="http://redhat.com/rhel/7.9"), True),
        (Guest(os_id="http://oracle.com/ol/6.9"), False),
        (Guest(os_id="rhel6_64Guest"), False),
        (Guest(os_id="centos64Guest"), False),
        (Guest(os_id="ubuntu64Guest"), None),
        (Guest(os_id="debian8_64Guest"), False),
        (Guest(os_id="debian12_64Guest"), True),
        (Guest(os_id="http://ubuntu.com/ubuntu/14.04"), False),
        (Guest(os_name="Ubuntu 22.04.4 LTS"), True),
        (Guest(os_name="Red Hat Enterprise Linux 6 (64-bit)"), False),
        (Guest(os_name="SUSE Linux Enterprise Server 11 SP4"), False),
        (Guest(os_name="Oracle Linux 4/5/6 (64-bit)"), False),
        (Guest(os_name="Scientific Linux 6.10"), False),
        (Guest(kernel="2.6.32-754.el6.x86_64", os_name="CentOS 8"), False),
        (Guest(kernel="3.10.0-1160.el7.x86_64"), True),
        (Guest(kernel="3.16.0-4-amd64"), False),
        (Guest(kernel="6.1.0-18-amd64"), True),
        (Guest(os_id="winNetEnterprise64Guest"), False),
        (Guest(os_id="http://microsoft.com/win/2k3r2"), False),
        (Guest(os_id="http://microsoft.com/win/2k19"), True),
        (Guest(os_id="windows2019srv_64Guest"), True),
        (Guest(os_id="other3xLinux64Guest"), None),
        (Guest(os_name="Linux"), None),
        (Guest(), None),
    ],
)
def test_whether_its_drivers_know_virtio_1(guest: Guest, known: bool | None) -> None:
    assert knows_virtio_1(guest) is known


@pytest.mark.parametrize(
    ("guest", "windows"),
    [
        (Guest(os_id="windows2019srv_64Guest"), True),
        (Guest(os_id="winXPProGuest"), True),
        (Guest(os_id="http://microsoft.com/win/11"), True),
        (Guest(os_name="Microsoft Windows Server 2016 (64-bit)"), True),
        (Guest(os_name="Darwin 22"), False),
        (Guest(os_id="darwin22_64Guest"), False),
        (Guest(os_name="Debian GNU/Linux 12"), False),
        (Guest(), False),
    ],
)
def test_which_systems_are_windows(guest: Guest, windows: bool) -> None:
    assert is_windows(guest) is windows
