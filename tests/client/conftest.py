"""What the client's tests share: scripted servers that are stopped, and heard, at the end of the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from scripted_server import ScriptedServer


@pytest.fixture
def serve() -> Iterator[Callable[..., ScriptedServer]]:
    servers: list[ScriptedServer] = []

    def start(*arguments: object, **options: object) -> ScriptedServer:
        servers.append(ScriptedServer(*arguments, **options))  # type: ignore[arg-type]
        return servers[-1]

    yield start
    for server in servers:
        server.stop()
