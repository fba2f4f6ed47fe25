"""HTTP/1.1 for small services: requests parsed strictly, routed, answered in order. Rides on `net`, knows no STTP.

`messages.py` is what a handler gets and gives, `router.py` finds the handler, `parser.py` makes requests of bytes
without any I/O, `session.py` is one connection, `exchange.py` what a handler answers with, and `ready.py` the answers
that are known before they are asked for. The parser is llhttp's, by `httptools` (the extra `http`).
"""
