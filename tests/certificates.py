"""The certificates of tests/tls, and contexts made of them. `ca` has issued all but the stranger's."""

from __future__ import annotations

import ssl
from pathlib import Path

from sttp_reactor.net.tls_context import TlsFiles

TLS = Path(__file__).parent / "tls"
CA = TLS / "ca.pem"
STRANGER_CA = TLS / "stranger-ca.pem"


def certificate(name: str) -> Path:
    return TLS / f"{name}.pem"


def key(name: str) -> Path:
    return TLS / f"{name}.key"


def server_files(name: str = "server", *, client_ca: Path | None = None, min_version: str = "1.2") -> TlsFiles:
    return TlsFiles(certificate(name), key(name), client_ca, min_version)


def client_context(name: str | None = None, *, version: str | None = None) -> ssl.SSLContext:
    """A client that trusts `ca`, shows the certificate `name`, and speaks one version ("TLSv1_2") only, or any."""
    context = ssl.create_default_context(cafile=str(CA))
    if name is not None:
        context.load_cert_chain(certificate(name), key(name))
    if version is not None:
        context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
    return context
