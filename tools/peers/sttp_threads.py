"""An STTP server with a thread for each connection: `socketserver` as its manual shows it.

What it answers and what it leaves out is told in `snippets.py`; here one lock guards the cache. Replies go out one by
one, as `wfile.write` sends them. The threads take turns at the interpreter's lock: what that costs is what this peer is
here to show.

usage: sttp_threads.py [--no-cache] PORT DOCROOT
"""

from __future__ import annotations

import contextlib
import socketserver
import sys
import threading

from snippets import REFUSED, Cache, path_of, read_reply

HOST = "127.0.0.1"


class SnippetServer(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 4096

    def __init__(self, port: int, docroot: str, is_cached: bool) -> None:
        self._docroot = docroot.encode()
        self._cache = Cache() if is_cached else None
        self._lock = threading.Lock()
        super().__init__((HOST, port), Handler)

    def reply_to(self, line: bytes) -> bytes:
        path = path_of(line)
        if path is None:
            return REFUSED
        if self._cache is None:
            return read_reply(self._docroot, path)
        with self._lock:
            reply = self._cache.get(path)
        if reply is None:
            reply = read_reply(self._docroot, path)  # without the lock: the others need not wait for the disk
            if reply.startswith(b"200"):
                with self._lock:
                    self._cache.put(path, reply)
        return reply


class Handler(socketserver.StreamRequestHandler):
    disable_nagle_algorithm = True
    server: SnippetServer

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):
            for line in self.rfile:
                if not line.endswith(b"\n"):
                    break
                self.wfile.write(self.server.reply_to(line[:-1]))


def main(arguments: list[str]) -> None:
    is_cached = "--no-cache" not in arguments
    port, docroot = [argument for argument in arguments if argument != "--no-cache"]
    # A thousand clients are a thousand stacks; what a handler needs fits into far less than the default 8 MB.
    threading.stack_size(256 * 1024)
    with SnippetServer(int(port), docroot, is_cached) as server:
        server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1:])
