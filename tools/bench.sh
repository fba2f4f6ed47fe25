#!/usr/bin/env bash
# Measures sttpd beside its peers (tools/peers) and prints the tables that README.rst has:
#   tools/bench.sh [options] [MODE]...        (--help explains them)
set -euo pipefail
tools=$(CDPATH='' cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")" && pwd)
python=$tools/../.venv/bin/python
if [ ! -x "$tools/../.venv/bin/sttpd" ]; then
  # shellcheck source=tools/venv.sh
  . "$tools/venv.sh"
  ensure_venv
fi
PYTHONPATH=$tools${PYTHONPATH:+:$PYTHONPATH} exec "$python" -m bench "$@"
