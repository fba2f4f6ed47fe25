"""sttpd as it is, but files below /slow/ take 200 ms to read. The arguments are sttpd's.

What is around the reads is untouched: the same queue, threads and batches wait for this disk as for a real one.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from sttp_reactor.cli.sttpd import main
from sttp_reactor.store.disk.store import DiskStore
from sttp_reactor.store.faulty import FaultyStore
from sttp_reactor.sttp import stores

READ_SECONDS = 0.2


def dawdle(call: str, *arguments: Any) -> None:
    """A fault (see store/faulty.py)."""
    if call == "show" and arguments[0].startswith(b"/slow/"):
        time.sleep(READ_SECONDS)


def slow_store(*arguments: Any, **keywords: Any) -> FaultyStore:
    return FaultyStore(DiskStore(*arguments, **keywords), dawdle)


if __name__ == "__main__":
    vars(stores)["DiskStore"] = slow_store  # the name by which a server finds its store
    sys.exit(main())
