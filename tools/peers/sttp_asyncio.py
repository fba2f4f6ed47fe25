"""An STTP server on asyncio, in the three ways its users write one.

    streams    a coroutine for each connection: `readline`, `write`, `drain`. What the tutorials show.
    protocol   an `asyncio.Protocol`: called with the bytes, answers all their lines with one write.
    uvloop     the same Protocol on uvloop, an event loop in C around libuv.

What it answers and what it leaves out is told in `snippets.py`. Files are read in the event loop itself. For files that
are in the page cache that is the cheapest way by far (a hand-over to a thread costs more than the read), and it
flatters this server: one slow disk read would stop every client.

usage: sttp_asyncio.py [--no-cache] (streams | protocol | uvloop) PORT DOCROOT
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import cast

from snippets import Snippets

HOST = "127.0.0.1"
BACKLOG = 4096
MAX_LINE_BYTES = 8192


class SnippetProtocol(asyncio.Protocol):
    def __init__(self, snippets: Snippets) -> None:
        self._snippets = snippets
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data if self._rest else data).split(b"\n")
        if len(self._rest) > MAX_LINE_BYTES:
            self._transport.close()
            return
        reply_to = self._snippets.reply_to
        self._transport.write(b"".join([reply_to(line) for line in lines]))

    # A client that does not read is not read from either: without this its replies would pile up.
    def pause_writing(self) -> None:
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._transport.resume_reading()


async def converse(snippets: Snippets, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError, ValueError):  # a reset; a line over the limit
        while (line := await reader.readline()).endswith(b"\n"):
            writer.write(snippets.reply_to(line[:-1]))
            await writer.drain()
    writer.close()


async def serve(style: str, port: int, snippets: Snippets) -> None:
    if style == "streams":
        server = await asyncio.start_server(
            lambda reader, writer: converse(snippets, reader, writer), HOST, port, backlog=BACKLOG, limit=MAX_LINE_BYTES
        )
    else:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: SnippetProtocol(snippets), HOST, port, backlog=BACKLOG)
    async with server:
        await server.serve_forever()


def main(arguments: list[str]) -> None:
    is_cached = "--no-cache" not in arguments
    style, port, docroot = [argument for argument in arguments if argument != "--no-cache"]
    serving = serve(style, int(port), Snippets(docroot, is_cached))
    if style == "uvloop":
        import uvloop

        uvloop.run(serving)
    else:
        asyncio.run(serving)


if __name__ == "__main__":
    main(sys.argv[1:])
