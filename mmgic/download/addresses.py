"""Which network addresses may be connected to: those of the public internet, decided at the moment of connecting.

A url list is written by strangers. A name in it may lead to this machine, to its network or to a cloud's metadata
service, at once, after a redirect, or from the second look-up on. So the check is made on the address that a socket is
about to connect to, whatever name led there.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import Any

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # where an IPv6-only network reaches the IPv4 internet


class RefusedAddressError(OSError):
    """The address is not one of the public internet."""


def is_public(text: str) -> bool:
    """Whether an address, without a port, belongs to the public internet.

    Private, loopback, link-local, multicast, reserved, unspecified and carrier-internal addresses do not. An IPv6
    address that stands for one of IPv4 (mapped, translated or 6to4) is judged by that.
    """
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        if (inner := address.ipv4_mapped or address.sixtofour) is not None:
            return is_public(str(inner))
        if address in _NAT64:
            return is_public(str(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)))
        if address.is_site_local:  # what private IPv6 networks had before fc00::/7
            return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


def public_socket(info: Any) -> socket.socket:
    """The `socket_factory` of aiohttp's connector: a socket for the address `info`, of getaddrinfo's form.

    Raises RefusedAddressError where the address is not public. Its text is the same for all addresses of one name, for
    only then does the connector pass it on as it is.
    """
    family, kind, protocol, _, address = info
    if not is_public(address[0]):
        raise RefusedAddressError("not an address of the public internet")
    return socket.socket(family=family, type=kind, proto=protocol)
