"""As much of netcat as README needs, for machines without one: `nc HOST PORT`."""

from __future__ import annotations

import socket
import sys


def main() -> int:
    with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=10) as server:
        server.sendall(sys.stdin.buffer.read())
        while piece := server.recv(4096):
            sys.stdout.buffer.write(piece)
    return 0
