"""As much of netcat as README needs, for machines without one: `nc [-N] HOST PORT`."""

from __future__ import annotations

import socket
import sys


def main() -> int:
    host, port = sys.argv[-2:]
    with socket.create_connection((host, int(port)), timeout=10) as server:
        server.sendall(sys.stdin.buffer.read())
        if "-N" in sys.argv:
            server.shutdown(socket.SHUT_WR)
        while piece := server.recv(4096):
            sys.stdout.buffer.write(piece)
    return 0
