"""Which addresses may be asked: those that all the world can."""

import pytest

from onaspr_core.addresses import PRIVATE_NETWORKS, is_allowed, private_address
from onaspr_core.errors import UserError

PRIVATE = (
    *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0"),
    *("224.0.0.1", "255.255.255.255", "240.0.0.1", "192.0.2.1"),
    *("::1", "::", "fe80::1", "fe80::1%eth0", "fd00:ec2::254", "fec0::1", "ff02::1", "::127.0.0.1"),
    *("::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1"),
    "2001:0:4136:e378:8000:63bf:5601:5601",
)
"""The last three carry 169.254.169.254 in NAT64, 6to4 and Teredo."""

PUBLIC = ("8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1")


@pytest.fixture(autouse=True)
def none_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PRIVATE_NETWORKS, raising=False)


@pytest.mark.parametrize("address", PRIVATE)
def test_a_private_address_is_not_allowed(address: str) -> None:
    assert not is_allowed(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is(address: str) -> None:
    assert is_allowed(address)


@pytest.mark.parametrize(
    ("named", "allowed"),
    [
        ("127.0.0.1", {"127.0.0.1", "::ffff:127.0.0.1"}),
        ("10.0.0.0/8, ::1 ,", {"10.1.2.3", "::1"}),
        ("169.254.0.0/16", {"169.254.169.254", "::ffff:169.254.169.254", *PRIVATE[-3:]}),
    ],
)
def test_networks_that_the_environment_names_are_allowed_and_no_others(
    monkeypatch: pytest.MonkeyPatch, named: str, allowed: set[str]
) -> None:
    monkeypatch.setenv(PRIVATE_NETWORKS, named)
    assert {one for one in PRIVATE if is_allowed(one)} == allowed


def test_what_is_no_network_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PRIVATE_NETWORKS, "intern.example")
    with pytest.raises(UserError, match=r"ONASPR_PRIVATE_NETWORKS is 'intern.example': .*; write networks"):
        is_allowed("127.0.0.1")


def test_a_host_is_private_when_one_of_its_addresses_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert private_address("localhost") in ("127.0.0.1", "::1")
    assert private_address("2130706433") == "127.0.0.1"
    assert private_address("no.such.host.invalid") is None

    def resolved(*_: object, **__: object) -> list[tuple[object, ...]]:
        return [(0, 0, 0, "", ("8.8.8.8", 0)), (0, 0, 0, "", ("10.0.0.1", 0))]

    monkeypatch.setattr("socket.getaddrinfo", resolved)
    assert private_address("two.example") == "10.0.0.1"
