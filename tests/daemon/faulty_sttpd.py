"""sttpd on a store that fails: `faulty_sttpd.py CALLS HOW [sttpd arguments]`; CALLS are a store's, comma-divided.

HOW is what each of these calls does first: a number of seconds to sleep; the path of a file, in order to hang for as
long as there is that file; or the name of an exception to raise, such as SystemExit.

The files are in memory, so that the only fault is the one that was asked for.
"""

from __future__ import annotations

import builtins
import os
import sys
import time
from typing import Any
from unittest import mock

from sttp_reactor.cli.sttpd import main
from sttp_reactor.store.faulty import Fault, FaultyStore, delay, on
from sttp_reactor.store.memory import MemoryStore
from sttp_reactor.sttp import stores

_, calls, how, *arguments = sys.argv


def hang_while(path: str) -> Fault:
    def hang(name: str, *arguments: Any) -> None:
        while os.path.exists(path):
            time.sleep(0.005)

    return hang


def raise_new(kind: type[BaseException]) -> Fault:
    """Each time another one: a traceback grows whenever its exception is raised again."""

    def raise_error(name: str, *arguments: Any) -> None:
        raise kind("to order")

    return raise_error


def make_fault() -> Fault:
    if how.startswith("/"):
        return hang_while(how)
    error = getattr(builtins, how, None)
    return delay(float(how)) if error is None else raise_new(error)


def make_store(*_arguments: Any, **_options: Any) -> FaultyStore:
    return FaultyStore(MemoryStore(), on(calls.replace(",", " "), make_fault()))


with mock.patch.object(stores, "DiskStore", make_store):
    sys.exit(main(arguments))
