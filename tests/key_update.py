"""TLS 1.3's KeyUpdate, which Python's ssl has no name for: asked of the OpenSSL that it uses."""

from __future__ import annotations

import _ssl
import ctypes
import ssl
from typing import Any, Final

# The SSL* of a _ssl._SSLSocket: behind the object's head and a reference to its Python socket. CPython 3.8 to 3.14.
_SSL_OFFSET: Final = object.__basicsize__ + ctypes.sizeof(ctypes.c_void_p)

NOT_REQUESTED: Final = 0
REQUESTED: Final = 1
"""The peer has to answer with a KeyUpdate of its own."""


def _load() -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL(_ssl.__file__)  # looks in what this is linked with, too
        library.SSL_key_update.argtypes = [ctypes.c_void_p, ctypes.c_int]
        library.SSL_do_handshake.argtypes = [ctypes.c_void_p]
    except (OSError, AttributeError):
        return None
    return library


_OPENSSL: Final = _load()
IS_AVAILABLE: Final = _OPENSSL is not None


def key_update(tls: ssl.SSLObject, kind: int = REQUESTED) -> None:
    """Put a KeyUpdate record into the outgoing buffer of `tls`, whose handshake is over."""
    assert _OPENSSL is not None
    inner: Any = tls._sslobj  # type: ignore[attr-defined]
    pointer = ctypes.c_void_p.from_address(id(inner) + _SSL_OFFSET)
    assert _OPENSSL.SSL_key_update(pointer, kind) == 1
    assert _OPENSSL.SSL_do_handshake(pointer) == 1
