"""An STTP server, client and load tool on a hand-written, single-threaded reactor."""

__version__ = "0.1.0"
