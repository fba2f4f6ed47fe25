"""`python -m sttp_reactor`: the server, sttpd. The other commands are `python -m sttp_reactor.cli.sttpc` and so on."""

from __future__ import annotations

from sttp_reactor.cli.sttpd import main

raise SystemExit(main())
