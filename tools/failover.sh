#!/usr/bin/env bash
# What clients of a cluster notice when machines are lost: starts tools/cluster.sh's cluster in a folder and on ports of
# its own, loads it by way of its proxy, kills etcd's leader, then an sttpd, starts both again, and prints what was counted.
#   tools/failover.sh [SECONDS]        how long the load lasts, 24 without; the kills come at a quarter and at half of it
# STTP_CLUSTER_PORT names the first of 15 ports (default: 29000).
set -euo pipefail
# shellcheck source=tools/venv.sh
. "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/venv.sh"
seconds=${1:-24}
if [ $# -gt 1 ] || [[ ! $seconds =~ ^[1-9][0-9]{0,4}$ ]]; then
  sed -n '2,5s/^# \{0,1\}//p' -- "${BASH_SOURCE[0]}" >&2
  exit 2
fi
cluster=$ROOT/tools/cluster.sh
export STTP_CLUSTER_PORT=${STTP_CLUSTER_PORT:-29000}
proxy=127.0.0.1:$((STTP_CLUSTER_PORT + 10))
STTP_CLUSTER=$(mktemp -d)
export STTP_CLUSTER

trap 'trap "" INT TERM; "$cluster" down' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

wait_for() {
  local tries
  for tries in $(seq 300); do
    if "$@" >/dev/null 2>&1; then return; fi
    sleep 0.2
  done
  echo "no cluster after $((tries / 5)) s; the last lines of its log:" >&2
  tail -n 5 -- "$STTP_CLUSTER.log" >&2
  exit 1
}

leader() { "$cluster" status | awk '/leader, term/ { print $1 }'; }
tell() { printf '%3d s  %s\n' "$((SECONDS - began))" "$*"; }

setsid "$cluster" up >"$STTP_CLUSTER.log" 2>&1 &
wait_for grep -q 'is up' -- "$STTP_CLUSTER.log"
rm -f -- "$STTP_CLUSTER.log"
began=$SECONDS
"$ROOT/.venv/bin/sttpbench" -q -c 20 -d "${seconds}s" -w 0 --keys 200 --mix show=90,update=10 --timeout 20s \
  "$proxy/failover/" &
load=$!
sleep "$((seconds / 4))"
first=$(leader)
tell "killing $first, the leader"
"$cluster" kill "$first"
sleep "$((seconds / 4))"
tell "killing sttpd-2"
"$cluster" kill sttpd-2
sleep "$((seconds / 4))"
tell "starting both again"
"$cluster" start "$first"
"$cluster" start sttpd-2
code=0
wait "$load" || code=$?
tell "the load has ended; exit code $code (0: every reply was right; 1: some were not, as counted above)"
# A write that was under way may be answered "outcome unknown"; no SHOW may fail. sttpbench has said which did.
exit "$code"
