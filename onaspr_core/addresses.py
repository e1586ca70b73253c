"""Which addresses of a network may be asked on behalf of a URL that stands in a list, or that a server tells.

Such a URL is data: it may name the cloud's metadata service, a database or the router. So public addresses
are let through, and private ones only where the environment names their networks.
"""

import ipaddress
import os
import socket

from onaspr_core.errors import UserError

PRIVATE_NETWORKS = "ONASPR_PRIVATE_NETWORKS"
"""Variable of the environment: networks that are let through all the same, as in `10.0.0.0/8,127.0.0.1`."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def is_allowed(text: str) -> bool:
    """Say whether an address may be asked; an IPv6 address counts as the IPv4 address that it carries.

    Raises:
        ValueError: when it is no address.
        UserError: when the environment names what is no network.
    """
    address = _plain(ipaddress.ip_address(text.partition("%")[0]))
    return _is_public(address) or any(
        network.version == address.version and address in network for network in _named()
    )


def private_address(host: str) -> str | None:
    """Return an address of a host that may not be asked; None where there is none, or no such host."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return None
    return next((str(one[4][0]) for one in found if not is_allowed(str(one[4][0]))), None)


def refusal(url: str, host: str, address: str) -> str:
    """Return the sentence that says why a URL is not opened."""
    return (
        f"{url}: the host {host} lies in a private network ({address}), which is closed to URLs and "
        f"redirects; if it is meant to be read, name its network in {PRIVATE_NETWORKS}"
    )


def _plain(address: Address) -> Address:
    """The IPv4 address within an IPv6 address that only wraps one."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    teredo = address.teredo[1] if address.teredo else None
    wrapped = address.ipv4_mapped or address.sixtofour or teredo
    if address in _NAT64:
        wrapped = ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return wrapped or address


def _is_public(address: Address) -> bool:
    site_local = isinstance(address, ipaddress.IPv6Address) and address.is_site_local
    return address.is_global and not (address.is_multicast or address.is_reserved or site_local)


def _named() -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    told = os.environ.get(PRIVATE_NETWORKS, "")
    try:
        return [ipaddress.ip_network(one.strip(), strict=False) for one in told.split(",") if one.strip()]
    except ValueError as problem:
        raise UserError(
            f"{PRIVATE_NETWORKS} is {told!r}: {problem}; write networks such as 10.0.0.0/8, with commas "
            "between them"
        ) from problem
