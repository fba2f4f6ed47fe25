#!/usr/bin/env bash
# Loads an STTP server as the published runPerformanceTest.sh does, but concurrently and checking every reply:
#   tools/stress.sh -a ADDRESS -p PORT -i INTERVAL_MS -c CONCURRENCY -n COUNT        (-h explains them)
set -euo pipefail
tools=$(CDPATH='' cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")" && pwd)
sttpbench=$tools/../.venv/bin/sttpbench
if [ ! -x "$sttpbench" ]; then
  # shellcheck source=tools/venv.sh
  . "$tools/venv.sh"
  ensure_venv
fi
exec "$sttpbench" stress "$@"
