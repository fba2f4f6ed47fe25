"""The same files over HTTP: a second door to a server's service, on its reactor. Needs the extra `http`.

`gateway.py` is the door: what is refused before anything is looked at, and which route a request takes. `files.py`
makes STTP of HTTP and back (`replies.py`), `hosts.py` keeps other sites out, `ready.py` is the quick way for cached
files, `health.py` what a load balancer asks, and `prometheus.py` how figures are told.
"""
