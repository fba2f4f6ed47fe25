"""What a server brings to a TLS handshake: its certificate and key, whose clients it trusts; read from files, and anew.

Everything that can be wrong with the files is found here, before a client finds it: a certificate that has run out is
no better than none, since no client that checks would go on.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Final, NamedTuple

from sttp_reactor.errors import UnfitError
from sttp_reactor.regular_files import open_regular

VERSIONS: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}

# Of two parties that are in one process and answer at once, TLS 1.3 wants three turns and TLS 1.2 four.
_MOST_FLIGHTS: Final = 8


class TlsFiles(NamedTuple):
    """PEM files. `certificate` has the server's own first, then those that lead to its authority. With `client_ca`,
    the authorities that clients' certificates come from, a client without such a certificate is turned away."""

    certificate: Path
    key: Path
    client_ca: Path | None = None
    min_version: str = "1.2"


class TlsContext:
    """The server's side of TLS. Files that have changed are read by making another one: its connections cannot resume
    sessions of this one's, so a client whose authority is no longer trusted does not come back on a ticket.

    Made before a server forks, it lets sessions begun with one process be resumed with another: the keys of session
    tickets are the context's.
    """

    def __init__(self, files: TlsFiles) -> None:
        """Raises UnfitError, a sentence naming the file, for whatever a client would stumble over."""
        self.files = files
        self.context = _load(files)


def _load(files: TlsFiles) -> ssl.SSLContext:
    for name, path in _named(files):
        try:
            open_regular(path).close()  # OpenSSL would wait for whoever may one day write to a pipe
        except OSError as error:
            raise UnfitError(f"cannot read {name} {path}: {error.strerror or error}") from error
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = VERSIONS[files.min_version]
    # OpenSSL 3 refuses a client that asks for it in any case; earlier ones let it buy a handshake with every record.
    context.options |= ssl.OP_NO_RENEGOTIATION
    # TLS 1.3 sends two by default, for browsers that open several connections at once; each costs 250 bytes.
    context.num_tickets = 1
    _load_own(context, files)
    if files.client_ca is not None:
        _load_client_ca(context, files.client_ca)
    return context


def _named(files: TlsFiles) -> list[tuple[str, Path]]:
    named = [("the TLS certificate", files.certificate), ("the TLS key", files.key)]
    return named if files.client_ca is None else [*named, ("the TLS client_ca", files.client_ca)]


def _load_own(context: ssl.SSLContext, files: TlsFiles) -> None:
    try:
        _check_certificates(files.certificate, "the TLS certificate")
        context.load_cert_chain(files.certificate, files.key, password=_refuse_to_ask)
        _try_out(files)
    except _Encrypted:
        raise UnfitError(f"the TLS key {files.key} is encrypted; store it without a passphrase") from None
    except ssl.SSLCertVerificationError as error:
        what = error.verify_message
        what = what.removeprefix("certificate ") if what.startswith("certificate ") else f"cannot be used: {what}"
        raise UnfitError(f"the TLS certificate {files.certificate} {what}") from error
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            what = f"the TLS key {files.key} does not belong to the certificate {files.certificate}"
        elif error.reason is None:  # the certificate has been read, so it is the other file
            what = f"the TLS key {files.key} is not a private key in PEM form"
        else:
            what = f"the TLS certificate {files.certificate} cannot be used: {reason_of(error)}"
        raise UnfitError(what) from error


def _load_client_ca(context: ssl.SSLContext, path: Path) -> None:
    _check_certificates(path, "the TLS client_ca")
    context.load_verify_locations(cafile=path)
    context.verify_mode = ssl.CERT_REQUIRED
    # An authority that is itself issued by another may be trusted without that other one.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN


def _check_certificates(path: Path, name: str) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
    except ssl.SSLError as error:
        raise UnfitError(f"{name} {path} is not a certificate in PEM form") from error


def _try_out(files: TlsFiles) -> None:
    """Shake hands with ourselves: the library shows no dates of a certificate of one's own, but verifies a peer's.

    Raises SSLCertVerificationError for one that has run out, is not valid yet, or is not meant for servers.
    """
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(files.certificate, files.key, password=_refuse_to_ask)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.load_verify_locations(cafile=files.certificate)
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # the certificate itself is what is trusted
    upwards, downwards = ssl.MemoryBIO(), ssl.MemoryBIO()
    parties = [client.wrap_bio(downwards, upwards), server.wrap_bio(upwards, downwards, server_side=True)]
    for flight in range(_MOST_FLIGHTS):
        try:
            parties[flight % 2].do_handshake()
        except ssl.SSLWantReadError:
            continue


class _Encrypted(Exception):
    pass


def _refuse_to_ask() -> bytes:
    # Without this, OpenSSL would ask for a passphrase at the terminal.
    raise _Encrypted


def reason_of(error: Exception) -> str:
    """What went wrong, in OpenSSL's words (`no shared cipher`), which hold nothing that came from the peer."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    if isinstance(error, ssl.SSLError):
        return (error.reason or error.strerror or "unknown").lower().replace("_", " ")
    return str(error)
