#!/usr/bin/env bash
# Runs the tests, installing what they need into ROOT/.venv first. Paths are relative to the checkout:
#   tools/test.sh [pytest arguments]          tools/test.sh tests/wire -x
set -euo pipefail
# shellcheck source=tools/venv.sh
. "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/venv.sh"
ensure_venv test
cd -- "$ROOT"
exec .venv/bin/pytest "$@"
