"""An sttpd with a gateway, asked by http.client."""

from __future__ import annotations

import http.client
import json
import re
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from running import PATIENCE_SECONDS, Sttpd


class Answer(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def problem(self) -> tuple[int, str]:
        """The status and the words of an answer that is application/problem+json, and right."""
        told = self.json
        assert self.headers["Content-Type"] == "application/problem+json"
        assert told["status"] == self.status
        assert told["title"] == http.client.responses[self.status]
        return self.status, told["detail"]


class Web:
    """`sttpd` is the server; `ask` sends one request on a connection that is kept."""

    def __init__(self, sttpd: Sttpd, tls: ssl.SSLContext | None = None) -> None:
        self.sttpd = sttpd
        matches = [re.fullmatch(r"https?://.*:(\d+)", address) for address in sttpd.addresses]
        [match] = [each for each in matches if each]
        self.port = int(match[1])
        self.folder = sttpd.docroot
        if tls is None:
            self.client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_SECONDS)
        else:
            self.client = http.client.HTTPSConnection("localhost", self.port, timeout=PATIENCE_SECONDS, context=tls)

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        """Names of headers with `_` for `-`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.client.request(method, path, body, named)
        response = self.client.getresponse()
        return Answer(response.status, response.headers, response.read())

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, **headers)

    def write(self, name: str, text: bytes) -> None:
        """A file in the docroot, behind the server's back."""
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text)

    def until(self, condition: Callable[[], bool]) -> None:
        """Ask again and again until it is so."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def say(self, line: str) -> bytes:
        """What STTP answers."""
        return self.sttpd.converse(line.encode())


StartWeb = Callable[..., Web]


@contextmanager
def serve(folder: Path, *settings: str, tls: ssl.SSLContext | None = None, config: Path | None = None) -> Iterator[Web]:
    flags = [word for setting in ("http.enabled=true", "http.port=0", *settings) for word in ("-o", setting)]
    if config is not None:
        flags += ["-c", str(config)]
    sttpd = Sttpd(["-a", "127.0.0.1", "-p", "0", "-d", str(folder / "files"), *flags], folder)
    web = Web(sttpd, tls)
    try:
        yield web
    finally:
        web.client.close()
        sttpd.finish()
