"""sttpd on a store that dawdles: `faulty_sttpd.py CALLS SECONDS [sttpd arguments]`; CALLS are a store's, comma-divided.

The files are in memory, so that the only slowness is the one that was asked for.
"""

from __future__ import annotations

import sys
from typing import Any
from unittest import mock

from sttp_reactor import server
from sttp_reactor.cli.sttpd import main
from sttp_reactor.store.faulty import FaultyStore, delay, on
from sttp_reactor.store.memory import MemoryStore

_, calls, seconds, *arguments = sys.argv


def make_store(*_arguments: Any, **_options: Any) -> FaultyStore:
    return FaultyStore(MemoryStore(), on(calls.replace(",", " "), delay(float(seconds))))


with mock.patch.object(server, "DiskStore", make_store):
    sys.exit(main(arguments))
