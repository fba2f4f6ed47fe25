#!/usr/bin/env bash
# Starts sttpd, installing it into ROOT/.venv first where that is needed:
#   tools/run.sh [sttpd arguments]
set -euo pipefail
# shellcheck source=tools/venv.sh
. "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/venv.sh"
extras=
# HTTP needs a parser that is installed for those who ask for it, by flag or in the file of -c.
for argument in "$@"; do
  if [[ $argument == *http.enabled=* ]] || grep -qs '^http:' -- "$argument"; then extras=http; fi
done
ensure_venv "$extras"
exec "$ROOT/.venv/bin/sttpd" "$@"
