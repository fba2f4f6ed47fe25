"""Prints what one member of etcd says of itself, or how far a server's watch has come. For tools/cluster.sh.

Usage: python tools/cluster_status.py PORT
       python tools/cluster_status.py --watch PORT    of the server's page; nothing where it does not say
"""

from __future__ import annotations

import json
import re
import sys
import urllib.request


def ask(port: str, path: str, body: bytes | None = None) -> bytes:
    """Raises OSError."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", body)
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=2) as answer:
        found: bytes = answer.read()
        return found


def member(port: str) -> str:
    try:
        status = json.loads(ask(port, "/v3/maintenance/status", b"{}"))
    except (OSError, ValueError):
        return "does not answer\n"
    header, leader = status["header"], status.get("leader", "0")
    role = "leader" if leader == header["member_id"] else "follower" if leader != "0" else "knows no leader"
    return f"{role}, term {status.get('raftTerm')}, log {status.get('raftIndex')}, revision {header['revision']}\n"


def watch(port: str) -> str:
    try:
        found = re.search(rb"^sttp_store_watch_revision (\d+)", ask(port, "/metrics"), re.MULTILINE)
    except OSError:
        return ""
    return f"  watch at revision {int(found[1])}" if found else ""


*kind, port = sys.argv[1:]
sys.stdout.write(watch(port) if kind == ["--watch"] else member(port))
