"""hello: a small HTTP service with routes.

Usage:
  hello [--listen=ADDR] [--port=PORT] [--certificate=FILE --key=FILE]
  hello (-h | --help)
  hello --version

Options:
  --listen=ADDR       Where to listen: an address, a name or a Unix socket's path. [default: 127.0.0.1]
  --port=PORT         The TCP port; 0 takes any free one. [default: 8081]
  --certificate=FILE  Speak TLS: PEM, the server's own certificate first.
  --key=FILE          And its key.

`curl http://127.0.0.1:8081/api/Alice` answers `Hello, Alice!`. It ends by SIGTERM or SIGINT, when what has been asked
is answered.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sttp_reactor.command.arguments import parse
from sttp_reactor.errors import StartError
from sttp_reactor.net import Reactor, Server, TlsContext, TlsFiles, resolve_here, serve
from sttp_reactor.printable import printable
from sttp_reactor.services.options import whole

try:
    from sttp_reactor.http.exchange import Exchange, Site
    from sttp_reactor.http.messages import Request, Response, sentence
    from sttp_reactor.http.router import Router
    from sttp_reactor.http.session import Session
except ImportError as error:  # httptools
    sys.exit(f"hello needs the package {error.name}: pip install 'sttp_reactor[http]'")

if TYPE_CHECKING:
    import ssl

# Seconds that requests under way have to end in, once the service is told to.
LAST_SECONDS = 5.0

Route = Callable[[dict[str, str]], Response]


def greet(parameters: dict[str, str]) -> Response:
    response = sentence(200, f"Hello, {printable(parameters['name'])}!")
    response.reusable = True
    return response


def explain(_parameters: dict[str, str]) -> Response:
    return sentence(200, "GET /api/{name} says hello.")


def make_router() -> Router[Route]:
    router: Router[Route] = Router()
    router.add("GET", "/", explain)
    router.add("GET", "/api/{name}", greet)
    return router


def make_site(reactor: Reactor) -> Site:
    router = make_router()

    def handle(request: Request, _exchange: Exchange) -> Response:
        found = router.find(request.method, request.path)
        return found if isinstance(found, Response) else found.handler(found.parameters)

    return Site(reactor, handle)


def drain(reactor: Reactor, server: Server, site: Site) -> None:
    """Accept no more, answer what has been asked, and stop when the last connection is gone."""

    def stop_if_empty() -> None:
        if not site.sessions:
            reactor.stop()

    server.close()
    site.on_lost = stop_if_empty
    site.drain()
    stop_if_empty()
    reactor.call_later(LAST_SECONDS, reactor.stop)


def tls_context(certificate: str | None, key: str | None) -> ssl.SSLContext | None:
    """Raises StartError."""
    return TlsContext(TlsFiles(Path(certificate), Path(key))).context if certificate and key else None


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parse(__doc__, sys.argv[1:] if argv is None else argv, command="hello")
    reactor = Reactor()
    site = make_site(reactor)
    try:
        port = whole("--port", arguments["--port"], 0, 65535)
        tls = tls_context(arguments["--certificate"], arguments["--key"])
        server = serve(reactor, lambda: Session(site), resolve_here(arguments["--listen"], port), tls=tls)
    except (StartError, ValueError) as error:
        print(f"hello: {error}", file=sys.stderr)
        return 1
    for number in (signal.SIGTERM, signal.SIGINT):
        reactor.on_signal(number, lambda: drain(reactor, server, site))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})  # blocked, perhaps, by who started us
    print(f"hello: listening on {', '.join(server.addresses)}", file=sys.stderr, flush=True)
    reactor.run()
    site.abort()
    reactor.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
