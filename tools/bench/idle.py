"""Holds idle connections to a server on this machine until its standard input ends.

usage: idle.py PORT COUNT SCRIPT

Each connection asks for the script's first request once before it rests: a connection that has never been used may
cost a server less than those it meets. Prints "ready" when all have been answered.
"""

from __future__ import annotations

import socket
import sys
from pathlib import Path

from bench.pyload import read_script
from sttp_reactor.load.connect import open_connections
from sttp_reactor.load.faults import LoadError
from sttp_reactor.load.target import parse_target

_PATIENCE_SECONDS = 30.0


def ask(sock: socket.socket, request: bytes, reply: bytes) -> None:
    """Raises LoadError, or OSError."""
    sock.settimeout(_PATIENCE_SECONDS)
    sock.sendall(request)
    received = b""
    while len(received) < len(reply):
        piece = sock.recv(4096)
        if not piece:
            break
        received += piece
    if received != reply:
        raise LoadError(f"asked {request!r} and got {received!r}")


def main(port: str, count: str, script: str) -> int:
    request, reply = read_script(Path(script))[0]
    try:
        connections = open_connections(parse_target(f"127.0.0.1:{port}"), int(count), _PATIENCE_SECONDS)
        for connection in connections:
            ask(connection, request, reply)
    except (LoadError, OSError) as error:
        print(f"idle: {error}", file=sys.stderr)
        return 1
    print("ready", flush=True)
    sys.stdin.read()
    for connection in connections:
        connection.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
