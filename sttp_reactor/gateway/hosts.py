"""Who may ask through a browser: our own pages only.

A page of another site can have a browser send requests here. Where it has made its own name lead to our address (DNS
rebinding), it could even read the answers: so a name that is none of ours is refused. Addresses cannot be rebound, and
localhost is nobody else's. What changes something must come from our own pages, or have a content type that no HTML
form can send: a browser asks us first before it lets a script of another site send such a one, and we never agree.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from typing import Final

from sttp_reactor.http.messages import Request

_FORM_TYPES: Final = frozenset({"application/x-www-form-urlencoded", "multipart/form-data", "text/plain"})


def is_ours(authority: str, names: Collection[str]) -> bool:
    """Whether a request for `authority`, a name or address and perhaps a port, is for us. An old client names none."""
    if authority.startswith("["):
        host = authority[1:].partition("]")[0]
    else:
        host = authority.partition(":")[0].lower().removesuffix(".")
    return not host or host == "localhost" or host in names or _is_address(host)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def fault_of_write(request: Request) -> str | None:
    """Why a request that changes something may come from another site; None where it cannot."""
    origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site", "none")
    if site not in ("same-origin", "none"):
        return "Another site may not change anything here."
    if origin is not None:
        scheme, _, authority = origin.partition("://")
        if scheme in ("http", "https") and authority.lower() == request.host.lower():
            return None
        return "Another site may not change anything here: the Origin is not this server."
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type in _FORM_TYPES:
        return (
            f"{content_type} is what a form of another site could send. "
            "Send another Content-Type, such as application/octet-stream, or our own Origin."
        )
    return None
