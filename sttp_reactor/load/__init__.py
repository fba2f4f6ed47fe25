"""The load tool's inside: what to send, sending it, proving every reply, counting and showing the results.

Read in this order: `plan` (what is asked for); `exact`, then `model` with `mixed` (which bytes to send, and which
replies are right; no sockets); `engine` with `pacing` (one process's loop); `worker` and `processes` (several of
them); `latency` and `result` (the figures); then `summary`, `live` and `page` (three ways to look at them).
"""
