#!/usr/bin/env bash
# Runs the tests, installing what they need into ROOT/.venv first. Paths are relative to the checkout:
#   tools/test.sh [pytest arguments]        tools/test.sh tests/wire -x
# Without arguments: all tests but the long ones, several at once; at the end those that measure, with nothing beside them.
set -euo pipefail
# shellcheck source=tools/venv.sh
. "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/venv.sh"
ensure_venv test
cd -- "$ROOT"
if [ $# -gt 0 ]; then exec .venv/bin/pytest "$@"; fi
# Most tests wait for somebody most of the time: two for each processor, but no more than would slow each other down.
workers=$(.venv/bin/python -c 'import os; print(min(8, 2 * (os.cpu_count() or 1)))')
status=0
.venv/bin/pytest -m "not long and not alone" -n "$workers" || status=$?
.venv/bin/pytest -m "alone and not long" || status=$?
exit "$status"
