"""The store that the settings name; and what belongs to it before a server begins."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sttp_reactor.errors import UnfitError
from sttp_reactor.store.base import Store
from sttp_reactor.store.disk.claim import Claim
from sttp_reactor.store.disk.store import DiskStore
from sttp_reactor.sttp.settings import Settings, StoreSettings

if TYPE_CHECKING:
    import ssl

__all__ = ["Claim", "check_store", "make_store", "name_of_store", "take_store"]


def make_store(settings: Settings, claim: Claim | None = None) -> Store:
    """`claim`, where others serve the same docroot."""
    if settings.store.engine == "disk":
        return DiskStore(settings.docroot, sync=settings.sync, claim=claim)
    # Imported late: its HTTP client takes 20 ms to load and 5 MB to hold, and most servers have no use for it.
    from sttp_reactor.store.etcd.channel import endpoint_of
    from sttp_reactor.store.etcd.cluster import Cluster, Timeouts, password_in
    from sttp_reactor.store.etcd.store import EtcdStore

    store = settings.store
    timeouts = Timeouts(store.timeout.connect, store.timeout.read, store.timeout.write, store.timeout.stale)
    endpoints = [endpoint_of(url) for url in store.endpoints]
    password = password_in(store.password_file)
    cluster = Cluster(endpoints, timeouts, partial(_context_of, store), store.user, password)
    return EtcdStore(cluster, store.prefix, cached=store.reads == "cached")


def take_store(settings: Settings, claim: Claim) -> None:
    """Before forking: a docroot has one server. Raises StartError, where another one has it or nobody may read it.
    Whoever made `claim` releases it. A cluster is anybody's."""
    if settings.store.engine == "disk":
        DiskStore(settings.docroot, sync=settings.sync, claim=claim).take()


def check_store(settings: Settings) -> None:
    """Whether it could be opened: that its files can be read, or made where they are missing. Makes nothing, takes
    nothing from anybody, and asks no cluster. Raises UnfitError, in the words of a start."""
    if settings.store.engine == "disk":
        _check_docroot(settings.docroot)
    else:
        make_store(settings)
        if any(url.startswith("https:") for url in settings.store.endpoints):
            _context_of(settings.store)


def _check_docroot(docroot: Path) -> None:
    there = docroot
    while not os.path.lexists(there):
        there = there.parent
    if not there.is_dir():
        what = "this is not a directory" if there == docroot else f"{there} is not a directory"
        raise UnfitError(f"docroot {docroot}: {what}")
    if not os.access(there, os.R_OK | os.X_OK if there == docroot else os.W_OK | os.X_OK):
        raise UnfitError(f"docroot {docroot}: there is no permission to {'read' if there == docroot else 'make'} it")


def name_of_store(settings: Settings) -> str:
    """For the log."""
    if settings.store.engine == "disk":
        return f"docroot {settings.docroot}"
    return f"etcd {settings.store.prefix} at {', '.join(settings.store.endpoints)}"


def _context_of(store: StoreSettings) -> ssl.SSLContext:
    """Raises UnfitError for files that cannot be used."""
    import ssl

    tls = store.tls
    name, file = "store.tls.ca", tls.ca
    try:
        context = ssl.create_default_context(cafile=tls.ca)
        if tls.certificate is not None and tls.key is not None:
            name, file = "store.tls.certificate", tls.certificate
            context.load_cert_chain(tls.certificate, tls.key, password=_no_passphrase)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.errno and error.strerror else "it cannot be used"
        raise UnfitError(f"{name} {file}: {why.lower()}") from error
    return context


def _no_passphrase() -> str:
    raise ValueError("the key has a passphrase")
