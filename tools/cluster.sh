#!/usr/bin/env bash
# A cluster to try, on this machine only: three members of etcd, three sttpd that keep their files in them, and sttp-proxy
# in front.
#   tools/cluster.sh up                 starts all, says how to use them, and stops all at Ctrl-C
#   tools/cluster.sh down               stops all, and removes what they have kept
#   tools/cluster.sh status             who leads, in which term, how far each member's log and each server's watch have come, who runs
#   tools/cluster.sh kill NAME          ends etcd-1, etcd-2, etcd-3, sttpd-1, sttpd-2, sttpd-3 or proxy as a crash does
#   tools/cluster.sh stop NAME          ends it in good order
#   tools/cluster.sh start NAME         starts it again, with what it had
# STTP_CLUSTER names the folder of their data and logs (default: .cluster in the checkout), STTP_CLUSTER_PORT the first
# of 15 ports (default: 28000).
set -euo pipefail
# shellcheck source=tools/venv.sh
. "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/venv.sh"
folder=${STTP_CLUSTER:-$ROOT/.cluster}
base=${STTP_CLUSTER_PORT:-28000}
names=(etcd-1 etcd-2 etcd-3 sttpd-1 sttpd-2 sttpd-3 proxy)

usage() {
  sed -n '2,11s/^# \{0,1\}//p' -- "${BASH_SOURCE[0]}" >&2
  exit 2
}

client_port() { echo $((base + ${1#*-})); }
peer_port() { echo $((base + 3 + ${1#*-})); }
sttp_port() { if [ "$1" = proxy ]; then echo $((base + 10)); else echo $((base + 6 + ${1#*-})); fi; }
page_port() { if [ "$1" = proxy ]; then echo $((base + 11)); else echo $((base + 11 + ${1#*-})); fi; }
# The page needs the extra `http`; a cluster without one is of use, too.
has_page() { "$ROOT/.venv/bin/python" -c 'import httptools' 2>/dev/null; }

need() {
  command -v "$1" >/dev/null && return
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "Installing $2" >&2
    # The package starts a member of its own, on the usual ports, where a service manager runs: RUNLEVEL=1 keeps it off.
    DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -qq -y --no-install-recommends "$2" >/dev/null && return
  fi
  echo "$1 is needed. Install it: apt-get install $2     (or see https://etcd.io/docs/latest/install/)" >&2
  exit 1
}

endpoints() {
  local at list=
  for at in 1 2 3; do list+="${list:+,}http://127.0.0.1:$(client_port "etcd-$(((at + ${1#*-} - 2) % 3 + 1))")"; done
  echo "$list"
}

members() {
  local at list=
  for at in 1 2 3; do list+="${list:+,}etcd-$at=http://127.0.0.1:$(peer_port "etcd-$at")"; done
  echo "$list"
}

servers() {
  local at list=
  for at in 1 2 3; do list+="${list:+,}127.0.0.1:$(sttp_port "sttpd-$at")"; done
  echo "$list"
}

command_of() {
  local name=$1 client peer
  case $name in
    etcd-*)
      client=http://127.0.0.1:$(client_port "$name") peer=http://127.0.0.1:$(peer_port "$name")
      command=(etcd --name "$name" --data-dir "$folder/$name" --logger zap --log-level warn
        --listen-client-urls "$client" --advertise-client-urls "$client"
        --listen-peer-urls "$peer" --initial-advertise-peer-urls "$peer"
        --initial-cluster "$(members)" --initial-cluster-state new --initial-cluster-token sttp-cluster
        --auto-compaction-mode periodic --auto-compaction-retention 10m)
      ;;
    sttpd-*)
      command=("$ROOT/.venv/bin/sttpd" -a 127.0.0.1 -p "$(sttp_port "$name")" -o store.engine=etcd
        -o "store.endpoints=$(endpoints "$name")")
      if has_page; then command+=(-o http.enabled=true -o "http.port=$(page_port "$name")"); fi
      ;;
    proxy)
      command=("$ROOT/.venv/bin/sttp-proxy" -a 127.0.0.1 -p "$(sttp_port proxy)" -s "$(servers)")
      if has_page; then command+=(-o http.enabled=true -o "http.port=$(page_port proxy)"); fi
      ;;
  esac
}

pid_of() {
  local pid
  pid=$(cat -- "$folder/$1.pid" 2>/dev/null) || return 1
  # A number that was given to somebody else meanwhile is not ours; and who has ended has no command line any more.
  grep -qs -- "${1%-*}" "/proc/$pid/cmdline" && echo "$pid"
}

start() {
  if pid_of "$1" >/dev/null; then
    echo "$1 runs already"
    return
  fi
  command_of "$1"
  # In a session of its own, so that Ctrl-C is for this script alone.
  setsid "${command[@]}" </dev/null >>"$folder/$1.log" 2>&1 &
  echo $! >"$folder/$1.pid"
}

# end NAME SIGNAL: waits until it has ended, for 15 seconds at most.
end() {
  local pid
  pid=$(pid_of "$1") || return 0
  kill -s "$2" -- "$pid" 2>/dev/null || true
  for _ in $(seq 150); do
    if ! pid_of "$1" >/dev/null; then break; fi
    sleep 0.1
  done
  rm -f -- "$folder/$1.pid"
}

wait_for() {
  local tries
  for tries in $(seq 300); do
    if "$@" >/dev/null 2>&1; then return; fi
    sleep 0.1
  done
  echo "after $((tries / 10)) s there is still no answer; the logs are in $folder" >&2
  return 1
}

answers() { "$ROOT/.venv/bin/sttpc" list "sttp://127.0.0.1:$(sttp_port "$1")/"; }

status() {
  local name state
  for name in "${names[@]}"; do
    state="does not run"
    if pid_of "$name" >/dev/null; then
      state="runs"
      if [[ $name != etcd-* ]]; then answers "$name" >/dev/null 2>&1 || state="runs, and the cluster does not answer it"; fi
    fi
    printf '%-9s %-22s' "$name" "$state"
    if [[ $name == etcd-* && $state == runs ]]; then
      "$ROOT/.venv/bin/python" "$ROOT/tools/cluster_status.py" "$(client_port "$name")"
    elif [[ $name != etcd-* ]]; then
      printf 'sttp://127.0.0.1:%s' "$(sttp_port "$name")"
      if has_page; then
        printf '  http://127.0.0.1:%s/' "$(page_port "$name")"
        if [[ $name == sttpd-* && $state == runs ]]; then
          "$ROOT/.venv/bin/python" "$ROOT/tools/cluster_status.py" --watch "$(page_port "$name")"
        fi
      fi
      echo
    else
      echo
    fi
  done
}

down() {
  local name
  for name in proxy sttpd-1 sttpd-2 sttpd-3 etcd-1 etcd-2 etcd-3; do end "$name" TERM; end "$name" KILL; done
  rm -rf -- "$folder"
}

up() {
  local name
  need etcd etcd-server
  [ -x "$ROOT/.venv/bin/sttpd" ] || ensure_venv http
  ensure_venv
  mkdir -p -- "$folder"
  trap 'trap "" INT TERM; echo; echo "stopping"; down' EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
  for name in "${names[@]}"; do start "$name"; done
  for name in sttpd-1 sttpd-2 sttpd-3 proxy; do wait_for answers "$name"; done
  echo "A cluster of three is up. Write by way of the proxy, or to any server, and read from another:"
  echo "  sttpc create sttp://127.0.0.1:$(sttp_port proxy)/hello 'Hello, cluster'"
  echo "  sttpc show sttp://127.0.0.1:$(sttp_port sttpd-3)/hello"
  if has_page; then echo "The proxy's page: http://127.0.0.1:$(page_port proxy)/; those of the servers: see status."; fi
  echo "In another terminal: tools/cluster.sh status, kill etcd-2, stop sttpd-1, start etcd-2. Ctrl-C stops all."
  while [ -d "$folder" ]; do sleep 1; done # somebody may have said `down`
}

case ${1:-} in
  up | down | status) [ $# = 1 ] || usage; "$1" ;;
  kill | stop | start)
    if [ $# != 2 ] || [[ " ${names[*]} " != *" $2 "* ]]; then usage; fi
    [ -d "$folder" ] || { echo "there is no cluster; tools/cluster.sh up starts one" >&2; exit 1; }
    case $1 in
      kill) end "$2" KILL ;;
      stop) end "$2" TERM ;;
      start) start "$2" ;;
    esac
    ;;
  *) usage ;;
esac
