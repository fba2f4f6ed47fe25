#!/usr/bin/env bash
# Keeps sttpd under mixed load for some minutes, proves every reply and watches that nothing grows; then the long tests:
#   tools/soak.sh [options] [DURATION]        (--help explains them)
set -euo pipefail
tools=$(CDPATH='' cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")" && pwd)
python=$tools/../.venv/bin/python
if [ ! -x "$tools/../.venv/bin/sttpd" ]; then
  # shellcheck source=tools/venv.sh
  . "$tools/venv.sh"
  ensure_venv
fi
PYTHONPATH=$tools${PYTHONPATH:+:$PYTHONPATH} exec "$python" -m soak "$@"
