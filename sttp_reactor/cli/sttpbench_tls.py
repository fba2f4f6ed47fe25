"""The options of sttpbench that are about TLS: those of sttpc, with the same meaning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sttp_reactor.cli import sttpc_targets
from sttp_reactor.cli.sttpc_tls import read_tls
from sttp_reactor.errors import LocalError
from sttp_reactor.load.faults import LoadError
from sttp_reactor.load.target import Target, Trust


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
