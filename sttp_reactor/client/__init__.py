"""A blocking STTP client, for programs, for `sttpc` and for the tests."""

from sttp_reactor.client.client import Client
from sttp_reactor.client.exchange import Timing, Trace
from sttp_reactor.client.requests import make_request, split_names
from sttp_reactor.client.url import (
    Endpoint,
    Url,
    default_port,
    parse_endpoint,
    parse_host,
    parse_port,
    parse_url,
    split_tls,
)

__all__ = [
    "Client",
    "Endpoint",
    "Timing",
    "Trace",
    "Url",
    "default_port",
    "make_request",
    "parse_endpoint",
    "parse_host",
    "parse_port",
    "parse_url",
    "split_names",
    "split_tls",
]
