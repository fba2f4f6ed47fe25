"""The arguments of sttpbench that say which server to load, and how to trust it: those of sttpc, with the same
meaning."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sttp_reactor.cli import sttpc_targets
from sttp_reactor.cli.sttpc_tls import read_tls
from sttp_reactor.errors import LocalError
from sttp_reactor.load.faults import LoadError
from sttp_reactor.load.target import Target, Trust, parse_target


def read_target(options: Mapping[str, Any]) -> Target:
    """What the URL names; without one, the usual directory on the server of -a, -p and the environment.

    Raises LoadError, also for an address or port that is for nothing.
    """
    address, port, url = options["--address"], options["--port"], options["URL"] or "/"
    try:
        # Which server a URL means is sttpc's to say; only what its path means differs.
        (same,) = sttpc_targets.read_targets([url], address, port, os.environ, path="optional")
        return replace(parse_target(url), endpoint=same.endpoint)
    except LocalError as error:
        raise LoadError(str(error)) from error


def with_trust(target: Target, options: Mapping[str, Any]) -> Target:
    """The target with what the options say of TLS. Raises LoadError for flags that contradict each other, files that
    cannot be used, and flags that are for nothing: once and here, not in each process of the load."""
    same = sttpc_targets.Target(str(target), target.endpoint, target.directory)
    try:
        tls = read_tls(options, {}, [same])
    except LocalError as error:
        raise LoadError(str(error)) from error
    if tls is None:
        return target
    trust = Trust(options["--cacert"], options["--cert"], options["--key"], options["--insecure"])
    return replace(target, trust=trust)
