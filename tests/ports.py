"""What the machine's network has for a test: IPv6, and ports that are free now and will be in a moment."""

from __future__ import annotations

import random
import socket

# Below what systems hand out to outgoing connections (32768 and up on Linux, 49152 and up by RFC 6335): a port that is
# free here is not taken by somebody's connect, nor kept by a connection of his in TIME_WAIT, a moment later.
_PORTS = range(20000, 32000)


def has_ipv6() -> bool:
    return socket.has_ipv6 and _can_bind(socket.AF_INET6, "::1", 0)


def free_port() -> int:
    """A port that no socket of this machine is bound to, by IPv4 or IPv6: for what must be told a port to bind."""
    wildcards = [(socket.AF_INET, "0.0.0.0")]
    if has_ipv6():
        wildcards.append((socket.AF_INET6, "::"))
    for port in random.sample(_PORTS, 200):
        if all(_can_bind(family, host, port) for family, host in wildcards):
            return port
    raise AssertionError(f"200 ports between {_PORTS.start} and {_PORTS.stop} are all taken")


def _can_bind(family: socket.AddressFamily, host: str, port: int) -> bool:
    try:
        with socket.socket(family) as probe:
            probe.bind((host, port))
    except OSError:
        return False
    return True
