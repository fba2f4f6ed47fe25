"""Rules across the keys of a server: what is right key by key, and makes no sense together."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from sttp_reactor import limits
from sttp_reactor.sttp.settings import Settings


def _log_in_docroot(settings: Settings) -> Iterator[tuple[str, str]]:
    """The access log below the docroot would be a snippet: any client could overwrite or delete it."""
    access = settings.log.access
    if isinstance(access, Path) and _is_in_docroot(access, settings):
        yield "log.access", _in_docroot(settings)


def _half_of_tls(settings: Settings) -> Iterator[tuple[str, str]]:
    """TLS needs a certificate and its key; what is set without them would seem to protect, and would not."""
    tls = settings.tls
    for name, file, other, needed in (
        ("tls.certificate", tls.certificate, "tls.key", tls.key),
        ("tls.key", tls.key, "tls.certificate", tls.certificate),
        ("tls.client_ca", tls.client_ca, "tls.certificate", tls.certificate),
    ):
        if file is not None and needed is None:
            yield name, f"is of no use without {other}"


def _tls_nowhere(settings: Settings) -> Iterator[tuple[str, str]]:
    if settings.tls.certificate is None:
        return
    if settings.tls.port and settings.tls.port == settings.port:
        if settings.tls.port == limits.DEFAULT_TLS_PORT:
            yield "port", "is the same as tls.port, which is for connections with TLS"  # the one that was surely set
        else:
            yield "tls.port", "is the same as port, which is for connections without TLS"
    if all(address.startswith("/") for address in settings.listen_address) and not settings.http.tls:
        yield "tls.certificate", "is of no use where listen_address has only Unix sockets, which are served without TLS"


def _http_without_certificate(settings: Settings) -> Iterator[tuple[str, str]]:
    if settings.http.tls and settings.tls.certificate is None:
        yield "http.tls", "is of no use without tls.certificate"


def _tls_in_docroot(settings: Settings) -> Iterator[tuple[str, str]]:
    for name in ("certificate", "key", "client_ca"):
        file = getattr(settings.tls, name)
        if file is not None and _is_in_docroot(file, settings):
            yield f"tls.{name}", _in_docroot(settings)


def _certificates_that_nobody_shows(settings: Settings) -> Iterator[tuple[str, str]]:
    """A rule that no client can ever fit, though it may be there to refuse some."""
    names = [who for rule in settings.access for who in rule.who]
    if settings.tls.client_ca is None and any(who.partition(":")[0] == "certificate" for who in names):
        yield "access", "has a rule about certificates, and without tls.client_ca no client is asked for one"


def _half_of_the_cluster(settings: Settings) -> Iterator[tuple[str, str]]:
    store = settings.store
    for name, given, other, needed in (
        ("store.tls.certificate", store.tls.certificate, "store.tls.key", store.tls.key),
        ("store.tls.key", store.tls.key, "store.tls.certificate", store.tls.certificate),
        ("store.password_file", store.password_file, "store.user", store.user),
        ("store.user", store.user, "store.password_file", store.password_file),
    ):
        if given and not needed:
            yield name, f"is of no use without {other}"


def _is_in_docroot(file: Path, settings: Settings) -> bool:
    docroot = os.path.realpath(settings.docroot)
    return os.path.commonpath([os.path.realpath(file), docroot]) == docroot


def _in_docroot(settings: Settings) -> str:
    return f"lies in the docroot, {os.path.realpath(settings.docroot)}, where clients could change it"


CONTRADICTIONS: tuple[Callable[[Settings], Iterator[tuple[str, str]]], ...] = (
    _log_in_docroot,
    _half_of_tls,
    _tls_nowhere,
    _http_without_certificate,
    _tls_in_docroot,
    _certificates_that_nobody_shows,
    _half_of_the_cluster,
)
