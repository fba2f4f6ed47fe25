"""Prints what one member of etcd says of itself: `python tools/cluster_status.py PORT`. For tools/cluster.sh."""

from __future__ import annotations

import json
import sys
import urllib.request


def main(port: str) -> None:
    request = urllib.request.Request(f"http://127.0.0.1:{port}/v3/maintenance/status", b"{}")
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=2) as answer:
            status = json.load(answer)
    except (OSError, ValueError):
        print("does not answer")
        return
    leader, member = status.get("leader", "0"), status["header"]["member_id"]
    role = "leader" if leader == member else "follower" if leader != "0" else "knows no leader"
    print(
        f"{role}, term {status.get('raftTerm')}, log {status.get('raftIndex')}, revision {status['header']['revision']}"
    )


main(sys.argv[1])
