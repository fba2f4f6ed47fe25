"""The reactor and what rides on it: bytes in, bytes out, timers. Nothing here knows STTP.

A protocol is a small object with callbacks in asyncio's words (`net.protocol`); a listener or a connector gives it
a connection; the reactor calls it. Another protocol (HTTP, echo, a proxy) needs no more than that.
"""
