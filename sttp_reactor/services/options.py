"""Numbers and addresses of the services' command lines."""

from __future__ import annotations

import re
from typing import Final

_UNITS: Final = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def whole(option: str, text: str, least: int, most: int) -> int:
    """Raises ValueError with a sentence that names the option."""
    if not re.fullmatch(r"[0-9]{1,18}", text) or not least <= int(text) <= most:
        raise ValueError(f"{option}: expected a whole number from {least} to {most}, got {text!r}")
    return int(text)


def seconds(option: str, text: str) -> float:
    """A time above 0. Raises ValueError, likewise."""
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text) or float(text) <= 0:
        raise ValueError(f"{option}: expected seconds above 0, such as 0.1, got {text!r}")
    return float(text)


def size(option: str, text: str) -> int:
    """Bytes; K, M and G are 1,024 of the one before (`100MB`, `64K`). Raises ValueError, likewise."""
    match = re.fullmatch(r"([0-9]{1,12})([KMG]?)(?:i?B)?", text, re.IGNORECASE)
    if match is None or not int(match[1]):
        raise ValueError(f"{option}: expected a size above 0, such as 100MB, got {text!r}")
    return int(match[1]) * _UNITS[match[2].upper()]


def host_and_port(option: str, text: str) -> tuple[str, int]:
    """`HOST:PORT`, `[IPv6]:PORT`, `:PORT` for 127.0.0.1. Raises ValueError, likewise."""
    match = re.fullmatch(r"(\[[0-9A-Fa-f:.%\w]+\]|[^:\[\]]*):([0-9]{1,5})", text)
    if match is None or int(match[2]) > 65535:
        raise ValueError(f"{option}: expected ADDRESS:PORT, such as 127.0.0.1:7007 or [::1]:7007, got {text!r}")
    return match[1].strip("[]") or "127.0.0.1", int(match[2])
