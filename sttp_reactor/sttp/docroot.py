"""A docroot that several processes serve together: their parent takes it, before it forks."""

from __future__ import annotations

from sttp_reactor.store.disk.claim import Claim
from sttp_reactor.store.disk.store import DiskStore
from sttp_reactor.sttp.settings import Settings

__all__ = ["Claim", "take_docroot"]


def take_docroot(settings: Settings, claim: Claim) -> None:
    """Raises StartError, where another server has it or nobody may read it. Whoever made `claim` releases it."""
    DiskStore(settings.docroot, sync=settings.sync, claim=claim).take()
