"""The options of sttpc that are about TLS."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sttp_reactor.cli.sttpc_targets import Target
from sttp_reactor.errors import LocalError

if TYPE_CHECKING:
    from sttp_reactor.client.tls import ClientTls

_FLAGS = ("--cacert", "--cert", "--key", "--insecure")


def read_tls(arguments: Mapping[str, Any], environ: Mapping[str, str], targets: Sequence[Target]) -> ClientTls | None:
    """TLS as the flags, else STTPC_CACERT, STTPC_CERT and STTPC_KEY, want it; None where no target needs any.

    Raises LocalError for flags that contradict each other, files that cannot be used, and flags that are for nothing.
    """
    if not any(target.endpoint.is_tls for target in targets):
        useless = next((flag for flag in _FLAGS if arguments[flag]), None)
        if useless is not None:
            raise LocalError(f"{useless} is for sttps:// URLs, and there is none")
        return None
    if arguments["--insecure"] and arguments["--cacert"] is not None:
        raise LocalError("options --insecure and --cacert contradict each other")
    if arguments["--key"] is not None and arguments["--cert"] is None and not environ.get("STTPC_CERT"):
        raise LocalError("option --key is of no use without --cert")
    # Imported late: OpenSSL is a third of what there is to load, and most calls of sttpc have no use for it.
    from sttp_reactor.client.tls import ClientTls

    cert = arguments["--cert"]
    key = arguments["--key"]
    if cert is None:
        cert, key = environ.get("STTPC_CERT") or None, key or environ.get("STTPC_KEY") or None
    return ClientTls(
        cacert=None if arguments["--insecure"] else arguments["--cacert"] or environ.get("STTPC_CACERT") or None,
        cert=cert,
        key=key if cert is not None else None,
        insecure=arguments["--insecure"],
    )
