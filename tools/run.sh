#!/usr/bin/env bash
# Starts sttpd, installing it into ROOT/.venv first where that is needed:
#   tools/run.sh [sttpd arguments]
set -euo pipefail
# shellcheck source=tools/venv.sh
. "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/venv.sh"
ensure_venv
exec "$ROOT/.venv/bin/sttpd" "$@"
